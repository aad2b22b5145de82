"""The files for operators work: the systemd units, the Kubernetes manifests, and Caddy with TLS."""

import asyncio
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from playwright.async_api import Browser

from aionotify.settings import Settings, options, read_settings
from tests.support import ROOT, eventually, free_port, running_server
from tests.support.browser import WITHOUT_MEMCACHED, live_page, publish
from tests.support.documents import OPERATING, blocks, read

UNIT, TEMPLATE = "docker/aionotify.service", "docker/aionotify@.service"
MAX_EXPOSURE = 2.0
"""Of 10, as `systemd-analyze security` judges it; without the hardening, it is 9.2."""

STREAMS = 8
"""More than a browser opens over HTTP/1.1: six."""


SUBSCRIBE = """([streams, server]) => {
  window.seen = [];
  const show = ({ data }) => seen.push(data);
  for (let number = 0; number < streams; number++) new EventSource("events").onmessage = show;
  new WebSocket(`${server}/ws`).onmessage = show;
}"""
"""JavaScript that opens event streams, and a WebSocket."""


def unit(path: str) -> configparser.SectionProxy:
    """Return the settings of a service."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keep the case of names
    parser.read_string(read(path))
    return parser["Service"]


def test_service_outlasts_the_grace_period() -> None:
    service = unit(UNIT)
    assert service["ExecStart"].endswith(".venv/bin/python -m aionotify")
    assert int(service["TimeoutStopSec"]) > Settings().shutdown_grace
    assert service["RestartPreventExitStatus"] == "2"


def test_instances_differ_from_the_service_in_three_lines_only() -> None:
    """They share a port, which takes one user for all; each has a port of its own."""
    added = {
        "Environment": "AIONOTIFY_REUSE_PORT=on AIONOTIFY_METRICS_PORT=%i",
        "User": "aionotify",
    }
    assert dict(unit(TEMPLATE)) == {**dict(unit(UNIT)), **added}
    values = dict(each.split("=") for each in added["Environment"].split())
    read_settings({}, None, {name: text.replace("%i", "9001") for name, text in values.items()})


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is for Linux")
@pytest.mark.parametrize("unit", [UNIT, TEMPLATE])
def test_systemd_accepts_the_unit_and_calls_it_safe(unit: str, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    assert program, f"systemd-analyze is missing: python3 {ROOT / 'tests/run.py'}"
    # It wants the program and its folder to exist, and an instance of a template.
    path = tmp_path / Path(unit).name.replace("@", "@9001")
    text = read(unit).replace("/opt/aionotify/.venv/bin/python", f'"{sys.executable}"')
    path.write_text(text.replace("/opt/aionotify", str(ROOT)), encoding="utf-8")
    threshold = f"--threshold={MAX_EXPOSURE * 10:.0f}"
    for command in (["verify"], ["security", "--offline=true", threshold]):
        done = subprocess.run(
            [program, "--no-pager", *command, str(path)], capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Unknown" not in done.stderr, done.stderr


def test_deployment_fits_the_server() -> None:
    deployment, service = yaml.safe_load_all(read("docker/kubernetes.yaml"))
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    secret = [each.file_variable for each in options() if each.secret]
    known = {each.variable for each in options()} | set(secret)
    assert {each["name"] for each in container["env"]} <= known
    assert spec["terminationGracePeriodSeconds"] > Settings().shutdown_grace
    assert spec["enableServiceLinks"] is False
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": Settings().port}
    user = re.search(r"^USER (\d+)", read("docker/Dockerfile"), re.MULTILINE)
    assert user
    assert container["securityContext"]["runAsUser"] == int(user[1])
    assert container["ports"] == [{"containerPort": service["spec"]["ports"][0]["port"]}]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels


def test_startup_probe_fits_the_image() -> None:
    (text,) = (each for each in blocks("yaml", OPERATING) if each.startswith("startupProbe"))
    probe = yaml.safe_load(text)["startupProbe"]
    python, script, flag = probe["exec"]["command"]
    assert python == "python"
    assert f"COPY docker/{script} ." in read("docker/Dockerfile")
    assert f'"{flag}"' in read(f"docker/{script}")
    # Longer than a node takes to start when NATS is unavailable.
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 60


@asynccontextmanager
async def running_caddy(upstream: int, folder: Path) -> AsyncIterator[str]:
    """Run Caddy with `docker/Caddyfile` in front of the port `upstream`, and yield its URL."""
    program = shutil.which("caddy")
    assert program, f"caddy is missing: python3 {ROOT / 'tests/run.py'}"
    port = free_port()
    environment = {
        **os.environ,
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "DOMAIN": f"localhost:{port}",
        "UPSTREAM": f"127.0.0.1:{upstream}",
    }
    adapted = await asyncio.to_thread(
        subprocess.run,
        [program, "adapt", "--validate", "--config", str(ROOT / "docker" / "Caddyfile")],
        env=environment,
        capture_output=True,
        check=True,
    )
    path = folder / "caddy.json"
    path.write_text(json.dumps(without_traces(json.loads(adapted.stdout))), encoding="utf-8")
    with (folder / "caddy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(program, "run", "--config", str(path)), env=environment, stdout=log, stderr=log
        )
    try:
        await eventually(lambda: answers(port), 10, "Caddy listens")
        yield f"https://localhost:{port}"
    finally:
        process.terminate()
        await process.wait()


def without_traces(document: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration such that Caddy leaves nothing on this machine.

    Neither its own authority among the trusted ones, nor a redirect on port 80, nor port 2019.
    """
    (server,) = document["apps"]["http"]["servers"].values()
    server["automatic_https"] = {"disable_redirects": True}
    authorities = {"local": {"install_trust": False}}
    document["apps"]["pki"] = {"certificate_authorities": authorities}
    return {**document, "admin": {"disabled": True}}


async def answers(port: int) -> bool:
    """Return whether a TLS server answers."""
    try:
        async with aiohttp.request("GET", f"https://localhost:{port}/health", ssl=False) as found:
            return found.status == 200
    except aiohttp.ClientError:
        return False


@pytest.mark.asyncio(loop_scope="module")
async def test_browser_gets_more_streams_than_six_through_caddy(
    chromium: Browser, tmp_path: Path
) -> None:
    """TLS and HTTP/2 come from docker/Caddyfile; a WebSocket and the client's address pass."""
    environment = {**WITHOUT_MEMCACHED, "AIONOTIFY_TRUSTED_PROXIES": "1"}
    async with (
        running_server(environment) as server,
        running_caddy(server.port, tmp_path) as url,
        live_page(chromium, f"{url}/docs", ignore_https_errors=True) as page,
    ):
        protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
        assert await page.page.evaluate(protocol) == "h2"
        await page.page.evaluate(SUBSCRIBE, [STREAMS, url.replace("https", "wss")])
        await publish(server, "through Caddy")
        await page.wait_until(f"seen.length === {STREAMS} + 1")
        assert all("through Caddy" in each for each in await page.page.evaluate("seen"))
