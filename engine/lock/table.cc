// SPDX-License-Identifier: Apache-2.0
// The lock file, and the pools of units and owner rows.
#include <algorithm>
#include <cstring>

#include "lock/impl.h"
#include "platform/file.h"
#include "platform/test_point.h"

namespace hf::lock {
namespace {

using platform::OwnerId;
using platform::reach;

// Who has a chunk of units or owner rows is told by a word. Takes a free one, or answers false.
bool claim(const LockRegion& region, std::atomic<std::uint32_t>* chunks, std::uint32_t count, OwnerId me,
           std::uint32_t* chunk) noexcept {
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint32_t free = 0;
    // Release: whoever sees the id sees its generation too (platform/liveness.h). Acquire: what the last owner left.
    if (chunks[i].load(std::memory_order_relaxed) == 0 &&
        chunks[i].compare_exchange_strong(free, me, std::memory_order_acq_rel)) {
      *chunk = i;
      observe_reads(region);
      return true;
    }
  }
  return false;
}

Status reserve(const std::string& path, std::size_t offset, std::size_t size) {
  Result<platform::File> file = platform::File::open(path, platform::File::Mode::kReadWrite);
  return file.ok() ? file->reserve(offset, size) : std::move(file).status();
}

}  // namespace

LockTable::LockTable(platform::Region region, std::string path, const platform::Liveness& liveness)
    : mapped_(std::move(region)), region_{mapped_.data()}, path_(std::move(path)), liveness_(&liveness) {
  units_max_ = region_.shared().locks_max;
  spare_max_ = std::clamp<std::size_t>(units_max_ / 512, 8, Owner::kSpareMax);
}

Result<std::unique_ptr<LockTable>> LockTable::create(const std::string& path, const platform::Liveness& liveness,
                                                     std::uint32_t locks_max) {
  const std::uint32_t chunks = (std::clamp(locks_max, 1u, kLocksMax) + kUnitsPerChunk - 1) / kUnitsPerChunk;
  const std::uint32_t units = chunks * kUnitsPerChunk;
  Result<platform::Region> region = platform::Region::create_sparse(path, lock_file_size(units));
  if (!region.ok()) return std::move(region).status();
  if (Status status = reserve(path, 0, kOwnersOffset); !status.ok()) {
    (void)platform::remove_file(path);  // the first failure is the one to report
    return status;
  }
  LockShared& shared = *reinterpret_cast<LockShared*>(region->data());
  std::memcpy(shared.magic, kLockMagic, sizeof kLockMagic);
  shared.locks_max = units;
  return std::unique_ptr<LockTable>(new LockTable(std::move(region).value(), path, liveness));
}

Result<std::unique_ptr<LockTable>> LockTable::attach(const std::string& path, const platform::Liveness& liveness,
                                                     const platform::ProcessSlot* slots) {
  Result<platform::Region> region = platform::Region::open(path, kUnitsOffset);
  if (!region.ok()) return std::move(region).status();
  const LockShared& shared = *reinterpret_cast<LockShared*>(region->data());
  if (std::memcmp(shared.magic, kLockMagic, sizeof kLockMagic) != 0 || shared.locks_max == 0 ||
      shared.locks_max > kLocksMax || shared.locks_max % kUnitsPerChunk != 0 ||
      region->size() < lock_file_size(shared.locks_max)) {
    return Status(Code::kCORRUPT, path + ": not a lock table");
  }
  std::unique_ptr<LockTable> table(new LockTable(std::move(region).value(), path, liveness));
  table->slots_ = slots;
  return table;
}

LockTable::~LockTable() {
  const OwnerId me = liveness_->me();
  announce_given(region_);
  for (std::uint32_t chunk = 0; chunk < units_max_ / kUnitsPerChunk; ++chunk) {
    std::uint32_t mine = me;
    region_.unit_chunks()[chunk].compare_exchange_strong(mine, 0, std::memory_order_release);
  }
  for (std::uint32_t chunk = 0; chunk < kOwnerChunks; ++chunk) {
    std::uint32_t mine = me;
    region_.shared().owner_chunks[chunk].compare_exchange_strong(mine, 0, std::memory_order_release);
  }
}

// --- units -----------------------------------------------------------------------------------------------------------

namespace {

std::size_t units_for(std::size_t key_size) noexcept {
  return key_size <= kUnitKeySize ? 1 : 1 + (key_size - kUnitKeySize + kUnitMoreSize - 1) / kUnitMoreSize;
}

}  // namespace

Status LockTable::grow_units() {
  std::uint32_t chunk = 0;
  if (!claim(region_, region_.unit_chunks(), units_max_ / kUnitsPerChunk, liveness_->me(), &chunk)) {
    return Code::kLOCK_TABLE_FULL;
  }
  reach("lock.chunk_claimed");
  const std::size_t offset = kUnitsOffset + std::size_t{chunk} * kUnitsPerChunk * sizeof(Unit);
  if (Status status = reserve(path_, offset, kUnitsPerChunk * sizeof(Unit)); !status.ok()) {
    region_.unit_chunks()[chunk].store(0, std::memory_order_release);
    return status;
  }
  for (std::uint32_t i = kUnitsPerChunk; i-- > 0;) free_units_.push_back(chunk * kUnitsPerChunk + i + 1);
  return {};
}

