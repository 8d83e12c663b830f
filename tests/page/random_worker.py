# SPDX-License-Identifier: Apache-2.0
"""random_worker.py ADDRESS: pushes random gradients, of tensors of any shape and number."""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "client/python/src"))

import percentdelta as pd  # noqa: E402  (the path comes first)


def main() -> None:
    """Works until the training ends."""
    source = np.random.default_rng(1)
    with pd.Worker(sys.argv[1]) as worker:
        for lease in worker:
            with lease:
                weights = lease.pull()
                lease.push({name: source.normal(0, 10.0 ** -(1 + index % 5), value.shape).astype(
                    np.float32) for index, (name, value) in enumerate(weights.items())})
                lease.complete(10.0 / (1 + lease.step), 5)


if __name__ == "__main__":
    main()
