"""Alarm rules and the dashboard: promtool accepts them, and they name metrics that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.support import ROOT, running_server
from tests.support.documents import OPERATING, blocks, read
from tests.support.environment import without_memcached
from tests.support.nats import running_nats

ALERTS = ROOT / "docker" / "alerts.yaml"
DASHBOARD = ROOT / "docker" / "grafana.json"

JOB = 'job="aionotify",instance="a"'
MINUTES = 30
"""Length of every series below, with one sample a minute."""


def buckets(name: str, below: str, counted: str) -> dict[str, str]:
    """Return the series of a histogram: all observations up to `below`, none above `counted`."""
    growing = f"0+100x{MINUTES}"
    return {
        f'{name}_bucket{{{JOB},le="{below}"}}': f"0+0x{MINUTES}",
        f'{name}_bucket{{{JOB},le="{counted}"}}': growing,
        f'{name}_bucket{{{JOB},le="+Inf"}}': growing,
    }


def connections(count: int, limit: int) -> dict[str, str]:
    """Return the series of a server with twice `count` clients."""
    return {
        f'aionotify_connections{{{JOB},kind="events"}}': f"{count}x{MINUTES}",
        f'aionotify_connections{{{JOB},kind="websocket_text"}}': f"{count}x{MINUTES}",
        f"aionotify_connection_limit{{{JOB}}}": f"{limit}x{MINUTES}",
    }


def steady(name: str, value: str, labels: str = "") -> dict[str, str]:
    """Return one series."""
    return {f"{name}{{{JOB}{labels}}}": f"{value}x{MINUTES}"}


LAG, FANOUT = "aionotify_event_loop_lag_seconds", "aionotify_fanout_seconds"
FIRING = {
    "AionotifyDown": steady("up", "0"),
    "AionotifyConnectionLimit": steady("aionotify_refused_total", "0+1", ',reason="too_many"'),
    "AionotifyNearlyFull": connections(46, 100),
    "AionotifyOutOfFiles": steady("process_open_fds", "98") | steady("process_max_fds", "100"),
    "AionotifyMemcachedUnavailable": steady("aionotify_cache_connected", "0"),
    "AionotifyEventLoopLag": buckets(LAG, "0.1", "0.25"),
    "AionotifyFanoutSlow": buckets(FANOUT, "0.5", "1.0"),
    "AionotifySlowClients": connections(46, 10_000)
    | steady("aionotify_cut_off_total", "0+2", ',reason="stalled"'),
    "AionotifyWrongTokens": steady("aionotify_refused_total", "0+90", ',reason="token"'),
    "AionotifyRestarting": {
        f"process_start_time_seconds{{{JOB}}}": f"1x20 2x3 3x3 4x{MINUTES}",
    },
    "AionotifyNatsUnavailable": steady("aionotify_nats_connected", "0"),
    "AionotifyNatsLag": steady("aionotify_nats_lag", "1001"),
    "AionotifyPublishFails": steady("aionotify_nats_unavailable_total", "0+1"),
    "AionotifyStreamWentBack": {f"aionotify_nats_went_back_total{{{JOB}}}": f"0x20 1x{MINUTES}"},
}
"""For each alarm, the figures of a server with that problem."""

HEALTHY = (
    steady("up", "1")
    | steady("aionotify_refused_total", "7", ',reason="too_many"')
    | steady("aionotify_refused_total", "0+30", ',reason="token"')
    | steady("aionotify_cut_off_total", "0+1", ',reason="stalled"')
    | steady("aionotify_cache_connected", "1")
    | steady("aionotify_nats_connected", "1")
    | {f"aionotify_nats_lag{{{JOB}}}": "0 5000 0 " * (MINUTES // 3)}
    | steady("aionotify_nats_unavailable_total", "7")
    | steady("aionotify_nats_went_back_total", "1")
    | steady("process_open_fds", "90")
    | steady("process_max_fds", "100")
    | steady("process_start_time_seconds", "1")
    | connections(44, 100)
    | buckets(LAG, "0.05", "0.1")
    | buckets(FANOUT, "0.25", "0.5")
)
"""The figures of a server that is busy and has no problem."""


def promtool(*arguments: str) -> str:
    """Run promtool, and return its output. AssertionError if it finds a mistake."""
    program = shutil.which("promtool")
    assert program, f"promtool is missing: python3 {ROOT / 'tests/run.py'}"
    result = subprocess.run([program, *arguments], capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def rules() -> list[dict[str, Any]]:
    """Return the alarm rules."""
    document = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def queries() -> Iterator[str]:
    """Iterate over the queries of the dashboard, with Grafana's variables filled in."""
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")


