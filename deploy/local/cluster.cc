// SPDX-License-Identifier: Apache-2.0

#include "deploy/local/cluster.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/job/partition.h"
#include "common/transport/credentials.h"
#include "server/memory_needed.h"
#include "worker/data/data_sets.h"

namespace percentdelta {

LocalCluster::LocalCluster(Options options)
    : options_(std::move(options)),
      data_(MakeDataSets(options_.job, options_.training_set, options_.test_set)) {}

absl::StatusOr<std::unique_ptr<LocalCluster>> LocalCluster::Start(Options options) {
  if (options.shards < 1 || options.workers < 0) {
    return absl::InvalidArgumentError(absl::StrCat("expected at least 1 shard and 0 workers, got ",
                                                   options.shards, " and ", options.workers));
  }
  const int workers = options.workers;
  std::unique_ptr<LocalCluster> cluster(new LocalCluster(std::move(options)));
  RETURN_IF_ERROR(cluster->StartServers());
  if (const std::string& directory = cluster->options_.tls_directory; !directory.empty()) {
    ASSIGN_OR_RETURN(cluster->worker_credentials_,
                     ClientCredentials::Make({TlsFilesIn(directory, "worker")}));
  }
  for (int i = 0; i < workers; ++i) cluster->AddWorker();
  return cluster;
}

absl::Status LocalCluster::StartServers() {
  // Each server checks only its own share, but here they share one process.
  const Job& job = options_.job;
  const HeldEntries entries = EntriesOfShard(job.model, Partition(job.model, 1), 0);
  RETURN_IF_ERROR(CheckMemory(job, entries, FindMemoryLimit(), MakeSilentLogger()));
  for (int shard = 0; shard < options_.shards; ++shard) {
    Server::Options server;
    server.job = options_.job;
    server.shard = shard;
    server.shards = options_.shards;
    if (shard > 0) server.coordinator = servers_.front().address();
    if (!options_.tls_directory.empty()) {
      server.tls = TlsFilesIn(options_.tls_directory, absl::StrCat("shard-", shard));
    }
    if (shard == 0) server.http = options_.http;
    server.threads = options_.server_threads;
    server.heartbeat_interval = options_.heartbeat_interval;
    server.lease_deadline = options_.lease_deadline;
    server.history_steps = options_.history_steps;
    server.restore = options_.restore;
    server.no_restore = options_.no_restore;
    server.tensorboard = options_.tensorboard;
    server.tensorboard_histograms = options_.tensorboard_histograms;
    server.clock = options_.clock;
    server.log = options_.log;
    server.trace = options_.trace;
    ASSIGN_OR_RETURN(Server started, Server::Start(std::move(server)));
    servers_.push_back(std::move(started));
  }
  return absl::OkStatus();
}

LocalCluster::~LocalCluster() {
  std::vector<std::unique_ptr<RunningWorker>> workers;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& running : workers_) running->worker->Abandon();
  }
  for (Server& server : servers_) server.Shutdown();
  {
    absl::MutexLock lock(&mutex_);
    workers.swap(workers_);
  }
  for (const auto& running : workers) {
    if (running->thread.joinable()) running->thread.join();
  }
}

int LocalCluster::AddWorker() {
  absl::MutexLock lock(&mutex_);
  const int index = static_cast<int>(workers_.size());
  Worker::Options worker;
  worker.name = absl::StrCat(index);
  worker.coordinator = coordinator();
  worker.credentials = worker_credentials_;
  worker.load_data = [this](const Job&, const std::function<bool()>&) { return data_; };
  worker.threads = options_.worker_threads;
  if (worker.threads == 0) {
    const int concurrent = std::min(options_.workers, options_.job.gradients_per_step);
    const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    worker.threads = std::max(1, cores / std::max(1, concurrent));
  }
  worker.shares_memory = options_.shares_memory;
  worker.isa = options_.isa;
  worker.log = options_.log;
  worker.trace = options_.trace;
  workers_.push_back(std::make_unique<RunningWorker>());
  RunningWorker* running = workers_.back().get();
  running->worker = std::make_unique<Worker>(std::move(worker));
  running->thread = std::thread([this, running] {
    absl::Status status = running->worker->Run();
    absl::MutexLock thread_lock(&mutex_);
    running->status = std::move(status);
    running->left = true;
  });
  return index;
}

void LocalCluster::StopWorker(int index) {
  absl::MutexLock lock(&mutex_);
  const RunningWorker& running = *workers_[index];
  running.worker->Stop();
  mutex_.Await(absl::Condition(&running.left));
}

bool LocalCluster::AllLeft() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const auto& running) { return running->left; });
}

absl::Status LocalCluster::AwaitWorkers() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &LocalCluster::AllLeft));
  for (const auto& running : workers_) {
    if (!running->status.ok()) return running->status;
  }
  return absl::OkStatus();
}

bool LocalCluster::AwaitWorkersFor(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(this, &LocalCluster::AllLeft), timeout);
}

}  // namespace percentdelta
