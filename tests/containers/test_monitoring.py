"""Alerts that fire when they should and are quiet otherwise, and dashboards whose questions can be asked."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.containers import stacks
from tests.containers.tools import ROOT, said, tool

MONITORING = ROOT / "monitoring"
FILE = "monitoring/docker-compose.yml"
DASHBOARDS = sorted(MONITORING.glob("grafana/dashboards/*.json"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def targets(dashboard: Path) -> list[tuple[str, str]]:
    """Return (datasource, question) of each panel."""
    return [(t["datasource"]["uid"], t["expr"]) for panel in json.loads(dashboard.read_text())["panels"] for t in panel["targets"]]


def test_the_alerts_pass_their_tests() -> None:
    done = said([tool("promtool"), "test", "rules", "alerts.test.yml"], cwd=MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_seen_to_fire_and_to_be_quiet() -> None:
    tested = {case["name"] for case in yaml.safe_load((MONITORING / "alerts.test.yml").read_text())["tests"]}
    assert tested == {f"{rule['alert']} {how}" for rule in rules() for how in ("fires", "quiet")}


@pytest.mark.parametrize("name", [rule["alert"] for rule in rules()])
def test_an_alert_that_never_fires_would_be_noticed(tmp_path: Path, name: str) -> None:
    broken = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    for rule in (rule for group in broken["groups"] for rule in group["rules"]):
        if rule["alert"] == name:
            rule["expr"] = "vector(0) > 1"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(broken))
    cases = yaml.safe_load((MONITORING / "alerts.test.yml").read_text())
    cases["tests"] = [case for case in cases["tests"] if case["name"] == f"{name} fires"]
    (tmp_path / "alerts.test.yml").write_text(yaml.safe_dump(cases))
    done = said([tool("promtool"), "test", "rules", "alerts.test.yml"], cwd=tmp_path)
    assert done.returncode and name in done.stdout + done.stderr


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "action"} and rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]


def test_prometheus_can_read_its_configuration() -> None:
    done = said([tool("promtool"), "check", "config", "--syntax-only", "prometheus.yml"], cwd=MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_question_of_a_dashboard_can_be_asked(dashboard: Path, tmp_path: Path) -> None:
    asked = [expr for source, expr in targets(dashboard) if source == "prometheus"]
    assert all(expr for _, expr in targets(dashboard))
    if asked:
        written = {"groups": [{"name": "all", "rules": [{"record": f"q:{i}", "expr": expr} for i, expr in enumerate(asked)]}]}
        (tmp_path / "rules.yml").write_text(yaml.safe_dump(written))
        done = said([tool("promtool"), "check", "rules", "rules.yml"], cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_dashboards_ask_only_for_what_is_exported() -> None:
    source = "".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    exported = set(re.findall(r'"(tpm_[a-z_]+)"', source))
    asked = [rule["expr"] for rule in rules()] + [expr for dashboard in DASHBOARDS for _, expr in targets(dashboard)]
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for expr in asked for name in re.findall(r"\btpm_[a-z_]+\b", expr)}
    # The library ends a counter's name in _total.
    assert {name for name in names if not {name, name.removesuffix("_total")} & exported} == set()


def test_dashboards_use_the_datasources_that_are_provisioned() -> None:
    provisioned = {d["uid"] for d in yaml.safe_load((MONITORING / "grafana/provisioning/datasources/datasources.yml").read_text())["datasources"]}
    used = {source for dashboard in DASHBOARDS for source, _ in targets(dashboard)}
    assert used <= provisioned
    uids = [json.loads(path.read_text())["uid"] for path in DASHBOARDS]
    assert len(uids) == len(set(uids)) == 4


def test_every_target_is_a_service_that_prometheus_can_reach() -> None:
    ours, theirs = stacks.services(FILE), stacks.services("docker/compose.yml")
    reached = {name for name, service in {**theirs, **ours}.items() if {"stack", "outside"} & set(service["networks"])}
    for job in yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]:
        for address in (address for group in job.get("static_configs", []) for address in group["targets"]):
            assert address.partition(":")[0] in reached | {"localhost"}, address


def test_grafana_lets_nobody_in_without_the_password() -> None:
    environment = stacks.services(FILE)["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"


def test_logs_are_shipped_when_asked_for_and_each_part_is_told_apart() -> None:
    assert {name for name, service in stacks.services(FILE).items() if service.get("profiles") == ["logs"]} == {"loki", "vector"}
    assert not [v for v in stacks.services(FILE)["vector"]["volumes"] if "docker.sock" in v["source"]]
    for file in stacks.FILES:
        for name, service in stacks.services(file).items():
            if service["image"].startswith(stacks.OURS):
                assert service["logging"]["options"]["tag"] == "{{.Name}}" and stacks.loaded(file)["name"].startswith("tpm"), name


@pytest.mark.parametrize("name", ["alertmanager", "loki", "vector"])
def test_other_configurations_are_yaml_and_refer_to_what_there_is(name: str) -> None:
    content = yaml.safe_load((MONITORING / f"{name}.yml").read_text())
    text = json.dumps(content)
    assert content
    for host in re.findall(r"https?://([a-z-]+):", text):
        assert host in stacks.services(FILE)
    for secret in re.findall(r"/run/secrets/(\w+)", text):
        assert secret in stacks.loaded(FILE)["secrets"]
