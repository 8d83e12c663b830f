// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/call_limiter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

// A push that others wait for must be over after this time, if the budget of bytes is used up.
constexpr absl::Duration kLongestHold = absl::Seconds(20);

// A search for a call to evict passes over all calls.
constexpr absl::Duration kSearchInterval = absl::Milliseconds(100);

constexpr size_t kMaxPeers = 16384;  // that are remembered although they have no calls

// See Limits::refusals.
constexpr int kCallerRefusals = 10;

// Takes one of the queries of a peer, which get more with time.
template <typename Peer>
bool TakeQuery(Peer& peer, double per_second, absl::Duration now) {
  const double refill = per_second * absl::ToDoubleSeconds(now - peer.refilled);
  peer.queries = std::min(2 * per_second, peer.queries + refill);
  peer.refilled = now;
  if (peer.queries < 1) return false;
  peer.queries -= 1;
  return true;
}

absl::Status TooFast(absl::string_view whose, int per_second, absl::string_view limit) {
  return absl::ResourceExhaustedError(
      absl::StrCat("queries of this ", whose, ": expected at most ", per_second,
                   " a second, got more; ask less often, or raise --limits=", limit, "="));
}

absl::Status Full(CallKind kind, absl::string_view suffix, int limit, absl::string_view whose) {
  return absl::ResourceExhaustedError(
      absl::StrCat(NameOf(kind), " in flight", whose, ": expected at most ", limit,
                   ", got one more; try again, or raise --limits=", NameOf(kind), suffix, "="));
}

}  // namespace

std::string AddressOf(absl::string_view connection) {
  return std::string(connection.substr(0, connection.rfind(':')));
}

CallLimiter::Place& CallLimiter::Place::operator=(Place&& other) noexcept {
  if (this == &other) return *this;
  Release();
  limiter_ = std::exchange(other.limiter_, nullptr);
  id_ = other.id_;
  return *this;
}

void CallLimiter::Place::Moved(bool busy) {
  if (limiter_ == nullptr) return;
  absl::MutexLock lock(&limiter_->mutex_);
  const auto call = limiter_->calls_.find(id_);
  if (call == limiter_->calls_.end()) return;
  call->second.busy = busy;
  call->second.moved = limiter_->options_.clock->Now();
}

bool CallLimiter::Place::Hold(int64_t bytes) {
  if (limiter_ == nullptr) return true;
  Actions actions;
  bool may = true;
  {
    absl::MutexLock lock(&limiter_->mutex_);
    const auto call = limiter_->calls_.find(id_);
    if (call == limiter_->calls_.end()) return true;
    limiter_->bytes_ += bytes - call->second.bytes;
    call->second.bytes = bytes;
    may = limiter_->MayHoldMore(id_);
    call->second.waits = !may;
    if (!may) ++limiter_->waiting_;
    limiter_->Resume(actions);
  }
  actions.Run();
  return may;
}

void CallLimiter::Place::Release() {
  CallLimiter* const limiter = std::exchange(limiter_, nullptr);
  if (limiter == nullptr) return;
  Actions actions;
  {
    absl::MutexLock lock(&limiter->mutex_);
    limiter->Erase(id_, actions);
  }
  actions.Run();
}

absl::StatusOr<CallLimiter::Place> CallLimiter::Admit(CallKind kind, const CallPeer& peer,
                                                      Callbacks callbacks) {
  Actions actions;
  Place place;
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    status = CheckRoom(kind, peer, now, actions);
    if (status.ok()) {
      place.limiter_ = this;
      place.id_ = next_id_++;
      ++counts_[static_cast<int>(kind)];
      ++FindConnection(peer, now).counts[static_cast<int>(kind)];
      ++FindCaller(peer, now).counts[static_cast<int>(kind)];
      calls_[place.id_] = {kind, peer, true, false, 0, now, now, std::move(callbacks)};
    } else {
      CountRefusal(peer, 1, now, actions);
    }
  }
  actions.Run();
  if (!status.ok()) return status;
  return place;
}

