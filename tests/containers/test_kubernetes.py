"""Kubernetes: overlays built by kustomize, every object judged by its schema, and what a schema cannot know."""

from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.config import Settings, check_complete, load_settings
from app.domain.tasks import Queue
from tests.containers import stacks
from tests.containers.tools import ROOT, said, tool

pytestmark = pytest.mark.timeout(660)  # the first one may have to build kustomize
OVERLAYS = ("small", "production")
EACH = pytest.mark.parametrize("overlay", OVERLAYS)
PARTS = {"web", "worker", "worker-actions", "beat", "flower"}
KUBERNETES = "1.37"


@cache
def objects(overlay: str) -> tuple[dict[str, Any], ...]:
    done = said([tool("kustomize"), "build", str(ROOT / "deploy/k8s/overlays" / overlay)])
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of(overlay: str, kind: str) -> dict[str, dict[str, Any]]:
    return {o["metadata"]["name"]: o for o in objects(overlay) if o["kind"] == kind}


def pods(overlay: str) -> dict[str, dict[str, Any]]:
    """Return the pod of each workload of ours and of others, by name."""
    return {name: o["spec"]["template"] for kind in ("Deployment", "StatefulSet", "Job") for name, o in of(overlay, kind).items()}


def ours(overlay: str) -> dict[str, dict[str, Any]]:
    return {name: pod for name, pod in pods(overlay).items() if name in PARTS | {"migrate"}}


