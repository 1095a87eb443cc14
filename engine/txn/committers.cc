// SPDX-License-Identifier: Apache-2.0
#include "txn/committers.h"

#include <algorithm>
#include <cstring>

#include "base/clock.h"

namespace hf::txn {
namespace {

// The process that has or had that life, as long as nobody else has taken its slot.
void name_process(const platform::ProcessSlot& slot, platform::OwnerId process, Committer* out) {
  const std::uint32_t generation = process >> 9;
  if (slot.generation.load(std::memory_order_acquire) != generation) return;
  const std::uint64_t pid = slot.pid;
  char label[sizeof slot.label];
  std::memcpy(label, slot.label, sizeof label);
  // The next taker raises the generation before it writes anything.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (slot.generation.load(std::memory_order_relaxed) != generation) return;
  out->pid = pid;
  if (out->label.empty()) out->label.assign(label, strnlen(label, sizeof label));
}

}  // namespace

CommitterLabel committer_label(const std::string& label) noexcept {
  CommitterLabel words{};
  std::size_t size = std::min(label.size(), sizeof words);
  if (size < label.size()) {
    while (size > 0 && (static_cast<unsigned char>(label[size]) & 0xC0) == 0x80) --size;
  }
  std::memcpy(words.data(), label.data(), size);
  return words;
}

// Release throughout: who sees one of the new words (acquire) sees that the row has lost its old csn.
void note_committer(CommitterRow& row, Csn csn, platform::OwnerId process, std::uint64_t at_ms,
                    const CommitterLabel& label) noexcept {
  row.csn.store(0, std::memory_order_relaxed);
  row.at_ms.store(at_ms, std::memory_order_release);
  row.process.store(process, std::memory_order_release);
  row.label[0].store(label[0], std::memory_order_release);
  if (label[0] != 0) {
    for (std::size_t i = 1; i < label.size(); ++i) row.label[i].store(label[i], std::memory_order_release);
  }
  row.csn.store(csn, std::memory_order_release);
}

bool find_committer(const SharedRegion& shared, Csn csn, Committer* out) {
  const CommitterRow& row = shared.committer(csn);
  if (row.csn.load(std::memory_order_acquire) != csn) return false;
  const std::uint64_t at_ms = row.at_ms.load(std::memory_order_acquire);
  const platform::OwnerId process = row.process.load(std::memory_order_acquire);
  CommitterLabel label{};
  for (std::size_t i = 0; i < label.size(); ++i) label[i] = row.label[i].load(std::memory_order_acquire);
  if (row.csn.load(std::memory_order_relaxed) != csn) return false;

  *out = Committer();
  const std::uint64_t now_ms = wall_ms();
  out->age_ms = now_ms > at_ms ? now_ms - at_ms : 0;
  if (label[0] != 0) {
    const char* bytes = reinterpret_cast<const char*>(label.data());
    out->label.assign(bytes, strnlen(bytes, sizeof label));
  }
  const std::uint32_t slot = platform::owner_slot(process);
  if (slot < platform::kProcessSlotsMax) name_process(shared.slots()[slot], process, out);
  return true;
}

}  // namespace hf::txn
