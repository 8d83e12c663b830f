// SPDX-License-Identifier: Apache-2.0

// Requests the progress of the cluster at the address on the command line.

#include <iostream>

#include "client/cluster.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: consumer HOST:PORT\n";
    return 2;
  }
  const percentdelta::Cluster cluster({argv[1], absl::Seconds(1)});
  const absl::StatusOr<percentdelta::Progress> progress = cluster.GetProgress();
  if (!progress.ok()) {
    std::cerr << progress.status().message() << "\n";
    return 1;
  }
  std::cout << percentdelta::ToString(progress->state) << "\n";
}
