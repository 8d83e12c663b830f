// Named points of the program at which a test may have the process die: the fault harness kills at
// the worst moments on purpose, which a signal from outside hits only by luck.

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

// Copyable; the copies count together. Thread-safe. Made by default it does nothing.
class FaultPoints {
 public:
  FaultPoints() = default;

  // Reads "POINT[:COUNT[:stop]]": at the COUNT-th passing (1 if absent) of POINT the process kills
  // itself with SIGKILL, or with ":stop" stops itself with SIGSTOP. Empty: never.
  //   kInvalidArgument  another form, or a point that is not among `known`
  static absl::StatusOr<FaultPoints> Parse(const std::string& text,
                                           const std::vector<std::string>& known);

  // Says that the program is at the point.
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
