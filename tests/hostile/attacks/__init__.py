# SPDX-License-Identifier: Apache-2.0
"""What hostile or broken clients do, for a while, to one server on loopback.

ATTACKS has them by name. Run as a program, the package does one of them.
"""

from tests.hostile.attacks import (connections, coordination, frames, queries,  # noqa: F401
                                   servers, transfers)
from tests.hostile.attacks.target import ATTACKS, Attack, Target

__all__ = ["ATTACKS", "Attack", "Target"]
