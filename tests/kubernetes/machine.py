# SPDX-License-Identifier: Apache-2.0
"""A machine within this one: namespaces of its own for processes, mounts and the network."""

import contextlib
import os
import pathlib
import signal
import time

from tests.harness.commands import Word, run
from tests.harness.errors import Failure
from tests.harness.processes import Process

PREFIX = "pd-kubernetes-"
BRIDGE = "pods"
ADDRESS = "10.244.7.1"  # of the machine, on the bridge of its pods
SUBNET = "10.244.7.0/24"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
START_SECONDS = 20
# What kubelet sets for the whole machine. It finds these values, and leaves the real ones alone.
KERNEL = {"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10",
          "kernel/panic_on_oops": "1", "kernel/keys/root_maxkeys": "1000000",
          "kernel/keys/root_maxbytes": "25000000"}
# Process 1 reaps orphans until it is killed, and everything with it.
INIT = f"""
set -e
cd "$1"
mkdir -p var work kernel
mount -t overlay overlay -o lowerdir=/var,upperdir="$1/var",workdir="$1/work" /var
mount -t tmpfs run /run
mkdir -p /run/lock
set -- {' '.join(f'{name}={value}' for name, value in KERNEL.items())}
for setting in "$@"; do
  file=kernel/$(echo "${{setting%=*}}" | tr / .)
  echo "${{setting#*=}}" >"$file"
  mount --bind "$file" "/proc/sys/${{setting%=*}}"
done
ip link set lo up
ip link add {BRIDGE} type bridge
ip addr add {ADDRESS}/24 dev {BRIDGE}
ip link set {BRIDGE} up
echo ready >ready
while :; do sleep 3600 & wait; done
"""


class Machine(contextlib.ExitStack):
    """Process 1 of a machine, whose /var is an overlay in `folder`. A context: at its end all processes
    of the machine are killed; its mounts, network and control groups are gone."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__()
        self.folder = folder
        self.group = f"{PREFIX}{os.getpid()}"  # the control group of its pods
        self._pid = 0

    def __enter__(self) -> "Machine":
        super().__enter__()
        if os.geteuid() != 0:
            raise Failure("a Kubernetes of one node needs root")
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self) -> None:
        process = Process("machine", [
            "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation",
            "private", "--mount-proc", "bash", "-c", INIT, "init", self.folder],
            self.folder / "machine.log")
        self._remove_abandoned()
        self.callback(self._remove_groups, self.group)
        self.callback(process.close)
        process.start()
        until = time.monotonic() + START_SECONDS
        while not (self.folder / "ready").exists():
            if not process.runs or time.monotonic() > until:
                raise Failure(f"namespaces for a machine of its own: expected them within "
                              f"{START_SECONDS} s, got exit code {process.exit_code}\n{process.tail()}")
            time.sleep(0.05)
        self._pid = int(run("pgrep", "-P", str(process.pid)).split()[0])
        for controller in self._controllers():
            (controller / self.group).mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):  # the first control groups do not inherit them
                if (controller / name).exists() and controller != CGROUPS:
                    (controller / self.group / name).write_text((controller / name).read_text())

    def prefix(self) -> list[str]:
        """The words before a command that runs in the machine."""
        return ["nsenter", "--target", str(self._pid), "--mount", "--net", "--pid", "--"]

    def run(self, *words: Word) -> str:
        """Runs a command in the machine; returns its standard output."""
        return run(*self.prefix(), *words)

    def process(self, name: str, *command: Word) -> Process:
        """A process of the machine, not started yet, with a log in the folder."""
        return Process(name, list(command), self.folder / f"{name}.log", self.prefix())

    def kill_group(self) -> None:
        """Kills the processes of all pods."""
        for path in (self._controllers()[0] / self.group).rglob("cgroup.procs"):
            for pid in path.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)

    @staticmethod
    def _controllers() -> list[pathlib.Path]:
        if (CGROUPS / "cgroup.controllers").exists():
            return [CGROUPS]
        return [path.parent for path in CGROUPS.glob("*/cgroup.procs")]

    def _remove_abandoned(self) -> None:
        """Removes the control groups of tests that were killed."""
        for path in self._controllers()[0].glob(f"{PREFIX}*"):
            if not pathlib.Path(f"/proc/{path.name[len(PREFIX):]}").exists():
                self._remove_groups(path.name)

    def _remove_groups(self, name: str) -> None:
        """Killed processes may take a moment to leave their groups."""
        until = time.monotonic() + START_SECONDS
        for controller in self._controllers():
            top = controller / name
            while top.exists() and time.monotonic() < until:
                for path in (*sorted(top.rglob("*/"), reverse=True), top):
                    with contextlib.suppress(OSError):
                        path.rmdir()
                time.sleep(0.05)
