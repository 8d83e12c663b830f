// SPDX-License-Identifier: Apache-2.0

// Connections to the shards of one generation.

#ifndef PERCENTDELTA_CLIENT_SHARD_CHANNELS_H_
#define PERCENTDELTA_CLIENT_SHARD_CHANNELS_H_

#include <grpcpp/generic/generic_stub.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/offered_memory.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "common/transport/channel.h"

namespace percentdelta {

// Thread-safe.
class ShardChannels {
 public:
  // `shares_memory`: whether to offer shared memory to shards that may be on this machine.
  // `credentials`: see MakeChannel.
  ShardChannels(const ModelSpec& model, uint64_t generation,
                const std::vector<std::string>& addresses, bool shares_memory = false,
                const std::shared_ptr<const ClientCredentials>& credentials = nullptr)
      : model_(model),
        partition_(model, static_cast<int>(addresses.size())),
        generation_(generation),
        addresses_(addresses),
        memory_(model.size(), static_cast<int>(addresses.size()), shares_memory) {
    for (const std::string& address : addresses) {
      channels_.push_back(MakeChannel(address, credentials));
      stubs_.push_back(std::make_unique<grpc::GenericStub>(channels_.back()));
    }
  }

  int shards() const { return static_cast<int>(stubs_.size()); }
  const ModelSpec& model() const { return model_; }
  const Partition& partition() const { return partition_; }
  uint64_t generation() const { return generation_; }
  const std::string& address(int shard) const { return addresses_[shard]; }

  // Must be called after a call could not reach a shard: see common/transport/channel.h.
  void ResetBackoff() const {
    for (const auto& channel : channels_) percentdelta::ResetBackoff(*channel);
  }

  OfferedMemory& memory() const { return memory_; }

  // Returns a stub for calls whose messages are encoded by hand (common/transport/chunk_codec.h).
  grpc::GenericStub& stub(int shard) const { return *stubs_[shard]; }

 private:
  const ModelSpec model_;
  const Partition partition_;
  const uint64_t generation_;
  const std::vector<std::string> addresses_;
  mutable OfferedMemory memory_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_SHARD_CHANNELS_H_
