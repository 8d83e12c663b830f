# SPDX-License-Identifier: Apache-2.0
"""Watches real trainings with the real tools: Prometheus scrapes servers and workers each second, each
alert rule that ships fires when its cause is brought about, TensorBoard (the newest of PyPI) reads
what a server wrote through a crash, and all tools, the live page among them, show the same numbers for
the same step.

Installs Prometheus and builds what is missing. Runs on loopback, and leaves nothing behind.
"""

import argparse
import json
import math
import pathlib
import re
import signal
import subprocess
import time
from typing import Any

from deploy.project import Binaries, RELEASE, ROOT
from tests.harness.commands import run
from tests.harness.disk import SmallDisk
from tests.harness.errors import Violation
from tests.harness.job import job_text, write_data
from tests.harness.program import make_clock, make_parser, run_program
from tests.harness.waiting import wait_for
from tests.monitoring import agreement, cost, names
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.training import HISTOGRAM_STEPS, Training, diverging, names_in, scrape

PROGRAM = "tests/monitoring/run"
HERE = ROOT / "tests/monitoring"
DEPLOY = ROOT / "deploy/monitoring"
STEPS = 200
EVALUATION_STEPS = 40  # of the harness's job
CHECKPOINT_STEPS = 10  # of the harness's job
ENDLESS = 100000
say = make_clock()


def parse_arguments() -> argparse.Namespace:
    """Returns the flags."""
    parser = make_parser(PROGRAM, __doc__)
    parser.add_argument("--build", type=pathlib.Path, default=RELEASE,
                        help="folder of the programs (default: build/release, built if need be)")
    parser.add_argument("--keep", action="store_true", help="keep the folder of logs and data")
    parser.add_argument("--metrics", action="store_true",
                        help="print a scrape of every kind of process, and end")
    parser.add_argument("--cost", type=int, metavar="TURNS",
                        help="measure what a scrape each second costs a step, in this number of "
                        "turns of 10 seconds, and end")
    return parser.parse_args()


def check_files() -> None:
    """What needs no training."""
    for file in ("prometheus.yml", "prometheus-compose.yml"):
        run("promtool", "check", "config", "--lint=all", "--lint-fatal", DEPLOY / file)
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", names.RULES)
    run("promtool", "test", "rules", HERE / "alerts_test.yml")
    say("promtool accepts configurations and alert rules, and its tests of the rules pass")
    names.check_dashboard_is_made()
    used = {path.name: names.check_used(path) for path in (names.RULES, names.DASHBOARD)}
    say(f"metrics in files are documented: {used}")
    say(f"{names.check_log_calls()} formats of log lines make JSON objects")


def check_scrape(training: Training) -> None:
    """What each process serves."""
    texts = [scrape(address) for address in [*training.server_metrics, *training.worker_metrics]]
    for text in texts:
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                                 capture_output=True, check=False)
        if checked.returncode != 0 or checked.stdout or checked.stderr:
            raise Violation(f"promtool check metrics: {checked.stdout}{checked.stderr}")
    names.check_documented(set().union(*map(names_in, texts)))
    say("promtool check metrics finds nothing in what 4 processes serve, and docs list all of it")


def targets(training: Training) -> dict[str, list[str]]:
    """The jobs of Prometheus that the alert rules name."""
    return {"percentdelta-servers": training.server_metrics,
            "percentdelta-workers": training.worker_metrics}


