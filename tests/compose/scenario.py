# SPDX-License-Identifier: Apache-2.0
"""Disturbs the containers of a training, and checks that it goes on as promised."""

import json
import os
import pathlib
import re
import time
from collections.abc import Callable, Sequence

from deploy.project import ROOT
from tests.compose import security
from tests.compose.cluster import certificate_flags
from tests.compose.page import check_page
from tests.compose.project import LABEL, SERVICES, TESTS, Project
from tests.harness.commands import run
from tests.harness.errors import Violation, expect_in

STEPS = 60
SLOW = 0.1  # processors of a worker after the first steps; before, slow-workers.yml decides
SLOW_FROM = 20  # this step
END_SECONDS = 900  # half a minute on an idle machine
TRIES = 8  # of a worker that may hold no lease at the moment
MOST_LOG_LINES = 400
KILLED = 137
WORKERS = 4  # after scale
LEAST_ACCURACY = 0.8  # of softmax regression after 60 steps
# Caused by the test: workers were killed and paused, servers were away, calls and connections were
# refused; and a disk may be slow.
EXPECTED_WARNINGS = ("lease expired", "lease dropped", "shard not reached", "checkpoint skipped",
                     "waiting for coordinator", "refused", "handshake")


class Scenario:
    """The steps of the test, in the order in which main.py calls them. Each throws Violation."""

    def __init__(self, project: Project, plain_job: pathlib.Path, expected: str,
                 say: Callable[[str], None]) -> None:
        self.first_step_seconds = 0.0
        self._project = project
        self._plain_job = plain_job  # without checkpoints
        self._expected = expected  # SHA-256 of the weights
        self._operator = pathlib.Path()  # its certificate
        self._page_token = ""
        self._say = say
        # Before the last disturbance: generation, newest checkpoint and step, which the training must
        # not fall behind. Afterwards: the step at which the new generation began.
        self._generation = self._kept = self._step = self._begun = 0

    # ---- undisturbed -----------------------------------------------------------------------------

    def start(self) -> None:
        """up, until the first step."""
        began = time.monotonic()
        self._project.up()
        self._operator = self._project.fetch_certificate("operator")
        self._project.until(lambda status: status.step >= 1, "the first step")
        self.first_step_seconds = time.monotonic() - began
        self._say(f"step 1 is done {self.first_step_seconds:.0f} s after up")

    def check_containers(self) -> None:
        """No container runs as root, can write to its root file system, or has another's key."""
        for service in SERVICES:
            for container in self._project.containers(service):
                hashes = " page-tokens" if service == "server-0" else ""
                security.check_container(self._project, service, container, security.FILES + hashes)

    def check_refusals(self) -> None:
        """No caller gets in without a certificate; a worker's does not make an operator."""
        project = self._project
        security.check_refusals(project)
        project.fetch_certificate("viewer")
        project.status()
        security.check_refused("viewer", lambda: project.outside("checkpoint"))
        project.fetch_certificate("operator")
        self._say("plaintext, and an operator's command by a worker and a viewer, were refused")

    def check_page(self) -> None:
        """The live page answers on the host, to the holder of its token alone."""
        project = self._project
        self._page_token = project.page_token()
        check_page(project.page(), self._page_token, project.status().step)
        self._say(f"the live page is at http://{project.page()}/, for its token alone")

    def renew_certificates(self) -> None:
        """All certificates are replaced; running programs take the new ones."""
        project = self._project
        before = (self._operator / "cert.pem").read_bytes()
        project.compose("run", "--rm", "certificates", "--days=365", log="renew.log")
        self._operator = project.fetch_certificate("operator")
        if (self._operator / "cert.pem").read_bytes() == before:
            raise Violation("expected another certificate after they were renewed, got the same")
        step = project.status().step
        project.until(lambda status: status.step > step, "a step with new certificates")
        self._say("certificates were renewed, and the training went on")

    def check_statistics(self) -> None:
        """Statistics arrive on the host, with pdctl and the Python client, and in the network."""
        project = self._project
        text = project.outside("stats", "--layer=fc1")
        print(text, end="", flush=True)
        expect_in(text, "fc1/weights", "pdctl stats on the host")
        text = run("/usr/bin/python3", ROOT / "tests/client/figure1.py",
                   project.published("server-0"), "--steps=0,1", "--timeout=60",
                   *certificate_flags(self._operator))
        expect_in(text, "PercentDelta", "the Python client")
        text = project.inside("stats", "--format=csv")
        if not re.search(r"(?m)^[0-9]*,conv1/weights,", text):
            raise Violation(f"pdctl stats in the network: expected rows of conv1/weights, got {text!r}")
        self._say("statistics from outside (pdctl, Python) and inside the network")

    # ---- disturbed -------------------------------------------------------------------------------

    def stop_and_up(self) -> None:
        """All containers end with exit code 0 when stopped; the training goes on after up."""
        project = self._project
        self._remember()
        project.compose("stop", log="stop.log")
        for container in project.containers(*SERVICES):
            code = project.exit_code(container)
            if code != 0:
                raise Violation(f"{project.name_of(container)}: expected exit code 0 after stop, "
                                f"got {code}")
        self._say("stopped: all with exit code 0")
        project.up()
        self._check_went_on("stop and up")
        check_page(project.page(), self._page_token, self._step)
        self._say(f"went on from step {self._begun}; the live page takes the same token")

    def move_server(self) -> None:
        """server-1 comes back with another address; another container has taken the old one."""
        project = self._project
        self._remember()
        before = project.address("server-1")
        project.compose("rm", "--stop", "--force", "server-1", log="rm.log")
        squatter = project.docker(
            "run", "--detach", "--rm", "--network", f"{project.name}_default", "--label",
            f"{LABEL}.project={project.name}", "--entrypoint", "sleep", project.image, "600")
        project.up("--no-deps", "server-1")
        began = time.monotonic()
        after = project.address("server-1")
        if before == after:
            raise Violation(f"server-1: expected another address than {before}, got the same: this "
                            "tests nothing")
        self._check_went_on("server-1 came back elsewhere")
        project.docker("rm", "--force", squatter)
        self._say(f"server-1 came back at {after} instead of {before}; a new step was done "
                  f"{time.monotonic() - began:.0f} s later")

    def kill(self, *services: str) -> None:
        """Kills all containers of the services with SIGKILL; the training goes on after up."""
        project = self._project
        what = "everything" if len(services) > 1 else services[0]
        self._remember()
        containers = project.containers(*services)
        most = len(services) + ("worker" in services)  # there are two workers
        if len(containers) != most:
            raise Violation(f"expected {most} containers to kill, got {len(containers)}")
        project.docker("kill", "-s", "KILL", *containers)
        for container in containers:
            code = project.exit_code(container)
            if code != KILLED:
                raise Violation(f"{project.name_of(container)}: expected exit code {KILLED} after "
                                f"SIGKILL, got {code}")
        began = time.monotonic()
        project.up()
        step = self._step
        self._check_went_on(f"SIGKILL of {what}")
        self._say(f"{what}: SIGKILL at step {step}, went on from step {self._begun}; a new step was "
                  f"done {time.monotonic() - began:.0f} s after up")

    def scale(self) -> None:
        """Two more workers join."""
        project = self._project
        self._check_training()
        project.up("--no-recreate", "--scale", f"worker={WORKERS}")

        def all_joined() -> bool:
            workers = project.containers("worker")
            return len(workers) == WORKERS and all(
                " joined " in project.log_of_container(worker) for worker in workers)

        project.wait(all_joined, f"{WORKERS} workers to join")
        self._check_training()
        self._brake()
        self._say(f"{WORKERS} workers at step {project.status().step}")

    def kill_worker(self) -> None:
        """A dead worker's lease goes to another."""
        project = self._project
        self._lose_worker("dead", lambda worker: project.docker("kill", "-s", "KILL", worker),
                          lambda _: project.up("--no-recreate", "--scale", f"worker={WORKERS}"))
        self._say(f"a killed worker's lease went to another; step {self._project.status().step}")

    def pause_worker(self) -> None:
        """A paused worker's lease goes to another."""
        project = self._project

        def pause(worker: str) -> None:
            # Linux's first control groups hardly freeze processes that lack processor time.
            project.docker("update", "--cpus", str(os.cpu_count()), worker)
            project.wait(lambda: project.docker_tries("pause", worker), "a worker to be paused")

        paused = self._lose_worker("paused", pause,
                                   lambda worker: project.docker("unpause", worker))
        project.docker("unpause", paused)
        self._check_training()
        self._say(f"a paused worker's lease went to another; step {project.status().step}")

    # ---- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """The training ends, the workers leave, the servers stay healthy, the weights are right."""
        project = self._project
        project.limit_workers(os.cpu_count() or 1)
        project.until(lambda status: status.finished, "the end of the training", END_SECONDS)
        project.wait(lambda: not project.running_workers(), "the workers to leave")
        print(project.compose("ps"), project.outside("status"), sep="", end="", flush=True)
        for worker in project.containers("worker"):
            code = project.exit_code(worker)
            if code not in (0, KILLED):
                raise Violation(f"{project.name_of(worker)}: expected exit code 0 ({KILLED}: "
                                f"killed), got {code}")
        for service in ("server-0", "server-1"):
            container = project.container(service)
            project.wait(lambda: project.inspect(container, "{{.State.Health.Status}}") == "healthy",
                         f"{service} to be healthy")
        kept = project.status().checkpoint_step
        if kept != STEPS:
            raise Violation(f"expected a checkpoint of the last step, {STEPS}, got {kept}")
        addresses = ",".join(f"{name}:5000={project.published(name)}"
                             for name in ("server-0", "server-1"))
        for where, text in (
                ("in the network", project.inside("checksum")),
                ("on the host", project.outside("checksum", f"--connect_to={addresses}"))):
            got = text.split(" ")[0]
            if got != self._expected:
                raise Violation(f"weights {where}: expected {self._expected} as pd-local's, got {got}")
        self._say("the weights are pd-local's, bit for bit")

    def check_logs(self) -> None:
        """The logs have no error, only warnings that the test caused, and are short."""
        lines = self._project.compose("logs", "--no-color").splitlines()
        errors = [line for line in lines if re.search(r"\| [^ ]+ E |\| pd-", line)]
        if errors:
            raise Violation("expected no errors in the logs, got\n" + "\n".join(errors))
        expected = re.compile(rf" W [^ ]* ({'|'.join(EXPECTED_WARNINGS)}) ")
        warnings = [line for line in lines if re.search(r"\| [^ ]+ W ", line)
                    and not expected.search(line)]
        if warnings:
            raise Violation("expected no other warnings in the logs than "
                            f"{', '.join(EXPECTED_WARNINGS)}, got\n" + "\n".join(warnings))
        if len(lines) >= MOST_LOG_LINES:
            raise Violation(f"expected less than {MOST_LOG_LINES} lines in the logs, got {len(lines)}")
        self._say(f"the logs, of {len(lines)} lines, have nothing else")

    def train_in_python(self) -> None:
        """Workers of a script in Python train a job of their own."""
        project = self._project
        project.compose("rm", "--stop", "--force", *SERVICES, log="rm-all.log")
        project.up_python(TESTS / "softmax.textproto", "softmax_worker.py server-0:5000 /data/mnist")
        project.until(lambda status: status.finished, "the end of the training in Python")
        workers = project.containers("worker-python")
        if len(workers) != 2:
            raise Violation(f"expected 2 workers in Python, got {len(workers)}")
        for worker in workers:
            name = project.name_of(worker)
            project.wait(lambda: project.inspect(worker, "{{.State.Running}}") == "false",
                         f"{name} to leave")
            hardening = project.inspect(worker, "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}")
            if hardening != "10001:10001 true":
                raise Violation(f"{name}: expected user 10001 and a read-only root, got {hardening}")
            if project.exit_code(worker) != 0:
                raise Violation(f"{name}: expected exit code 0, got {project.exit_code(worker)}\n"
                                f"{project.log_of_container(worker)[-1000:]}")
        accuracy = float(json.loads(project.outside("status", "--format=json"))
                         ["last_training"]["accuracy"])
        if accuracy < LEAST_ACCURACY:
            raise Violation(f"training in Python: expected an accuracy of at least {LEAST_ACCURACY}, "
                            f"got {accuracy}")
        self._say(f"trained in Python: accuracy {accuracy:.2f}")

    def train_in_plaintext(self) -> None:
        """plaintext.yml trains without certificates, and says so."""
        project = self._project
        project.up_in_plaintext(self._plain_job)
        project.until(lambda status: status.step >= 1, "the first step in plaintext")
        expect_in(project.log_of("server-0"), " INSECURE: ", "server-0's log in plaintext")
        expect_in(project.inside("health"), "SERVING", "pdctl in the network in plaintext")
        check_page(project.page(), project.page_token(), project.status().step)
        self._say("plaintext.yml trains without certificates, and has the live page")

    def down(self) -> None:
        """down leaves nothing behind."""
        project = self._project
        project.down(5)
        for kind in ("container", "network", "volume"):
            everything = ["--all"] if kind == "container" else []
            left = project.docker(kind, "ls", "-q", *everything, "--filter",
                                  f"label={LABEL}.project={project.name}")
            if left:
                raise Violation(f"expected down to leave no {kind}, got {left}")

    # ---- parts -----------------------------------------------------------------------------------

    def _remember(self) -> None:
        """Before a disturbance: the training goes on, and has a checkpoint newer than what its
        generation began with."""
        project = self._project
        self._check_training()
        self._brake()
        begun = self._begun
        status = project.until(lambda status: status.checkpoint_step > begun,
                               f"a checkpoint beyond step {begun}")
        self._generation, self._step = status.generation, status.step
        self._kept = status.checkpoint_step

    def _check_went_on(self, what: str) -> None:
        """After a disturbance: the training went on, in a new generation, from the checkpoint or a
        later one."""
        project, generation, step = self._project, self._generation, self._step
        project.until(lambda status: status.generation > generation, f"a new generation after {what}")
        status = project.until(lambda status: status.step > step, f"a step beyond {step} after {what}")
        log = project.log_of("server-0")
        found = re.findall(rf" generation opened generation={status.generation} .* step=(\d+) ", log)
        if not found:
            raise Violation(f"server-0's log has no line that generation {status.generation} opened")
        self._begun = int(found[-1])
        if self._kept <= 0 or self._begun < self._kept:
            raise Violation(f"after {what}: expected to go on from the checkpoint of step {self._kept} "
                            f"or later, got step {self._begun}")

    def _check_training(self) -> None:
        state = self._project.status().state
        if state != "training":
            raise Violation("expected the training to go on while it is disturbed, got the state "
                            f"{state}")

    def _brake(self) -> None:
        """Slows the workers after the first steps: steps are left for the disturbances still to come,
        also where computing is fast and Docker slow."""
        if self._project.status().step >= SLOW_FROM:
            self._project.limit_workers(SLOW)

    def _a_worker(self) -> str:
        running = self._project.running_workers()
        if not running:
            raise Violation("expected workers to run, got none")
        return running[0]

    def _lose_worker(self, state: str, lose: Callable[[str], object],
                     regain: Callable[[str], object]) -> str:
        """Takes a worker out: its lease must go to another, and steps go on. A worker that waits for the
        next step holds no lease: brings it back then, and takes one out again. Returns the worker."""
        project = self._project
        for attempt in range(1, TRIES + 1):
            self._check_training()
            self._brake()
            before = project.status()
            worker = self._a_worker()
            lose(worker)
            lost = project.status()
            # A step ends when all its leases are done: after two steps it cannot have held one.
            status = project.until(
                lambda status: status.reassigned > before.reassigned or status.step >= lost.step + 2,
                f"the {state} worker's lease to be given to another, or two steps without it")
            if status.reassigned > before.reassigned:
                break
            if attempt == TRIES:
                raise Violation(f"expected one of {TRIES} workers to hold a lease when it was {state}, "
                                "got none")
            self._say(f"the {state} worker held no lease, once more")
            regain(worker)
        project.until(lambda status: status.step >= lost.step + 2,
                      f"steps without the {state} worker")
        return worker


def all_checks(scenario: Scenario) -> Sequence[Callable[[], None]]:
    """The test, check by check."""
    return (scenario.start, scenario.check_containers, scenario.check_refusals,
            scenario.check_statistics, scenario.check_page, scenario.renew_certificates,
            scenario.stop_and_up,
            scenario.move_server,
            lambda: scenario.kill("server-0"), lambda: scenario.kill(*SERVICES),
            scenario.scale, scenario.kill_worker, scenario.pause_worker,
            scenario.finish, scenario.check_logs, scenario.train_in_python,
            scenario.train_in_plaintext, scenario.down)
