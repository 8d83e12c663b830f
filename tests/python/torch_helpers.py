# SPDX-License-Identifier: Apache-2.0
"""What the tests of percentdelta.torch share: small modules and data sets that are the same in
every process, trainings in processes of their own. Importing it skips the tests where there is no
PyTorch."""

import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

import helpers
import percentdelta as pd

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: deploy/install-packages torch")

import percentdelta.torch  # noqa: E402  which needs torch

nn = torch.nn
functional = torch.nn.functional
FULL = bool(os.environ.get("PERCENTDELTA_FULL"))
EXAMPLES = helpers.ROOT / "client/python/examples"
RATE = 0.1
DATASET_SIZE = 60
LOSS = nn.CrossEntropyLoss()
# Of one entry with and without a dimension, of odd lengths, of a block, of several that three
# servers share.
EDGE_SHAPES = {"scalar": (), "one": (1,), "pair": (1, 2), "odd": (7, 5, 3), "kernel": (5, 5, 2, 3),
               "block": (128, 128), "over": (16385,), "large": (331, 307)}

if str(EXAMPLES) not in sys.path:
    sys.path.append(str(EXAMPLES))

import models  # noqa: E402  of the examples


class Augmented(torch.utils.data.Dataset):
    """Adds noise of all three generators to each example."""

    def __init__(self, images, labels):
        self.images = images
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        import random
        import numpy as np
        noise = random.random() + float(np.random.rand()) + float(torch.rand(()))
        return self.images[index] + 0.1 * noise, self.labels[index]


class WithDropout(nn.Module):
    """Two dense layers with dropout between them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Dropout(0.5),
                                    nn.Linear(16, 10))

    def forward(self, images):
        return self.layers(images)


def images(count, seed=3):
    """Random images and labels."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 1, 28, 28, generator=generator),
            torch.randint(0, 10, (count,), generator=generator))


def next_character(output, target):
    """The mean loss over a batch's characters."""
    return functional.cross_entropy(output.flatten(0, 1), target.flatten())


def make(name):
    """A module, its loss, a training set and a batch size, by a name; the same in every process."""
    torch.manual_seed(11)
    loss = nn.CrossEntropyLoss()
    batch = 64 if FULL else 8
    count = 40 * batch
    if name == "cnn":
        module = models.MnistCnn() if FULL else models.MnistCnn((4, 4), 16)
        return module, loss, torch.utils.data.TensorDataset(*images(count)), batch
    if name == "resnet":
        module = models.ResNet() if FULL else models.ResNet((4, 4, 8))
        return module, loss, Augmented(*images(count)), batch
    if name == "transformer":
        module = (models.Transformer(30, 64) if FULL else
                  models.Transformer(30, context=16, width=16, heads=2, layers=2))
        length = 65 if FULL else 17
        text = torch.randint(0, 30, (count, length), generator=torch.Generator().manual_seed(5))
        return module, next_character, torch.utils.data.TensorDataset(text[:, :-1], text[:, 1:]), \
            batch
    if name == "dropout":
        return WithDropout(), loss, Augmented(*images(count)), batch
    raise AssertionError(name)


def job_of(name, folder, **changes):
    """A job of ten steps that trains make(name)."""
    module, _, dataset, batch = make(name)
    fields = dict(optimizer=pd.Optimizer(0.03, pd.PercentDelta(epsilon=1e-3)),
                  momentum=pd.Momentum(0.9, 0.9), gradients_per_step=2, max_steps=10, seed=9,
                  batch_size=batch, name=name, weights_file=folder / f"{name}.safetensors")
    return percentdelta.torch.job_for(module, dataset, **{**fields, **changes})


class WorkerProcess:
    """torch_worker_process.py, which trains what each line of its input names."""

    def __init__(self):
        path = os.pathsep.join(filter(None, [str(helpers.HERE), os.environ.get("PYTHONPATH", "")]))
        self.process = subprocess.Popen(
            [sys.executable, "-B", str(helpers.HERE / "torch_worker_process.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path})

    def begin(self, name, address, hang_at=-1, num_workers=0, shared_memory=True):
        """Has it train make(name) on a cluster."""
        self.process.stdin.write(f"{name} {address} {hang_at} {num_workers} {shared_memory}\n")
        self.process.stdin.flush()

    def go_on(self):
        """After a hang."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def wait(self, wanted="finished"):
        """Returns what stands behind the word `wanted` of the next line that begins with it."""
        return helpers.await_line(self.process, wanted)[len(wanted):].strip()

    def close(self):
        """Ends it."""
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def worker_processes(count):
    """A list of WorkerProcess."""
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(count):
            processes.append(WorkerProcess())
            stack.callback(processes[-1].close)
        yield processes


def program(name):
    """The path of another program of the build that has pd-server."""
    server = pathlib.Path(pd.local_cluster.find_server())
    for path in (server.parent.parent / "worker" / name, server.parent / name):
        if os.access(path, os.X_OK):
            return path
    pytest.skip(f"no {name} beside {server}: deploy/build release {name}")


def make_job(module, dataset, folder, **fields):
    """Of four steps of plain SGD, with two slots."""
    defaults = dict(optimizer=pd.Optimizer(RATE, pd.Sgd()), batch_size=10, max_steps=4, seed=5,
                    gradients_per_step=2, weights_file=folder / "start.safetensors")
    return percentdelta.torch.job_for(module, dataset, **{**defaults, **fields})


def numbers(*shape, seed=1):
    """In [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def small():
    """Four numbers in, three classes out, with a batch normalization and dropout."""
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3),
                         nn.Linear(5, 3))


class Interrupt(BaseException):
    """Ends train() from within, as nothing else does."""
