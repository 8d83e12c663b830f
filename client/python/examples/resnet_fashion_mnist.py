#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small ResNet with batch normalization on Fashion-MNIST, whose images are flipped and shifted.

The running means and variances of the batch normalizations are buffers of the job: the servers
average what the workers saw. The flips and shifts follow from the job's seed, the step and the
image, so that the weights are the same for any number of workers. The data are Debian's:
deploy/install-packages fashion-mnist.
"""

import pathlib
from typing import Any, Tuple

import torch
from torch.nn import functional

import common
import connection
import data
import models
import percentdelta as pd
import percentdelta.torch

SHIFT = 2  # pixels, in each direction at most


class Images(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Images of mean 0 and deviation 1; if `augmented`, as it comes flipped and shifted."""

    def __init__(self, images: data.Images, augmented: bool) -> None:
        pixels, labels = (torch.from_numpy(part) for part in images)
        self._pixels = (pixels[:, None] - 0.286) / 0.353  # of the training set
        self._labels = labels
        self._augmented = augmented

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Tuple[Any, Any]:
        image = self._pixels[index]
        if self._augmented:
            # PyTorch's generator has been seeded for this example.
            x, y, flip = (int(n) for n in torch.randint(2 * SHIFT + 1, (3,)))
            size = image.shape[-1]
            padded = functional.pad(image, (SHIFT,) * 4, value=float(image.min()))
            image = padded[:, y:y + size, x:x + size]
            if flip % 2 == 1:
                image = image.flip(2)
        return image, self._labels[index]


def main() -> None:
    parser = common.parser(__doc__, steps=400, batch_size=128)
    parser.add_argument("--data", help="folder with Fashion-MNIST's files; default: Debian's")
    parser.add_argument("--blocks", type=common.positive, default=1,
                        help="in each stage; default: 1")
    parser.add_argument("--num-workers", type=int, default=0,
                        help="processes that load images; default: none")
    arguments = parser.parse_args()
    common.prepare(arguments)
    sets = data.images("fashion-mnist", arguments.data)
    train_set, test_set = Images(sets["train"], augmented=True), Images(sets["test"], False)
    module = models.ResNet(blocks=arguments.blocks)

    def make_job(folder: pathlib.Path) -> pd.Job:
        return percentdelta.torch.job_for(
            module, train_set, test_set, name="resnet-fashion-mnist",
            weights_file=folder / "resnet-fashion-mnist.safetensors",
            optimizer=pd.Optimizer(0.1, pd.PercentDelta(epsilon=1e-2)),
            schedule=pd.Schedule(pd.Cosine(arguments.steps, floor=0.01)),
            momentum=pd.Momentum(0.9, dampening=0.9),
            batch_size=arguments.batch_size, max_steps=arguments.steps, seed=arguments.seed,
            evaluation=pd.Evaluation(max(1, arguments.steps // 4), min(500, len(test_set))))

    with common.servers(arguments, make_job) as address:
        summary = percentdelta.torch.train(
            module, torch.nn.CrossEntropyLoss(), train_set, address, test_dataset=test_set,
            device=arguments.device, num_workers=arguments.num_workers,
            **connection.options(arguments))
    common.report(summary, module)


if __name__ == "__main__":
    main()