absl::Status CallLimiter::CheckRate(const CallPeer& peer, absl::Duration now) {
  if (!TakeQuery(FindConnection(peer, now), limits().queries_per_second, now)) {
    return TooFast("connection", limits().queries_per_second, "queries_per_second");
  }
  if (!TakeQuery(FindCaller(peer, now), limits().queries_per_second_per_caller, now)) {
    return TooFast("caller", limits().queries_per_second_per_caller,
                   "queries_per_second_per_caller");
  }
  return absl::OkStatus();
}

absl::Status CallLimiter::CheckRoom(CallKind kind, const CallPeer& peer, absl::Duration now,
                                    Actions& actions) {
  if (kind == CallKind::kQuery) {
    RETURN_IF_ERROR(CheckRate(peer, now));
  }
  const CallLimit& limit = limits().of(kind);
  if (FindConnection(peer, now).counts[static_cast<int>(kind)] >= limit.per_connection) {
    return Full(kind, "_per_connection", limit.per_connection, " on this connection");
  }
  if (FindCaller(peer, now).counts[static_cast<int>(kind)] >= limit.per_caller) {
    return Full(kind, "_per_caller", limit.per_caller, " of this caller");
  }
  if (counts_[static_cast<int>(kind)] < limit.total || EvictOne(kind, now, actions)) {
    return absl::OkStatus();
  }
  return Full(kind, "", limit.total, "");
}

CallLimiter::Peer& CallLimiter::FindPeer(Peers& peers, const std::string& name,
                                         int queries_per_second, absl::Duration now) {
  const auto [found, is_new] = peers.try_emplace(name);
  if (is_new) {
    found->second.window_began = now;
    found->second.queries = 2.0 * queries_per_second;
    found->second.refilled = now;
  }
  return found->second;
}

CallLimiter::Peer& CallLimiter::FindConnection(const CallPeer& peer, absl::Duration now) {
  return FindPeer(connections_, peer.connection, limits().queries_per_second, now);
}

CallLimiter::Peer& CallLimiter::FindCaller(const CallPeer& peer, absl::Duration now) {
  return FindPeer(callers_, peer.caller, limits().queries_per_second_per_caller, now);
}

bool CallLimiter::EvictOne(CallKind kind, absl::Duration now, Actions& actions) {
  absl::Duration& searched = searched_[static_cast<int>(kind)];
  if (now - searched < kSearchInterval) return false;
  uint64_t victim = 0;
  absl::Duration stood_still = kEvictAfter;
  for (const auto& [id, call] : calls_) {
    if (call.kind != kind || !call.busy || call.waits || now - call.moved < stood_still) continue;
    victim = id;
    stood_still = now - call.moved;
  }
  if (victim == 0) {
    searched = now;
    return false;
  }
  End(victim,
      absl::ResourceExhaustedError(
          absl::StrCat(NameOf(kind), ": nothing has moved on this call for ",
                       absl::FormatDuration(absl::Trunc(stood_still, absl::Seconds(1))),
                       ", and others wait for its place; try again")),
      actions);
  return true;
}

void CallLimiter::Refused(const CallPeer& peer, int weight) {
  Actions actions;
  {
    absl::MutexLock lock(&mutex_);
    CountRefusal(peer, weight, options_.clock->Now(), actions);
  }
  actions.Run();
}

void CallLimiter::CountRefusal(const CallPeer& peer, int weight, absl::Duration now,
                               Actions& actions) {
  Peer& connection = FindConnection(peer, now);
  Peer& caller = FindCaller(peer, now);
  for (Peer* each : {&connection, &caller}) {
    if (now - each->window_began >= kRefusalWindow) {
      each->window_began = now;
      each->refusals = 0;
      each->closed = false;
    }
    each->refusals += weight;
  }
  const bool known = caller.refusals >= kCallerRefusals * limits().refusals;
  const int limit = known ? std::max(1, limits().refusals / kCallerRefusals) : limits().refusals;
  if (connection.refusals < limit || connection.closed) return;
  connection.closed = true;
  Disconnect(peer,
             absl::StrCat("its calls were refused ", connection.refusals, " times within ",
                          absl::FormatDuration(kRefusalWindow)),
             actions);
}

