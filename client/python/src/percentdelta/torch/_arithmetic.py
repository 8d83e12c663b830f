# SPDX-License-Identifier: Apache-2.0
"""Names how PyTorch computes here, as far as it may change a gradient's last bits."""

from __future__ import annotations

import re
from typing import Any

import torch


def _instruction_set() -> str:
    capability = getattr(getattr(torch.backends, "cpu", None), "get_cpu_capability", None)
    if capability is not None:
        return str(capability())
    found = re.search(r"CPU capability usage: (\S+)", torch.__config__.show())
    return found.group(1) if found else "unknown"


def _cuda(device: Any) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "-", torch.cuda.get_device_name(device)).strip("-")
    return f"{name}/cuda-{torch.version.cuda}/cudnn-{torch.backends.cudnn.version()}"


def arithmetic(device: Any = "cpu") -> str:
    """As in "torch-2.1.0/cpu/avx2/2-threads": PyTorch's version, the device, the instruction set
    and the number of threads; for CUDA the GPU and the versions of CUDA and cuDNN. Then what is not
    PyTorch's default: "deterministic" algorithms, less precise products.

    Workers of one cluster must have the same. Machines with the same may still differ where a
    library chooses its code by the processor: compare checksums before you rely on it.
    """
    device = torch.device(device)
    threads = torch.get_num_threads()
    parts = [f"torch-{torch.__version__}", device.type]
    if device.type == "cuda":
        parts.append(_cuda(device))
    else:
        parts.append(_instruction_set().lower())
        parts.append(f"{threads}-thread{'s' if threads > 1 else ''}")
    if torch.are_deterministic_algorithms_enabled():
        parts.append("deterministic")
    if torch.get_float32_matmul_precision() != "highest":
        parts.append(f"{torch.get_float32_matmul_precision()}-precision")
    if device.type == "cuda" and torch.backends.cudnn.benchmark:
        parts.append("benchmark")
    return "/".join(parts)
