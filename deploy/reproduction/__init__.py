# SPDX-License-Identifier: Apache-2.0
"""The paper's experiments (docs/reproduction.md)."""
