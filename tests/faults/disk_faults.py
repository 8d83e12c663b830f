# SPDX-License-Identifier: Apache-2.0
"""Faults of the disk under the checkpoints, of their files, and of the wall clock."""

import pathlib
import random
import signal
from collections.abc import Callable

from tests.faults import checkpoint_files
from tests.faults.checkpoint_files import Damage
from tests.faults.fault import Fault
from tests.faults.training import Training
from tests.harness.cluster import CLOCK_LIBRARY, Cluster
from tests.harness.disk import SmallDisk
from tests.harness.errors import Violation
from tests.harness.processes import check_killed
from tests.harness.status import Status

HOUR = 3600


class DiskFault(Fault):
    """Checkpoints cannot be written for a while: the training goes on, `pdctl status` says why, and
    the next checkpoint afterwards is complete."""

    group = "disk"
    hold = (0.0, 1.0)  # after the failure has been seen
    sudden = False
    patience = 20
    steps_meanwhile = 3

    def strike(self, training: Training) -> bool:
        if not self.break_disk(training.cluster):
            training.note("the disk was being written to")
            return False
        failures, step = training.previous.checkpoint_failures, training.previous.step
        try:
            seen = training.watch.until(
                lambda status: status.finished or (status.checkpoint_failures > failures
                                                   and bool(status.checkpoint_error)
                                                   and status.step > step + self.steps_meanwhile),
                self.patience, f"pdctl status to report a failed checkpoint ({self.what}), and the "
                "training to go on meanwhile")
        except Violation:
            self.mend_disk(training.cluster)
            raise
        training.note(seen.checkpoint_error[:200])
        return True

    def heal(self, training: Training) -> None:
        self.mend_disk(training.cluster)

    def verify(self, training: Training) -> None:
        healed = training.after.step
        training.watch.until(
            lambda status: status.checkpoint_step > healed or status.finished, self.limit,
            f"a checkpoint of a step after {healed}, when the disk worked again ({self.what})")

    def break_disk(self, cluster: Cluster) -> bool:
        """Breaks the disk. Returns false if that is not possible at this moment."""
        raise NotImplementedError

    def mend_disk(self, cluster: Cluster) -> None:
        """Repairs the disk."""


def _small(cluster: Cluster) -> SmallDisk:
    assert isinstance(cluster.disk, SmallDisk)
    return cluster.disk


class Full(DiskFault):
    """ENOSPC."""

    name = "disk-full"
    what = "the checkpoints' disk is full"
    fixed = {"disk": "tmpfs"}

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def unavailable(self) -> str:
        return self._reason

    def break_disk(self, cluster: Cluster) -> bool:
        _small(cluster).fill()
        return True

    def mend_disk(self, cluster: Cluster) -> None:
        _small(cluster).free()


class ReadOnly(DiskFault):
    """EROFS."""

    name = "disk-read-only"
    what = "the checkpoints' disk is read-only"
    fixed = {"disk": "tmpfs"}

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def unavailable(self) -> str:
        return self._reason

    def break_disk(self, cluster: Cluster) -> bool:
        return _small(cluster).make_read_only()

    def mend_disk(self, cluster: Cluster) -> None:
        _small(cluster).make_writable()


class Vanished(DiskFault):
    """The directory is gone, and a file has its name."""

    name = "disk-vanished"
    what = "the checkpoints' directory has vanished, a file has its name"

    def break_disk(self, cluster: Cluster) -> bool:
        directory = cluster.checkpoints
        directory.rename(directory.with_name("vanished"))
        directory.write_text("")
        return True

    def mend_disk(self, cluster: Cluster) -> None:
        directory = cluster.checkpoints
        directory.unlink()
        directory.with_name("vanished").rename(directory)


