# SPDX-License-Identifier: Apache-2.0
"""What the tests share: small jobs, gradients that are a function of (weights, step, slot), workers
in threads."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np

import percentdelta as pd
from percentdelta.batches import gradient_key

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent

# Of several blocks, of one, of less, a scalar, of odd lengths.
SHAPES = {"conv/weights": (3, 3, 1, 5), "conv/biases": (5,), "dense/weights": (301, 199),
          "dense/biases": (199,), "scale": (), "out/weights": (199, 7), "out/biases": (7,)}


def small_job(**changes):
    """A job of SHAPES that is trained in no time."""
    job = pd.Job(
        name="small",
        model=pd.Model("python", tuple(
            pd.Tensor(name, shape, pd.TruncatedNormal(0.1) if len(shape) > 1 else pd.Constant(0.1))
            for name, shape in SHAPES.items())),
        optimizer=pd.Optimizer(0.03, pd.PercentDelta(epsilon=1e-3)),
        schedule=pd.Schedule(pd.LinearDecay(slope=0.02, floor=0.1)),
        momentum=pd.Momentum(0.9, 0.9),
        gradients_per_step=3, max_steps=8, batch_size=10, seed=7,
        data=pd.Data(training_examples=100, test_examples=20))
    return dataclasses.replace(job, **changes)


def gradient_of(weights, job, step, slot):
    """{name: float32 gradient}: random, and dependent on the weights, with the same bits
    everywhere."""
    stream = pd.RandomStream(gradient_key(job.seed, step, slot), 0)
    gradients = {}
    for tensor in job.model.tensors:
        noise = stream.uniforms(tensor.size).reshape(tensor.shape) - 0.4
        gradients[tensor.name] = (noise + 0.5 * weights[tensor.name].astype(np.float64)).astype(
            np.float32)
    return gradients


def work(lease):
    """Does a lease of any kind."""
    weights = lease.pull()
    if lease.kind == "evaluate":
        weights.wait()
        lease.complete(loss_sum=float(len(lease.examples)), correct=1)
        return
    lease.push(gradient_of(weights, lease.job, lease.step, lease.slot))
    lease.complete(loss_sum=0.5 * len(lease.examples))


def work_until(worker, step):
    """Does leases up to the first one of this step, which is returned."""
    for lease in worker:
        if lease.step == step:
            return lease
        work(lease)
    raise AssertionError(f"expected a lease of step {step}, got the end of the training")


def train(address, workers=1, do=work, **options):
    """Runs workers in threads, which `do` each lease, until the training ends; raises what a worker
    raised."""
    errors = []

    def run(name):
        try:
            with pd.Worker(address, name=name, **options) as worker:
                for lease in worker:
                    with lease:
                        do(lease)
        except Exception as error:  # for the test's thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(f"worker-{i}",)) for i in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a worker did not end"
    if errors:
        raise errors[0]


@contextlib.contextmanager
def worker_process(address, *arguments):
    """worker_process.py as a process, whose output is a pipe; killed at the end."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
    with subprocess.Popen(
            [sys.executable, "-B", str(HERE / "worker_process.py"), address, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path}) as process:
        try:
            yield process
        finally:
            process.kill()


def await_line(process, wanted):
    """Reads the output up to a line that begins with `wanted`."""
    for line in process.stdout:
        if line.startswith(wanted):
            return line
    raise AssertionError(f"expected a line {wanted!r}, got the end of the output")
