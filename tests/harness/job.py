# SPDX-License-Identifier: Apache-2.0
"""A small job and its data: the paper's network on a few random images."""

import pathlib
import random
import re
import struct

from deploy.project import JOBS

TRAINING_EXAMPLES = 1000
TEST_EXAMPLES = 100
BATCH = 20
SLOTS = 2
PIXELS = 28
LABELS = 10


def mnist_text(**fields: int) -> str:
    """Returns the built-in job, which has no checkpoints, with other values of these fields."""
    text = (JOBS / "mnist.textproto").read_text(encoding="utf-8")
    for field, value in fields.items():
        text = re.sub(rf"(?m)^{field}:.*", f"{field}: {value}", text)
    return text


def checkpoint_text(directory: pathlib.Path | str, every_steps: int = 2, keep: int = 2) -> str:
    """Returns the field of a job that asks for checkpoints."""
    return f'checkpoint {{ every_steps: {every_steps} directory: "{directory}" keep: {keep} }}\n'


def job_text(max_steps: int, checkpoints: pathlib.Path | str | None = None, every_steps: int = 10,
             keep: int = 2, seed: int = 1) -> str:
    """Returns the built-in job, made small: two gradients of 20 images a step, an evaluation every 40
    steps; with checkpoints, if a directory for them is given."""
    text = mnist_text(gradients_per_step=SLOTS, batch_size=BATCH, seed=seed, max_steps=max_steps)
    for field, value in (
            ("schedule", "linear_decay { slope: 1e-3 floor: 0.05 }"),
            ("evaluation", f"every_steps: 40 batch_size: {TEST_EXAMPLES // 2}"),
            ("data", f"training_examples: {TRAINING_EXAMPLES} test_examples: {TEST_EXAMPLES}")):
        text = re.sub(rf"(?m)^{field} \{{.*", f"{field} {{ {value} }}", text)
    if checkpoints is not None:
        text += checkpoint_text(checkpoints, every_steps, keep)
    return text


def write_data(folder: pathlib.Path) -> None:
    """Writes data in the four files of MNIST. The same in every run."""
    folder.mkdir(parents=True, exist_ok=True)
    source = random.Random(1)
    for prefix, count in (("train", TRAINING_EXAMPLES), ("t10k", TEST_EXAMPLES)):
        labels = bytes(source.randrange(LABELS) for _ in range(count))
        # Images of a label are similar, so that the network can learn.
        kinds = [source.randbytes(PIXELS * PIXELS) for _ in range(LABELS)]
        noise = [source.randrange(PIXELS * PIXELS) for _ in range(count)]
        images = b"".join(kinds[label][shift:] + kinds[label][:shift]
                          for label, shift in zip(labels, (n % 40 for n in noise)))
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(
            struct.pack(">IIII", 0x803, count, PIXELS, PIXELS) + images)
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, count) + labels)
