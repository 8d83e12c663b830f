// SPDX-License-Identifier: Apache-2.0

// A worker that hangs in the middle of a push, for a test to kill: acquires a lease, sends the
// header and half of the first slice, prints a line, and waits until it is killed.
//   half_push HOST:PORT

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "client/coordinator_stub.h"
#include "common/base/float_bytes.h"
#include "common/job/partition.h"
#include "common/transport/channel.h"
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "worker/kernels/select.h"

namespace percentdelta {
namespace {

int Run(const std::string& address) {
  const auto coordinator = MakeCoordinatorStub(address, absl::Seconds(10));
  const absl::StatusOr<ClusterInfo> cluster = coordinator->GetJob();
  const absl::StatusOr<Lease> lease = coordinator->AcquireLease(
      {"half", SupportedKernels().front()->arithmetic}, absl::Seconds(10));
  if (!cluster.ok() || !lease.ok() || lease->kind != Lease::Kind::kTrain) {
    std::cout << "no lease: " << lease.status() << std::endl;
    return 1;
  }
  const Partition partition(cluster->job.model, static_cast<int>(cluster->shard_addresses.size()));
  const TensorRange& range = partition.ranges_of_shard(0).front();
  const auto stub = v1::ParameterServer::NewStub(MakeChannel(cluster->shard_addresses[0]));
  grpc::ClientContext context;
  v1::PushResponse response;
  const auto stream = stub->Push(&context, &response);
  v1::PushRequest message;
  message.mutable_header()->set_generation(lease->generation);
  message.mutable_header()->set_step(lease->step);
  message.mutable_header()->set_slot(lease->slot);
  message.set_tensor(cluster->job.model.tensors[range.tensor].name);
  message.set_values(std::string(AsBytes(std::vector<float>(range.size() / 2, 0.25F))));
  if (!stream->Write(message)) return 1;
  std::cout << "half of step " << lease->step << " slot " << lease->slot << std::endl;
  while (true) pause();
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) { return argc == 2 ? percentdelta::Run(argv[1]) : 2; }
