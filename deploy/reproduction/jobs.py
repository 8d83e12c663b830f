"""Job files: a base job of deploy/jobs with another update, seed and length."""

import importlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from deploy.project import Failure, JOBS, ROOT
from deploy.reproduction.settings import Setting


def _load() -> tuple[Any, Any]:
    """Returns protobuf's text_format, and job_pb2, generated for this run."""
    try:
        text_format = importlib.import_module("google.protobuf.text_format")
    except ImportError as error:
        raise Failure(f"{error}: needs Debian's python3-protobuf (deploy/install-packages test), and "
                      f"runs on /usr/bin/python3; this is {sys.executable}") from error
    if shutil.which("protoc") is None:
        raise Failure("protoc is not on PATH: needs Debian's protobuf-compiler")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["protoc", f"--proto_path={ROOT / 'proto'}", f"--python_out={folder}",
                        "percentdelta/v1/job.proto"], check=True)
        sys.path.insert(0, folder)
        try:
            return text_format, importlib.import_module("percentdelta.v1.job_pb2")
        finally:
            sys.path.remove(folder)


class Jobs:
    """Makes job files."""

    def __init__(self) -> None:
        self._text_format, self._messages = _load()

    def _base(self, name: str) -> Any:
        path = JOBS / f"{name}.textproto"
        return self._text_format.Parse(path.read_text(encoding="utf-8"), self._messages.Job())

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
        job = self._text_format.Parse(text, self._messages.Job())
        job.checkpoint.every_steps = every
        job.checkpoint.directory = str(directory)
        job.checkpoint.keep = 1
        return str(self._text_format.MessageToString(job))
