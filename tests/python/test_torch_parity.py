# SPDX-License-Identifier: Apache-2.0
"""PyTorch workers against the C++ worker, for the paper's network."""

import dataclasses
import subprocess

import numpy as np
import pytest

import helpers
import percentdelta as pd
import torch_helpers
from torch_helpers import LOSS, functional, nn, torch

from percentdelta.torch import train


def write_idx(path, array, kind):
    header = bytes([0, 0, kind, array.ndim]) + b"".join(
        size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.tobytes())


class CppLayer(nn.Module):
    """Weights in the C++ worker's layout and under its names."""

    def __init__(self, *shape):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(*shape))
        self.biases = nn.Parameter(torch.zeros(shape[-1]))


class CppCnn(nn.Module):
    """The paper's network for jobs of the C++ worker: kernels [height, width, in, out], dense
    weights [in, out], pixels with channels last."""

    def __init__(self):
        super().__init__()
        self.conv1 = CppLayer(5, 5, 1, 32)
        self.conv2 = CppLayer(5, 5, 32, 64)
        self.fc1 = CppLayer(3136, 1024)
        self.fc2 = CppLayer(1024, 10)

    def forward(self, x):
        for layer in (self.conv1, self.conv2):
            x = functional.conv2d(x, layer.weights.permute(3, 2, 0, 1), layer.biases, padding=2)
            x = functional.max_pool2d(functional.relu(x), 2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = functional.relu(x @ self.fc1.weights + self.fc1.biases)
        return x @ self.fc2.weights + self.fc2.biases


def mnist(folder):
    """The training and the test set of a folder."""
    sets = []
    for kind in ("train", "t10k"):
        pixels = np.fromfile(folder / f"{kind}-images-idx3-ubyte", np.uint8)[16:]
        labels = np.fromfile(folder / f"{kind}-labels-idx1-ubyte", np.uint8)[8:]
        sets.append(torch.utils.data.TensorDataset(
            torch.from_numpy(pixels.reshape(-1, 1, 28, 28).astype(np.float32) / np.float32(255)),
            torch.from_numpy(labels.astype(np.int64))))
    return sets


REAL = helpers.ROOT / "data/mnist"


@pytest.fixture(name="digits", scope="module")
def fixture_digits(tmp_path_factory):
    """A folder in MNIST's format: the real one with PERCENTDELTA_FULL, else of random pixels."""
    if torch_helpers.FULL:
        return REAL
    folder = tmp_path_factory.mktemp("digits")
    generator = np.random.default_rng(1)
    for kind, count in (("train", 100), ("t10k", 20)):
        write_idx(folder / f"{kind}-images-idx3-ubyte",
                  generator.integers(0, 256, (count, 28, 28), np.uint8), 8)
        write_idx(folder / f"{kind}-labels-idx1-ubyte",
                  generator.integers(0, 10, count, np.uint8), 8)
    return folder


def paper_s_job(**changes):
    return dataclasses.replace(
        pd.Job.from_file(helpers.ROOT / "deploy/jobs/mnist.textproto"), **changes)


def test_gradients_are_the_cpp_worker_s(digits, percentdelta_cluster):
    """From what a large step of plain SGD changes: no optimizer has a part in it."""
    training, test = mnist(digits)
    job = paper_s_job(max_steps=1, batch_size=500 if torch_helpers.FULL else 20, evaluation=None,
                      momentum=None, schedule=pd.Schedule(), optimizer=pd.Optimizer(100, pd.Sgd()),
                      data=pd.Data(len(training), len(test)))
    gradients, losses = [], []
    for kind in ("C++", "PyTorch"):
        cluster = percentdelta_cluster(job)
        if kind == "C++":
            subprocess.run([torch_helpers.program("pd-worker"), f"--data={digits}",
                            f"--coordinator={cluster.address}"], check=True, capture_output=True)
        else:
            train(CppCnn(), LOSS, training, cluster.address, progress=False)
        with cluster.client() as client:
            before, after = client.weights(0), client.weights(1)
            gradients.append({name: (before[name].astype(np.float64) - after[name]) / 100
                              for name in before})
            losses.append(client.progress().training[0])
    assert losses[1].loss == pytest.approx(losses[0].loss, rel=1e-6)
    assert losses[1].accuracy == losses[0].accuracy
    for name, expected in gradients[0].items():
        error = np.abs(gradients[1][name] - expected).max()
        assert error <= 1e-4 * np.abs(expected).max(), name
        assert np.any(expected != 0), name


@pytest.mark.skipif(not torch_helpers.FULL, reason="takes minutes: tests/python/torch-full")
def test_the_paper_s_network_learns(digits, percentdelta_cluster):
    training, test = mnist(digits)
    cluster = percentdelta_cluster(paper_s_job(max_steps=200, evaluation=pd.Evaluation(200, 500)))
    summary = train(CppCnn(), LOSS, training, cluster.address, test_dataset=test)
    print("accuracy after 200 steps:", summary.progress.evaluations[-1].accuracy)
    assert summary.progress.evaluations[-1].accuracy >= 0.97