@EACH
def test_every_object_is_as_kubernetes_wants_it(overlay: str) -> None:
    for item in objects(overlay):
        if item["apiVersion"].startswith("keda.sh/"):
            continue  # no schema at hand: judged below
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_a_misspelt_field_would_be_noticed() -> None:
    broken = of("small", "Deployment")["web"] | {"specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


@EACH
def test_all_parts_are_there(overlay: str) -> None:
    assert set(of(overlay, "Deployment")) == PARTS and set(of(overlay, "Job")) == {"migrate"}
    assert {"web"} <= set(of(overlay, "HorizontalPodAutoscaler")) and {"web", "worker", "worker-actions"} == set(of(overlay, "PodDisruptionBudget"))


@EACH
def test_every_image_is_pinned(overlay: str) -> None:
    for pod in pods(overlay).values():
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
            assert ":" in container["image"] and not container["image"].endswith(":latest")


@EACH
def test_every_command_is_one_that_is_executed_elsewhere(overlay: str) -> None:
    """tests/containers/test_commands.py executes those of the Compose files."""
    executed = [service["command"] for service in stacks.services("docker/compose.yml").values() if service.get("command")]
    for name, pod in ours(overlay).items():
        assert [c["command"] for c in pod["spec"]["containers"]][0] in executed, name
        for container in pod["spec"].get("initContainers", []):
            assert container["command"] == ["python", "-m", "launcher.healthcheck", "database"]


@EACH
def test_no_pod_is_more_than_the_strictest_profile_lets_it_be(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]


@EACH
def test_everything_that_stays_is_probed(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        for container in pod["spec"]["containers"]:
            wanted = set() if name == "migrate" else {"readinessProbe", "livenessProbe"} | ({"startupProbe"} if name in PARTS else set())
            assert wanted <= set(container), name
            for probe in wanted:
                command = container[probe].get("exec", {}).get("command", [])
                assert "launcher.healthcheck" not in command or command[-1] == name.partition("-")[0]


@EACH
def test_a_worker_that_ends_has_the_time_to_give_its_runs_up(overlay: str) -> None:
    longest = int(Settings.model_fields["run_deadline_grace_s"].default)
    assert pods(overlay)["worker"]["spec"]["terminationGracePeriodSeconds"] > longest
    assert pods(overlay)["worker"]["spec"]["terminationGracePeriodSeconds"] == stacks.seconds(stacks.services("docker/compose.yml")["worker"]["stop_grace_period"])


@EACH
def test_selectors_select_and_budgets_let_a_node_be_drained(overlay: str) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(overlay).values()]

    def selected(selector: dict[str, str]) -> bool:
        return any(selector.items() <= found.items() for found in labels)

    assert all(selected(s["spec"]["selector"]) for s in of(overlay, "Service").values())
    for name, budget in of(overlay, "PodDisruptionBudget").items():
        assert selected(budget["spec"]["selector"]["matchLabels"])
        scaled = of(overlay, "ScaledObject").get(name, {"spec": {}})["spec"].get("minReplicaCount") or of(overlay, "HorizontalPodAutoscaler").get(name, {"spec": {}})["spec"].get("minReplicas")
        count = scaled or of(overlay, "Deployment")[name]["spec"]["replicas"]
        assert budget["spec"].get("maxUnavailable", 0) >= 1 or budget["spec"]["minAvailable"] < count, name


@EACH
def test_nothing_talks_to_anything_unless_a_policy_says_so(overlay: str) -> None:
    policies = of(overlay, "NetworkPolicy")
    assert policies["nothing"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    chosen = {value for p in policies.values() for e in p["spec"]["podSelector"].get("matchExpressions", []) for value in e["values"]}
    chosen |= {p["spec"]["podSelector"]["matchLabels"]["part"] for p in policies.values() if "matchLabels" in p["spec"]["podSelector"]}
    assert chosen == {pod["metadata"]["labels"]["part"] for pod in pods(overlay).values()}, "each pod has one, and none is for nobody"
    [target] = policies["proxmox-and-messages"]["spec"]["egress"][0]["to"]
    assert target["ipBlock"]["except"] == ["169.254.0.0/16"]


@EACH
def test_the_settings_are_what_the_program_accepts_in_production(overlay: str, tmp_path: Path) -> None:
    [settings] = [o["data"] for name, o in of(overlay, "ConfigMap").items() if name.startswith("settings")]
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/secrets.sh").write_text((ROOT / "docker/secrets.sh").read_text())
    assert said(["sh", str(tmp_path / "docker/secrets.sh")]).returncode == 0
    mounted = {k: v.replace("/run/secrets/tpm", str(tmp_path / "docker/secrets")) for k, v in settings.items()}
    loaded = load_settings({**mounted, "DATA_DIR": str(tmp_path / "data"), "ENV_FILE": "/dev/null"}, tmp_path)
    check_complete(loaded)
    assert loaded.app_env == "production" and loaded.flower_password.get_secret_value()
    assert not [value for key, value in settings.items() if key.endswith(("PASSWORD", "_KEY", "_KEYS"))]


@EACH
def test_secrets_can_be_read_by_the_pods_group_only(overlay: str) -> None:
    for pod in pods(overlay).values():
        for volume in (v["secret"] for v in pod["spec"]["volumes"] if "secret" in v):
            assert volume["secretName"] == "tpm-secrets" and volume["defaultMode"] == 0o440


def test_workers_are_scaled_by_the_queues_they_serve() -> None:
    scaled = of("production", "ScaledObject")
    assert set(scaled) == {"worker", "worker-actions"}
    for name, item in scaled.items():
        deployment = of("production", "Deployment")[item["spec"]["scaleTargetRef"]["name"]]
        assert "replicas" not in deployment["spec"], "two would fight over the number"
        [trigger] = item["spec"]["triggers"]
        served = deployment["spec"]["template"]["spec"]["containers"][0]["command"][-1].split(",")
        assert trigger["type"] == "redis" and Queue(trigger["metadata"]["listName"]) in served, name
        assert trigger["authenticationRef"]["name"] in of("production", "TriggerAuthentication")
        assert trigger["metadata"]["address"].partition(":")[0] in (ROOT / "deploy/k8s/overlays/production/settings.env").read_text()


def test_the_web_servers_number_is_the_autoscalers_alone() -> None:
    for overlay in OVERLAYS:
        assert "replicas" not in of(overlay, "Deployment")["web"]["spec"]
        assert of(overlay, "HorizontalPodAutoscaler")["web"]["spec"]["scaleTargetRef"]["name"] == "web"


def test_redis_in_the_cluster_keeps_what_waits() -> None:
    assert (ROOT / "deploy/k8s/overlays/small/redis.conf").read_text() == (ROOT / "redis/redis.conf").read_text()
