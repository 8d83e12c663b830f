// SPDX-License-Identifier: Apache-2.0

// A whole cluster in one process: real servers and workers over loopback ports. pd-local runs
// trainings on it, and so do the integration tests.

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
    int workers = 1;  // at the start; see AddWorker

    // Threads of each worker, and of each server. 0 means, for workers, the cores divided among
    // those that can compute at the same time; for servers, one per core.
    int worker_threads = 0;
    int server_threads = 0;

    std::string isa;            // of the workers; see ModelOptions
    bool shares_memory = true;  // of the workers; see Worker::Options

    // Shared by all workers. If the job has no evaluation, `test_set` is ignored and may be null.
    std::shared_ptr<const Dataset> training_set;
    std::shared_ptr<const Dataset> test_set;

    absl::Duration lease_deadline = absl::ZeroDuration();  // zero: from the observed pace
    absl::Duration heartbeat_interval = absl::Milliseconds(100);
    int64_t history_steps = 100000;
    std::string restore;           // see Server::Options
    bool no_restore = false;       // see Server::Options
    std::string tensorboard = {};  // see Server::Options
    int64_t tensorboard_histograms = 0;
    const Clock* clock = nullptr;  // of the servers; null: the steady clock

    // Directory with ca.pem and with a .pem and a .key of shard-0, shard-1, ... and of worker, as
    // deploy/tls/make-certs writes them. Empty: plaintext.
    std::string tls_directory = {};
    std::string http = {};         // the live page's address: see Server::Options
    Logger log;                    // of servers and workers; null: silent
    std::shared_ptr<Trace> trace;  // of servers and workers; null: none
  };

  // Starts servers and workers. All servers listen on free ports of 127.0.0.1.
  static absl::StatusOr<std::unique_ptr<LocalCluster>> Start(Options options);

  ~LocalCluster();

  // Returns "127.0.0.1:port" of shard 0, for Cluster and pdctl.
  const std::string& coordinator() const { return servers_.front().address(); }
  const std::string& address(int shard) const { return servers_[shard].address(); }

  // Of the live page; empty if there is none.
  std::string page_url() const { return servers_.front().page_url(); }

  // Starts another worker, and returns its index.
  int AddWorker();

  // Stops a worker after its current lease, and waits until it has left.
  void StopWorker(int index);

  // Waits until all workers have left. Returns kOk if the training finished or they were stopped,
  // otherwise the first error that a worker left with.
  absl::Status AwaitWorkers();

  // Waits for at most `timeout`, and returns whether all workers have left.
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
  std::shared_ptr<const ClientCredentials> worker_credentials_;  // constant after Start
  const absl::StatusOr<DataSets> data_;  // the result of every worker's loading
  std::vector<Server> servers_;          // constant after Start

  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<RunningWorker>> workers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_DEPLOY_LOCAL_CLUSTER_H_
