# SPDX-License-Identifier: Apache-2.0
"""Tests of what a training shows to monitoring tools, with the real tools."""
