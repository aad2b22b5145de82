"""`docker/compose.yaml` and `compose.tls.yaml` grant as little as the containers need."""

import re

import pytest
import yaml

from tests.support import ROOT

TEXT = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
PUBLIC = (ROOT / "docker" / "compose.tls.yaml").read_text(encoding="utf-8")


def service(name: str, text: str = TEXT) -> list[str]:
    """Return the lines of one service without comments."""
    found = re.search(rf"^  {name}:.*\n((?:(?:    .*)?\n)*)", text, re.MULTILINE)
    assert found
    lines = [line.strip() for line in found[1].splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("text", [TEXT, PUBLIC], ids=["local", "public"])
def test_containers_have_no_privileges(text: str) -> None:
    for name in ("aionotify", "memcached"):
        lines = service(name, text)
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


def test_public_server_is_reached_through_caddy_alone() -> None:
    """Caddy may open ports below 1024, and nothing else that is special."""
    services = yaml.safe_load(PUBLIC)["services"]
    assert [name for name, each in services.items() if "ports" in each] == ["caddy"]
    caddy = services["caddy"]
    assert caddy["ports"] == ["80:80", "443:443", "443:443/udp"]
    assert caddy["cap_drop"] == ["ALL"]
    assert caddy["cap_add"] == ["NET_BIND_SERVICE"]
    assert caddy["read_only"] is True
    assert "no-new-privileges:true" in caddy["security_opt"]
    assert caddy["environment"]["DOMAIN"].startswith("${DOMAIN:?")


def test_public_server_has_tokens_from_files() -> None:
    document = yaml.safe_load(PUBLIC)
    aionotify = document["services"]["aionotify"]
    local = yaml.safe_load(TEXT)["services"]["aionotify"]["environment"]
    assert aionotify["environment"] == {
        **local,
        "AIONOTIFY_TRUSTED_PROXIES": 1,
        "AIONOTIFY_ADMIN_TOKEN_FILE": "/run/secrets/admin_token",
        "AIONOTIFY_USER_TOKEN_FILE": "/run/secrets/user_token",
    }
    assert aionotify["secrets"] == list(document["secrets"]) == ["admin_token", "user_token"]
    for name, each in document["secrets"].items():
        assert each == {"file": f"./{name}"}
    assert "docker/*_token" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_volumes_and_files_of_caddy_exist() -> None:
    document = yaml.safe_load(PUBLIC)
    for each in document["services"]["caddy"]["volumes"]:
        source = each.partition(":")[0]
        known = source in document["volumes"] or (ROOT / "docker" / source).is_file()
        assert known, each
