# SPDX-License-Identifier: Apache-2.0
"""Random images in MNIST's format, for the C++ workers."""

import pathlib
import random
import struct

EXAMPLES = 5000
SIZE = 28
BYTES, IMAGES, LABELS = 8, 3, 1  # of the format's first four bytes


def write(folder: pathlib.Path) -> None:
    """Fills a folder, which is made."""
    folder.mkdir()
    generator = random.Random(2)
    for kind in ("train", "t10k"):
        images = struct.pack(">BBBBIII", 0, 0, BYTES, IMAGES, EXAMPLES, SIZE, SIZE)
        (folder / f"{kind}-images-idx3-ubyte").write_bytes(
            images + generator.randbytes(EXAMPLES * SIZE * SIZE))
        labels = struct.pack(">BBBBI", 0, 0, BYTES, LABELS, EXAMPLES)
        (folder / f"{kind}-labels-idx1-ubyte").write_bytes(
            labels + bytes(generator.randrange(10) for _ in range(EXAMPLES)))
