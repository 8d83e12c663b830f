// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/heartbeat_proto.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/address.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

// A shard reports the parts of the checkpoints that are not complete: one or two.
constexpr size_t kMaxParts = 64;

absl::Status CheckAddresses(const v1::HeartbeatResponse& proto, int shard_count) {
  if (proto.generation() == 0) return absl::OkStatus();
  if (proto.shard_addresses_size() != shard_count) {
    return absl::DataLossError(absl::StrCat("the coordinator's answer: expected ", shard_count,
                                            " shards, got ", proto.shard_addresses_size()));
  }
  for (const std::string& address : proto.shard_addresses()) {
    const absl::Status status = CheckHostAndPort("the coordinator's answer", address);
    if (!status.ok()) return absl::DataLossError(status.message());
  }
  return absl::OkStatus();
}

}  // namespace

ShardBeat FromProto(const v1::HeartbeatRequest& proto) {
  ShardBeat beat = {proto.shard(),
                    proto.shard_count(),
                    proto.job_hash(),
                    proto.address(),
                    proto.incarnation(),
                    proto.generation(),
                    {},
                    EscapeForLog(proto.problem(), kMaxReasonBytes),
                    proto.gathered_steps(),
                    {proto.missing_slots().begin(), proto.missing_slots().end()},
                    {}};
  if (proto.has_load()) {
    const v1::ShardLoad& load = proto.load();
    beat.load = {load.resident_bytes(), load.cpu_seconds(), load.bytes_received(),
                 load.bytes_sent(), load.shared_bytes()};
  }
  for (const v1::CheckpointPart& part : proto.parts()) {
    if (beat.parts.size() == kMaxParts) break;
    beat.parts.push_back({part.step(),
                          {part.file().substr(0, kMaxNameBytes), part.bytes(),
                           part.sha256().substr(0, kMaxNameBytes)},
                          EscapeForLog(part.error(), kMaxReasonBytes)});
  }
  return beat;
}

void ToProto(const ShardBeat& beat, v1::HeartbeatRequest& proto) {
  proto.set_shard(beat.shard);
  proto.set_shard_count(beat.shard_count);
  proto.set_job_hash(beat.job_hash);
  proto.set_address(beat.address);
  proto.set_incarnation(beat.incarnation);
  proto.set_generation(beat.generation);
  proto.set_problem(beat.problem);
  proto.set_gathered_steps(beat.gathered_steps);
  for (const int32_t slot : beat.missing_slots) proto.add_missing_slots(slot);
  if (beat.load) {
    v1::ShardLoad& load = *proto.mutable_load();
    load.set_resident_bytes(beat.load->resident_bytes);
    load.set_cpu_seconds(beat.load->cpu_seconds);
    load.set_bytes_received(beat.load->bytes_received);
    load.set_bytes_sent(beat.load->bytes_sent);
    load.set_shared_bytes(beat.load->shared_bytes);
  }
  for (const CheckpointPart& part : beat.parts) {
    v1::CheckpointPart& each = *proto.add_parts();
    each.set_step(part.step);
    each.set_file(part.file.name);
    each.set_bytes(part.file.bytes);
    each.set_sha256(part.file.sha256);
    each.set_error(part.error);
  }
}

absl::StatusOr<ClusterView> FromProto(const v1::HeartbeatResponse& proto, int shard_count) {
  RETURN_IF_ERROR(CheckAddresses(proto, shard_count));
  return ClusterView{proto.generation(),
                     {proto.shard_addresses().begin(), proto.shard_addresses().end()},
                     {proto.missing_shards().begin(), proto.missing_shards().end()},
                     proto.checkpoint_directory(),
                     proto.checkpoint_step(),
                     proto.message(),
                     proto.drained(),
                     std::max<int64_t>(0, proto.histogram_steps())};
}

void ToProto(const ClusterView& view, v1::HeartbeatResponse& proto) {
  proto.set_generation(view.generation);
  for (const std::string& address : view.addresses) proto.add_shard_addresses(address);
  for (const int32_t shard : view.missing) proto.add_missing_shards(shard);
  proto.set_checkpoint_directory(view.checkpoint);
  proto.set_checkpoint_step(view.step);
  proto.set_message(view.message);
  proto.set_drained(view.drained);
  proto.set_histogram_steps(view.histogram_steps);
}

}  // namespace percentdelta
