# SPDX-License-Identifier: Apache-2.0
"""The manifests of deploy/kubernetes, checked and run on a real Kubernetes of one node."""
