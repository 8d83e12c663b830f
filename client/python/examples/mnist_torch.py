#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The paper's convolutional network on MNIST, in PyTorch.

By default it starts two servers on this machine and trains on them. To train on several machines,
write the job, start a server on each with it (docs/running.md), and then a worker on each:

    mnist_torch.py --write-job=mnist
    mnist_torch.py --address=first:5000
"""

import pathlib

import torch

import common
import connection
import data
import models
import percentdelta as pd
import percentdelta.torch


def dataset(images: data.Images) -> torch.utils.data.TensorDataset:
    pixels, labels = (torch.from_numpy(part) for part in images)
    return torch.utils.data.TensorDataset(pixels[:, None], labels)


def main() -> None:
    parser = common.parser(__doc__, steps=200, batch_size=500)
    parser.add_argument("--data", help="folder with MNIST's files; default: data/mnist")
    arguments = parser.parse_args()
    common.prepare(arguments)
    sets = data.images("mnist", arguments.data)
    train_set, test_set = dataset(sets["train"]), dataset(sets["test"])
    module = models.MnistCnn()

    def make_job(folder: pathlib.Path) -> pd.Job:
        return percentdelta.torch.job_for(
            module, train_set, test_set, name="mnist-torch",
            weights_file=folder / "mnist-torch.safetensors",
            optimizer=pd.Optimizer(0.06, pd.PercentDelta(epsilon=1e-4)),
            schedule=pd.Schedule(pd.LinearDecay(slope=1 / arguments.steps, floor=0.01)),
            momentum=pd.Momentum(0.9, dampening=0.9),
            batch_size=arguments.batch_size, max_steps=arguments.steps, seed=arguments.seed,
            evaluation=pd.Evaluation(max(1, arguments.steps // 4), min(500, len(test_set))))

    with common.servers(arguments, make_job) as address:
        summary = percentdelta.torch.train(
            module, torch.nn.CrossEntropyLoss(), train_set, address, test_dataset=test_set,
            device=arguments.device, **connection.options(arguments))
    common.report(summary, module)


if __name__ == "__main__":
    main()
