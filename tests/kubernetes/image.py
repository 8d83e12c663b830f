# SPDX-License-Identifier: Apache-2.0
"""The project's images as an archive for containerd, built by Docker from deploy/compose/Dockerfile."""

import contextlib
import pathlib
from collections.abc import Callable

from deploy.project import ROOT, Binaries
from tests.compose.compiler_cache import CompilerCache
from tests.compose.engine import Engine
from tests.harness.commands import Word, persistently, run
from tests.kubernetes.node import SANDBOX_IMAGE

IMAGE = "percentdelta.test/percentdelta"
TAG = "test"
DOCKERFILE = ROOT / "deploy/compose/Dockerfile"
# Kubernetes' own pause image does the same: its process holds a pod's namespaces.
SANDBOX = f"FROM {IMAGE}:{TAG}\nUSER 65535:65535\nENTRYPOINT [\"sleep\", \"infinity\"]\n"


def build_archive(archive: pathlib.Path, folder: pathlib.Path,
                  say: Callable[[str], None]) -> Binaries:
    """Writes the images to an archive, with the Docker engine that answers or one of the test's own, and
    removes them there. Returns the host's programs of the same sources."""
    cache = CompilerCache(folder)
    run(ROOT / "deploy/install-packages", "build")
    with contextlib.ExitStack() as stack:
        stack.enter_context(cache)
        binaries = cache.build_host()
        say("the host's programs are built")
        engine = stack.enter_context(Engine(folder, True, say))
        _build_images(engine, cache, archive, folder, say)
    return binaries


def _build_images(engine: Engine, cache: CompilerCache, archive: pathlib.Path, folder: pathlib.Path,
                  say: Callable[[str], None]) -> None:
    engine.provide_base()
    names = [f"{IMAGE}:{TAG}", f"{IMAGE}-data:{TAG}", SANDBOX_IMAGE]
    engine.remove_images(names)

    def build(name: str, *words: Word) -> None:
        persistently(lambda: engine.docker("build", "--tag", name, *words), say)

    options: list[Word] = ["--file", DOCKERFILE, "--network", "host", "--build-arg",
                           f"CCACHE_REMOTE_STORAGE={cache.storage}"]
    build(names[0], *options, "--target", "runtime", ROOT)
    build(names[1], *options, "--target", "data", ROOT)
    sandbox = folder / "sandbox"
    sandbox.mkdir()
    (sandbox / "Dockerfile").write_text(SANDBOX, encoding="utf-8")
    build(names[2], sandbox)
    engine.docker("save", "--output", archive, *names)
    say(f"the images are built: {archive.stat().st_size / 1e6:.0f} MB")
