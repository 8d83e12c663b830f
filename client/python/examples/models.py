# SPDX-License-Identifier: Apache-2.0
"""The PyTorch models of the examples. Each is small by its arguments' defaults or can be made so.

No parameter starts at zero: PercentDelta changes a tensor by a fraction of its value, and one of
zeros by next to nothing.
"""

import math
from typing import Sequence, Tuple

import torch
from torch import nn
from torch.nn import functional


class MnistCnn(nn.Module):
    """The paper's network, which is that of TensorFlow's MNIST tutorial: two convolutions with
    max-pooling and two dense layers. Images [n, 1, 28, 28] to logits [n, classes]."""

    def __init__(self, channels: Tuple[int, int] = (32, 64), hidden: int = 1024,
                 classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels[0], 5, padding=2)
        self.conv2 = nn.Conv2d(channels[0], channels[1], 5, padding=2)
        self.fc1 = nn.Linear(channels[1] * 7 * 7, hidden)
        self.fc2 = nn.Linear(hidden, classes)
        for layer in (self.conv1, self.conv2, self.fc1, self.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
            nn.init.constant_(layer.bias, 0.1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        return self.fc2(functional.relu(self.fc1(x.flatten(1))))


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalization, and a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs and stride == 1 else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """He et al., "Deep residual learning for image recognition", 2016, section 4.2: a convolution,
    a stage of `blocks` blocks for each of `widths`, each but the first at half the resolution, and
    a dense layer. Images [n, 1, h, w] to logits [n, classes]."""

    def __init__(self, widths: Sequence[int] = (16, 32, 64), blocks: int = 1,
                 classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        inputs, stages = widths[0], []
        for width in widths:
            for block in range(blocks):
                stages.append(Block(inputs, width, 2 if stages and block == 0 else 1))
                inputs = width
        self.blocks = nn.Sequential(*stages)
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.bias, 0.1)
        nn.init.constant_(self.fc.bias, 0.1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.blocks(functional.relu(self.norm(self.conv(images))))
        return self.fc(x.mean((2, 3)))


class Norm(nn.Module):
    """Layer normalization with a gain and without a bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, self.gain.shape, self.gain)


class Attention(nn.Module):
    """Causal self-attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        query, key, value = self.query_key_value(x).view(
            batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(2, 3) / math.sqrt(width // self.heads)
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(3)
        return self.out((weights @ value).transpose(1, 2).reshape(batch, length, width))


class TransformerBlock(nn.Module):
    """Attention and a layer of four times the width, each with a way around it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = Norm(width)
        self.attention = Attention(width, heads)
        self.norm2 = Norm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Predicts each next character of a text. Character numbers [n, length <= context] to logits
    [n, length, characters]. Without biases, as many newer language models. `deviation` is that
    of the initial weights."""

    def __init__(self, characters: int, context: int = 64, width: int = 64, heads: int = 4,
                 layers: int = 4, deviation: float = 0.1) -> None:
        super().__init__()
        self.characters = nn.Embedding(characters, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(layers)))
        self.norm = Norm(width)
        self.out = nn.Linear(width, characters, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=deviation)
            # Radford et al., 2019: what is added to the stream keeps its variance with depth.
            if name.endswith(("attention.out.weight", "down.weight")):
                nn.init.normal_(parameter, std=deviation / math.sqrt(2 * layers))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(text.shape[1], device=text.device)
        x = self.characters(text) + self.positions(positions)
        return self.out(self.norm(self.blocks(x)))
