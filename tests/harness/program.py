# SPDX-License-Identifier: Apache-2.0
"""What a program that tests something does around its checks: flags, clock, folder, end."""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence

from tests.harness.errors import Failure, Skipped, Violation

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

Say = Callable[[str], None]


def make_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser without flags; `description` is the program's docstring, shown as it is."""
    return argparse.ArgumentParser(description=description, prog=program,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)


def make_clock() -> Say:
    """Returns what prints a line with the seconds since now."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)

    return say


def exit_code_of(program: str, test: Callable[[], int | None]) -> int:
    """Calls `test`, which returns an exit code or None for success, and reports what ends it early."""
    try:
        return test() or 0
    except Skipped as reason:
        print(f"{program}: SKIPPED: {reason}")
        return 0
    except (Failure, Violation) as error:
        print(f"{program}: FAILED: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception:  # a mistake of the test itself
        traceback.print_exc()
    return 1


def run_program(program: str, test: Callable[[pathlib.Path], int | None], keep: bool = False,
                kept: Sequence[str] = ("**/*",)) -> int:
    """Calls `test` with a new folder that all users can enter; returns the program's exit code. Removes
    the folder; after a failure, and always if `keep`, all but the files that match a pattern of `kept`.
    SIGTERM ends the test like an exception."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"pd-{program.split('/')[1]}-"))
    folder.chmod(0o755)  # users of containers and of services read what is in it
    code = TERMINATED
    try:
        code = exit_code_of(program, lambda: test(folder))
        return code
    finally:
        if keep or code not in (0, INTERRUPTED, TERMINATED):
            _remove_but(folder, kept)
            print(f"kept: {folder}", file=sys.stderr)
        else:
            _remove([folder])


def _remove_but(folder: pathlib.Path, kept: Sequence[str]) -> None:
    found = {path for pattern in kept for path in folder.glob(pattern) if not path.is_dir()}
    found |= {parent for path in found for parent in path.parents}
    for parent, folders, files in os.walk(folder):
        _remove([path for name in (*folders, *files)
                 if (path := pathlib.Path(parent, name)) not in found])


def _remove(paths: Sequence[pathlib.Path]) -> None:
    subprocess.run(["rm", "-rf", "--one-file-system", "--", *paths], check=False)
