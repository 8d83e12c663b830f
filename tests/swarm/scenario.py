# SPDX-License-Identifier: Apache-2.0
"""Trains MNIST in a Swarm: scales and updates the workers, kills containers, restores the training."""

import os
import time
from collections.abc import Callable

from tests.compose import security
from tests.harness.errors import Violation, expect_in
from tests.harness.status import Status
from tests.swarm.stack import Stack

STEPS = 30
WORKERS = 3  # after scale
END_SECONDS = 300
SERVICES = ("server-0", "server-1", "worker")
KINDS = ("container", "service", "network", "secret", "config")


class Scenario:
    """The steps of the test, in the order of run(). Each throws Violation."""

    def __init__(self, stack: Stack, node: str, expected: str, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._node = node  # "": it must not be drained
        self._expected = expected  # SHA-256 of the weights
        self._say = say

    def run(self) -> None:
        """All steps."""
        for step in (self.start, self.check_containers, self.scale, self.kill_server,
                     self.kill_worker, self.drain, self.restore, self.update_workers, self.finish,
                     self.remove):
            step()

    def start(self) -> None:
        """docker stack deploy, until the first step."""
        stack = self._stack
        began = time.monotonic()
        stack.make()
        stack.deploy()
        stack.until(lambda status: status.step >= 1, "the first step in the Swarm")
        self._say(f"Swarm: step 1 is done {time.monotonic() - began:.0f} s after stack deploy")

    def check_containers(self) -> None:
        """Containers are hardened, and see the certificate of their own role alone."""
        stack = self._stack
        for service in SERVICES:
            for container in stack.containers(service):
                security.check_container(stack, service, container)
        security.check_refusals(stack)
        expect_in(stack.inside("health"), "SERVING", "pdctl in the stack's network")
        self._say("Swarm: hardened, TLS by secrets, pdctl works from outside and inside")

    def scale(self) -> None:
        """One more worker joins a running training."""
        stack = self._stack
        stack.docker("service", "scale", "--detach", f"{stack.service('worker')}={WORKERS}")

        def all_joined() -> bool:
            workers = stack.containers("worker")
            return len(workers) == WORKERS and all(
                " joined " in stack.log_of_container(worker) for worker in workers)

        stack.wait(all_joined, f"{WORKERS} workers to join")
        self._say(f"Swarm: {WORKERS} workers at step {self._training().step}")

    def kill_server(self) -> None:
        """Swarm replaces a server; the training goes on from its checkpoint."""
        stack = self._stack
        stack.until(lambda status: status.checkpoint_step > 0, "a checkpoint")
        before = self._training()
        began = time.monotonic()
        stack.docker("kill", "--signal", "KILL", stack.container("server-1"))
        self._check_went_on(before.generation, before.step, "SIGKILL of server-1")
        self._say(f"Swarm: server-1 was killed at step {before.step} and replaced; a new step was "
                  f"done {time.monotonic() - began:.0f} s later")

    def kill_worker(self) -> None:
        """Swarm replaces a worker."""
        stack = self._stack
        self._training()
        workers = stack.containers("worker")
        stack.docker("kill", "--signal", "KILL", workers[0])
        stack.wait(lambda: workers[0] not in stack.containers("worker")
                   and len(stack.containers("worker")) == WORKERS, "a killed worker to be replaced")
        self._say(f"Swarm: a killed worker was replaced; step {self._training().step}")

    def drain(self) -> None:
        """The node is drained: it has no containers until it is active again, and the training goes on
        from its checkpoint."""
        stack = self._stack
        if not self._node:
            self._say("Swarm: the node is not the test's, and was not drained")
            return
        before = self._training()
        stack.docker("node", "update", "--availability", "drain", self._node)
        stack.wait(lambda: not stack.containers(*SERVICES), "a drained node's containers to end")
        stack.docker("node", "update", "--availability", "active", self._node)
        self._check_went_on(before.generation, before.step, "drain")
        self._say(f"Swarm: the node was drained at step {before.step}; the training went on")

    def restore(self) -> None:
        """The stack is removed and deployed again: the training goes on from its checkpoint."""
        stack = self._stack
        before = self._training()
        stack.remove()
        stack.deploy()
        after = stack.until(lambda status: status.state == "training" and status.step > 0,
                            "the training to go on after stack rm and stack deploy")
        if after.step < before.checkpoint_step:
            raise Violation(f"expected to go on from the checkpoint of step {before.checkpoint_step} "
                            f"or later, got step {after.step}")
        self._say(f"Swarm: removed at step {before.step}, deployed again, went on at step "
                  f"{after.step}")

    def update_workers(self) -> None:
        """Workers are replaced, one after another, by such with more processors."""
        stack = self._stack
        before = self._training()
        old = set(stack.containers("worker"))
        stack.docker("service", "update", "--quiet", "--detach", "--limit-cpu",
                     str(os.cpu_count() or 1), stack.service("worker"))
        stack.wait(lambda: stack.docker("service", "inspect", stack.service("worker"), "--format",
                                        "{{.UpdateStatus.State}}") == "completed",
                   "the rolling update of the workers to be completed")
        left = old & set(stack.containers("worker"))
        if left:
            raise Violation(f"rolling update of the workers: expected none of the old, got {left}")
        after = stack.until(lambda status: status.step > before.step, "a step after the update")
        if after.generation != before.generation:
            raise Violation("expected workers to be replaced without a restart of the training, got "
                            f"generation {after.generation} after {before.generation}")
        self._say(f"Swarm: workers were updated from step {before.step} to {after.step}")

    def finish(self) -> None:
        """The training ends, the workers leave, the weights are right."""
        stack = self._stack
        stack.until(lambda status: status.finished, "the end of the training", END_SECONDS)
        stack.wait(lambda: set(stack.states("worker")) == {"Complete"}, "the workers to leave")
        print(stack.docker("stack", "services", stack.name), stack.outside("status"), sep="\n",
              end="", flush=True)
        addresses = ",".join(f"{name}:5000={stack.published(name)}"
                             for name in ("server-0", "server-1"))
        for where, text in (("in the network", stack.inside("checksum")),
                            ("on the host", stack.outside("checksum", f"--connect_to={addresses}"))):
            got = text.split(" ")[0]
            if got != self._expected:
                raise Violation(f"weights {where}: expected {self._expected} as pd-local's, got {got}")
        self._say("Swarm: the weights are pd-local's, bit for bit")

    def remove(self) -> None:
        """stack rm leaves volumes alone, which are then removed."""
        stack = self._stack
        stack.remove()
        for kind in KINDS:
            if left := stack.left(kind):
                raise Violation(f"expected stack rm to leave no {kind}, got {left}")
        if len(stack.left("volume")) != 2:
            raise Violation(f"expected two volumes to stay, got {stack.left('volume')}")
        stack.wait(lambda: stack.docker_tries("volume", "rm", *stack.left("volume")),
                   "the volumes to be removed")

    def _training(self) -> Status:
        """Returns the status of a training that goes on."""
        status = self._stack.status()
        if status.state != "training":
            raise Violation("expected the training to go on while it is disturbed, got the state "
                            f"{status.state}")
        return status

    def _check_went_on(self, generation: int, step: int, what: str) -> None:
        """The training went on in a new generation."""
        self._stack.until(lambda status: status.generation > generation,
                          f"a new generation after {what}")
        self._stack.until(lambda status: status.step > step, f"a step beyond {step} after {what}")
