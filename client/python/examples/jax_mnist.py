#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A network of two dense layers on MNIST, its gradients computed by JAX.

The servers know nothing of JAX: a worker of any framework pulls NumPy arrays and pushes them. JAX
comes from PyPI: pip install jax.
"""

import argparse
import contextlib

import jax
import jax.numpy as jnp
import numpy as np

import connection
import data
import percentdelta as pd


def logits(weights, images):
    hidden = jax.nn.relu(images @ weights["dense1/weights"] + weights["dense1/biases"])
    return hidden @ weights["dense2/weights"] + weights["dense2/biases"]


def loss_and_hits(weights, images, labels):
    """The mean loss, and how many are right."""
    outputs = logits(weights, images)
    losses = -jnp.take_along_axis(jax.nn.log_softmax(outputs), labels[:, None], 1)
    return losses.mean(), (outputs.argmax(1) == labels).sum()


EVALUATE = jax.jit(loss_and_hits)
GRADIENT = jax.jit(jax.value_and_grad(loss_and_hits, has_aux=True))


def job_for(sets, steps, hidden):
    """The job: tensors with JAX's order of dimensions, and how they are trained."""
    def dense(name, inputs, outputs):
        return (pd.Tensor(f"{name}/weights", (inputs, outputs), pd.TruncatedNormal(0.1)),
                pd.Tensor(f"{name}/biases", (outputs,), pd.Constant(0.1)))

    return pd.Job(
        name="jax-mnist", model=pd.Model("jax_mnist", (*dense("dense1", 784, hidden),
                                                       *dense("dense2", hidden, 10))),
        optimizer=pd.Optimizer(0.06, pd.PercentDelta(epsilon=1e-4)),
        schedule=pd.Schedule(pd.LinearDecay(slope=1 / steps, floor=0.01)),
        momentum=pd.Momentum(0.9, dampening=0.9), max_steps=steps, seed=1,
        batch_size=min(500, len(sets["train"][0])),
        data=pd.Data(len(sets["train"][0]), len(sets["test"][0])),
        evaluation=pd.Evaluation(max(1, steps // 4), min(1000, len(sets["test"][0]))))


def work(address, sets, options):
    """Computes gradients until the training ends."""
    arithmetic = f"jax-{jax.__version__} {jax.default_backend()}"
    with pd.Worker(address, arithmetic=arithmetic, **options) as worker:
        for lease in worker:
            with lease:
                images, labels = sets["train" if lease.kind == "train" else "test"]
                images, labels = images[lease.examples].reshape(-1, 784), labels[lease.examples]
                weights = dict(lease.pull())
                if lease.kind == "train":
                    (loss, hits), gradient = GRADIENT(weights, images, labels)
                    lease.push({name: np.asarray(value) for name, value in gradient.items()})
                else:
                    loss, hits = EVALUATE(weights, images, labels)
                lease.complete(float(loss) * len(labels), int(hits))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--hidden", type=int, default=256, help="units of the hidden layer")
    parser.add_argument("--data", help="folder with MNIST's files; default: data/mnist")
    parser.add_argument("--address", help="coordinator of servers that run; default: starts two")
    connection.add_options(parser)
    arguments = parser.parse_args()
    if arguments.steps < 1 or arguments.hidden < 1:
        parser.error("--steps, --hidden: expected at least 1")
    sets = data.images("mnist", arguments.data)
    with contextlib.ExitStack() as stack:
        address = arguments.address or stack.enter_context(pd.LocalCluster(
            job_for(sets, arguments.steps, arguments.hidden), shards=2)).address
        options = connection.options(arguments)
        work(address, sets, options)
        with pd.Client(address, **options) as client:
            for point in client.progress().evaluations:
                print(f"step {point.step}: test loss {point.loss:.3f}, "
                      f"accuracy {point.accuracy:.4f}")


if __name__ == "__main__":
    main()
