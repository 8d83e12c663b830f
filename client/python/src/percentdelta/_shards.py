# SPDX-License-Identifier: Apache-2.0
"""Connections to the shards of one generation, and which of them owns what."""

from __future__ import annotations

import itertools
from typing import Any, Dict, Mapping, Tuple

from percentdelta import _protocol
from percentdelta._channel import make_channel
from percentdelta._partition import Partition
from percentdelta._security import Security
from percentdelta._shared_memory import OfferedMemory
from percentdelta._wire import Cluster
from percentdelta.job import Tensor


class Shards:
    """Thread-safe. `connect_to`: where to reach a shard whose own address, the key, means nothing
    here. `offers_memory`: to shards that may be on this machine. Raises ServerError if the
    cluster's partition is not one of its tensors, InvalidArgumentError for an address that
    `security` does not allow."""

    def __init__(self, cluster: Cluster, connect_to: Mapping[str, str],
                 offers_memory: bool = False, security: Security = Security()) -> None:
        self.generation = cluster.generation
        self.tensors: Tuple[Tensor, ...] = cluster.job.model.tensors
        self.index: Dict[str, int] = {each.name: i for i, each in enumerate(self.tensors)}
        self.addresses = tuple(connect_to.get(each, each) for each in cluster.addresses)
        self.sizes = [each.size for each in self.tensors]
        self.offsets = [0, *itertools.accumulate(self.sizes)]  # of the tensors, laid end to end
        self.model_bytes = 4 * self.offsets[-1]
        self.partition = Partition(cluster.partition, self.tensors, len(self.addresses))
        self.memory = OfferedMemory(self.offsets[-1], len(self.addresses), offers_memory)
        for each in self.addresses:
            security.check_address("a shard's address", each)
        self._channels = [make_channel(each, security) for each in self.addresses]
        self._stubs = [_protocol.Stub("ParameterServer", each) for each in self._channels]

    def __len__(self) -> int:
        return len(self.addresses)

    def stub(self, shard: int) -> Any:
        """Its ParameterServer service."""
        return self._stubs[shard]

    def close(self) -> None:
        """Ends all calls."""
        for channel in self._channels:
            channel.close()
