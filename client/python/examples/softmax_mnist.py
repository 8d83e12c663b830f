# SPDX-License-Identifier: Apache-2.0
"""Softmax regression on MNIST in NumPy: softmax_mnist.py FOLDER (deploy/fetch-data fills one)."""

import gzip
import pathlib
import sys

import numpy as np
import percentdelta as pd


def load(folder, name):
    """An IDX file, gzipped or not, as an array."""
    path = next(pathlib.Path(folder).glob(f"{name}*"))
    data = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(
        np.frombuffer(data, ">i4", data[3], 4))


def main(folder, steps=200):
    sets = {kind: (load(folder, f"{name}-images").reshape(-1, 784), load(folder, f"{name}-labels"))
            for kind, name in (("train", "train"), ("evaluate", "t10k"))}
    job = pd.Job(
        name="softmax", max_steps=steps, batch_size=500, seed=1,
        model=pd.Model("softmax", (pd.Tensor("dense/weights", (784, 10), pd.TruncatedNormal(0.1)),
                                   pd.Tensor("dense/biases", (10,), pd.Constant(0.1)))),
        optimizer=pd.Optimizer(0.1, pd.PercentDelta(epsilon=1e-2)), momentum=pd.Momentum(0.9, 0.9),
        data=pd.Data(len(sets["train"][0]), len(sets["evaluate"][0])),
        evaluation=pd.Evaluation(every_steps=max(1, steps // 4), batch_size=1000))
    with pd.LocalCluster(job, shards=2) as cluster, pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                x, y = (part[lease.examples] for part in sets[lease.kind])
                weights, x = lease.pull(), x / np.float32(255)
                logits = x @ weights["dense/weights"] + weights["dense/biases"]
                p = np.exp(logits - logits.max(1, keepdims=True))
                p /= p.sum(1, keepdims=True)
                own = np.arange(len(y)), y
                loss, correct = -np.log(p[own]).sum(), int((p.argmax(1) == y).sum())
                if lease.kind == "train":
                    p[own] -= 1
                    lease.push({"dense/weights": x.T @ p / len(y), "dense/biases": p.mean(0)})
                lease.complete(loss, correct)
        for point in cluster.client().progress().evaluations:
            print(f"step {point.step}: loss {point.loss:.3f}, accuracy {point.accuracy:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
