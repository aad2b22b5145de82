"""`docker/compose.yaml` grants as little as the containers need."""

import re

import yaml

from tests.support import ROOT

TEXT = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")


def service(name: str) -> list[str]:
    """Return the lines of one service without comments."""
    found = re.search(rf"^  {name}:.*\n((?:(?:    .*)?\n)*)", TEXT, re.MULTILINE)
    assert found
    lines = [line.strip() for line in found[1].splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_containers_have_no_privileges() -> None:
    for name in ("aionotify", "memcached"):
        lines = service(name)
        assert "read_only: true" in lines
        assert "cap_drop: [ALL]" in lines
        assert 'security_opt: ["no-new-privileges:true"]' in lines
        assert not any(line.startswith(("privileged", "cap_add", "tmpfs")) for line in lines)


def test_memcached_has_no_published_port() -> None:
    assert "ports:" in service("aionotify")
    assert "ports:" not in service("memcached")
    assert "11211" not in TEXT


def test_example_reads_tokens_from_files() -> None:
    for kind in ("ADMIN", "USER"):
        assert f"# AIONOTIFY_{kind}_TOKEN_FILE: /run/secrets/{kind.lower()}_token" in TEXT
        assert f"AIONOTIFY_{kind}_TOKEN:" not in TEXT


def test_port_is_published_on_this_machine_only() -> None:
    """Without a token, everyone who reaches the port may publish."""
    ports = yaml.safe_load(TEXT)["services"]["aionotify"]["ports"]
    assert ports == ["127.0.0.1:8000:8000"]
    assert '"8000:8000"' in TEXT  # the comment says how to open it


def test_project_has_its_own_name() -> None:
    """Not `docker`, the name of the folder, which the containers of other projects may have."""
    assert yaml.safe_load(TEXT)["name"] == "aionotify"


def test_env_file_is_optional_and_keeps_addresses() -> None:
    """A `.env` for the laptop says `localhost`, which nothing outside of a container reaches."""
    aionotify = yaml.safe_load(TEXT)["services"]["aionotify"]
    assert aionotify["env_file"] == [{"path": "../.env", "required": False}]
    assert aionotify["environment"] == {
        "AIONOTIFY_HOST": "0.0.0.0",
        "AIONOTIFY_PORT": 8000,
        "MEMCACHED_HOST": "memcached",
        "MEMCACHED_PORT": "",
    }
