# SPDX-License-Identifier: Apache-2.0
"""The cost model in closed form (docs/scaling.md): what a step waits for, and how long.

For workers with one slot each. It knows which event must follow which, but no order of the others; it is
compared with the simulator, which knows more.
"""

import math

from tests.benchmark.scaling.model import (
    BLOCK_ENTRIES, BUFFERS_KEPT, BYTES_KEPT, BYTES_PER_ENTRY, Call, Costs, Shape, partition)


def chains(costs: Costs, shape: Shape) -> dict[str, float]:
    """Returns the seconds from a step to the next, by what limits it; the step takes the longest.

    "gradient": the workers compute without waiting for anything but the next lease. A layer's name:
    from its weights being there to the gradient, its push, the update, and its pull.
    """
    layout = partition(costs.layers, shape.shards)
    model = sum(sum(tensors) for tensors in costs.layers.values()) * BYTES_PER_ENTRY
    workers, shards = shape.workers, shape.shards
    network = costs.hop + shape.latency

    aside = (model * (costs.push_send + costs.pull_receive)
             + shards * (costs.push.client + costs.pull.client)) / shape.worker_cores
    answers = workers * costs.lease.server / 2  # one after the other
    lease = max(costs.lease.client, costs.lease.server) + answers
    result = {"gradient": costs.gather + costs.marks[-1][2] + aside + 4 * network + lease}

    at = {(kind, layer): time for kind, layer, time in costs.marks}
    for layer, tensors in costs.layers.items():
        entries = max(slices[layer] for slices in layout)  # on the shard that has most of it
        slice_bytes = entries * BYTES_PER_ENTRY
        layer_bytes = sum(tensors) * BYTES_PER_ENTRY
        parts = sum(layer in slices for slices in layout)

        def transfer(call: Call, worker_byte: float, server_byte: float, pace: float) -> float:
            return max(
                workers * slice_bytes / shape.bandwidth, layer_bytes / shape.bandwidth,
                workers * (call.server + slice_bytes * server_byte) / shape.server_cores,
                (parts * call.client + layer_bytes * worker_byte) / shape.worker_cores,
                slice_bytes * pace)

        at_hand = min(1.0, (BUFFERS_KEPT + BYTES_KEPT / slice_bytes) / workers)
        receive = at_hand * costs.push_receive + (1 - at_hand) * costs.push_receive_fresh
        push = transfer(costs.push, costs.push_send, receive, costs.push_pace)
        pull = transfer(costs.pull, costs.pull_receive, costs.pull_send, costs.pull_pace)
        entry = costs.phase1 + costs.phase2
        if shape.slots > 1:
            entry += costs.mean + shape.slots * costs.add
        update = entries * entry / min(shape.server_cores, math.ceil(entries / BLOCK_ENTRIES))
        norms = 2 * network if parts > 1 else 0
        result[layer] = (at["makes", layer] - at["needs", layer]
                         + push + update + norms + pull + 2 * network)
    return result
