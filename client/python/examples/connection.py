# SPDX-License-Identifier: Apache-2.0
"""The options of every example that say how running servers are reached."""

import argparse
from typing import Any, Dict

_FILES = ("tls_ca", "tls_cert", "tls_key", "token_file")


def add_options(parser: argparse.ArgumentParser) -> None:
    """To a parser with --address."""
    parser.add_argument("--insecure", action="store_true",
                        help="connect to --address on another machine without TLS")
    for name in _FILES:
        parser.add_argument("--" + name.replace("_", "-"), metavar="FILE",
                            help="of the connection to --address: see docs/security.md")


def options(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Those of train(), Worker and Client."""
    return {name: getattr(arguments, name) for name in ("insecure", *_FILES)}
