# SPDX-License-Identifier: Apache-2.0
"""A training in the cluster: its overlay, pods, and status."""

import json
import os
import pathlib
import re
from typing import Any

from deploy.project import ROOT
from tests.harness.commands import Word, run
from tests.harness.errors import Failure, Violation
from tests.harness.status import Status
from tests.harness.waiting import WatchedTraining
from tests.kubernetes.image import IMAGE, TAG
from tests.kubernetes.node import NODE, Node

MANIFESTS = ROOT / "deploy/kubernetes"
NAMESPACE = "percentdelta"
LABEL = "app.kubernetes.io/component"
USER = 10001

# The test machine is small. Slow workers leave time to disturb them.
OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [{base}]
images:
  - {{name: percentdelta, newName: {image}, newTag: {tag}}}
  - {{name: percentdelta-data, newName: {image}-data, newTag: {tag}}}
configMapGenerator:
  - name: settings
    namespace: {namespace}
    behavior: merge
    literals: [{settings}]
  - name: job
    namespace: {namespace}
    behavior: replace
    files: [job.textproto]
components: [{components}]
patches:
  - target: {{kind: Job, name: worker}}
    patch: |
      - {{op: add, path: /spec/template/spec/containers/0/resources/limits/cpu, value: 50m}}
"""


class Training(WatchedTraining):
    """What `kubectl apply -k` of an overlay of overlays/local-storage makes."""

    def __init__(self, node: Node, data: pathlib.Path, job: str) -> None:
        self.node = node
        self.folder = node.folder / "overlay"
        self.folder.mkdir()
        volumes = node.folder / "volumes"
        for name in ("data", "checkpoints"):
            (volumes / name).mkdir(parents=True)
        # Fetched before, so that the Job `data` finds the files and needs no network.
        run("cp", "-r", data, volumes / "data/mnist")
        run("chown", "-R", f"{USER}:{USER}", volumes)
        (self.folder / "job.textproto").write_text(job, encoding="utf-8")
        self.settings: dict[str, object] = {
            "PD_NODE": NODE, "PD_DATA": volumes / "data", "PD_CHECKPOINTS": volumes / "checkpoints",
            "PD_SERVER_CPU": "50m", "PD_WORKER_CPU": "50m", "PD_WORKER_THREADS": 1,
            "PD_SERVER_MEMORY": "512Mi", "PD_WORKER_MEMORY": "512Mi"}

    # ---- kubectl ---------------------------------------------------------------------------------

    def kubectl(self, *words: Word) -> str:
        """Runs kubectl in the namespace."""
        return self.node.kubectl("--namespace", NAMESPACE, *words)

    def tries(self, *words: Word) -> bool:
        """Whether a kubectl command succeeds."""
        return self.node.tries("--namespace", NAMESPACE, *words)

    def apply(self, **settings: object) -> None:
        """Applies the overlay with further settings."""
        self.settings.update(settings)

        def path(name: str) -> str:  # kustomize wants relative ones
            return os.path.relpath(MANIFESTS / name, self.folder)

        (self.folder / "kustomization.yaml").write_text(OVERLAY.format(
            base=path("overlays/local-storage"), components=path("settings"), image=IMAGE, tag=TAG,
            namespace=NAMESPACE,
            settings=", ".join(f"{name}={value}" for name, value in self.settings.items())),
            encoding="utf-8")
        self.kubectl("apply", "--kustomize", self.folder)

    def apply_secrets(self) -> None:
        """Makes certificates and their Secrets as docs/deploy-kubernetes.md says."""
        secrets = self.folder / "secrets.yaml"
        secrets.write_text(run(MANIFESTS / "make-secrets", self.folder / "certs"), encoding="utf-8")
        self.node.kubectl("apply", "-f", secrets)

    def get(self, *words: Word) -> Any:
        """Returns the object that `kubectl get` prints as JSON."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def pods(self, component: str) -> list[Any]:
        """The pods of a component that are not being deleted, and run."""
        return [pod for pod in self.get("pods", "-l", f"{LABEL}={component}")["items"]
                if "deletionTimestamp" not in pod["metadata"]
                and pod["status"].get("phase") == "Running"]

    def inside(self, pod: str, *words: Word) -> str:
        """Runs a command in a pod."""
        return self.kubectl("exec", pod, "--", *words)

    def events(self) -> str:
        """What happened to pods, for a report."""
        try:
            return self.kubectl("get", "pods", "-o", "wide") + self.kubectl(
                "get", "events", "--sort-by=.lastTimestamp")[-6000:]
        except Failure as failure:
            return str(failure)

    # ---- the training ----------------------------------------------------------------------------

    def pdctl(self, *words: str) -> str:
        """Runs pdctl with the operator's certificate."""
        return self.inside("deployment/pdctl", "pdctl", *words)

    def look(self) -> Status | None:
        """Returns the status; None if the coordinator does not answer."""
        try:
            return Status.parse(self.pdctl("--deadline=3s", "status", "--format=json"))
        except Failure:
            return None

    def checksum(self) -> str:
        """The SHA-256 of the weights."""
        text = self.pdctl("checksum")
        found = re.match(r"[0-9a-f]{64}", text)
        if found is None:
            raise Violation(f"pdctl checksum: expected a SHA-256, got {text!r}")
        return found.group()
