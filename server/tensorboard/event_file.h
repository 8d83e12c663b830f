// SPDX-License-Identifier: Apache-2.0

// Files of events as TensorBoard reads them: TFRecords, each with its length and masked CRC-32C.
// TensorBoard reads the files of a directory in the order of their names, each to its end.

#ifndef PERCENTDELTA_SERVER_TENSORBOARD_EVENT_FILE_H_
#define PERCENTDELTA_SERVER_TENSORBOARD_EVENT_FILE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tensorboard/event.pb.h"

namespace percentdelta {

// CRC-32C (Castagnoli; RFC 3720), and the rotation of it that TFRecords hold.
uint32_t Crc32c(absl::string_view bytes);
uint32_t MaskedCrc32c(absl::string_view bytes);

// A TFRecord with these bytes.
std::string ToRecord(absl::string_view bytes);

// The event files in `directory` that this class's writer wrote, in the order in which they were
// written. An error: the directory cannot be listed.
absl::StatusOr<std::vector<std::string>> FindEventFiles(const std::string& directory);

// Calls `visit` for each event of a file, up to the first record that is cut off or damaged.
absl::Status ReadEvents(const std::string& path,
                        absl::FunctionRef<void(const tensorboard::Event& event)> visit);

// Writes one file. Not thread-safe. The destructor writes nothing more.
class EventFile {
 public:
  // Creates a file in `directory`, which is created if it does not exist; its name comes after
  // those of FindEventFiles(). Errors: the system's, with the path.
  static absl::StatusOr<EventFile> Create(const std::string& directory, absl::Time now);

  EventFile(EventFile&& other) noexcept;
  EventFile& operator=(EventFile&&) = delete;
  ~EventFile();

  const std::string& path() const { return path_; }

  // Queues an event; Flush() writes it.
  void Add(const tensorboard::Event& event);

  // Whether there are events that are not written.
  bool pending() const { return !pending_.empty(); }

  // Writes what is queued. After an error the file ends with a whole record, and the next call
  // tries again. `durably`: also waits until it is on disk.
  absl::Status Flush(bool durably = false);

 private:
  EventFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

  std::string path_;
  int descriptor_;
  std::string pending_;
  int64_t written_ = 0;  // bytes
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_TENSORBOARD_EVENT_FILE_H_
