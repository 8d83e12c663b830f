# SPDX-License-Identifier: Apache-2.0
"""Job files: a base job of deploy/jobs with another update, seed and length."""

import importlib
import pathlib
import sys
from typing import Any

from deploy.project import Failure, JOBS, ROOT
from deploy.reproduction.settings import Setting


def _load() -> tuple[Any, Any]:
    """Returns protobuf's text_format and the message Job, from this checkout's Python package."""
    sys.path.insert(0, str(ROOT / "client/python/src"))
    try:
        text_format = importlib.import_module("google.protobuf.text_format")
        return text_format, importlib.import_module("percentdelta._protocol").message("Job")
    except ImportError as error:
        raise Failure(f"{error}: needs Debian's python3-protobuf, python3-grpcio, python3-numpy and "
                      f"protobuf-compiler (deploy/install-packages test), and runs on "
                      f"/usr/bin/python3; this is {sys.executable}") from error


class Jobs:
    """Makes job files."""

    def __init__(self) -> None:
        self._text_format, self._message = _load()

    def _base(self, name: str) -> Any:
        path = JOBS / f"{name}.textproto"
        return self._text_format.Parse(path.read_text(encoding="utf-8"), self._message())

    def text(self, base: str, setting: Setting, seed: int, steps: int, every: int) -> str:
        """Returns the job without checkpoints: what decides the weights, and the number of steps."""
        job = self._base(base)
        for field in ("optimizer", "schedule", "momentum", "checkpoint"):
            job.ClearField(field)
        self._text_format.Merge(setting.update, job)
        job.name = f"{setting.algorithm} {setting.label} seed {seed}"
        job.seed = seed
        job.max_steps = steps
        job.evaluation.every_steps = every
        return str(self._text_format.MessageToString(job))

    def with_checkpoints(self, text: str, directory: pathlib.Path | str, every: int) -> str:
        """Returns the job with checkpoints in a directory."""
        job = self._text_format.Parse(text, self._message())
        job.checkpoint.every_steps = every
        job.checkpoint.directory = str(directory)
        job.checkpoint.keep = 1
        return str(self._text_format.MessageToString(job))
