// SPDX-License-Identifier: Apache-2.0
#include "fuzz/api_model.h"

#include <algorithm>
#include <cstring>

namespace hf::fuzz {
namespace {

// Indexed by HF_LOCK_SHARED, _EXCLUSIVE, _INCREMENT: only equals of the first and the last go together.
bool go_together(std::uint32_t a, std::uint32_t b) { return a == b && a != HF_LOCK_EXCLUSIVE; }

}  // namespace

std::int64_t Value::number() const {
  std::int64_t value = 0;
  std::memcpy(&value, bytes.data(), std::min(sizeof value, bytes.size()));
  return value;
}

Value Value::counter(std::int64_t number) {
  Value value;
  value.kind = Kind::kCounter;
  value.bytes.assign(reinterpret_cast<const char*>(&number), sizeof number);
  return value;
}

Value Value::plain(std::string bytes, bool is_limited) {
  Value value;
  value.kind = Kind::kPlain;
  value.bytes = std::move(bytes);
  value.is_limited = is_limited;
  return value;
}

bool Adds::fold(std::int64_t delta, std::int64_t min, std::int64_t max) {
  const __int128 sum_new = sum + delta;
  const __int128 low_new = std::max(low, min - sum_new), high_new = std::min(high, max - sum_new);
  if (low_new > high_new) return false;
  sum = sum_new;
  low = low_new;
  high = high_new;
  return true;
}

// --- rows ---------------------------------------------------------------------------------------------------------

Value Rows::at(const Key& key, std::uint64_t csn) const {
  Value found;
  const auto row = versions_.find(key);
  if (row == versions_.end()) return found;
  for (const Value& version : row->second) {
    if (version.version <= csn) found = version;
  }
  return found;
}

std::uint64_t Rows::changed(const Key& key) const {
  const auto row = versions_.find(key);
  return row == versions_.end() ? 0 : row->second.back().version;
}

void Rows::set(const Key& key, Value value) {
  value.version = published;
  versions_[key].push_back(std::move(value));
}

// --- locks --------------------------------------------------------------------------------------------------------

std::uint32_t Locks::held(int owner, const Key& key) const {
  const auto row = holders_.find(key);
  if (row == holders_.end()) return 0;
  const auto mine = row->second.find(owner);
  return mine == row->second.end() ? 0 : mine->second;
}

std::uint32_t Locks::after(int owner, const Key& key, std::uint32_t mode) const {
  const std::uint32_t mine = held(owner, key);
  return mine == 0 || mine == mode ? mode : std::uint32_t{HF_LOCK_EXCLUSIVE};
}

bool Locks::is_blocked(int owner, const Key& key, std::uint32_t mode) const {
  const auto row = holders_.find(key);
  if (row == holders_.end()) return false;
  const std::uint32_t wanted = after(owner, key, mode);
  return std::any_of(row->second.begin(), row->second.end(),
                     [&](const auto& holder) { return holder.first != owner && !go_together(holder.second, wanted); });
}

void Locks::take(int owner, const Key& key, std::uint32_t mode) {
  const std::uint32_t mode_new = after(owner, key, mode);
  holders_[key][owner] = mode_new;
}

bool Locks::give_back(int owner, const Key& key) {
  const auto row = holders_.find(key);
  return row != holders_.end() && row->second.erase(owner) != 0;
}

void Locks::give_all_back(int owner) {
  for (auto& [key, holders] : holders_) holders.erase(owner);
}

// --- transactions -------------------------------------------------------------------------------------------------

int TxnModel::see(const Rows& rows, const Key& key, std::uint64_t snapshot, Value* value) const {
  const auto own = writes.find(key);
  if (own == writes.end() || own->second.adds.has_value()) *value = rows.at(key, snapshot);
  if (own == writes.end()) return HF_OK;
  if (!own->second.adds.has_value()) {
    *value = own->second.value;
    value->version = 0;
    return HF_OK;
  }
  if (value->kind == Value::Kind::kPlain) return HF_WRONG_TYPE;
  const bool is_limited = value->is_limited;
  const __int128 sum = (value->there() ? value->number() : 0) + own->second.adds->sum;
  if (sum < INT64_MIN || sum > INT64_MAX) return HF_OUT_OF_RANGE;
  *value = Value::counter(static_cast<std::int64_t>(sum));
  value->is_limited = is_limited;
  return HF_OK;
}

void TxnModel::note_read(const Key& key, std::uint64_t snapshot, bool always) {
  const auto own = writes.find(key);
  if (own != writes.end() && !own->second.adds.has_value()) return;
  if (always || isolation == HF_SERIALIZABLE) reads.push_back({key, snapshot});
}

bool TxnModel::may_answer(int code, const Rows& rows, const Locks& locks, int owner, std::uint64_t snapshot) const {
  if (writes.empty()) return code == HF_OK;
  bool is_blocked = false, is_outside = false, is_plain = false, must_conflict = false;
  for (const auto& [key, write] : writes) {
    is_blocked |= locks.is_blocked(owner, key, write.adds.has_value() ? HF_LOCK_INCREMENT : HF_LOCK_EXCLUSIVE);
    if (!write.adds.has_value()) {
      must_conflict |= isolation == HF_SNAPSHOT && rows.changed(key) > snapshot;
      continue;
    }
    const Value newest = rows.newest(key);
    const std::int64_t number = newest.kind == Value::Kind::kCounter ? newest.number() : 0;
    is_plain |= newest.kind == Value::Kind::kPlain;
    is_outside |= number < write.adds->low || number > write.adds->high;
  }
  for (const Read& read : reads) must_conflict |= rows.changed(read.key) > read.seen_at;
  switch (code) {
    case HF_OK:
      return !is_blocked && !is_outside && !is_plain && !must_conflict;
    case HF_LOCK_TIMEOUT:
      return is_blocked;
    case HF_OUT_OF_RANGE:
      return is_outside;
    case HF_WRONG_TYPE:
      return is_plain;
    case HF_CONFLICT:
    case HF_VERSION_MISMATCH:
      return rows.published > first_snapshot;
    default:
      return false;
  }
}

void TxnModel::commit(Rows* rows) const {
  if (writes.empty()) return;
  std::vector<std::pair<Key, Value>> values;
  for (const auto& [key, write] : writes) {
    Value value = write.value;
    if (write.adds.has_value()) {
      const Value newest = rows->newest(key);
      value = Value::counter(static_cast<std::int64_t>((newest.there() ? newest.number() : 0) + write.adds->sum));
      value.is_limited = newest.is_limited;
    }
    values.emplace_back(key, std::move(value));
  }
  ++rows->published;
  for (auto& [key, value] : values) rows->set(key, std::move(value));
}

}  // namespace hf::fuzz
