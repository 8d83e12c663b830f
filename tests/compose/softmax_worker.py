# SPDX-License-Identifier: Apache-2.0
"""softmax_worker.py ADDRESS FOLDER: softmax regression on MNIST, as a user's script for worker-python.

Its job is softmax.textproto.
"""

import pathlib
import sys
from typing import Any

import numpy as np

import percentdelta as pd


def load(path: pathlib.Path) -> Any:
    """An IDX file as an array."""
    data = path.read_bytes()
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(
        np.frombuffer(data, ">i4", data[3], 4))


def main() -> None:
    folder = pathlib.Path(sys.argv[2])
    images = load(folder / "train-images-idx3-ubyte").reshape(-1, 784)
    labels = load(folder / "train-labels-idx1-ubyte")
    with pd.Worker(sys.argv[1], tls_ca="/tls/ca.pem", tls_cert="/tls/cert.pem",
                   tls_key="/tls/key.pem") as worker:
        for lease in worker:
            with lease:
                x, y = images[lease.examples] / np.float32(255), labels[lease.examples]
                weights = lease.pull()
                logits = x @ weights["dense/weights"] + weights["dense/biases"]
                p = np.exp(logits - logits.max(1, keepdims=True))
                p /= p.sum(1, keepdims=True)
                own = np.arange(len(y)), y
                loss, correct = -np.log(p[own]).sum(), int((p.argmax(1) == y).sum())
                p[own] -= 1
                lease.push({"dense/weights": x.T @ p / len(y), "dense/biases": p.mean(0)})
                lease.complete(float(loss), correct)


if __name__ == "__main__":
    main()
