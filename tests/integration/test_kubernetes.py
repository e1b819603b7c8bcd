"""The promises of deploy/kubernetes/ to those who deploy it, read without a cluster."""

import re
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pydantic
import pytest

from store import Database
from tests.support.kustomization import Kustomization, Manifest, build, containers, read, validate
from worker.app import DRAIN_SECONDS
from worker.setting_names import MEANINGS, PREFIX
from worker.topology import KIND_DEAD, Topology

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
SECRETS = FOLDER / "secrets.example.yaml"
WITH_PODS = ("Deployment", "Job")

TYPOS = {
    "base/kustomization.yaml": ("includeTemplates", "includeTemplate"),
    "base/service-account.yaml": ("automountServiceAccountToken", "autoMountServiceAccountToken"),
    "base/worker.yaml": ("readOnlyRootFilesystem", "readOnlyRootFileSystem"),
    "base/disruption-budget.yaml": ("maxUnavailable", "maxUnavailabe"),
    "base/setup-job.yaml": ("backoffLimit", "backOffLimit"),
    "base/network-policy.yaml": ("policyTypes", "policyType"),
    "base/scaled-object.yaml": ("minReplicaCount", "minReplicas"),
    "base/trigger-authentication.yaml": ("parameter", "parametre"),
    "production/kustomization.yaml": ("newTag", "tag"),
    "production/settings.yaml": ("value", "valeu"),
    "production/size.yaml": ("maxReplicaCount", "maxReplicas"),
    "secrets.example.yaml": ("stringData", "stringdata"),
}


def installation(folder: Path) -> list[Manifest]:
    """Return everything that is applied, secrets included; raises the errors of `validate` and `build`."""
    built = [*build(folder / "production"), *read(folder / SECRETS.name)]
    for manifest in [*built, *build(folder / "base")]:
        validate(manifest)
    return built


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    """Everything that is applied."""
    return installation(FOLDER)


def one(manifests: list[Manifest], kind: str, ending: str = "") -> Any:
    """Return the one resource of this kind whose name ends so."""
    (found,) = (each for each in manifests if each["kind"] == kind and each["metadata"]["name"].endswith(ending))
    return found


