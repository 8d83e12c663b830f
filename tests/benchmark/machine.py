# SPDX-License-Identifier: Apache-2.0
"""What a measurement was made on."""

import datetime
import os
import pathlib
import re


def describe() -> str:
    """Returns a line with the day, the processor and the number of cores."""
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    day = datetime.datetime.now(datetime.timezone.utc).date()
    return f"{day}, {found.group(1) if found else 'unknown processor'}, {os.cpu_count()} cores"
