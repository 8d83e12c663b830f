# SPDX-License-Identifier: Apache-2.0
"""What the PyTorch examples have in common: their options, and servers for those who have none."""

import argparse
import contextlib
import pathlib
import tempfile
from typing import Any, Callable, Iterator, Optional

import percentdelta as pd
import percentdelta.torch
import torch

import connection


def positive(text: str) -> int:
    """An option's value, a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def parser(module_doc: str, steps: int, batch_size: int) -> argparse.ArgumentParser:
    """The options of every example."""
    made = argparse.ArgumentParser(description=module_doc.split("\n\n", maxsplit=1)[0])
    made.add_argument("--steps", type=positive, default=steps, help=f"default: {steps}")
    made.add_argument("--batch-size", type=positive, default=batch_size,
                      help=f"default: {batch_size}")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--shards", type=positive, default=2,
                      help="servers to start on this machine; default: 2")
    made.add_argument("--address", metavar="HOST:PORT",
                      help="train on running servers instead, with this coordinator")
    connection.add_options(made)
    made.add_argument("--write-job", metavar="FOLDER",
                      help="write the job file and the initial weights there, and end: for servers "
                      "of your own, to be trained with --address")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu",
                      help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")
    made.add_argument("--threads", type=positive, help="of PyTorch on the CPU; default: one a core")
    return made


def prepare(arguments: argparse.Namespace) -> None:
    """To be called before the module is made."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)


@contextlib.contextmanager
def servers(arguments: argparse.Namespace,
            make_job: Callable[[pathlib.Path], pd.Job]) -> Iterator[str]:
    """The coordinator's address: of the servers that --address names, or of some that are started
    for the job and end with the block. `make_job` is given a folder for its files."""
    if arguments.address:
        yield arguments.address
        return
    if arguments.write_job:
        folder = pathlib.Path(arguments.write_job)
        folder.mkdir(parents=True, exist_ok=True)
        job = make_job(folder)
        path = folder / f"{job.name}.textproto"
        path.write_text(job.to_text(), encoding="utf-8")
        print(f"wrote {path}: start the servers with --job={path}")
        raise SystemExit(0)
    with tempfile.TemporaryDirectory(prefix="percentdelta-") as name:
        with pd.LocalCluster(make_job(pathlib.Path(name)), arguments.shards) as cluster:
            yield cluster.address


def report(summary: percentdelta.torch.Summary, module: Optional[Any] = None) -> None:
    """Prints what train() did."""
    if module is not None:
        print(f"{type(module).__name__}: {sum(p.numel() for p in module.parameters()):,} "
              f"parameters")
    if summary.progress is None:
        print(f"stopped at step {summary.step}")
        return
    for point in summary.progress.evaluations:
        print(f"step {point.step:5}: test loss {point.loss:.3f}, accuracy {point.accuracy:.4f}")
    print(f"{summary.step} steps, of which {summary.gradients} here, in {summary.seconds:.0f} s; "
          f"weights {summary.checksum[:16]}")
