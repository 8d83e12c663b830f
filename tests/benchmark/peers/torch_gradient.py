#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's forward and backward pass of the paper's network over a batch of 500.

A peer of the benchmarks (peer.h): for every line on standard input it computes one gradient and
answers with a line, the milliseconds it took. The argument is the number of threads.
"""

import sys
import time

import torch
from torch import nn


class Network(nn.Module):
    """As deploy/jobs/mnist.textproto: two convolutions with max-pooling, two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(3136, 1024), nn.ReLU(), nn.Linear(1024, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(1)
    network = Network()
    images = torch.rand(500, 1, 28, 28)
    labels = torch.randint(0, 10, (500,))
    loss = nn.CrossEntropyLoss()

    def gradient() -> None:
        for parameter in network.parameters():
            parameter.grad = None
        loss(network(images), labels).backward()

    gradient()  # first, for what PyTorch allocates and compiles once
    for _ in sys.stdin:
        begin = time.perf_counter()
        gradient()
        print(1e3 * (time.perf_counter() - begin), flush=True)


if __name__ == "__main__":
    main()
