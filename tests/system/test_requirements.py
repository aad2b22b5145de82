"""`requirements.txt` pins what `setup.cfg` asks for, and all of that."""

import configparser
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import ROOT


def pinned() -> list[Requirement]:
    """The lines of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def asked() -> list[Requirement]:
    """What runs, as setup.cfg has it, `speed` included."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"] + config["options.extras_require"]["speed"]
    return [Requirement(line) for line in lines.splitlines() if line]


def versions() -> dict[str, str]:
    """The pinned version by name."""
    return {canonicalize_name(each.name): next(iter(each.specifier)).version for each in pinned()}


def test_every_line_is_a_pin() -> None:
    for each in pinned():
        assert [part.operator for part in each.specifier] == ["=="], each
    names = [canonicalize_name(each.name) for each in pinned()]
    assert names == sorted(set(names))


def test_what_is_asked_for_is_pinned_within_the_range_and_under_the_same_condition() -> None:
    lines = {canonicalize_name(each.name): each for each in pinned()}
    for each in asked():
        line = lines[canonicalize_name(each.name)]
        assert each.specifier.contains(versions()[canonicalize_name(each.name)]), (each, line)
        assert str(line.marker) == str(each.marker), (each, line)


def test_nothing_is_pinned_that_nothing_asks_for_and_nothing_is_left_out() -> None:
    """What each distribution asks for is in its own metadata; here, for this platform."""
    needed: set[str] = set()
    waiting = [each for each in asked() if each.marker is None or each.marker.evaluate()]
    while waiting:
        name = canonicalize_name(waiting.pop().name)
        if name not in needed:
            needed.add(name)
            more = [Requirement(line) for line in metadata.requires(name) or []]
            waiting += [
                each for each in more if each.marker is None or each.marker.evaluate({"extra": ""})
            ]
    here = {
        canonicalize_name(each.name)
        for each in pinned()
        if each.marker is None or each.marker.evaluate()
    }
    assert here == needed


def test_what_is_installed_is_what_is_pinned() -> None:
    for each in pinned():
        if each.marker is None or each.marker.evaluate():
            assert metadata.version(each.name) == versions()[canonicalize_name(each.name)]
