# SPDX-License-Identifier: Apache-2.0
"""The built programs are hardened: what readelf (binutils, which the compiler needs) says of them."""

import os
import re
import subprocess
import tempfile
import unittest

PROGRAMS = os.environ.get("PROGRAMS", "").split()
FORTIFIED = os.environ.get("FORTIFIED") == "1"  # release builds


def read(*arguments: str) -> str:
    """Returns what readelf says."""
    return subprocess.run(["readelf", "--wide", *arguments], check=True, capture_output=True,
                          text=True).stdout


def weaknesses(program: str, fortified: bool) -> list[str]:
    """Returns what a program lacks."""
    header, segments = read("--file-header", program), read("--program-headers", program)
    dynamic, symbols = read("--dynamic", program), read("--dyn-syms", program)
    stack = re.search(r"GNU_STACK .*", segments)
    checks = {
        "a position-independent executable": re.search(r"Type:\s+DYN", header)
        and re.search(r"\(FLAGS_1\).*\bPIE\b", dynamic),
        "relocations that become read-only": "GNU_RELRO" in segments,
        "all functions bound at start": re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic),
        "a stack that is not executable": stack is not None and "E" not in stack[0].split()[6],
        "stack protectors": "__stack_chk_fail" in symbols,
    }
    if fortified:
        checks["fortified functions"] = re.search(r"\b__\w+_chk@GLIBC", symbols)
    return [what for what, found in checks.items() if not found]


class HardeningTest(unittest.TestCase):
    """One test a property would compile nothing more."""

    def test_programs(self) -> None:
        """Every program that is installed has all properties."""
        self.assertTrue(PROGRAMS)
        for program in PROGRAMS:
            with self.subTest(program):
                self.assertEqual(weaknesses(program, FORTIFIED), [])

    def test_finds_weaknesses(self) -> None:
        """A program that was built without them lacks all properties."""
        with tempfile.TemporaryDirectory() as folder:
            program = f"{folder}/weak"
            subprocess.run(["g++", "-x", "c++", "-", "-o", program, "-no-pie", "-fno-pie",
                            "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-Wl,-z,norelro,-z,lazy",
                            "-Wl,-z,execstack"], input="int main() {}", text=True, check=True)
            self.assertEqual(len(weaknesses(program, fortified=True)), 6)


if __name__ == "__main__":
    unittest.main()
