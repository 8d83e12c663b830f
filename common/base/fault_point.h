// SPDX-License-Identifier: Apache-2.0

// Named points of the program at which a test can make the process die: the fault harness kills
// processes at the worst moments, which a signal from outside would hit only by chance.

#ifndef PERCENTDELTA_COMMON_BASE_FAULT_POINT_H_
#define PERCENTDELTA_COMMON_BASE_FAULT_POINT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

// Copyable; copies share their count. Thread-safe. A default-constructed object does nothing.
class FaultPoints {
 public:
  FaultPoints() = default;

  // Parses "POINT[:COUNT[:stop]]": when POINT is passed for the COUNT-th time (default 1), the
  // process kills itself with SIGKILL, or stops itself with SIGSTOP if ":stop" is given. Empty:
  // never.
  //   kInvalidArgument  another form, or a point that is not in `known`
  static absl::StatusOr<FaultPoints> Parse(const std::string& text,
                                           const std::vector<std::string>& known);

  // Called by the program when it reaches the point.
  void Pass(absl::string_view point) const {
    if (fault_ != nullptr) PassArmed(point);
  }

 private:
  struct Fault {
    std::string point;
    std::atomic<int64_t> left{1};
    int signal = 0;
  };

  void PassArmed(absl::string_view point) const;

  std::shared_ptr<Fault> fault_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_FAULT_POINT_H_
