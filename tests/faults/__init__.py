# SPDX-License-Identifier: Apache-2.0
"""Faults, injected into real trainings (docs/reliability.md)."""