Status LockTable::take_units(std::vector<UnitRef>& units, std::size_t count) {
  for (bool reaped = false;; reaped = true) {
    {
      const std::lock_guard lock(pool_mutex_);
      Status status;
      while (status.ok() && free_units_.size() < count) status = grow_units();
      if (status.ok()) {
        units.insert(units.end(), free_units_.end() - static_cast<std::ptrdiff_t>(count), free_units_.end());
        free_units_.resize(free_units_.size() - count);
        return status;
      }
      if (status.code() != Code::kLOCK_TABLE_FULL) return status;
    }
    if (reaped) break;
    reap();  // the dead may have what is missing
  }
  const LockStats figures = stats();
  return Status(Code::kLOCK_TABLE_FULL, "the lock table has room for " + std::to_string(units_max_) +
                                            " locks (locks_max); " + std::to_string(figures.units_in_use) +
                                            " are held or waited for, by all processes together");
}

void LockTable::give_units(std::vector<UnitRef>& units, std::size_t keep) noexcept {
  if (units.size() <= keep) return;
  const std::lock_guard lock(pool_mutex_);
  free_units_.insert(free_units_.end(), units.begin() + static_cast<std::ptrdiff_t>(keep), units.end());
  units.resize(keep);
  if (free_units_.size() > std::max<std::size_t>(units_max_ / 8, std::size_t{2} * kUnitsPerChunk)) give_chunks();
}

// What this process does not need others may. Requires: pool_mutex_.
void LockTable::give_chunks() noexcept {
  announce_given(region_);
  std::sort(free_units_.begin(), free_units_.end());
  std::vector<UnitRef> kept;
  for (std::size_t i = 0; i < free_units_.size();) {
    const std::uint32_t chunk = (free_units_[i] - 1) / kUnitsPerChunk;
    std::size_t end = i;
    while (end < free_units_.size() && (free_units_[end] - 1) / kUnitsPerChunk == chunk) ++end;
    if (end - i == kUnitsPerChunk && i > kUnitsPerChunk) {  // the first ones stay: giving all away would be busywork
      region_.unit_chunks()[chunk].store(0, std::memory_order_release);
    } else {
      kept.insert(kept.end(), free_units_.begin() + static_cast<std::ptrdiff_t>(i),
                  free_units_.begin() + static_cast<std::ptrdiff_t>(end));
    }
    i = end;
  }
  free_units_.swap(kept);
}

Result<UnitRef> Inside::take_unit(LockTable& table, Owner& owner, const Row& row) {
  const std::size_t count = units_for(row.key.size());
  if (owner.spare_.size() < count) {
    const std::size_t missing = count - owner.spare_.size();
    if (Status status = table.take_units(owner.spare_, missing); !status.ok()) return status;
  }
  const LockRegion region = table.region_;
  Bytes rest = row.key.substr(std::min<std::size_t>(row.key.size(), kUnitKeySize));
  // From the last one on, so that each can name the next.
  UnitRef more = 0;
  for (std::size_t i = count - 1; i > 0; --i) {
    const UnitRef ref = owner.spare_.back();
    owner.spare_.pop_back();
    UnitMore& part = region.more(ref);
    part.word.store(pack({State::kMore, Mode::kNone, Mode::kNone, 0}), std::memory_order_relaxed);
    part.more = more;
    const Bytes bytes = rest.substr((i - 1) * kUnitMoreSize, kUnitMoreSize);
    std::memcpy(part.key, bytes.data(), bytes.size());
    more = ref;
  }
  const UnitRef ref = owner.spare_.back();
  owner.spare_.pop_back();
  Unit& unit = region.unit(ref);
  // Relaxed, all of it: the bucket's latch publishes it, and until then nobody looks but to see that it is not linked.
  unit.next.store(0, std::memory_order_relaxed);
  unit.hash.store(row.hash, std::memory_order_relaxed);
  unit.life.store(owner.life_, std::memory_order_relaxed);
  unit.owner.store(owner.ref_, std::memory_order_relaxed);
  unit.table = row.table;
  unit.more = more;
  unit.key_size = static_cast<std::uint16_t>(row.key.size());
  if (!row.key.empty()) std::memcpy(unit.key, row.key.data(), std::min<std::size_t>(row.key.size(), kUnitKeySize));
  return ref;
}

void Inside::give_unit(LockTable& table, Owner& owner, UnitRef ref) noexcept {
  const LockRegion region = table.region_;
  UnitRef more = region.unit(ref).more;
  region.unit(ref).word.store(0, std::memory_order_relaxed);
  owner.spare_.push_back(ref);
  while (more != 0) {
    UnitMore& part = region.more(more);
    owner.spare_.push_back(more);
    part.word.store(0, std::memory_order_relaxed);
    more = part.more;
  }
  if (owner.spare_.size() > table.spare_max_) table.give_units(owner.spare_, table.spare_max_);
}

// --- owners ----------------------------------------------------------------------------------------------------------

Status LockTable::take_owner_row(OwnerRef* ref) {
  for (bool reaped = false;; reaped = true) {
    {
      const std::lock_guard lock(pool_mutex_);
      if (free_owners_.empty()) {
        std::uint32_t chunk = 0;
        if (claim(region_, region_.shared().owner_chunks, kOwnerChunks, liveness_->me(), &chunk)) {
          const std::size_t offset = kOwnersOffset + std::size_t{chunk} * kOwnersPerChunk * sizeof(OwnerRow);
          if (Status status = reserve(path_, offset, kOwnersPerChunk * sizeof(OwnerRow)); !status.ok()) {
            region_.shared().owner_chunks[chunk].store(0, std::memory_order_release);
            return status;
          }
          for (std::uint32_t i = kOwnersPerChunk; i-- > 0;) free_owners_.push_back(chunk * kOwnersPerChunk + i + 1);
        }
      }
      if (!free_owners_.empty()) {
        *ref = free_owners_.back();
        free_owners_.pop_back();
        return {};
      }
    }
    if (reaped) break;
    reap();
  }
  return Status(Code::kLIMIT,
                "all " + std::to_string(kOwnersMax) + " places for transactions and sessions with locks are taken");
}

}  // namespace hf::lock
