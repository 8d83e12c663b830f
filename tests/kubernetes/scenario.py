# SPDX-License-Identifier: Apache-2.0
"""Disturbs the pods of a training, and checks that it goes on as promised."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.harness.errors import Failure, Violation
from tests.kubernetes.training import NAMESPACE, USER, Training

END_SECONDS = 600
WORKERS = 3  # after scale()
PRIVILEGED = {"spec": {"containers": [{"name": "x", "image": "x",
                                       "securityContext": {"privileged": True}}]}}


class Scenario:
    """The steps of the test, in the order in which main.py calls them. Each throws Violation."""

    def __init__(self, training: Training, expected: str, say: Callable[[str], None]) -> None:
        self._training = training
        self._expected = expected  # SHA-256 of the weights
        self._say = say

    def start(self) -> None:
        """Secrets and apply -k, until the first step."""
        training = self._training
        training.apply_secrets()
        training.apply()
        training.wait(lambda: len(training.pods("server")) == 2, "two servers to run")
        training.wait(lambda: len(training.pods("worker")) == 2, "two workers to run")
        training.until(lambda status: status.step >= 1, "the first step")
        print(training.kubectl("get", "pods", "-o", "wide"), end="", flush=True)
        self._say("step 1 is done: servers and workers are pods")

    def check_hardening(self) -> None:
        """No container runs as root, has capabilities, or can write to its root file system."""
        training = self._training
        for pod in (*training.pods("server"), *training.pods("worker"), *training.pods("pdctl")):
            name = pod["metadata"]["name"]
            status = dict(line.split(":\t", 1) for line in training.inside(
                name, "cat", "/proc/1/status").splitlines() if ":\t" in line)
            got = {key: status[key].split()[0] for key in
                   ("Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")}
            expected = {"Uid": str(USER), "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1",
                        "Seccomp": "2"}
            if got != expected:
                raise Violation(f"{name}: expected {expected}, got {got}")
            if training.tries("exec", name, "--", "touch", "/usr/local/bin/x"):
                raise Violation(f"{name}: expected a read-only root file system, and "
                                "/usr/local/bin/x could be written")
        self._expect_refusal("violates PodSecurity", "a privileged pod", lambda: training.kubectl(
            "run", "x", "--image=x", "--dry-run=server", "--overrides", json.dumps(PRIVILEGED)))
        self._say("pods have user 10001, no capabilities, seccomp and a read-only root")

    def check_roles(self) -> None:
        """A client without a certificate is refused, and a worker may not ask as an operator."""
        training = self._training
        server = "--server=server-0.server:5000"
        self._expect_refusal("expects TLS", "a client without TLS", lambda: training.inside(
            "deployment/pdctl", "/usr/local/bin/pdctl", server, "--insecure", "health"))
        worker = training.pods("worker")[0]["metadata"]["name"]
        self._expect_refusal("may not call", "a worker's certificate", lambda: training.inside(
            worker, "pdctl", server, "--tls_ca=/tls/ca.pem", "--tls_cert=/tls/cert.pem",
            "--tls_key=/tls/key.pem", "status"))
        self._say("plaintext and a worker that asks for the status are refused")

    def delete_worker(self) -> None:
        """Another pod takes a deleted worker's place; the Job does not take it for done or failed."""
        training = self._training
        before = training.status()
        pod = training.pods("worker")[0]["metadata"]
        training.kubectl("delete", "pod", pod["name"], "--wait=false")
        index = pod["labels"]["batch.kubernetes.io/job-completion-index"]

        def replaced() -> bool:
            return any(each["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == index
                       and each["metadata"]["uid"] != pod["uid"] for each in training.pods("worker"))

        training.wait(replaced, f"a pod in the place of {pod['name']}")
        status = training.get("job", "worker")["status"]
        for key in ("failed", "succeeded", "failedIndexes", "completedIndexes"):
            if status.get(key):
                raise Violation(f"a worker was deleted: expected no {key} in the Job, got {status}")
        after = training.until(lambda status: status.step > before.step + 1, "steps without it")
        if after.generation != before.generation:
            raise Violation("a worker was deleted: expected the same generation, got "
                            f"{before.generation} and {after.generation}")
        self._say(f"{pod['name']} deleted at step {before.step}: another took its place")

    def delete_server(self, name: str) -> None:
        """A deleted server comes back, and the training goes on from a checkpoint."""
        training = self._training

        def delete() -> None:
            training.kubectl("delete", "pod", name, "--wait=false")
            training.wait(lambda: self._is_new(name, uid), f"{name} to run again")

        uid = training.get("pod", name)["metadata"]["uid"]
        self._lose(f"{name} deleted", delete)

    def kill_server(self, name: str) -> None:
        """SIGKILL: the container is started again in its pod."""
        training = self._training

        def restarts() -> int:
            statuses = training.get("pod", name)["status"]["containerStatuses"]
            return int(statuses[0]["restartCount"])

        before = restarts()
        shard = name.rpartition("-")[2]

        def kill() -> None:
            training.node.machine.run("pkill", "-KILL", "-f", f"^pd-server .*--shard={shard} ")
            training.wait(lambda: restarts() == before + 1, f"{name} to be started again")

        self._lose(f"{name} killed", kill)

    def evict(self) -> None:
        """The PodDisruptionBudget lets one server be evicted at a time."""
        training = self._training
        training.wait(lambda: all(map(_is_ready, training.pods("server"))), "servers to be ready")
        training.wait(lambda: bool(training.get("poddisruptionbudget", "server")["status"][
            "disruptionsAllowed"] == 1), "a disruption to be allowed")
        uid = training.get("pod", "server-1")["metadata"]["uid"]

        def evict() -> None:
            self._evict("server-1")
            self._expect_refusal("disruption budget", "the second eviction",
                                 lambda: self._evict("server-0"))
            training.wait(lambda: self._is_new("server-1", uid), "server-1 to run again")

        self._lose("server-1 evicted, server-0 refused", evict)

    def lose_node(self) -> None:
        """The node stops at once, with everything on it, and comes back."""
        training = self._training

        def lose() -> None:
            training.node.crash()
            training.node.start_containers()

        self._lose("the node lost and back", lose)

    def scale(self) -> None:
        """One more worker joins; no server is touched."""
        training = self._training
        servers = {pod["metadata"]["uid"] for pod in training.pods("server")}
        training.apply(PD_WORKERS=WORKERS)
        training.wait(lambda: len(training.pods("worker")) == WORKERS, f"{WORKERS} workers")
        if {pod["metadata"]["uid"] for pod in training.pods("server")} != servers:
            raise Violation("PD_WORKERS changed: expected the same server pods")
        self._say(f"{WORKERS} workers at step {training.status().step}")

    def finish(self) -> None:
        """The training ends, the Job is complete, the weights are pd-local's."""
        training = self._training
        training.until(lambda status: status.finished, "the end of the training", END_SECONDS)
        training.kubectl("wait", "--for=condition=complete", "job/worker", "--timeout=120s")
        print(training.pdctl("status"), end="", flush=True)
        status = training.get("job", "worker")["status"]
        if status.get("failedIndexes"):
            raise Violation(f"the Job: expected no failed workers, got {status}")
        got = training.checksum()
        if got != self._expected:
            raise Violation(f"weights: expected {self._expected} as pd-local's, got {got}")
        self._say("the Job is complete; the weights are pd-local's, bit for bit")

    def remove(self) -> None:
        """delete -k leaves nothing but what is on the volumes."""
        training = self._training
        training.kubectl("delete", "--kustomize", training.folder, "--timeout=120s")
        if training.node.tries("get", "namespace", NAMESPACE):
            raise Violation(f"expected the namespace {NAMESPACE} to be removed")
        kept = sorted(path.name for path in
                      (training.node.folder / "volumes/checkpoints").iterdir())
        if not any(name.startswith("step-") for name in kept):
            raise Violation(f"expected checkpoints to stay, got {kept}")
        self._say("removed; the checkpoints are still there")

    # ---- parts -----------------------------------------------------------------------------------

    def _lose(self, what: str, lose: Callable[[], None]) -> None:
        """Disturbs servers: a new generation must begin at the newest checkpoint or later."""
        training = self._training
        before = training.until(lambda status: status.checkpoint_step > 0, "a checkpoint")
        if before.finished:
            raise Violation(f"{what}: the training was finished before, this tests nothing")
        lose()
        training.until(lambda status: status.generation > before.generation,
                       f"a new generation: {what}")
        after = training.until(lambda status: status.step > before.step, f"a new step: {what}")
        log = training.kubectl("logs", "server-0")
        found = re.findall(rf" generation opened generation={after.generation} .* step=(\d+) ", log)
        if not found or int(found[-1]) < before.checkpoint_step:
            raise Violation(f"{what}: expected to go on from step {before.checkpoint_step} or later, "
                            f"got {found[-1:] or 'no new generation'}")
        self._say(f"{what} at step {before.step}: went on from step {found[-1]}")

    @staticmethod
    def _expect_refusal(reason: str, what: str, action: Callable[[], object]) -> None:
        try:
            action()
        except Failure as failure:
            if reason not in str(failure):
                raise Violation(f"{what}: expected a refusal with '{reason}', got {failure}") from None
        else:
            raise Violation(f"{what}: expected a refusal, got none")

    def _is_new(self, name: str, uid: str) -> bool:
        return any(pod["metadata"]["name"] == name and pod["metadata"]["uid"] != uid
                   for pod in self._training.pods("server"))

    def _evict(self, pod: str) -> None:
        request = self._training.folder / "eviction.json"
        request.write_text(json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {
            "name": pod, "namespace": NAMESPACE}}))
        self._training.node.kubectl(
            "create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction", "-f", request)


def _is_ready(pod: Any) -> bool:
    return any(condition["type"] == "Ready" and condition["status"] == "True"
               for condition in pod["status"].get("conditions", ()))


def all_checks(scenario: Scenario) -> Sequence[Callable[[], None]]:
    """The test, check by check."""
    return (scenario.start, scenario.check_hardening, scenario.check_roles, scenario.delete_worker,
            lambda: scenario.delete_server("server-1"), lambda: scenario.delete_server("server-0"),
            lambda: scenario.kill_server("server-1"), scenario.evict, scenario.lose_node,
            scenario.scale, scenario.finish, scenario.remove)
