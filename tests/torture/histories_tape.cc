// SPDX-License-Identifier: Apache-2.0
#include "torture/histories_tape.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace torture {

using histories::History;
using histories::Item;
using histories::Op;
using histories::Txn;

namespace {

struct TapeOp {
  std::uint64_t key, high, value;
  std::int64_t min, max;
  std::uint64_t begun_ns;
  std::uint32_t items_count;
  std::uint8_t kind;
  bool holds;
  std::uint16_t pad;
};

// Offset of the first record; before it, how much of the file counts.
constexpr std::size_t kBegin = 64;

[[noreturn]] void give_up(const std::string& path) {
  std::perror(path.c_str());
  std::abort();
}

}  // namespace

struct Tape::Head {
  std::uint64_t size;  // of the whole record
  std::uint64_t begun_ns, commit_ns, ended_ns;
  std::uint32_t worker, ops_count, after_max, after_count;
  std::int32_t code;
  std::uint8_t level;
  std::atomic<std::uint8_t> outcome;  // release, after all else of the answer
  std::uint16_t pad;
};

Tape::Tape(const std::string& path, std::size_t size_max) : size_max_(size_max), used_(kBegin) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(size_max)) != 0) give_up(path);
  void* const at = mmap(nullptr, size_max, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) give_up(path);
  close(fd);
  base_ = static_cast<char*>(at);
}

Tape::~Tape() { munmap(base_, size_max_); }

bool Tape::put(const Txn& txn, std::size_t after_max) {
  std::size_t size = sizeof(Head) + after_max * sizeof(Item) + txn.ops.size() * sizeof(TapeOp);
  for (const Op& op : txn.ops) size += op.items.size() * sizeof(Item);
  if (size > size_max_ - used_) return false;
  last_ = reinterpret_cast<Head*>(base_ + used_);
  last_->size = size;
  last_->begun_ns = txn.begun_ns;
  last_->commit_ns = txn.commit_ns;
  last_->ended_ns = txn.ended_ns;
  last_->worker = txn.worker;
  last_->ops_count = static_cast<std::uint32_t>(txn.ops.size());
  last_->after_max = static_cast<std::uint32_t>(after_max);
  last_->after_count = 0;
  last_->code = txn.code;
  last_->level = static_cast<std::uint8_t>(txn.level);
  last_->outcome.store(static_cast<std::uint8_t>(txn.outcome), std::memory_order_relaxed);
  char* out = base_ + used_ + sizeof(Head) + after_max * sizeof(Item);
  for (const Op& op : txn.ops) {
    const TapeOp head{op.key,
                      op.high,
                      op.value,
                      op.min,
                      op.max,
                      op.begun_ns,
                      static_cast<std::uint32_t>(op.items.size()),
                      static_cast<std::uint8_t>(op.kind),
                      op.holds,
                      0};
    std::memcpy(out, &head, sizeof head);
    out += sizeof head;
    if (op.items.empty()) continue;
    std::memcpy(out, op.items.data(), op.items.size() * sizeof(Item));
    out += op.items.size() * sizeof(Item);
  }
  used_ += size;
  // Release: a kill leaves whole records only.
  reinterpret_cast<std::atomic<std::uint64_t>*>(base_)->store(used_, std::memory_order_release);
  return true;
}

void Tape::answer(const Txn& txn) {
  last_->ended_ns = txn.ended_ns;
  last_->code = txn.code;
  last_->after_count = static_cast<std::uint32_t>(std::min<std::size_t>(txn.after.size(), last_->after_max));
  if (!txn.after.empty())
    std::memcpy(static_cast<void*>(last_ + 1), txn.after.data(), last_->after_count * sizeof(Item));
  last_->outcome.store(static_cast<std::uint8_t>(txn.outcome), std::memory_order_release);
}

void read_tape(const std::string& path, History& history) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat file {};
  if (fd < 0 || fstat(fd, &file) != 0) give_up(path);
  const auto size = static_cast<std::size_t>(file.st_size);
  if (size == 0) {  // its writer was killed as soon as it had made the file
    close(fd);
    return;
  }
  void* const mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) give_up(path);
  close(fd);
  const char* const base = static_cast<const char*>(mapped);
  std::uint64_t used = 0;
  std::memcpy(&used, base, sizeof used);
  for (std::size_t at = kBegin; at < used;) {
    const auto* head = reinterpret_cast<const Tape::Head*>(base + at);
    Txn txn;
    txn.worker = head->worker;
    txn.level = static_cast<histories::Level>(head->level);
    txn.outcome = static_cast<histories::Outcome>(head->outcome.load(std::memory_order_acquire));
    txn.code = head->code;
    txn.begun_ns = head->begun_ns;
    txn.commit_ns = head->commit_ns;
    txn.ended_ns = txn.outcome == histories::Outcome::kUnknown ? 0 : head->ended_ns;
    const char* in = reinterpret_cast<const char*>(head + 1);
    txn.after.resize(txn.outcome == histories::Outcome::kCommitted ? head->after_count : 0);
    for (Item& item : txn.after) std::memcpy(&item, in + (&item - txn.after.data()) * sizeof item, sizeof item);
    in += head->after_max * sizeof(Item);
    for (std::uint32_t i = 0; i < head->ops_count; ++i) {
      TapeOp from;
      std::memcpy(&from, in, sizeof from);
      in += sizeof from;
      Op op;
      op.kind = static_cast<histories::OpKind>(from.kind);
      op.holds = from.holds;
      op.key = from.key;
      op.high = from.high;
      op.value = from.value;
      op.min = from.min;
      op.max = from.max;
      op.begun_ns = from.begun_ns;
      op.items.resize(from.items_count);
      if (from.items_count != 0) std::memcpy(op.items.data(), in, from.items_count * sizeof(Item));
      in += from.items_count * sizeof(Item);
      txn.ops.push_back(std::move(op));
    }
    at += head->size;
    history.push_back(std::move(txn));
  }
  munmap(mapped, size);
}

}  // namespace torture
