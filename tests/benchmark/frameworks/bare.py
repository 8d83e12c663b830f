#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bare.py THREADS: PyTorch's loss and gradient of a batch, and nothing else.

For each line on standard input, the number of batches, computes them and answers with the milliseconds
that each took.
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))

import torch  # noqa: E402  (the path comes first)

from tests.benchmark.frameworks.network import BATCH, make_data, make_network  # noqa: E402


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    network, (images, labels) = make_network(), make_data()
    images, labels = images[:BATCH].clone(), labels[:BATCH].clone()
    loss = torch.nn.CrossEntropyLoss()

    def step() -> None:
        for parameter in network.parameters():
            parameter.grad = None
        loss(network(images), labels).backward()

    step()  # first, for what PyTorch allocates and compiles once
    print("ready", flush=True)
    for line in sys.stdin:
        steps = int(line)
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        print(1e3 * (time.perf_counter() - begin) / steps, flush=True)


if __name__ == "__main__":
    main()
