// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/activity.h"

namespace percentdelta {

absl::string_view ToString(ClusterEvent::Kind kind) {
  switch (kind) {
    case ClusterEvent::Kind::kGeneration:
      return "generation";
    case ClusterEvent::Kind::kShard:
      return "shard";
    case ClusterEvent::Kind::kWorker:
      return "worker";
    case ClusterEvent::Kind::kFault:
      return "fault";
    case ClusterEvent::Kind::kCheckpoint:
      return "checkpoint";
    case ClusterEvent::Kind::kCheckpointFailed:
      return "checkpoint-failed";
    case ClusterEvent::Kind::kPause:
      return "pause";
    case ClusterEvent::Kind::kResume:
      return "resume";
    case ClusterEvent::Kind::kDrain:
      return "drain";
    case ClusterEvent::Kind::kEnd:
      return "end";
  }
  return "unknown";
}

}  // namespace percentdelta
