# SPDX-License-Identifier: Apache-2.0
"""Prints what TensorBoard reads in a directory, as JSON: the scalars by tag, each as pairs of step and
value, and the other tags by kind. Runs in a virtual environment with the package tensorboard of PyPI,
without the project's modules.
"""

import json
import sys

from tensorboard.backend.event_processing import plugin_event_multiplexer
from tensorboard.util import tensor_util


def main() -> None:
    """Reads the directory, as TensorBoard's server does."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer(
        # Retain all points, where TensorBoard shows a sample of 1000.
        tensor_size_guidance={"scalars": 0, "histograms": 0, "text": 0})
    multiplexer.AddRunsFromDirectory(sys.argv[1])
    multiplexer.Reload()
    found: dict[str, dict[str, object]] = {}
    for run, tags in multiplexer.Runs().items():
        for tag in tags["tensors"]:
            plugin = multiplexer.SummaryMetadata(run, tag).plugin_data.plugin_name
            points = [(event.step, tensor_util.make_ndarray(event.tensor_proto).tolist())
                      for event in multiplexer.Tensors(run, tag)]
            if plugin == "text":
                points = [(step, [text.decode() for text in texts]) for step, texts in points]
            found.setdefault(plugin, {})[tag] = points
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