def firing(alert: str, series: dict[str, str]) -> dict[str, Any]:
    """Return a test for promtool: with `series`, exactly `alert` fires, or none if it is empty."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count by (alertname) (ALERTS{{alertstate="firing"}} offset {minutes}m)',
                "eval_time": f"{MINUTES}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}]
                if alert
                else [],
            }
            for minutes in ([1] if alert else [1, 5, 10])
        ],
    }


def test_rules_are_valid() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(ALERTS))


@pytest.mark.parametrize("alert", [*FIRING, ""], ids=lambda name: name or "healthy")
def test_alarm_fires_alone(alert: str, tmp_path: Path) -> None:
    """Each for its own problem, and none on a busy server that has none."""
    series = FIRING[alert] if alert else HEALTHY
    document = {"rule_files": [str(ALERTS)], "tests": [firing(alert, series)]}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    promtool("test", "rules", str(file))


def test_every_alarm_has_a_problem_and_a_summary() -> None:
    assert [rule["alert"] for rule in rules()] == [*FIRING]
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"].endswith(".")


def test_queries_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    """As recording rules, because promtool checks no dashboards."""
    found = [{"record": "a", "expr": query} for query in queries()]
    file = tmp_path / "rules.yaml"
    unique = [{**each, "labels": {"n": str(number)}} for number, each in enumerate(found)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": unique}]}), encoding="utf-8")
    assert f"{len(found)} rules found" in promtool("check", "rules", str(file))


def test_panels_do_not_overlap() -> None:
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels()
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in panels()}) == len(panels())


async def samples_of(environment: dict[str, str]) -> list[str]:
    """Return the lines with figures of a server."""
    async with (
        running_server(environment) as server,
        aiohttp.request("GET", f"{server.url}/metrics") as response,
    ):
        lines = (await response.text()).splitlines()
    return [line for line in lines if not line.startswith("#")]


async def test_named_metrics_exist(tmp_path: Path) -> None:
    """Metrics, labels and buckets of the rules and of the dashboard are those of the server.

    That is a single one, or a node of a cluster.
    """
    samples = await samples_of(without_memcached())
    with running_nats(tmp_path) as nats:
        cluster = {"AIONOTIFY_NATS_URL": nats.url, "AIONOTIFY_NATS_REPLICAS": "1"}
        samples += await samples_of(cluster)
    assert "aionotify_nats_connected 1.0" in samples
    pattern = r"((?:aionotify|process)_\w+)(?:{(.*?)})?"
    for expression in [*(rule["expr"] for rule in rules()), *queries()]:
        named = re.findall(pattern, expression)
        assert named or expression.startswith("up{"), expression
        for name, labels in named:
            found = [line for line in samples if re.match(rf"{name}[ {{]", line)]
            assert found, f"{name} has no samples"
            for label, value in re.findall(r'(\w+)=~?"(.*?)"', labels):
                if label not in ("job", "instance"):  # Prometheus adds these
                    for each in value.split("|"):
                        assert any(f'{label}="{each}"' in line for line in found), expression
    assert any('le="0.1"' in line for line in samples)


def test_every_metric_is_on_the_dashboard() -> None:
    """Those of the table in the document; histograms by their buckets."""
    table = "\n".join(re.findall(r"^\|.*\|$", read(OPERATING), re.MULTILINE))
    text = "\n".join(queries())
    for name in re.findall(r"`(aionotify_\w+)`", table):
        assert re.search(rf"\b{name}(_bucket)?\b", text), name


def test_example_configuration_is_valid(tmp_path: Path) -> None:
    """The one of the document, which lists the rules."""
    (text,) = (each for each in blocks("yaml", OPERATING) if each.startswith("scrape_configs"))
    (name,) = yaml.safe_load(text)["rule_files"]
    assert name == ALERTS.name
    shutil.copy(ALERTS, tmp_path)
    token = tmp_path / "token"
    token.write_text("secret", encoding="utf-8")
    file = tmp_path / "prometheus.yml"
    file.write_text(text.replace("/etc/prometheus/aionotify_token", str(token)), encoding="utf-8")
    assert "SUCCESS: 1 rule files found" in promtool("check", "config", str(file))
