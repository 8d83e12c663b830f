# SPDX-License-Identifier: Apache-2.0
"""The files of checkpoints: lists them, and damages them."""

import pathlib
import random
import re

MANIFEST = "manifest.json"
TEMPORARY_MARK = ".tmp-"

Damage = tuple[pathlib.Path, str]  # what was damaged, and how


def whole_checkpoints(directory: pathlib.Path) -> dict[int, pathlib.Path]:
    """Returns the checkpoints with a manifest, which is written last: {step: path}, ascending."""
    found: dict[int, pathlib.Path] = {}
    for path in pathlib.Path(directory).glob("step-*"):
        step = re.fullmatch(r"step-(\d+)", path.name)
        if step and (path / MANIFEST).exists():
            found[int(step.group(1))] = path
    return dict(sorted(found.items()))


def temporary_files(directory: pathlib.Path) -> list[str]:
    """Returns the temporary files that writers have left."""
    return sorted(str(path) for path in pathlib.Path(directory).rglob(f"*{TEMPORARY_MARK}*"))


def files_of(checkpoint: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of a checkpoint, by name."""
    return sorted(path for path in checkpoint.iterdir() if path.is_file())


def truncate(checkpoint: pathlib.Path, source: random.Random) -> Damage:
    """Truncates a file at a random byte."""
    path = source.choice([path for path in files_of(checkpoint) if path.stat().st_size])
    size = path.stat().st_size
    kept = source.randrange(size)
    with path.open("r+b") as file:
        file.truncate(kept)
    return path, f"{path.name}: {kept} of {size} bytes"


def flip(checkpoint: pathlib.Path, source: random.Random) -> Damage:
    """Flips a random bit of a file."""
    path = source.choice([path for path in files_of(checkpoint) if path.stat().st_size])
    offset, bit = source.randrange(path.stat().st_size), source.randrange(8)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))
    return path, f"{path.name}: bit {bit} of byte {offset}"


def empty(checkpoint: pathlib.Path, source: random.Random) -> Damage:
    """Empties a file."""
    path = source.choice(files_of(checkpoint))
    path.write_bytes(b"")
    return path, path.name


def remove(checkpoint: pathlib.Path, source: random.Random) -> Damage:
    """Removes a file."""
    path = source.choice(files_of(checkpoint))
    path.unlink()
    return path, path.name


def swap(checkpoint: pathlib.Path, source: random.Random) -> Damage:
    """Swaps the names of two shards' files."""
    first, second = source.sample(sorted(checkpoint.glob("shard-*.safetensors")), 2)
    aside = checkpoint / "aside"
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    return first, f"{first.name} and {second.name}"


def leave_over(checkpoint: pathlib.Path, source: random.Random) -> Damage:
    """Makes the files of a writer that died while it wrote the next checkpoint."""
    step = int(checkpoint.name.removeprefix("step-"))
    following = checkpoint.with_name(f"step-{step + 1:010d}")
    following.mkdir()
    bytes_ = source.randbytes(source.randrange(100000))
    for path in (following / f"shard-00000-of-00002.safetensors{TEMPORARY_MARK}1-0",
                 following / "shard-00001-of-00002.safetensors",
                 checkpoint.with_name(f"cluster.json{TEMPORARY_MARK}1-1")):
        path.write_bytes(bytes_)
    return following, f"{following.name} without a manifest, temporary files"
