# SPDX-License-Identifier: Apache-2.0
"""Each example runs, on small data made here."""

import os
import re
import subprocess
import sys

import numpy as np

import helpers


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def make_digits(folder, prefix, count, generator, prototypes):
    """Ten classes of noisy images: as MNIST's files."""
    labels = generator.integers(0, 10, count)
    images = np.clip(prototypes[labels] + generator.normal(0, 20, (count, 28, 28)), 0, 255)
    write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
    write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)


def test_softmax_regression(tmp_path):
    example = helpers.ROOT / "client/python/examples/softmax_mnist.py"
    assert len(example.read_text(encoding="utf-8").splitlines()) < 50
    generator = np.random.default_rng(1)
    prototypes = generator.integers(0, 256, (10, 28, 28))
    make_digits(tmp_path, "train", 1000, generator, prototypes)
    make_digits(tmp_path, "t10k", 1000, generator, prototypes)
    program = f"import softmax_mnist; softmax_mnist.main({str(tmp_path)!r}, steps=20)"
    path = os.pathsep.join(filter(None, [str(example.parent), os.environ.get("PYTHONPATH", "")]))
    result = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True,
                            check=False, timeout=60, env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == 0, result.stderr
    accuracies = re.findall(r"^step (\d+): loss .*, accuracy ([0-9.]+)$", result.stdout, re.M)
    assert [int(step) for step, _ in accuracies] == [0, 5, 10, 15, 20]
    assert float(accuracies[-1][1]) > 0.9 > float(accuracies[0][1])
