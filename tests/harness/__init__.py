# SPDX-License-Identifier: Apache-2.0
"""Processes, networks and disks of clusters that tests start on this machine."""
