# SPDX-License-Identifier: Apache-2.0
"""The data of the examples: MNIST's format and a text, both from files that are on the machine."""

import gzip
import pathlib
import re
import subprocess
from typing import Dict, Optional, Tuple

import numpy as np

_ROOT = pathlib.Path(__file__).resolve().parents[3]

# Where each data set is, and how it gets there.
_FOLDERS = {
    "mnist": (_ROOT / "data/mnist", "deploy/fetch-data"),
    "fashion-mnist": (pathlib.Path("/usr/share/datasets/fashion-mnist"),
                      "deploy/install-packages fashion-mnist"),
}

Images = Tuple[np.ndarray, np.ndarray]


def read_idx(folder: pathlib.Path, name: str) -> np.ndarray:
    """One of MNIST's files, gzipped or not."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
                data = file.read()
            shape = np.frombuffer(data, ">i4", data[3], 4)
            return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
    raise FileNotFoundError(f"no {name} or {name}.gz in {folder}")


def images(name: str, folder: Optional[str] = None) -> Dict[str, Images]:
    """A data set in MNIST's format, "mnist" or "fashion-mnist": {"train": ..., "test": ...}, each
    (images [n, 28, 28], float32 in 0..1; labels [n], int64). Ends the program, saying how to get
    the files, where there are none."""
    default, how = _FOLDERS[name]
    path = pathlib.Path(folder) if folder else default
    try:
        return {kind: (read_idx(path, f"{prefix}-images-idx3-ubyte") / np.float32(255),
                       read_idx(path, f"{prefix}-labels-idx1-ubyte").astype(np.int64))
                for kind, prefix in (("train", "train"), ("test", "t10k"))}
    except FileNotFoundError as error:
        raise SystemExit(f"{error}: get {name} with `{how}`, or name its folder with "
                         "--data") from None


def text(path: Optional[str] = None) -> str:
    """The file's text; without one, the King James Bible of Debian's package bible-kjv, 4.1 million
    characters, a verse a line. Ends the program, saying how to install it, where it is missing."""
    if path:
        return pathlib.Path(path).read_text(encoding="utf-8")
    try:
        verses = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], check=True, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
    except FileNotFoundError:
        raise SystemExit("no program `bible`: install it and its text with `deploy/install-packages"
                         " bible`, or name a text file with --text") from None
    return re.sub(r"^\S+ ", "", verses, flags=re.MULTILINE)  # without "Ge1:1 "
