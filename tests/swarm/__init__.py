# SPDX-License-Identifier: Apache-2.0
"""The stack of deploy/swarm, on a real Docker Swarm of one node."""