def test_every_file_is_valid(manifests: list[Manifest]) -> None:
    """The API server of Kubernetes takes every object, and ignores no field of it."""
    kinds = {manifest["kind"] for manifest in manifests}
    assert kinds == {
        "Deployment",
        "Job",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ScaledObject",
        "Secret",
        "ServiceAccount",
        "TriggerAuthentication",
    }
    assert TYPOS.keys() == {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yaml")}


@pytest.mark.parametrize("file", TYPOS)
def test_a_misspelt_field_is_found(file: str, tmp_path: Path) -> None:
    """A slip in any of the files is found before it is applied, not taken for a field that is not there."""
    folder = Path(shutil.copytree(FOLDER, tmp_path / "kubernetes"))
    right, wrong = TYPOS[file]
    text = (folder / file).read_text(encoding="utf-8")
    assert f"{right}:" in text
    (folder / file).write_text(text.replace(f"{right}:", f"{wrong}:", 1), encoding="utf-8")
    with pytest.raises((pydantic.ValidationError, import_module("kubernetes_validate").ValidationError)):
        installation(folder)


@pytest.mark.parametrize("kind", WITH_PODS)
def test_pods_may_do_little(manifests: list[Manifest], kind: str) -> None:
    """Whoever breaks into a pod is no root, writes no file, and has no token of the cluster's."""
    resource = one(manifests, kind)
    pod = resource["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["automountServiceAccountToken"] is False
    for container in containers(resource):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all(mount["readOnly"] for mount in container["volumeMounts"])
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["image"] == "registry.example/phin-connectwise:0.1.0"


def test_a_worker_may_drain(manifests: list[Manifest]) -> None:
    """A worker that is told to stop gets the time to finish what it has in hand."""
    assert one(manifests, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > DRAIN_SECONDS


def test_an_upgrade_takes_no_worker_before_its_successor_works(manifests: list[Manifest]) -> None:
    """While tables are old, or their change is refused, the workers of the last release go on."""
    strategy = one(manifests, "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}


def test_probes_ask_the_status_server(manifests: list[Manifest]) -> None:
    """Kubernetes asks where the worker answers, and metrics are let in there."""
    (worker,) = containers(one(manifests, "Deployment"))
    (port,) = worker["ports"]
    address = next(entry["value"] for entry in worker["env"] if entry["name"] == f"{PREFIX}STATUS_ADDRESS")
    assert address == f"0.0.0.0:{port['containerPort']}"
    paths = {name: worker[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert all(worker[name]["httpGet"]["port"] == port["name"] for name in paths)
    (rule,) = one(manifests, "NetworkPolicy")["spec"]["ingress"]
    assert [each["port"] for each in rule["ports"]] == [port["containerPort"]]


@pytest.mark.parametrize("kind", WITH_PODS)
def test_secrets_are_files_that_are_there(manifests: list[Manifest], kind: str) -> None:
    """Each file that a setting names is a key of the secret that the pod mounts; no manifest holds a value."""
    resource = one(manifests, kind)
    (volume,) = resource["spec"]["template"]["spec"]["volumes"]
    keys = one(manifests, "Secret", volume["secret"]["secretName"])["stringData"]
    used = set()
    for container in containers(resource):
        (mount,) = container["volumeMounts"]
        for name, value in ((entry["name"], entry["value"]) for entry in container["env"]):
            if not name.endswith("_FILE"):
                continue
            assert name.removeprefix(PREFIX).removesuffix("_FILE").lower() in MEANINGS
            key = str(Path(value).relative_to(mount["mountPath"]))
            # The value of a setting may name a file, too: the authority of PostgreSQL's certificate.
            named = re.findall(rf"{mount['mountPath']}/([\w.-]+)", keys[key])
            used.update([key, *named])
    assert used == set(keys)


def test_selectors_find_the_pods(manifests: list[Manifest]) -> None:
    """The policy holds for all pods, the budget for the workers, and KEDA scales these."""
    labels = {kind: one(manifests, kind)["spec"]["template"]["metadata"]["labels"] for kind in WITH_PODS}

    def selected(selector: Mapping[str, Any]) -> list[str]:
        return [kind for kind in WITH_PODS if selector["matchLabels"].items() <= labels[kind].items()]

    assert selected(one(manifests, "NetworkPolicy")["spec"]["podSelector"]) == ["Deployment", "Job"]
    assert selected(one(manifests, "PodDisruptionBudget")["spec"]["selector"]) == ["Deployment"]
    assert selected(one(manifests, "Deployment")["spec"]["selector"]) == ["Deployment"]
    scaled = one(manifests, "ScaledObject")["spec"]
    assert scaled["scaleTargetRef"]["name"] == one(manifests, "Deployment")["metadata"]["name"]
    assert "replicas" not in one(manifests, "Deployment")["spec"]
    for trigger in scaled["triggers"]:
        named = one(manifests, "TriggerAuthentication", trigger["authenticationRef"]["name"])
        for reference in named["spec"]["secretTargetRef"]:
            assert reference["key"] in one(manifests, "Secret", reference["name"])["stringData"]


def trigger(manifests: list[Manifest], kind: str) -> Any:
    """Return what the trigger of this type asks."""
    (found,) = (each for each in one(manifests, "ScaledObject")["spec"]["triggers"] if each["type"] == kind)
    return found["metadata"]


def test_the_messages_of_work_queues_count(manifests: list[Manifest]) -> None:
    """Workers are added for events that wait, not for results that the platform has not read, nor for dead letters."""
    pattern = trigger(manifests, "rabbitmq")["queueName"]
    counted = {queue.name for queue in Topology().queues if re.search(pattern, queue.name)}
    assert counted == {queue.name for queue in Topology().queues if queue.kind not in {None, KIND_DEAD}}


def test_partners_that_are_due_or_served_count(manifests: list[Manifest], postgresql_url: str) -> None:
    """Workers are added for partners that wait, and stay while these are served; who sleeps needs none."""
    database = Database(postgresql_url)
    rows = {
        "due": "(NULL, NULL, clock_timestamp() - interval '1 s')",
        "served": "('t', clock_timestamp() + interval '10 s', NULL)",
        "left by a worker that vanished": "('t', clock_timestamp() - interval '10 s', NULL)",
        "due later": "(NULL, NULL, clock_timestamp() + interval '1 h')",
        "asleep": "(NULL, NULL, NULL)",
    }
    with database.begin() as tx:
        for partner, row in rows.items():
            insert = "INSERT INTO leases (partner_id, token, until, wake_at)"
            tx.exec_driver_sql(f"{insert} VALUES ('{partner}', {row[1:]}")
        assert tx.exec_driver_sql(trigger(manifests, "postgresql")["query"]).scalar_one() == 3
    database.close()


def test_the_example_holds_no_secret() -> None:
    """The repository holds nothing that opens a server."""
    for secret in read(SECRETS):
        for value in secret["stringData"].values():
            assert re.search(r"PASSWORD|PRIVATE-KEY|THE CERTIFICATE|^[0-]+$", value)


def test_every_resource_is_listed() -> None:
    """A file that is added to the base is applied."""
    (document,) = read(FOLDER / "base" / "kustomization.yaml")
    files = {path.name for path in (FOLDER / "base").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(Kustomization.model_validate(document).resources) == files