def read_board(work: pathlib.Path, folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns what TensorBoard reads in a folder, by plugin."""
    environment = work / "tensorboard"
    if not environment.exists():
        run("/usr/bin/python3", "-m", "venv", "--system-site-packages", environment)
        run(environment / "bin/python", "-m", "pip", "install", "--quiet",
            "--disable-pip-version-check", "tensorboard")
    board: dict[str, dict[str, Any]] = json.loads(
        run(environment / "bin/python", "-W", "ignore", HERE / "board.py", folder,
            environment={"TF_CPP_MIN_LOG_LEVEL": "3"}))
    return board


def check_histograms(histograms: dict[str, Any], tensors: set[str]) -> None:
    """Of all trained tensors, whole: rows of TensorBoard's are left end, right end, and count."""
    tags = {f"{kind}/{tensor}" for kind in ("weights", "gradients") for tensor in tensors}
    if histograms.keys() != tags:
        raise Violation(f"TensorBoard: expected histograms of {tags}, got {set(histograms)}")
    entries = {name: math.prod(map(int, shape.split(","))) for name, shape in
               re.findall(r'name: "(\S+/\S+)"\s+shape: \[([\d, ]+)\]', job_text(STEPS))}
    for tag, points in histograms.items():
        steps = [step for step, _ in points]
        if steps != list(range(0, STEPS, HISTOGRAM_STEPS)):
            raise Violation(f"TensorBoard: {tag}: got the steps {steps}")
        for step, rows in points:
            count = sum(row[2] for row in rows)
            if count != entries[tag.partition("/")[2]]:
                raise Violation(f"TensorBoard: {tag}: step {step} has {count} entries")
            if any(left > right for left, right, _ in rows):
                raise Violation(f"TensorBoard: {tag}: step {step}: got {rows}")


def check_board(board: dict[str, dict[str, Any]]) -> None:
    """Every step once, whatever crashed meanwhile."""
    scalars = board["scalars"]
    for tag, points in scalars.items():
        steps = [step for step, _ in points]
        expected = list(range(STEPS))
        if tag.endswith("/test"):
            expected = list(range(0, STEPS + 1, EVALUATION_STEPS))
        if tag == "examples_per_second":
            continue  # is missing where a training starts anew
        if steps != expected:
            raise Violation(f"TensorBoard: {tag}: expected the steps {expected}, got {steps}")
    kinds = {tag.partition("/")[0] for tag in scalars}
    expected_kinds = {"loss", "accuracy", "rate", "examples_per_second", "relative_change",
                      "sgd_relative_change", "multiplier"}
    if kinds != expected_kinds:
        raise Violation(f"TensorBoard: expected the kinds {expected_kinds}, got {kinds}")
    texts = board["text"]["job/text_summary"]
    if len(texts) != 1 or "percent_delta" not in texts[0][1][0]:
        raise Violation(f"TensorBoard: expected the job's text once, got {texts}")
    if "_hparams_/session_start_info" not in board["hparams"]:
        raise Violation("TensorBoard: expected hyper-parameters, got none")
    check_histograms(board["histograms"], {tag.removeprefix("multiplier/") for tag in scalars
                                           if tag.startswith("multiplier/")})
    say(f"TensorBoard reads {len(scalars)} tags, each step once, through a crash of shard 0")


def check_agreement(binaries: Binaries, work: pathlib.Path, data: pathlib.Path) -> None:
    """A training through a crash of shard 0 and of shard 1, and what all tools show at its end."""
    folder = work / "agreement"
    with Training(binaries, folder, data, STEPS, checkpoints=folder / "checkpoints") as training:
        training.start()
        training.await_step(1)
        training.pdctl("pause")  # Prometheus scrapes for the first time after some seconds
        with Prometheus(work / "prometheus-1", targets(training)) as prometheus:
            training.pdctl("resume")
            training.await_step(EVALUATION_STEPS + CHECKPOINT_STEPS)
            check_scrape(training)
            for crash, server in ((STEPS // 2, 0), (3 * STEPS // 4, 1)):
                training.await_step(crash)
                training.servers[server].kill()
                training.servers[server].start()
            training.await_finished()
            wait_for(lambda: prometheus.query("percentdelta_statistics_step") == {"": STEPS - 1},
                     "Prometheus to scrape the last step", 30)
            time.sleep(2)  # TensorBoard's file is written twice a second, Prometheus's each second
            board = read_board(work, training.board)
            check_board(board)
            compared = agreement.check(agreement.Sources(training, prometheus, board["scalars"],
                                                         STEPS - 1))
            say(f"{compared} numbers of the last step are the same in {', '.join(agreement.TOOLS)}")
        for name in ("server-0", "server-1", "worker-0", "worker-1"):
            events = training.events(name)
            if not all({"time", "level", "process", "event"} <= event.keys() for event in events):
                raise Violation(f"{name}.log: expected the same keys in all lines")
        say("every line of the logs is a JSON object with the same keys")


def check_alerts(binaries: Binaries, work: pathlib.Path, data: pathlib.Path) -> None:
    """Brings about what each alert is for."""
    with SmallDisk(work / "disk") as disk, \
            Training(binaries, work / "alerts", data, ENDLESS, checkpoints=disk.directory) as training:
        training.start()
        training.await_step(2 * CHECKPOINT_STEPS)
        with Prometheus(work / "prometheus-2", targets(training)) as prometheus:
            if prometheus.firing():
                raise Violation(f"expected no alert yet, got {prometheus.firing()}")
            training.workers[0].kill()
            disk.fill()
            for alert in ("PercentDeltaWorkerLost", "PercentDeltaDiskFillsUp",
                          "PercentDeltaCheckpointTooOld"):
                prometheus.await_alert(alert)
            training.workers[1].stop()
            prometheus.await_alert("PercentDeltaTrainingStalled")
            training.servers[1].kill()
            prometheus.await_alert("PercentDeltaShardMissing")
            training.workers[1].signal(signal.SIGCONT)
    say("the alerts of a lost worker, a full disk, an old checkpoint, a stall and a lost shard fire")
    with Training(binaries, work / "diverging", data, STEPS, job=diverging) as training:
        for server in training.servers:
            server.start()
        with Prometheus(work / "prometheus-3",
                        {"percentdelta-servers": training.server_metrics}) as prometheus:
            for worker in training.workers:
                worker.start()
            for alert in ("PercentDeltaLossNotFinite", "PercentDeltaTrainingFailed"):
                prometheus.await_alert(alert)
    say("the alerts of a loss that is not finite and of a failed training fire")


def run_all(arguments: argparse.Namespace, work: pathlib.Path) -> None:
    """Runs everything."""
    run(ROOT / "deploy/install-packages", "monitoring", "test")
    if arguments.build == RELEASE:
        run(ROOT / "deploy/install-packages", "build")
        run(ROOT / "deploy/build", "release", "pd-server", "pd-worker", "pdctl")
    binaries = Binaries(arguments.build)
    data = work / "data"
    write_data(data)
    if arguments.metrics:
        with Training(binaries, work / "metrics", data, 5, work / "checkpoints") as training:
            training.start()
            training.await_step(2)
            print(scrape(training.server_metrics[0]), scrape(training.worker_metrics[0]))
        return
    if arguments.cost:
        ratio, seconds = cost.measure(binaries, work, data, arguments.cost, 5)
        say(f"with a scrape each second a step takes {ratio:.3f} x as long ({1000 * seconds:.2f} ms)")
        return
    check_files()
    check_agreement(binaries, work, data)
    check_alerts(binaries, work, data)


def main() -> int:
    """Returns the exit code."""
    arguments = parse_arguments()
    return run_program(PROGRAM, lambda work: run_all(arguments, work), arguments.keep)
