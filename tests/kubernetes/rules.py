# SPDX-License-Identifier: Apache-2.0
"""What must hold for the rendered objects of deploy/kubernetes beyond what the API demands."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

from deploy.project import JOBS, ROOT
from tests.harness.errors import Violation

Objects = list[dict[str, Any]]

USER = 10001
SERVICE_ACCOUNT = "automountServiceAccountToken"
# Settings and the values that an overlay changes them to.
CHANGED: dict[str, object] = {
    "PD_SHARDS": 5, "PD_WORKERS": 7, "PD_DATASET": "fashion-mnist", "PD_WORKER_THREADS": 3,
    "PD_SERVER_MEMORY": "3Gi", "PD_WORKER_MEMORY": "4Gi", "PD_SERVER_CPU": 6, "PD_WORKER_CPU": "750m",
    "PD_NODE": "node-9", "PD_DATA": "/srv/data", "PD_CHECKPOINTS": "/srv/checkpoints"}
# Those that Compose has not: it reserves no processors, and has one node.
OWN = {"PD_SERVER_CPU", "PD_WORKER_CPU", "PD_NODE"}
# Where the values end up: an object, and a path in it.
PLACES: tuple[tuple[str, str, str, str], ...] = (
    ("StatefulSet", "server", "spec.replicas", "{PD_SHARDS}"),
    ("StatefulSet", "server", "spec.template.spec.containers.0.args.0", "--shards={PD_SHARDS}"),
    ("StatefulSet", "server", "spec.template.spec.containers.0.resources.requests",
     "{{'cpu': '{PD_SERVER_CPU}', 'memory': '{PD_SERVER_MEMORY}'}}"),
    ("StatefulSet", "server", "spec.template.spec.containers.0.resources.limits.memory",
     "{PD_SERVER_MEMORY}"),
    ("Job", "worker", "spec.parallelism", "{PD_WORKERS}"),
    ("Job", "worker", "spec.completions", "{PD_WORKERS}"),
    ("Job", "worker", "spec.template.spec.containers.0.args.0", "--data=/data/{PD_DATASET}"),
    ("Job", "worker", "spec.template.spec.containers.0.args.1", "--threads={PD_WORKER_THREADS}"),
    ("Job", "worker", "spec.template.spec.initContainers.0.args.0", "{PD_DATASET}"),
    ("Job", "worker", "spec.template.spec.containers.0.resources.requests",
     "{{'cpu': '{PD_WORKER_CPU}', 'memory': '{PD_WORKER_MEMORY}'}}"),
    ("Job", "worker", "spec.template.spec.containers.0.resources.limits.memory",
     "{PD_WORKER_MEMORY}"),
    ("Job", "data", "spec.template.spec.containers.0.args.0", "{PD_DATASET}"),
    ("PersistentVolume", "percentdelta-data", "spec.local.path", "{PD_DATA}"),
    ("PersistentVolume", "percentdelta-checkpoints", "spec.local.path", "{PD_CHECKPOINTS}"),
    *(("PersistentVolume", f"percentdelta-{name}",
       "spec.nodeAffinity.required.nodeSelectorTerms.0.matchExpressions.0.values.0", "{PD_NODE}")
      for name in ("data", "checkpoints")))


def check_jobs(manifests: pathlib.Path) -> None:
    """The jobs are deploy/jobs/mnist.textproto: kustomize reads no files outside its folder."""
    def essence(text: str) -> str:
        return re.sub(r"(?m)^\s*(#.*)?\n", "", text)

    paper = essence((JOBS / "mnist.textproto").read_text(encoding="utf-8"))
    kept = 'checkpoint { every_steps: 20 directory: "/checkpoints" keep: 2 }\n'
    many = paper.replace("gradients_per_step: 1\n", "gradients_per_step: 16\n")
    for name, expected in (("base", paper + kept), ("overlays/many-workers", many + kept)):
        path = manifests / name / "job.textproto"
        if essence(path.read_text(encoding="utf-8")) != expected:
            raise Violation(f"{path}: expected deploy/jobs/mnist.textproto with checkpoints")


def check_names(manifests: pathlib.Path) -> None:
    """Settings are named as in Compose, and every one is changed by this test."""
    names = set(re.findall(r"(?m)^(PD_\w+)=", (manifests / "base/settings.env").read_text()))
    compose = set(re.findall(r"(?m)^(PD_\w+)=", (ROOT / "deploy/compose/.env").read_text()))
    if names != set(CHANGED):
        raise Violation(f"settings.env: expected {sorted(CHANGED)}, got {sorted(names)}")
    if not names - OWN <= compose:
        raise Violation(f"settings.env has names that deploy/compose/.env has not: "
                        f"{sorted(names - OWN - compose)}")


def check_changed(objects: Objects) -> None:
    """Every setting is where it belongs."""
    for kind, name, path, template in PLACES:
        value: Any = _find(objects, kind, name)
        for key in path.split("."):
            value = value[int(key) if isinstance(value, list) else key]
        expected = template.format(**CHANGED)
        if str(value) != expected:
            raise Violation(f"{kind} {name}: {path}: expected {expected}, got {value}")


def check_objects(objects: Objects, secrets: Objects) -> None:
    """Pods are hardened, and what is referred to exists."""
    names = {(each["kind"], each["metadata"]["name"]) for each in (*objects, *secrets)}
    for each in objects:
        if each["kind"] in ("StatefulSet", "Deployment", "Job"):
            _check_pod(f"{each['kind']} {each['metadata']['name']}", each["spec"]["template"], names)
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in objects
            if "template" in each.get("spec", {})]
    for each in objects:
        for selector in _selectors(each):
            if not any(_matches(selector, labels) for labels in pods):
                raise Violation(f"{each['kind']} {each['metadata']['name']}: {selector} selects no pod")


def _check_pod(where: str, template: dict[str, Any], names: set[tuple[str, str]]) -> None:
    spec = template["spec"]
    security = spec["securityContext"]
    expected: dict[str, Any] = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER,
                                "seccompProfile": {"type": "RuntimeDefault"}}
    if {key: security.get(key) for key in expected} != expected:
        raise Violation(f"{where}: expected {expected}, got {security}")
    if spec.get(SERVICE_ACCOUNT) is not False:
        raise Violation(f"{where}: expected {SERVICE_ACCOUNT}: false")
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        name = f"{where}, container {container['name']}"
        hardened = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]}}
        if container["securityContext"] != hardened:
            raise Violation(f"{name}: expected {hardened}, got {container['securityContext']}")
        if "memory" not in container["resources"]["limits"]:
            raise Violation(f"{name}: expected a limit of memory")
        _check_flags(name, container)
    for volume in spec.get("volumes", ()):
        for key, kind, field in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"),
                                 ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName")):
            if key in volume and (kind, volume[key][field]) not in names:
                raise Violation(f"{where}: there is no {kind} {volume[key][field]}")


def _check_flags(where: str, container: dict[str, Any]) -> None:
    """The programs have the flags."""
    program = container["command"][-1]
    if program not in ("pd-server", "pd-worker"):
        return
    sources = [*(ROOT / program.split("-")[1]).glob("*.cc"), *(ROOT / "common").rglob("*.cc")]
    text = "".join(map(pathlib.Path.read_text, sources))
    known = set(re.findall(r"ABSL_FLAG\(\s*[^,]+,\s*(\w+),", text))
    for argument in container["args"]:
        flag = re.match(r"--(\w+)=", argument)
        if flag is None or flag.group(1) not in known:
            raise Violation(f"{where}: {program} has no flag {argument}")


def _selectors(each: dict[str, Any]) -> Iterator[dict[str, Any]]:
    spec = each.get("spec", {})
    if each["kind"] == "Service":
        yield {"matchLabels": spec["selector"]}
    elif each["kind"] == "PodDisruptionBudget":
        yield spec["selector"]
    elif each["kind"] == "NetworkPolicy":
        yield spec["podSelector"]
        for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
            for peer in (*rule.get("from", ()), *rule.get("to", ())):
                if "podSelector" in peer:
                    yield peer["podSelector"]


def _matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    pairs = selector.get("matchLabels", {}).items()
    return all(labels.get(key) == value for key, value in pairs) and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ()))


def _find(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    for each in objects:
        if (each["kind"], each["metadata"]["name"]) == (kind, name):
            return each
    raise Violation(f"expected a {kind} {name}, got none")
