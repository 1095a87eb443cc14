// SPDX-License-Identifier: Apache-2.0
// Looking the lists over without a latch: what is wrong in many looks in a row, with nobody in the latch before or
// after, is wrong. So nobody waits, and nothing changes; a bucket that is busy all the time is passed over.
#include <vector>

#include "base/hash.h"
#include "lock/impl.h"

namespace hf::lock {
namespace {

constexpr int kLooks = 1000;

class TableChecker {
 public:
  TableChecker(const LockTable& table, std::uint32_t units_max) : table_(table), units_max_(units_max) {}

  // "" or what is wrong with the bucket.
  std::string check(std::uint32_t index) {
    const LockRegion region = table_.region();
    const Bucket& bucket = region.bucket(index);
    std::string fault;
    int faults = 0;
    for (int look = 0; look < kLooks; ++look) {
      if (bucket.latch.load(std::memory_order_acquire) != 0) continue;
      const UnitRef first = bucket.first.load(std::memory_order_acquire);
      fault = look_over(first, index);
      if (fault.empty()) return {};
      std::atomic_thread_fence(std::memory_order_acquire);
      if (bucket.latch.load(std::memory_order_relaxed) == 0) ++faults;
    }
    return faults >= kLooks / 2 ? fault : std::string();
  }

 private:
  std::string look_over(UnitRef first, std::uint32_t index) {
    const LockRegion region = table_.region();
    granted_.clear();
    std::uint32_t steps = 0;
    for (UnitRef at = first; at != 0; ++steps) {
      const std::string unit = "request " + std::to_string(at);
      if (at > units_max_) return "its list leads to " + unit + ", which there is none of";
      if (steps > units_max_) return "its list is a circle";
      if (region.unit_chunks()[(at - 1) / kUnitsPerChunk].load(std::memory_order_acquire) == 0) {
        return unit + " is in its list, but belongs to nobody";
      }
      const Unit& one = region.unit(at);
      const RequestWord word = unpack(one.word.load(std::memory_order_acquire));
      if (word.state < State::kWaiting || word.state > State::kDropped) return unit + " is of no known state";
      const std::uint64_t hash = one.hash.load(std::memory_order_relaxed);
      if ((hash & (kBuckets - 1)) != index) return unit + " belongs to another bucket";
      const OwnerRef owner = one.owner.load(std::memory_order_relaxed);
      if (owner == 0 || owner > kOwnersMax) return unit + " has no owner";
      if (one.key_size == 0 || one.key_size > kKeySizeMax) return unit + " has a key of no legal size";
      if (one.key_size <= kUnitKeySize && row_hash(one.table, Bytes(one.key, one.key_size)) != hash) {
        return unit + " has a key that does not match its hash";
      }
      if (word.state == State::kGranted || word.state == State::kUpgrading) {
        if (!compatible_with_all(hash, owner, word.held)) return unit + " holds what another one holds as well";
        granted_.push_back({hash, owner, word.held});
      }
      at = one.next.load(std::memory_order_acquire);
    }
    return {};
  }

  struct Granted {
    std::uint64_t hash;
    OwnerRef owner;
    Mode mode;
  };
  // A row is known by its hash here, which 64 bits may well do for one bucket.
  bool compatible_with_all(std::uint64_t hash, OwnerRef owner, Mode mode) const {
    for (const Granted& other : granted_) {
      if (other.hash == hash && other.owner != owner && !compatible(other.mode, mode)) return false;
    }
    return true;
  }

  const LockTable& table_;
  const std::uint32_t units_max_;
  std::vector<Granted> granted_;
};

}  // namespace

void LockTable::check(const std::function<bool(std::uint64_t offset, const std::string& text)>& found) const {
  TableChecker checker(*this, units_max_);
  if (region_.shared().locks_max != units_max_ && !found(8, "locks_max is not what it was when it was opened")) return;
  for (std::uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    const std::string fault = checker.check(bucket);
    const std::uint64_t offset = kBucketsOffset + bucket * sizeof(Bucket);
    if (!fault.empty() && !found(offset, "bucket " + std::to_string(bucket) + ": " + fault)) return;
  }
}

}  // namespace hf::lock
