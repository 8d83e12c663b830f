"""Job files: a base job of deploy/jobs with another update, seed and length."""

import importlib
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Failure(Exception):
    """What is told to the user, in one message."""


def _load():
    """protobuf's text_format, and the message Job, from the Python package of this checkout."""
    sys.path.insert(0, str(ROOT / "client/python/src"))
    try:
        text_format = importlib.import_module("google.protobuf.text_format")
        return text_format, importlib.import_module("percentdelta._protocol").message("Job")
    except ImportError as error:
        raise Failure(f"{error}: needs Debian's python3-protobuf, python3-grpcio, python3-numpy and "
                      f"protobuf-compiler (deploy/install-packages test), and runs on "
                      f"/usr/bin/python3; this is {sys.executable}") from error


class Jobs:
    """Makes them."""

    def __init__(self):
        self._text_format, self._message = _load()

    def _base(self, name):
        path = ROOT / "deploy/jobs" / f"{name}.textproto"
        return self._text_format.Parse(path.read_text(encoding="utf-8"), self._message())

    def text(self, base, setting, seed, steps, every):
        """The job without checkpoints: what decides the weights, and how far it goes."""
        job = self._base(base)
        for field in ("optimizer", "schedule", "momentum", "checkpoint"):
            job.ClearField(field)
        self._text_format.Merge(setting.update, job)
        job.name = f"{setting.algorithm} {setting.label} seed {seed}"
        job.seed = seed
        job.max_steps = steps
        job.evaluation.every_steps = every
        return self._text_format.MessageToString(job)

    def with_checkpoints(self, text, directory, every):
        """The same, kept on disk."""
        job = self._text_format.Parse(text, self._message())
        job.checkpoint.every_steps = every
        job.checkpoint.directory = str(directory)
        job.checkpoint.keep = 1
        return self._text_format.MessageToString(job)
