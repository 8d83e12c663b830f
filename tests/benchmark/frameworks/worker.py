#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""worker.py ADDRESS THREADS [shared_memory|connection]: a PyTorch worker, as a user writes it.

worker.py --job SLOTS FILE prints the job that it works for, and writes its initial weights to FILE.
"""

import dataclasses
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "client/python/src"))

import torch  # noqa: E402  (the path comes first)

import percentdelta as pd  # noqa: E402
import percentdelta.torch  # noqa: E402
from tests.benchmark.frameworks.network import (  # noqa: E402
    BATCH, EXAMPLES, RATE, make_data, make_network)


def make_job(slots: int, weights_file: str) -> pd.Job:
    """Returns a job without end, of deploy/jobs/mnist.textproto's rule and momentum."""
    job = percentdelta.torch.job_for(
        make_network(), name="benchmark", optimizer=pd.Optimizer(RATE, pd.PercentDelta(epsilon=1e-4)),
        momentum=pd.Momentum(0.9, 0.9), batch_size=BATCH, max_steps=1 << 30, seed=1,
        data=pd.Data(EXAMPLES), weights_file=weights_file)
    return dataclasses.replace(job, gradients_per_step=slots)


def main() -> None:
    if sys.argv[1] == "--job":
        print(make_job(int(sys.argv[2]), sys.argv[3]).to_text())
        return
    torch.set_num_threads(int(sys.argv[2]))
    percentdelta.torch.train(
        make_network(), torch.nn.CrossEntropyLoss(), torch.utils.data.TensorDataset(*make_data()),
        sys.argv[1], progress=False, shared_memory=sys.argv[3] == "shared_memory")


if __name__ == "__main__":
    main()
