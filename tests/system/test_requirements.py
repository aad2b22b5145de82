"""`requirements.txt` pins the dependencies that `setup.cfg` declares, direct and transitive."""

import configparser
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import ROOT

EXTRAS = ("jwt", "cluster")


def pinned() -> list[Requirement]:
    """Return the lines of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def declared() -> list[Requirement]:
    """Return the dependencies that setup.cfg declares, with the extras for JWTs and clusters.

    The image and the start in the README install requirements.txt, and can do both.
    """
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].splitlines()
    for extra in EXTRAS:
        lines += config["options.extras_require"][extra].splitlines()
    return [Requirement(line) for line in lines if line]


def needs(requirement: Requirement) -> list[Requirement]:
    """Return what a distribution needs on this platform, with the extras that are asked for."""
    found = map(Requirement, metadata.requires(requirement.name) or [])
    extras = ["", *requirement.extras]
    return [
        each
        for each in found
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras)
    ]


def versions() -> dict[str, str]:
    """Return the pinned version by name."""
    return {canonicalize_name(each.name): next(iter(each.specifier)).version for each in pinned()}


def test_tests_need_the_extras() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = config["options.extras_require"]
    for extra in EXTRAS:
        assert {*extras[extra].split("\n")} <= {*extras["test"].split("\n")}


def test_every_line_is_a_pin() -> None:
    for each in pinned():
        assert [part.operator for part in each.specifier] == ["=="], each
    names = [canonicalize_name(each.name) for each in pinned()]
    assert names == sorted(set(names))


def test_pins_satisfy_setup_cfg() -> None:
    lines = {canonicalize_name(each.name): each for each in pinned()}
    for each in declared():
        line = lines[canonicalize_name(each.name)]
        assert each.specifier.contains(versions()[canonicalize_name(each.name)]), (each, line)
        assert str(line.marker) == str(each.marker), (each, line)


def test_pins_are_exactly_the_transitive_dependencies() -> None:
    """For this platform, by the metadata of each installed distribution."""
    needed: set[str] = set()
    waiting = [each for each in declared() if each.marker is None or each.marker.evaluate()]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in needed:
            needed.add(name)
            waiting += needs(requirement)
    here = {
        canonicalize_name(each.name)
        for each in pinned()
        if each.marker is None or each.marker.evaluate()
    }
    assert here == needed


def test_pins_are_installed() -> None:
    for each in pinned():
        if each.marker is None or each.marker.evaluate():
            pinned_version = versions()[canonicalize_name(each.name)]
            hint = f"run: pip install -r requirements.txt  # for {each.name}"
            assert metadata.version(each.name) == pinned_version, hint
