"""Variables of Kubernetes and Docker services are not taken for settings."""

import pytest

from aionotify.settings import Settings, options, read_settings
from aionotify.settings.services import without_services


def service(name: str, ip: str = "10.96.0.10", port: int = 8000) -> dict[str, str]:
    """Return the variables that Kubernetes sets for a service with a port called `http`."""
    url = f"tcp://{ip}:{port}"
    return {
        f"{name}_SERVICE_HOST": ip,
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_HTTP": str(port),
        f"{name}_PORT": url,
        f"{name}_PORT_{port}_TCP": url,
        f"{name}_PORT_{port}_TCP_PROTO": "tcp",
        f"{name}_PORT_{port}_TCP_PORT": str(port),
        f"{name}_PORT_{port}_TCP_ADDR": ip,
    }


@pytest.mark.parametrize("name", ["AIONOTIFY", "MEMCACHED", "AIONOTIFY_WEB", "AIONOTIFY_2"])
def test_services_count_as_unset(name: str) -> None:
    """Without a warning, and without hiding settings beside them."""
    environ = {**service(name), "AIONOTIFY_HEARTBEAT": "7"}
    assert read_settings({}, None, environ) == (Settings(heartbeat=7), [])


def test_service_port_over_udp_and_ipv6() -> None:
    environ = {"AIONOTIFY_PORT": "udp://[fd00::10]:8000", "MEMCACHED_PORT": "sctp://10.0.0.1:1"}
    assert without_services(environ) == {}


def test_settings_are_no_services() -> None:
    names = {name for each in options() for name in (each.variable, each.file_variable)}
    assert without_services(dict.fromkeys(names, "1")).keys() == names


def test_invalid_port_is_still_an_error() -> None:
    """Only the form that Kubernetes writes is passed over."""
    for text in ("http://10.96.0.10:8000", "tcp:8000", ":8000"):
        assert without_services({"AIONOTIFY_PORT": text})
