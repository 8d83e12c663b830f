# SPDX-License-Identifier: Apache-2.0
"""PercentDelta once more, in double precision with NumPy, written from the paper and not from the
servers' code. Shares nothing with the package but the job's fields and the test's gradients."""

import numpy as np

import helpers


def gamma(job, step):
    """Equation 10."""
    return max(job.schedule.decay.floor, 1.0 - step * job.schedule.decay.slope)


class Tensor:
    """Weights and velocity, kept in single precision from step to step."""

    def __init__(self, weights):
        self.weights = np.array(weights, np.float32)
        self.velocity = np.zeros_like(self.weights)

    def step(self, job, step, gradients):
        """Applies the mean of the slots' gradients, added in slot order."""
        g = np.zeros(self.weights.shape)
        for gradient in gradients:
            g = g + gradient.astype(np.float64)
        g = (g / len(gradients)).astype(np.float32).astype(np.float64)  # as it is kept
        w = self.weights.astype(np.float64)
        # Footnote 2: the divisor keeps its sign, and zero counts as positive.
        epsilon = job.optimizer.rule.epsilon
        ratios = np.abs(g / (w + np.where(w < 0, -epsilon, epsilon)))
        # Equation 7.
        multiplier = w.size / ratios.sum() if ratios.sum() > 0 else 0.0
        # Equation 6.
        delta = job.optimizer.learning_rate * gamma(job, step) * multiplier * g
        velocity = (job.momentum.coefficient * self.velocity.astype(np.float64)
                    + (1 - job.momentum.dampening) * delta)
        self.velocity = velocity.astype(np.float32)
        self.weights = (w - velocity).astype(np.float32)


def train(job, initial_weights):
    """{name: weights} after the job's last step."""
    tensors = {name: Tensor(weights) for name, weights in initial_weights.items()}
    for step in range(job.max_steps):
        weights = {name: tensor.weights for name, tensor in tensors.items()}
        slots = [helpers.gradient_of(weights, job, step, slot)
                 for slot in range(job.gradients_per_step)]
        for name, tensor in tensors.items():
            tensor.step(job, step, [slot[name] for slot in slots])
    return {name: tensor.weights for name, tensor in tensors.items()}


BLOCK_ENTRIES = 16384


def partition(sizes, shards):
    """Which shard owns which entries, [(tensor, begin, end, shard)] in order: the tensors, cut into
    blocks, are laid end to end and dealt to the shards in equal stretches."""
    slices = []
    shard = dealt = 0
    for tensor, size in enumerate(sizes):
        for begin in range(0, size, BLOCK_ENTRIES):
            # Shard s is full once s + 1 equal shares of the total have been dealt.
            while shard + 1 < shards and dealt * shards >= sum(sizes) * (shard + 1):
                shard += 1
            end = min(begin + BLOCK_ENTRIES, size)
            if slices and slices[-1][0] == tensor and slices[-1][3] == shard:
                slices[-1] = (tensor, slices[-1][1], end, shard)
            else:
                slices.append((tensor, begin, end, shard))
            dealt += end - begin
    return slices
