// SPDX-License-Identifier: Apache-2.0

// Opens the cluster's generations in this process's shard: reads what a generation starts from (a
// checkpoint, or the job's file of initial weights), connects to its other shards, and replaces the
// ShardState.

#ifndef PERCENTDELTA_SERVER_GENERATION_OPENER_H_
#define PERCENTDELTA_SERVER_GENERATION_OPENER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/base/thread_pool.h"
#include "common/base/trace.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint_writer.h"
#include "server/checkpoint/slice_content.h"
#include "server/initial_content.h"
#include "server/rpc/identity.h"
#include "server/rpc/remote_peers.h"
#include "server/shard/cluster_link.h"
#include "server/shard/shard.h"
#include "server/shard/shard_coordinator.h"

namespace percentdelta {

// Not thread-safe: used by the ClusterLink's thread, and by the server once that thread has ended.
class GenerationOpener : public ClusterMember {
 public:
  struct Options {
    Job job;
    int shards = 1;
    ShardIdentity self;

    // Used by the states. All must outlive the opener and the states.
    Shard* shard = nullptr;
    ThreadPool* pool = nullptr;
    ShardCoordinator* coordinator = nullptr;
    CheckpointWriter* checkpoint_writer = nullptr;  // null: the job has no checkpoints

    std::shared_ptr<const ClientCredentials>
        credentials;  // of calls to other shards; see MakeChannel
    FaultPoints faults;
    Tracer tracer;
    Logger log;
  };

  // `initial`: of the same job and shard.
  GenerationOpener(Options options, InitialContent initial);
  ~GenerationOpener() override;  // Close()

  absl::Status Enter(const ClusterView& view) override;
  std::string connection_error() const override;

  // Cancels the calls to other shards, and returns when their callbacks have run.
  void Close();

 private:
  absl::StatusOr<ShardContent> ReadInitialContent(const ClusterView& view);

  const Options options_;
  InitialContent initial_;
  std::shared_ptr<RemotePeers> peers_;  // of the current generation; null: none has been opened
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_GENERATION_OPENER_H_
