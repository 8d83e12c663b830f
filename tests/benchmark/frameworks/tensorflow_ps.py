#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tensorflow_ps.py ROLE INDEX CLUSTER: TensorFlow's ParameterServerStrategy, a process of one thread.

ROLE is ps, worker or chief; CLUSTER is JSON, addresses by role. The chief reads lines, the number of
batches, has the workers compute them, asynchronously as the strategy does, and answers each line with
the milliseconds that a batch took.
"""

import json
import os
import sys
import time
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np  # noqa: E402  (the settings come first)
import tensorflow as tf  # noqa: E402

EXAMPLES = 5000
BATCH = 500
RATE = 1e-9
SHAPES = ((5, 5, 1, 32), (32,), (5, 5, 32, 64), (64,), (3136, 1024), (1024,), (1024, 10), (10,))


def loss_of(weights: Any, images: Any, labels: Any) -> Any:
    """The mean loss of the paper's network."""
    x = tf.nn.relu(tf.nn.conv2d(images, weights[0], 1, "SAME") + weights[1])
    x = tf.nn.max_pool2d(x, 2, 2, "SAME")
    x = tf.nn.relu(tf.nn.conv2d(x, weights[2], 1, "SAME") + weights[3])
    x = tf.reshape(tf.nn.max_pool2d(x, 2, 2, "SAME"), (-1, 3136))
    x = tf.nn.relu(tf.matmul(x, weights[4]) + weights[5])
    logits = tf.matmul(x, weights[6]) + weights[7]
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def make_dataset() -> Any:
    """Random images and labels, in batches, without end."""
    generator = np.random.default_rng(2)
    images = generator.random((EXAMPLES, 28, 28, 1), np.float32)
    labels = generator.integers(0, 10, EXAMPLES, np.int64)
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH).repeat().prefetch(1)


def coordinate(resolver: Any) -> None:
    """The chief's part."""
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        generator = np.random.default_rng(1)
        weights = [tf.Variable(generator.normal(0, 0.1, shape).astype(np.float32)) for shape in SHAPES]
        velocities = [tf.Variable(np.zeros(shape, np.float32)) for shape in SHAPES]

    def compute(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(weights, *batch)
        for weight, velocity, gradient in zip(weights, velocities, tape.gradient(loss, weights)):
            velocity.assign(0.9 * velocity + 0.1 * gradient)
            weight.assign_sub(RATE * velocity)
        return loss

    @tf.function
    def step(iterator: Any) -> Any:
        return strategy.run(compute, args=(next(iterator),))

    batches = iter(coordinator.create_per_worker_dataset(make_dataset))

    def run(count: int) -> None:
        for _ in range(count):
            coordinator.schedule(step, args=(batches,))
        coordinator.join()

    run(4)  # first, for what TensorFlow traces once
    print("ready", flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        run(int(line))
        print(1e3 * (time.perf_counter() - begin) / int(line), flush=True)


def main() -> None:
    role, index, cluster = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)  # one waits for the other process
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster), rpc_layer="grpc", task_type=role, task_id=index)
    if role == "chief":
        coordinate(resolver)
        return
    server = tf.distribute.Server(resolver.cluster_spec(), job_name=role, task_index=index,
                                  protocol="grpc")
    server.join()


if __name__ == "__main__":
    main()