class FileFault(Fault):
    """All processes are killed, a file of the newest checkpoint is damaged, all start again: they
    must report what is wrong with it, and restore the checkpoint before."""

    group = "files"
    damaging = True

    def __init__(self, name: str, what: str,
                 damage: Callable[[pathlib.Path, random.Random], Damage]) -> None:
        self.name = f"file-{name}"
        self.what = f"all killed, {what}"
        self._damage = damage
        self._path = pathlib.Path()
        self._mark = 0

    def prepare(self, training: Training) -> None:
        # Two, so that one is before the newest. One newer than the status was damaged by the fault
        # before, and has not been written again.
        def whole(status: Status) -> bool:
            steps = list(checkpoint_files.whole_checkpoints(training.cluster.checkpoints))
            return len(steps) >= 2 and steps[-1] <= status.checkpoint_step
        training.watch.until(lambda status: status.finished or whole(status), 60,
                             "two complete checkpoints")

    def strike(self, training: Training) -> bool:
        cluster = training.cluster
        for process in cluster.processes:
            process.down = True
            process.signal(signal.SIGKILL)
        for process in cluster.processes:
            check_killed(process)
        whole = checkpoint_files.whole_checkpoints(cluster.checkpoints)
        steps = list(whole)
        if not steps:
            raise Violation(f"no complete checkpoint in {cluster.checkpoints} after everything was "
                            f"killed; pdctl status had one of step {training.previous.checkpoint_step}")
        if self.damaging and len(steps) < 2:
            # If its only checkpoint is damaged, a training does not begin at step 0.
            training.note("only one checkpoint, left undamaged")
            training.expect_restore(steps[-1])
            return False
        self._mark = cluster.coordinator.log_size()
        self._path, note = self._damage(whole[steps[-1]], training.random)
        training.note(note)
        training.expect_restore(steps[-2] if self.damaging else steps[-1])
        return True

    def heal(self, training: Training) -> None:
        training.cluster.start(order=training.random)

    def verify(self, training: Training) -> None:
        text = training.cluster.coordinator.log_since(self._mark)
        lines = [line for line in text.splitlines() if self._path.parent.name in line
                 or self._path.name in line]
        if not any("passed over" in line or "leftover" in line for line in lines):
            raise Violation(f"{self.what}: expected the coordinator to report what is wrong with "
                            f"{self._path}, got\n{training.cluster.coordinator.tail()}")


class LeftOver(FileFault):
    """A dead writer's files: they are reported and removed, and the newest checkpoint is restored."""

    damaging = False


class OtherJob(FileFault):
    """The newest checkpoint has the manifest of another job: the coordinator refuses to start, and
    names the fields; it starts when the right manifest is back."""

    damaging = False

    def __init__(self) -> None:
        super().__init__("other-job", "the newest checkpoint has another job's manifest",
                         self._put_manifest)
        self._foreign: Callable[[], bytes] = bytes
        self._own = b""

    def prepare(self, training: Training) -> None:
        assert training.foreign_manifest is not None
        self._foreign = training.foreign_manifest
        self._foreign()  # made now, if it is the first time
        super().prepare(training)

    def _put_manifest(self, checkpoint: pathlib.Path, _: random.Random) -> Damage:
        path = checkpoint / checkpoint_files.MANIFEST
        self._own = path.read_bytes()
        path.write_bytes(self._foreign())
        return path, "refused, then repaired"

    def heal(self, training: Training) -> None:
        coordinator = training.cluster.coordinator
        coordinator.start()
        coordinator.down = True
        code = coordinator.wait(10, "it was started with a checkpoint of another job")
        said = coordinator.log_since(self._mark)
        if code != 1 or "another job" not in said or "seed" not in said:
            raise Violation(f"{self.what}: expected exit code 1 and a message that names the field "
                            f"seed, got exit code {code}\n{coordinator.tail()}")
        self._path.write_bytes(self._own)
        newest = list(checkpoint_files.whole_checkpoints(training.cluster.checkpoints))[-1]
        training.expect_restore(newest)
        super().heal(training)

    def verify(self, training: Training) -> None:
        pass  # done in heal()


class Clock(Fault):
    """The wall clock jumps for all processes. When it jumps back, the coordinator is also killed and
    started again: its generations must not go back."""

    group = "clock"
    fixed = {"fake_clock": True, "tls": False}  # certificates are valid by the wall clock
    hold = (1.0, 4.0)

    def __init__(self, name: str, seconds: int) -> None:
        self.name = f"clock-{name}"
        self.what = f"the wall clock of all jumps by {seconds // HOUR:+d} h" + (
            ", and the coordinator is killed" if seconds < 0 else "")
        self._seconds = seconds

    def unavailable(self) -> str:
        return "" if CLOCK_LIBRARY else "libfaketime is not installed"

    def strike(self, training: Training) -> bool:
        training.cluster.clock.write_text(f"{self._seconds:+d}\n")
        if self._seconds < 0:
            coordinator = training.cluster.coordinator
            coordinator.kill()
            coordinator.start()
        return True

    def heal(self, training: Training) -> None:
        training.cluster.clock.write_text("+0\n")


def disk_faults(folder: pathlib.Path) -> list[Fault]:
    """Returns all faults of this module. Tries a small disk in `folder`."""
    reason = SmallDisk.unavailable(folder)
    small: list[Fault] = [Full(reason), ReadOnly(reason)]
    files = checkpoint_files
    return small + [
        Vanished(),
        FileFault("truncated", "a file of the newest checkpoint is cut short", files.truncate),
        FileFault("flipped", "a bit of the newest checkpoint is flipped", files.flip),
        FileFault("empty", "a file of the newest checkpoint is empty", files.empty),
        FileFault("missing", "a file of the newest checkpoint is gone", files.remove),
        FileFault("swapped", "two shards' files of the newest checkpoint are swapped", files.swap),
        OtherJob(),
        LeftOver("leftover", "leftovers of a dead writer next to it", files.leave_over),
        Clock("forward", HOUR), Clock("back", -HOUR)]
