# SPDX-License-Identifier: Apache-2.0
"""pd-local's training, whose weights those of disturbed trainings are compared with."""

import pathlib
import re

from deploy.project import ROOT, Binaries
from tests.harness.errors import Failure
from tests.harness.processes import Process

MNIST = ROOT / "data/mnist"  # deploy/fetch-data
LIMIT_SECONDS = 900


class LocalTraining(Process):
    """pd-local, with a log next to the job."""

    def __init__(self, binaries: Binaries, job: pathlib.Path, data: pathlib.Path = MNIST) -> None:
        super().__init__("pd-local", [binaries.local, f"--job={job}", f"--data={data}"],
                         job.with_suffix(".log"))

    def weights(self) -> str:
        """Waits for the end; returns the SHA-256 of the weights."""
        code = self.wait(LIMIT_SECONDS, "its start")
        found = re.search(r"(?m)^weights sha256 ([0-9a-f]+) ", self.log_since())
        if code != 0 or found is None:
            raise Failure(f"pd-local: expected exit code 0 and the weights' SHA-256, got {code}\n"
                          f"{self.tail()}")
        return found.group(1)
