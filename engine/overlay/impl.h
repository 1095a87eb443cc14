// SPDX-License-Identifier: Apache-2.0
// Inside of `overlay`: what an Overlay holds in this process. overlay.cc has reading, writing and rotation (the commit
// latch's side), upkeep.cc the maintainer's side.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "overlay/mappings.h"
#include "overlay/overlay.h"
#include "overlay/writer.h"

namespace hf::overlay {

class Overlay::Impl {
 public:
  Impl(OverlayShared& shared, std::string directory) : shared_(&shared), mappings_(shared, std::move(directory)) {}

  // --- reading, overlay.cc
  Result<std::vector<SegmentRef>> segments_after(Csn base_csn);

  // --- writing, overlay.cc
  Status touch_ahead(std::uint64_t bytes);
  bool adopt_active() noexcept;  // [latch] whether writer_ writes to the active segment
  bool has_room(std::uint64_t bytes) noexcept;
  bool can_rotate(std::uint64_t bytes) const noexcept;
  void rotate(Csn last_csn) noexcept;
  void finish_rotation() noexcept;
  Status map_active();
  void insert(Csn csn, const Change& change) noexcept;

  // --- upkeep, upkeep.cc
  Status create_first(Csn first_csn);
  Status prepare(std::uint64_t bytes);
  bool has_ready() const noexcept;
  double fullness() const noexcept;
  Result<SegmentRef> oldest_sealed();
  void set_merged(const Segment& segment) noexcept;
  Status free_merged(Csn oldest_pin);
  OverlayStats stats() const noexcept;

  OverlayShared& shared() noexcept { return *shared_; }

 private:
  SegmentRow& row(std::uint32_t index) const noexcept { return shared_->segments[index]; }
  SegmentState state(std::uint32_t index) const noexcept {
    return static_cast<SegmentState>(row(index).state.load(std::memory_order_acquire));
  }
  void set_state(std::uint32_t index, SegmentState state) noexcept {
    row(index).state.store(static_cast<std::uint32_t>(state), std::memory_order_release);
  }
  std::uint64_t size_of(std::uint32_t index) const noexcept { return row(index).size.load(std::memory_order_relaxed); }
  void raise_layout() noexcept { shared_->layout_version.fetch_add(1, std::memory_order_release); }

  // overlay.cc
  void complete_rotation(std::uint32_t to) noexcept;
  bool is_touched(std::uint32_t index, std::uint64_t end) const noexcept;
  Status touch_slowly(std::uint64_t bytes);
  Status touch(std::uint32_t index, std::uint64_t bytes);

  // upkeep.cc
  std::uint64_t size_max_regular() const noexcept;
  std::uint64_t size_max() const noexcept;
  std::uint64_t size_next() const noexcept;
  std::uint64_t size_for(std::uint64_t bytes) const noexcept;
  bool is_idle(std::uint32_t index, std::uint32_t named) const noexcept;
  std::uint64_t bytes_mapped() const noexcept;
  Result<std::uint32_t> take_segment(std::uint64_t bytes);
  std::optional<std::uint32_t> idle_file(std::uint64_t size, std::uint32_t named) const noexcept;
  Result<std::uint32_t> make_file(std::uint64_t size, std::uint32_t named);
  Status remove_file(std::uint32_t index);
  Status sweep_files();
  Status format(std::uint32_t index);
  void publish_ready(std::uint32_t index) noexcept;

  OverlayShared* shared_;
  Mappings mappings_;

  // Under the commit latch.
  Writer writer_;

  // How far the pages of each row's segment are populated in this process: generation << 32 | pages. Stored (release)
  // under touch_mutex_, read without: a value of an older generation only costs a look under the mutex.
  std::array<std::atomic<std::uint64_t>, kSegmentsMax> touched_{};
  std::mutex touch_mutex_;                                     // before the mutex of mappings_; guards touched_file_no_
  std::array<std::uint32_t, kSegmentsMax> touched_file_no_{};  // the file that touched_ speaks of
};

}  // namespace hf::overlay
