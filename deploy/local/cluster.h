// A whole cluster in one process: real servers and workers over loopback ports. pd-local runs its
// trainings on it, and the integration tests use the same one.

#ifndef PERCENTDELTA_DEPLOY_LOCAL_CLUSTER_H_
#define PERCENTDELTA_DEPLOY_LOCAL_CLUSTER_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/job/job.h"
#include "server/server.h"
#include "worker/data/dataset.h"
#include "worker/worker.h"

namespace percentdelta {

// Thread-safe. The destructor stops workers and servers.
class LocalCluster {
 public:
  struct Options {
    Job job;
    int shards = 1;
    int workers = 1;  // more may be added later

    // Threads of each worker, and of each server. 0: the cores shared out among the workers that
    // can compute at the same time; one a core.
    int worker_threads = 0;
    int server_threads = 0;

    std::string isa;            // of the workers; see ModelOptions
    bool shares_memory = true;  // of the workers; see Worker::Options

    // All workers share them. Without an evaluation in the job the test set is not looked at, and
    // may be null.
    std::shared_ptr<const Dataset> training_set;
    std::shared_ptr<const Dataset> test_set;

    absl::Duration lease_deadline = absl::ZeroDuration();  // zero: from the observed pace
    absl::Duration heartbeat_interval = absl::Milliseconds(100);
    int64_t history_steps = 100000;
    std::string restore;           // see Server::Options
    bool no_restore = false;       // see Server::Options
    const Clock* clock = nullptr;  // of the servers; null: the steady clock
    Logger log;                    // of servers and workers; null: silent
    std::shared_ptr<Trace> trace;  // of servers and workers; null: none
  };

  // Starts servers and workers; all listen on free ports of 127.0.0.1.
  static absl::StatusOr<std::unique_ptr<LocalCluster>> Start(Options options);

  ~LocalCluster();

  // "127.0.0.1:port" of shard 0, for Cluster and pdctl.
  const std::string& coordinator() const { return servers_.front().address(); }
  const std::string& address(int shard) const { return servers_[shard].address(); }

  // Starts one more worker; returns its index.
  int AddWorker();

  // Stops a worker after the lease in hand, and waits for it.
  void StopWorker(int index);

  // Waits until all workers have left: kOk when the training is finished or they were stopped,
  // else the first error one of them left with.
  absl::Status AwaitWorkers();

  // The same for at most `timeout`: whether all have left.
  bool AwaitWorkersFor(absl::Duration timeout);

 private:
  struct RunningWorker {
    std::unique_ptr<Worker> worker;
    std::thread thread;
    bool left = false;    // guarded by mutex_
    absl::Status status;  // guarded by mutex_
  };

  explicit LocalCluster(Options options);
  absl::Status StartServers();
  bool AllLeft() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const absl::StatusOr<DataSets> data_;  // what every worker loads
  std::vector<Server> servers_;          // constant after Start

  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<RunningWorker>> workers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_DEPLOY_LOCAL_CLUSTER_H_
