# SPDX-License-Identifier: Apache-2.0
"""Makes the description of the protocol, a serialized FileDescriptorSet, from the .proto files.

Used by setup.py during the build, and by a source tree on import. Imports nothing but the standard
library.
"""

import importlib.util
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import List

FILES = ("job", "statistics", "histogram", "coordinator", "parameter_server")


def compiler() -> List[str]:
    """The command line of protoc: the system's, or that of grpcio-tools.

    Raises RuntimeError where there is neither.
    """
    program = shutil.which("protoc")
    if program is not None:
        return [program]
    if importlib.util.find_spec("grpc_tools") is not None:
        return [sys.executable, "-m", "grpc_tools.protoc"]
    raise RuntimeError("percentdelta: no protoc found: install Debian's protobuf-compiler, or "
                       "grpcio-tools from PyPI (pip install grpcio-tools)")


def describe(proto_folder: pathlib.Path) -> bytes:
    """Compiles the files of the protocol in `proto_folder`.

    Raises RuntimeError, with the compiler's message, where that fails.
    """
    command = compiler()
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder, "protocol.binpb")
        result = subprocess.run(
            [*command, f"--proto_path={proto_folder}", f"--descriptor_set_out={target}",
             *(f"percentdelta/v1/{name}.proto" for name in FILES)],
            check=False, capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"percentdelta: {command[0]} failed on {proto_folder}:\n"
                               f"{result.stderr.strip()}")
        return target.read_bytes()
