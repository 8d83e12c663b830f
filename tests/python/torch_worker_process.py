# SPDX-License-Identifier: Apache-2.0
"""A worker for PyTorch as a process, for test_torch_reproducible.py: for each line NAME ADDRESS
HANG_AT NUM_WORKERS SHARED_MEMORY it trains torch_helpers.make(NAME), and prints "finished" with the
summary's checksum and the number of gradients. At step HANG_AT it prints "hangs" and waits for a
line."""

import sys

import torch_helpers
from percentdelta.torch import train

torch = torch_helpers.torch


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for line in sys.stdin:
        name, address, hang_at, num_workers, shared_memory = line.split()
        module, loss, dataset, _ = torch_helpers.make(name)
        seen = []

        def hanging(output, target, loss=loss, seen=seen, hang_at=int(hang_at)):
            seen.append(1)
            if len(seen) - 1 == hang_at:
                print("hangs", flush=True)
                sys.stdin.readline()
            return loss(output, target)

        summary = train(module, hanging, dataset, address, progress=False,
                        num_workers=int(num_workers), shared_memory=shared_memory == "True")
        print("finished", summary.checksum, summary.gradients, flush=True)


if __name__ == "__main__":
    main()
