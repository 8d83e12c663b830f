// SPDX-License-Identifier: Apache-2.0

// Writes a training for TensorBoard while it runs, on a thread of its own, from what the
// coordinator retains: training waits for nothing of it.

#ifndef PERCENTDELTA_SERVER_TENSORBOARD_TENSORBOARD_WRITER_H_
#define PERCENTDELTA_SERVER_TENSORBOARD_TENSORBOARD_WRITER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/log.h"
#include "common/base/ticker.h"
#include "server/coordinator/coordinator.h"
#include "server/tensorboard/event_file.h"
#include "server/tensorboard/training_events.h"

namespace percentdelta {

// Thread-safe. The directory is for one training: a training that starts at step 0 voids what the
// directory's files say, and one that continues from a checkpoint is appended to it. Steps that
// leave the coordinator's history (--history) between two looks are not written. While the disk is
// full the file ends where it was, and what is still retained is written later.
class TensorBoardWriter {
 public:
  // Reads what earlier processes wrote to `directory`, and creates the file of this one. Both must
  // outlive the writer. Errors: the system's, with the path.
  static absl::StatusOr<std::unique_ptr<TensorBoardWriter>> Open(const std::string& directory,
                                                                 Coordinator& coordinator,
                                                                 const Logger& log);

  ~TensorBoardWriter();  // Finish()

  // Starts to look for new steps, every half second.
  void Start();

  // Waits, for 2 seconds at most, until the histograms of a training that is finished have come
  // from all shards.
  void AwaitHistograms() const;

  // Writes what is left, and waits until it is on disk. May be called more than once.
  void Finish();

 private:
  TensorBoardWriter(EventFile file, TrainingEvents events, Coordinator& coordinator, Logger log);

  void Write();
  void Flush(bool durably);

  Coordinator& coordinator_;
  const Logger log_;

  // Of the ticker's thread, and of Finish() after it has ended.
  EventFile file_;
  TrainingEvents events_;
  std::string error_;    // the last one; empty: writing succeeds
  int64_t dropped_ = 0;  // steps whose histograms were

  std::optional<Ticker> ticker_;  // the last member: its thread uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_TENSORBOARD_TENSORBOARD_WRITER_H_
