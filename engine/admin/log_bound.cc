// SPDX-License-Identifier: Apache-2.0
#include "admin/log_bound.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "log/reader.h"
#include "platform/futex.h"
#include "txn/shared.h"

namespace hf::admin {
namespace {

constexpr std::uint64_t kLookAgainNs = 10'000'000;  // a dead database is opened, a live one left: noticed that late

bool identify(const std::string& path, std::uint64_t* device, std::uint64_t* inode) {
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) return false;
  *device = file.st_dev;
  *inode = file.st_ino;
  return true;
}

}  // namespace

Result<LogBound> LogBound::open(const std::string& path) {
  Result<txn::Identity> identity = txn::read_identity(path);
  if (!identity.ok()) {
    if (identity.code() != Code::kNOT_FOUND) return std::move(identity).status();
    return Status(Code::kNOT_FOUND, "no database in " + path);
  }
  Result<platform::Liveness> liveness = platform::Liveness::open(path + "/liveness");
  if (!liveness.ok()) return std::move(liveness).status();
  return LogBound(path, identity.value(), std::move(liveness).value());
}

Csn LogBound::durable() const noexcept {
  // Acquire pairs with the flush that stored it after its sync: what is read from the files next is from after it.
  return txn::SharedRegion{region_.data()}.log().durable_csn.load(std::memory_order_acquire);
}

// Whether the session that runs is the one whose memory is mapped.
bool LogBound::is_mapped_session() const {
  if (!region_.is_mapped()) return false;
  Result<std::string> memory = txn::read_session(path_);
  std::uint64_t device = 0, inode = 0;
  return memory.ok() && identify(txn::control_path(memory.value()), &device, &inode) && device == device_ &&
         inode == inode_;
}

// Requires: the gate, and somebody alive; so the session is whole and stays.
Status LogBound::map_session() {
  Result<std::string> memory = txn::read_session(path_);
  if (!memory.ok()) return std::move(memory).status();
  const std::string path = txn::control_path(memory.value());
  Result<platform::Region> region = platform::Region::open_read_only(path, txn::kRegionSize);
  if (!region.ok()) return std::move(region).status();
  const txn::RegionHeader& header = txn::SharedRegion{region->data()}.header();
  if (std::memcmp(header.magic, txn::kRegionMagic, sizeof txn::kRegionMagic) != 0 ||
      header.fingerprint != txn::layout_fingerprint()) {
    return Status(Code::kWRONG_FORMAT, path + ": made by another build of this library");
  }
  if (header.ready.load(std::memory_order_acquire) != 1 || header.database_id != identity_.database_id) {
    return Status(Code::kCORRUPT, path + ": not this database's shared memory");
  }
  if (!identify(path, &device_, &inode_)) return Status(Code::kBUSY, path + " is gone");
  region_ = std::move(region).value();
  return {};
}

Result<Csn> LogBound::look(Deadline deadline) {
  Result<bool> alive = liveness_.anybody_alive();
  if (!alive.ok()) return std::move(alive).status();
  if (alive.value() && is_mapped_session()) return durable();
  if (Status status = liveness_.lock_gate(deadline); !status.ok()) return status;
  alive = liveness_.anybody_alive();
  Status status = alive.ok() ? Status() : alive.status();
  if (status.ok() && alive.value() && !is_mapped_session()) status = map_session();
  liveness_.unlock_gate();
  if (!status.ok()) return status;
  return alive.value() ? durable() : log::Reader::kWholeLog;
}

bool LogBound::still_dead() const {
  Result<bool> alive = liveness_.anybody_alive();
  return alive.ok() && !alive.value();
}

void LogBound::wait(Csn seen, Deadline deadline) const noexcept {
  const std::uint64_t sleep_ns = deadline.remaining_ns(kLookAgainNs);
  if (sleep_ns == 0) return;
  if (seen == log::Reader::kWholeLog || !region_.is_mapped()) {
    const timespec time = {0, static_cast<long>(sleep_ns)};
    nanosleep(&time, nullptr);
    return;
  }
  const platform::FutexWord& word = txn::SharedRegion{region_.data()}.log().durable_word;
  const std::uint32_t value = word.load(std::memory_order_acquire);
  if (durable() != seen) return;
  platform::futex_wait(word, value, sleep_ns);
}

}  // namespace hf::admin
