# SPDX-License-Identifier: Apache-2.0
"""What is done to the training on Slurm, and what must hold each time."""

import pathlib
import re
import signal
import stat
from collections.abc import Callable, Sequence

from deploy.project import ROOT, Binaries
from tests.harness.commands import succeeds
from tests.harness.errors import Violation
from tests.harness.local import LocalTraining
from tests.slurm.cluster import SlurmCluster
from tests.slurm.training import STEPS, Training

END_SECONDS = 240  # for what takes half a minute where nothing else runs
# Seconds before the limit at which Slurm sends the signal. It looks at limits every 30 s.
WARNING_SECONDS = 100


class Scenario:
    """The checks share one training and run in order."""

    def __init__(self, cluster: SlurmCluster, binaries: Binaries, data: pathlib.Path,
                 say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._say = say
        self._binaries = binaries
        self._data = data
        self._training = Training(cluster, binaries, data)
        self._array = ""
        self._local = LocalTraining(binaries, self._training.local_job, data / "mnist")

    def close(self) -> None:
        """Ends what this class has started itself; the rest ends with the namespaces."""
        self._local.close()

    def checks(self) -> Sequence[Callable[[], None]]:
        """The test, check by check."""
        return (self.start, self.check_security, self.reach_time_limit, self.lose_node,
                self.end_and_continue, self.change_workers, self.lose_supervisor, self.finish)

    def start(self) -> None:
        """Servers and workers start, a process each, on all three nodes."""
        training = self._training
        training.launch("up", "--nodes=3", "--time=30", f"--signal=B:USR1@{WARNING_SECONDS}")
        training.until_step(1, "of the first start")
        nodes = self._cluster.step_nodes(training.job_id)
        for name, node in (("shard-0", "n0"), ("shard-1", "n1"), ("worker-0", "n2"),
                           ("worker-1", "n0"), ("worker-2", "n1")):
            expect(f"the node of {name}", node, nodes.get(name))
            expect(f"a log of {name}", True, training.log(f"{name}.log") != "")
        self._say("2 servers and 3 workers train on 3 nodes")

    def check_security(self) -> None:
        """Keys are private, and a client without a certificate is refused."""
        run = self._training.run
        expect("the mode of the run's directory", 0o700, stat.S_IMODE(run.stat().st_mode))
        for key in run.glob("tls/*.key"):
            expect(f"the mode of {key.name}", 0o600, stat.S_IMODE(key.stat().st_mode))
        server = (run / "coordinator").read_text(encoding="utf-8").strip()
        expect("an answer without a certificate", False,
               succeeds(self._binaries.pdctl, f"--server={server}", "--insecure", "--deadline=2s",
                        "status"))
        run.chmod(0o755)
        expect("a run's directory that others can read", False,
               succeeds(ROOT / "deploy/slurm/launch", "status", environment={"PD_RUN": str(run)}))
        run.chmod(0o700)
        self._say("keys are private, and calls without a certificate are refused")

    def reach_time_limit(self) -> None:
        """Before the time limit: a checkpoint, SIGTERM, back into the queue, and on from there."""
        training = self._training
        # Workers stand still until the signal comes, or the training might end before.
        training.signal_workers(signal.SIGSTOP)
        self._local.start()  # uses the time
        self._cluster.command("scontrol", "update", f"JobId={training.job_id}",
                              f"TimeLimit={self._limit_minutes()}")
        training.until(lambda: "USR1" in training.job_log(), "the signal before the time limit")
        training.signal_workers(signal.SIGCONT)
        training.until(lambda: training.starts() == 2, "the job's second start")
        self._cluster.command("scontrol", "update", f"JobId={training.job_id}", "TimeLimit=30")
        saved = re.findall(r"(?m)^checkpoint  step (\d+)", training.job_log())
        expect("a checkpoint before the time limit", 1, len(saved))
        expect("workers that end in order", True, " stopped" in training.log("worker-0.log"))
        training.until_step(int(saved[0]) + 1, "after the time limit")
        restored = training.restored_step()
        expect("a second start from this checkpoint, or a later one", True, restored >= int(saved[0]))
        self._say(f"the time limit was near; the job went on after a requeue from step {restored}")

    def lose_node(self) -> None:
        """A node is taken down: its server and its worker go on on others, the job is not put back."""
        training = self._training
        before = training.until_step(1, "before a node is lost")
        starts = training.starts()
        self._cluster.take_down("n1")
        after = training.until_step(before.step + 2, "without node n1")
        nodes = self._cluster.step_nodes(training.job_id)
        for name in ("shard-1", "worker-2"):
            expect(f"{name} on another node than n1", True, nodes.get(name) in ("n0", "n2"))
        expect("the number of starts", starts, training.starts())
        expect("a newer generation after the loss of a server", True,
               after.generation > before.generation)
        self._cluster.bring_back("n1")
        self._say(f"node n1 went down at step {before.step}; its processes work on others, step "
                  f"{after.step}")

    def end_and_continue(self) -> None:
        """`down` takes a checkpoint and ends the job; `up` continues, here on 3 servers."""
        training = self._training
        training.launch("down")
        expect("the state after down", "stopped", training.state)
        saved = re.findall(r"(?m)^checkpoint  step (\d+)", training.job_log())
        training.launch("up", "--nodes=2", "--time=30", settings={"PD_SHARDS": "3"})
        training.until_step(int(saved[-1]) + 1, "after down and up")
        restored = training.restored_step()
        expect("a start from down's checkpoint, or a later one", True, restored >= int(saved[-1]))
        self._say(f"ended, continues from step {restored} with 3 servers")

    def change_workers(self) -> None:
        """Two workers of an array job join; one of them leaves."""
        training = self._training
        training.signal_workers(signal.SIGSTOP)  # until the others have come
        answer = training.launch("workers", "2")
        self._array = answer.split()[3]
        logs = [f"workers-{self._array}-{task}.log" for task in (1, 2)]
        training.until(lambda: all(" joined " in training.log(log) for log in logs), "two more workers")
        training.signal_workers(signal.SIGCONT)
        joined = training.until_step(0, "with five workers")
        self._cluster.command("scancel", f"{self._array}_1")
        training.until(lambda: " leaves" in training.log(logs[0]), "a worker to leave")
        training.until_step(joined.step + 1, "after a worker has left")
        self._say(f"two workers of an array job joined at step {joined.step}, one left")

    def lose_supervisor(self) -> None:
        """The node of the batch script is taken down: the job is put back, and goes on elsewhere."""
        training = self._training
        training.until_step(0, "before the batch script's node is lost")
        host = self._cluster.field_of(training.job_id, "BatchHost")
        self._cluster.take_down(host)
        training.until(lambda: training.starts() == 2, "a second start of the job")
        expect("a batch script on another node", True,
               self._cluster.field_of(training.job_id, "BatchHost") not in ("", host))
        restored = training.until_step(1, f"without node {host}")
        expect("a start from a checkpoint", True, training.restored_step() > 0)
        self._cluster.bring_back(host)
        self._say(f"node {host} of the batch script went down; the job was put back into the queue, and "
                  f"is at step {restored.step}")

    def finish(self) -> None:
        """The training ends, all jobs end, and the weights are pd-local's."""
        training = self._training
        training.release_cores()
        training.until(lambda: training.state == "finished", f"the end of {STEPS} steps",
                       END_SECONDS)
        training.until(lambda: self._cluster.command("squeue", "--noheader") == "", "an empty queue")
        expect("the state of the job", "COMPLETED", self._cluster.field_of(training.job_id, "JobState"))
        expect("the state of the array's worker", "COMPLETED",
               self._cluster.field_of(f"{self._array}_2", "JobState"))
        expected = self._local.weights()
        checksum = (training.run / "result/checksum").read_text(encoding="utf-8")
        expect("the weights", f"{expected}  step {STEPS}", checksum.strip())
        for name in ("weights.safetensors", "report.html"):
            expect(f"the result's {name}", True, (training.run / "result" / name).is_file())
        self._say(f"finished; the weights are pd-local's: {expected}")

    def _limit_minutes(self) -> int:
        """Returns a time limit that leaves time to end in order, and for which the signal is due."""
        times = self._cluster.field_of(self._training.job_id, "RunTime").split(":")
        seconds = int(times[-1]) + 60 * int(times[-2])
        return (seconds + 50) // 60 + 1


def expect(what: str, expected: object, got: object) -> None:
    """Throws Violation if the two differ."""
    if expected != got:
        raise Violation(f"{what}: expected {expected}, got {got}")