void CallLimiter::Disconnect(const CallPeer& peer, const std::string& reason, Actions& actions) {
  if (options_.disconnect == nullptr) return;
  actions.calls.push_back([this, peer, reason] {
    options_.log->warn("connection closed peer={} caller=\"{}\" reason=\"{}\"",
                       EscapeForLog(peer.connection, kMaxNameBytes),
                       EscapeForLog(peer.caller, kMaxNameBytes), reason);
    options_.disconnect(peer.connection);
  });
}

void CallLimiter::End(uint64_t id, const absl::Status& status, Actions& actions) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  const Call& call = found->second;
  if (call.callbacks.end != nullptr) {
    actions.calls.push_back([end = call.callbacks.end, status] { end(status); });
  } else {
    Disconnect(call.peer, std::string(status.message()), actions);
  }
  Erase(id, actions);
}

void CallLimiter::Erase(uint64_t id, Actions& actions) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  const Call& call = found->second;
  --counts_[static_cast<int>(call.kind)];
  const auto kind = static_cast<int>(call.kind);
  if (const auto peer = connections_.find(call.peer.connection); peer != connections_.end()) {
    --peer->second.counts[kind];
  }
  if (const auto peer = callers_.find(call.peer.caller); peer != callers_.end()) {
    --peer->second.counts[kind];
  }
  bytes_ -= call.bytes;
  if (call.waits) --waiting_;
  calls_.erase(found);
  Resume(actions);
}

// The oldest call that holds bytes may hold more in any case.
bool CallLimiter::MayHoldMore(uint64_t id) const {
  if (bytes_ <= limits().push_bytes) return true;
  const auto oldest = std::find_if(calls_.begin(), calls_.end(),
                                   [](const auto& entry) { return entry.second.bytes > 0; });
  return oldest != calls_.end() && oldest->first == id;
}

void CallLimiter::Resume(Actions& actions) {
  if (waiting_ == 0) return;
  for (auto& [id, call] : calls_) {
    if (!call.waits || !MayHoldMore(id)) continue;
    call.waits = false;
    --waiting_;
    call.moved = options_.clock->Now();
    if (call.callbacks.resume != nullptr) actions.calls.push_back(call.callbacks.resume);
    if (bytes_ > limits().push_bytes) return;
  }
}

void CallLimiter::Tick() {
  Actions actions;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = options_.clock->Now();
    const bool some_wait = waiting_ > 0;
    std::vector<std::pair<uint64_t, std::string>> ended;
    for (const auto& [id, call] : calls_) {
      if (call.waits) continue;
      if (call.busy && now - call.moved >= limits().stall) {
        ended.emplace_back(id, absl::StrCat("nothing has moved on this call for ",
                                            absl::FormatDuration(limits().stall)));
      } else if (some_wait && call.bytes > 0 && now - call.began >= kLongestHold) {
        ended.emplace_back(id,
                           absl::StrCat("this call has taken ", absl::FormatDuration(kLongestHold),
                                        ", and others wait for its bytes"));
      }
    }
    for (const auto& [id, reason] : ended) {
      const CallKind kind = calls_.at(id).kind;
      End(id, absl::DeadlineExceededError(absl::StrCat(NameOf(kind), ": ", reason)), actions);
    }
    if (now - swept_ >= kRefusalWindow || connections_.size() > kMaxPeers) {
      swept_ = now;
      Forget(connections_, now);
      Forget(callers_, now);
    }
  }
  actions.Run();
}

void CallLimiter::Forget(Peers& peers, absl::Duration now) {
  std::erase_if(peers, [&](const auto& entry) {
    const Peer& peer = entry.second;
    return now - peer.window_began >= kRefusalWindow &&
           std::all_of(peer.counts.begin(), peer.counts.end(),
                       [](int count) { return count == 0; });
  });
}

int CallLimiter::count(CallKind kind) const {
  absl::MutexLock lock(&mutex_);
  return counts_[static_cast<int>(kind)];
}

}  // namespace percentdelta
