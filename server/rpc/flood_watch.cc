// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/flood_watch.h"

#include <algorithm>
#include <utility>

namespace percentdelta {

void FloodWatch::Tick() {
  if (seen_.size() > kManyConnections && !stands_out_ && ++skipped_ < kRareTicks) return;
  skipped_ = 0;
  std::map<std::string, Seen> still;
  std::vector<std::pair<int64_t, std::string>> unanswered;
  int64_t total = 0;
  for (const ConnectionTraffic& each : options_.list()) {
    if (still.contains(each.peer)) continue;  // several descriptors may be of one connection
    const auto known = seen_.find(each.peer);
    Seen seen = known == seen_.end() ? Seen() : known->second;
    // Fewer bytes than before: another connection of the same address.
    const bool is_new = each.received < seen.received || each.sent < seen.sent;
    if (is_new) seen = Seen();
    const int64_t read = each.received - each.unread;
    if (each.sent != seen.sent) seen.answered = read;
    seen.received = each.received;
    seen.sent = each.sent;
    const int64_t bytes = read - seen.answered;
    if (!seen.closed && bytes > 0) {
      total += bytes;
      unanswered.emplace_back(bytes, each.peer);
    }
    still[each.peer] = seen;
  }
  seen_ = std::move(still);

  std::sort(unanswered.rbegin(), unanswered.rend());
  stands_out_ = !unanswered.empty() && unanswered.front().first > options_.per_connection / 8;
  for (const auto& [bytes, peer] : unanswered) {
    if (bytes <= options_.per_connection && total <= options_.total) return;
    options_.log->warn(
        "disconnected peer={} reason=\"it sent {} bytes that needed no answer, which is what "
        "headers without an end do\"",
        peer, bytes);
    seen_[peer].closed = true;
    total -= bytes;
    options_.disconnect(peer);
  }
}

}  // namespace percentdelta
