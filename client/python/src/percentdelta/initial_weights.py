# SPDX-License-Identifier: Apache-2.0
"""The file that Job.initial_weights names: a safetensors file with the weights of step 0.

    weights = percentdelta.initial_weights.save("start.safetensors", {"dense/weights": array})
    job = percentdelta.Job(..., initial_weights=weights)

Needs no other package. The servers also read files of other programs (Hugging Face's safetensors,
PyTorch, JAX): InitialWeights.of(path).
"""

import contextlib
import hashlib
import itertools
import json
import os
import struct
from typing import Any, Dict, Iterator, List, Mapping, Tuple, Union

import numpy as np

from percentdelta._text import escape_for_log, quoted
from percentdelta.errors import JobError
from percentdelta.job import InitialWeights

Path = Union[str, "os.PathLike[str]"]
_PIECE_BYTES = 1 << 20
_ALIGNMENT = 8
_RESERVED = "__metadata__"
_numbers = itertools.count()


def save(path: Path, arrays: Mapping[str, Any]) -> InitialWeights:
    """Writes the arrays (of real floating-point numbers, or what NumPy makes such an array of) as
    float32, in their order, and returns what a Job takes: the file's absolute path and its hash.

    After a crash either the old file or the whole new one exists. Raises JobError, which names the
    tensor, for names and values that no server would take, or the path, if it cannot be written."""
    tensors = [(name, _as_float32(name, array)) for name, array in arrays.items()]
    if not tensors:
        raise JobError("initial weights: expected at least one tensor, got none")
    target = os.path.abspath(os.fspath(path))
    digest = hashlib.sha256()
    try:
        _replace(os.path.realpath(target), digest, tensors)
    except OSError as error:
        raise JobError(f"cannot write {escape_for_log(target, 4096)}: {error.strerror}") from error
    return InitialWeights(target, digest.hexdigest())


def of(path: Path) -> InitialWeights:
    """See InitialWeights.of."""
    target = os.path.abspath(os.fspath(path))
    digest = hashlib.sha256()
    try:
        with open(target, "rb") as file:
            for piece in iter(lambda: file.read(_PIECE_BYTES), b""):
                digest.update(piece)
    except OSError as error:
        raise JobError(f"cannot read the file of initial weights {escape_for_log(target, 4096)}: "
                       f"{error.strerror}") from error
    return InitialWeights(target, digest.hexdigest())


def _as_float32(name: Any, values: Any) -> Any:
    """A contiguous array of the same shape, little-endian."""
    if not isinstance(name, str) or name in ("", _RESERVED):
        raise JobError(f"initial weights: expected the name of a tensor, got {name!r}")
    what = f"initial weights: tensor {quoted(name)}"
    array = np.asarray(values)
    if array.dtype.kind != "f":
        raise JobError(f"{what}: expected floating-point numbers, got {array.dtype}")
    with np.errstate(over="ignore"):  # infinite then, which is reported
        array = array.astype("<f4", order="C", copy=False)
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise JobError(f"{what}: entry {bad[0]}: expected a finite float32, got "
                       f"{array.reshape(-1)[bad[0]]}")
    return array


def _header(tensors: List[Tuple[str, Any]]) -> bytes:
    header: Dict[str, Any] = {}
    offset = 0
    for name, array in tensors:
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def _pieces(tensors: List[Tuple[str, Any]]) -> Iterator[Any]:
    yield _header(tensors)
    for _, array in tensors:
        flat = array.reshape(-1).view(np.uint8)
        for begin in range(0, len(flat), _PIECE_BYTES):
            yield flat[begin:begin + _PIECE_BYTES]


def _replace(path: str, digest: Any, tensors: List[Tuple[str, Any]]) -> None:
    """Writes beside `path`, syncs, renames, syncs the folder."""
    temporary = f"{path}.tmp-{os.getpid()}-{next(_numbers)}"
    try:
        with open(temporary, "xb") as file:
            for piece in _pieces(tensors):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with contextlib.suppress(OSError):  # file systems that cannot sync folders
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
