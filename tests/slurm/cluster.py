# SPDX-License-Identifier: Apache-2.0
"""A Slurm cluster of virtual nodes on this machine."""

import contextlib
import os
import pathlib
import re
import shutil

from tests.harness.commands import Word, run
from tests.harness.errors import Failure
from tests.harness.processes import Process
from tests.harness.waiting import wait_for

NODES = ("n0", "n1", "n2")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")  # of the test's network namespace
START_SECONDS = 60
# Port numbers are free: the test has a network namespace. Debian's slurmd is built for several on a
# machine. cred_expire is how long a job waits after it was put back into the queue, by default 120 s.
CONFIGURATION = """
ClusterName=percentdelta
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=6817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2,batch_sched_delay=1
SlurmdParameters=config_overrides
ReturnToService=1
KillWait=10
"""


class SlurmCluster(contextlib.ExitStack):
    """munged, slurmctld and a slurmd for each node, with all files in a folder. A context, for a network
    namespace of its own."""

    nodes = NODES

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__()
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> "SlurmCluster":
        super().__enter__()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def command(self, *words: Word) -> str:
        """Runs one of Slurm's commands; returns its output, stripped."""
        return run(*words, environment=self.environment).strip()

    def take_down(self, node: str) -> None:
        """Takes a node out of service, which ends what runs on it."""
        self.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def bring_back(self, node: str) -> None:
        """Gives a node back to service."""
        self.command("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def field_of(self, job: str, name: str) -> str:
        """Returns a field of `scontrol show job`, or "" if there is none."""
        text = self.command("scontrol", "--oneliner", "show", "job", job)
        found = re.search(rf"(?:^| ){name}=(\S*)", text)
        return found.group(1) if found else ""

    def step_nodes(self, job: str) -> dict[str, str]:
        """Returns the node of each step of a job, by the step's name."""
        text = self.command("squeue", "--noheader", "--steps", f"--job={job}", "--format=%j %N")
        lines = [line.split() for line in text.splitlines()]
        return {words[0]: words[1] for words in lines if len(words) == 2}

    def _start(self) -> None:
        run("ip", "link", "set", "lo", "up")
        for address in ADDRESSES:
            run("ip", "address", "add", f"{address}/32", "dev", "lo")
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        nodes = [f"NodeName={node} NodeHostname=localhost NodeAddr={ADDRESSES[i]} Port={6820 + i} "
                 "CPUs=4 RealMemory=2000" for i, node in enumerate(NODES)]
        text = CONFIGURATION.format(folder=self.folder) + "\n".join(
            [*nodes, "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP", ""])
        (self.folder / "slurm.conf").write_text(text, encoding="utf-8")
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        self._run("munged", "--foreground", "--force", f"--key-file={key}",
                  f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munged.pid",
                  f"--seed-file={self.folder}/munged.seed", f"--log-file={self.folder}/munged.log")
        wait_for((self.folder / "munge.socket").exists, "munged's socket", START_SECONDS)
        self._run("slurmctld", "-D", "-i")
        for node in NODES:
            self._run("slurmd", "-D", "-N", node, name=f"slurmd-{node}")
        wait_for(self._all_idle, "idle nodes", START_SECONDS)

    def _all_idle(self) -> bool:
        with contextlib.suppress(Failure):
            states = self.command("sinfo", "--noheader", "--Node", "--format=%T").split()
            return states == ["idle"] * len(NODES)
        return False

    def _run(self, program: str, *words: str, name: str = "") -> None:
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if path is None:
            raise Failure(f"there is no program {program}; deploy/install-packages slurm installs it")
        log = self.folder / f"{name or program}.out.log"
        process = Process(name or program, [path, *words], log, environment=self.environment)
        process.start()
        self.callback(process.close)
