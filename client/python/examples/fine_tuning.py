#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning: learns the digits 5 to 9 from a few examples, from weights that know 0 to 4.

The weights come from a safetensors file: every server of the job reads its own part of it. Without
--weights, the example first trains the network on the digits 0 to 4 and makes the file. Then it
trains on the few examples twice, from the file and from random weights, and compares.
"""

import argparse
import dataclasses
import pathlib
import tempfile
from typing import Optional

import torch

import common
import connection
import data
import models
import percentdelta as pd
import percentdelta.torch


def digits(images: data.Images, first: int, most: int = 1 << 40) -> torch.utils.data.TensorDataset:
    """Five digits from `first` on, which get the labels 0 to 4; `most` examples of them."""
    pixels, labels = images
    chosen = ((labels >= first) & (labels < first + 5)).nonzero()[0][:most]
    return torch.utils.data.TensorDataset(torch.from_numpy(pixels[chosen][:, None]),
                                          torch.from_numpy(labels[chosen] - first))


def train(arguments: argparse.Namespace, name: str, train_set: torch.utils.data.TensorDataset,
          test_set: torch.utils.data.TensorDataset, steps: int,
          weights: Optional[str] = None) -> models.MnistCnn:
    """Trains a network on servers, from the file `weights` if it is given, and prints how good it
    is."""
    common.prepare(arguments)
    module = models.MnistCnn(classes=5)
    if arguments.freeze and (weights or arguments.address):
        for layer in (module.conv1, module.conv2):
            layer.requires_grad_(False)

    def make_job(folder: pathlib.Path) -> pd.Job:
        # Of job_for's job, which begins with the module's own values.
        job = percentdelta.torch.job_for(
            module, train_set, test_set, name=name, weights_file=folder / f"{name}.safetensors",
            optimizer=pd.Optimizer(0.03, pd.PercentDelta(epsilon=1e-3)),
            schedule=pd.Schedule(pd.LinearDecay(slope=1 / steps, floor=0.01)),
            momentum=pd.Momentum(0.9, dampening=0.9), seed=arguments.seed,
            batch_size=min(arguments.batch_size, len(train_set)), max_steps=steps,
            evaluation=pd.Evaluation(steps, min(500, len(test_set))),
            frozen_in_job=True)  # the servers have them from the file, the workers from the servers
        if weights:
            job = dataclasses.replace(job, initial_weights=pd.InitialWeights.of(weights))
        return job

    print(f"{name}: {len(train_set)} examples")
    with common.servers(arguments, make_job) as address:
        summary = percentdelta.torch.train(module, torch.nn.CrossEntropyLoss(), train_set, address,
                                           test_dataset=test_set, device=arguments.device,
                                           **connection.options(arguments))
    common.report(summary)
    return module


def main() -> None:
    parser = common.parser(__doc__, steps=60, batch_size=50)
    parser.add_argument("--data", help="folder with MNIST's files; default: data/mnist")
    parser.add_argument("--weights", metavar="FILE", help="weights to begin with: tensors named as "
                        "the job's; made if there is no such file")
    parser.add_argument("--examples", type=common.positive, default=250,
                        help="to fine-tune on; default: 250")
    parser.add_argument("--freeze", action="store_true", help="train only the dense layers")
    parser.add_argument("--first-steps", type=common.positive, default=100,
                        help="of the training that makes the file; default: 100")
    arguments = parser.parse_args()
    sets = data.images("mnist", arguments.data)
    few, test_set = digits(sets["train"], 5, arguments.examples), digits(sets["test"], 5)
    if arguments.address:
        train(arguments, "fine-tuning", few, test_set, arguments.steps)
        return
    with tempfile.TemporaryDirectory(prefix="percentdelta-") as folder:
        weights = arguments.weights or str(
            pathlib.Path(arguments.write_job or folder).absolute() / "digits-0-4.safetensors")
        if not pathlib.Path(weights).exists():
            own = argparse.Namespace(**{**vars(arguments), "write_job": None})
            module = train(own, "digits-0-4", digits(sets["train"], 0), digits(sets["test"], 0),
                           arguments.first_steps)
            pathlib.Path(weights).parent.mkdir(parents=True, exist_ok=True)
            made = percentdelta.torch.save_weights(module, weights)
            print(f"wrote {made.file}, SHA-256 {made.sha256}")
        train(arguments, "fine-tuning", few, test_set, arguments.steps, weights)
        train(arguments, "from-random-weights", few, test_set, arguments.steps)


if __name__ == "__main__":
    main()
