# SPDX-License-Identifier: Apache-2.0
"""A worker as a process: trains a job of helpers.small_job's kind.

    python3 worker_process.py ADDRESS [--hang-at STEP]

--hang-at: with a lease of this step in hand, or of a later one, and its first gradient pushed, says
"hangs" and waits for a line on standard input.
"""

import logging
import sys

import helpers
import percentdelta as pd


def main():
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    address = sys.argv[1]
    hang_at = int(sys.argv[3]) if sys.argv[2:3] == ["--hang-at"] else None
    with pd.Worker(address, give_up_after=30) as worker:
        for lease in worker:
            with lease:
                if lease.kind == "train" and hang_at is not None and lease.step >= hang_at:
                    hang_at = None
                    gradients = helpers.gradient_of(lease.pull(), lease.job, lease.step, lease.slot)
                    lease.push("out/biases", gradients["out/biases"])
                    print("hangs", lease.step, lease.slot, flush=True)
                    sys.stdin.readline()
                    del gradients["out/biases"]
                    lease.push(gradients)
                    lease.complete(1.0)
                else:
                    helpers.work(lease)
    print("ended", flush=True)


if __name__ == "__main__":
    main()
