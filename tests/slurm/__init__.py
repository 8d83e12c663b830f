# SPDX-License-Identifier: Apache-2.0
"""Trainings on a real Slurm cluster of virtual nodes."""
