# SPDX-License-Identifier: Apache-2.0
"""What pyproject.toml cannot say: the build makes the protocol's description from proto/."""

import pathlib
import runpy
import shutil
import sys

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
DESCRIBE = runpy.run_path(str(HERE / "src/percentdelta/_describe.py"))


def proto_folder():
    """In an sdist beside this file, in a checkout at its root."""
    for folder in (HERE / "proto", HERE.parent.parent / "proto"):
        if (folder / "percentdelta/v1/job.proto").is_file():
            return folder
    sys.exit(f"percentdelta: expected the .proto files in {HERE / 'proto'} (sdist) or in "
             f"{HERE.parent.parent / 'proto'} (checkout), found neither: build from a checkout or "
             f"an sdist, with pip 21.3 or later")


class BuildWithProtocol(build_py):
    """Adds percentdelta/protocol.binpb."""

    def run(self):
        super().run()
        if getattr(self, "editable_mode", False):
            return  # the source tree describes itself on import
        target = pathlib.Path(self.build_lib, "percentdelta", "protocol.binpb")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(DESCRIBE["describe"](proto_folder()))

    def get_outputs(self, include_bytecode=1):
        target = str(pathlib.Path(self.build_lib, "percentdelta", "protocol.binpb"))
        return [*super().get_outputs(include_bytecode), target]


class SdistWithProtos(sdist):
    """Adds proto/, so that the sdist builds without a checkout."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        shutil.copytree(proto_folder() / "percentdelta",
                        pathlib.Path(base_dir, "proto", "percentdelta"), dirs_exist_ok=True)


setup(
    cmdclass={"build_py": BuildWithProtocol, "sdist": SdistWithProtos},
    # Only where protoc is not installed: what it makes depends on neither version nor language.
    setup_requires=[] if shutil.which("protoc") else ["grpcio-tools"])
