#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ddp.py RANK PROCESSES FILE: PyTorch's DistributedDataParallel with gloo, a process of one thread.

FILE, which must not exist, is where the processes find each other. Rank 0 reads lines, the number of
steps, and answers each with the milliseconds that a step took; the others follow it.
"""

import datetime
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))

import torch  # noqa: E402  (the path comes first)
import torch.distributed as dist  # noqa: E402

from tests.benchmark.frameworks.network import (  # noqa: E402
    BATCH, EXAMPLES, RATE, make_data, make_network)

PATIENCE = datetime.timedelta(hours=2)


def main() -> None:
    rank, processes = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[3]}", rank=rank,
                            world_size=processes, timeout=PATIENCE)
    network = torch.nn.parallel.DistributedDataParallel(make_network())
    optimizer = torch.optim.SGD(network.parameters(), RATE, momentum=0.9, dampening=0.9)
    loss = torch.nn.CrossEntropyLoss()
    images, labels = make_data()
    done = 0

    def run(steps: int) -> None:
        nonlocal done
        for _ in range(steps):
            first = (done * processes + rank) * BATCH % EXAMPLES
            done += 1
            optimizer.zero_grad(set_to_none=True)
            loss(network(images[first:first + BATCH]), labels[first:first + BATCH]).backward()
            optimizer.step()

    run(1)  # first, for what PyTorch allocates and compiles once
    wanted = torch.zeros(1, dtype=torch.int64)
    if rank == 0:
        print("ready", flush=True)
    while True:
        if rank == 0:
            wanted[0] = int(sys.stdin.readline() or 0)
        dist.broadcast(wanted, 0)
        if wanted[0] == 0:
            return
        begin = time.perf_counter()
        run(int(wanted[0]))
        if rank == 0:
            print(1e3 * (time.perf_counter() - begin) / int(wanted[0]), flush=True)


if __name__ == "__main__":
    main()
