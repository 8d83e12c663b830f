# SPDX-License-Identifier: Apache-2.0
"""The paper's network in PyTorch, and the data of all comparisons with PyTorch.

Only programs import this: it needs torch.
"""

import torch
from torch import nn

EXAMPLES = 5000
BATCH = 500
RATE = 1e-9  # the weights hardly change: a trained network would be cheaper to compute


def make_network() -> nn.Module:
    """Returns the network of deploy/jobs/mnist.textproto, with the same weights in each process."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 1024), nn.ReLU(), nn.Linear(1024, 10))


def make_data() -> tuple[torch.Tensor, torch.Tensor]:
    """Returns images and labels, the same in each process."""
    generator = torch.Generator().manual_seed(2)
    return (torch.rand(EXAMPLES, 1, 28, 28, generator=generator),
            torch.randint(0, 10, (EXAMPLES,), generator=generator))
