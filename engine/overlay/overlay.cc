// SPDX-License-Identifier: Apache-2.0
#include "overlay/overlay.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>

#include "overlay/impl.h"
#include "platform/test_point.h"

namespace hf::overlay {
namespace {

constexpr std::uint64_t kPageSize = 4096;
// Other commits may take room between a touch and the latch.
constexpr std::uint64_t kTouchMargin = 64u << 10;
// One system call populates this much at least: 256 KiB cost tens of microseconds and serve thousands of small commits.
constexpr std::uint64_t kTouchStep = 256u << 10;
// A process that starts to write populates this much of what others wrote, too: links are stored into nodes there.
constexpr std::uint64_t kCatchUp = 8u << 20;

}  // namespace

// --- reading -----------------------------------------------------------------------------------------------------

Result<std::vector<SegmentRef>> Overlay::Impl::segments_after(Csn base_csn) {
  for (;;) {
    const std::uint64_t version = shared_->layout_version.load(std::memory_order_acquire);
    mappings_.drop_stale();
    struct Found {
      Csn first_csn;
      SegmentRef segment;
    };
    std::vector<Found> found;
    Status status;
    for (std::uint32_t index = 0; index < kSegmentsMax && status.ok(); ++index) {
      // Half a rotation is fine here: until it is complete, nothing is published beyond the segment being sealed.
      const SegmentState now = state(index);
      if (now != SegmentState::kActive && now != SegmentState::kSealed && now != SegmentState::kMerged) continue;
      if (row(index).last_csn.load(std::memory_order_acquire) <= base_csn) continue;
      Result<SegmentRef> segment = mappings_.map(index);
      if (segment.ok()) {
        found.push_back({row(index).first_csn.load(std::memory_order_acquire), std::move(segment).value()});
      } else {
        status = std::move(segment).status();
      }
    }
    // The loads of the rows are acquire, too, so this one comes after them.
    if (shared_->layout_version.load(std::memory_order_acquire) != version) continue;
    if (!status.ok()) return status;

    std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.first_csn > b.first_csn; });
    std::vector<SegmentRef> segments;
    segments.reserve(found.size());
    for (Found& one : found) segments.push_back(std::move(one.segment));
    return segments;
  }
}

// --- writing -----------------------------------------------------------------------------------------------------

bool Overlay::Impl::adopt_active() noexcept {
  const std::uint32_t active = shared_->active.load(std::memory_order_acquire);
  const std::uint32_t generation = row(active).generation.load(std::memory_order_acquire);
  if (writer_.is_attached(active, generation)) [[likely]]
    return true;
  std::shared_ptr<const Segment> segment = mappings_.mapped(active, generation);
  if (segment == nullptr) return false;
  writer_.attach(std::move(segment), row(active));
  return true;
}

bool Overlay::Impl::has_room(std::uint64_t bytes) noexcept {
  if (!adopt_active()) return false;
  const SegmentRow& active = row(shared_->active.load(std::memory_order_relaxed));
  const std::uint64_t size = active.size.load(std::memory_order_relaxed);
  return bytes <= size && active.used.load(std::memory_order_relaxed) <= size - bytes;
}

Status Overlay::Impl::map_active() {
  Result<SegmentRef> segment = mappings_.map(shared_->active.load(std::memory_order_acquire));
  if (!segment.ok()) return std::move(segment).status();
  return adopt_active() ? Status() : Status(Code::kINTERNAL, "the active overlay segment changed under the latch");
}

void Overlay::Impl::insert(Csn csn, const Change& change) noexcept {
  // Not mapped here means that has_room() was not asked. A commit in the log but not in the overlay must not go on.
  if (!adopt_active()) std::abort();
  writer_.insert(csn, change);
}

bool Overlay::Impl::can_rotate(std::uint64_t bytes) const noexcept {
  const std::uint32_t ready = shared_->ready.load(std::memory_order_acquire);
  return ready != 0 && (ready & kReadyTaken) == 0 && arena_size(size_of(ready - 1)) >= bytes;
}

void Overlay::Impl::rotate(Csn last_csn) noexcept {
  shared_->rotating_csn.store(last_csn, std::memory_order_release);
  std::uint32_t ready = shared_->ready.load(std::memory_order_acquire);
  assert(ready != 0 && (ready & kReadyTaken) == 0);
  // Fails only when the maintainer puts a roomier one in its place right now. Release: the csn is there with the mark.
  while (!shared_->ready.compare_exchange_weak(ready, ready | kReadyTaken, std::memory_order_acq_rel,
                                               std::memory_order_acquire)) {
  }
  complete_rotation(ready - 1);
}

void Overlay::Impl::finish_rotation() noexcept {
  const std::uint32_t ready = shared_->ready.load(std::memory_order_acquire);
  if ((ready & kReadyTaken) != 0) complete_rotation((ready & ~kReadyTaken) - 1);
}

// Every step may be done again after a kill behind it.
void Overlay::Impl::complete_rotation(std::uint32_t to) noexcept {
  const Csn last_csn = shared_->rotating_csn.load(std::memory_order_acquire);
  const std::uint32_t from = shared_->active.load(std::memory_order_acquire);
  if (from != to) {
    row(from).last_csn.store(last_csn, std::memory_order_release);
    set_state(from, SegmentState::kSealed);
  }
  platform::reach("overlay.rotate.sealed");
  row(to).first_csn.store(last_csn + 1, std::memory_order_release);
  row(to).last_csn.store(kCsnMax, std::memory_order_release);
  set_state(to, SegmentState::kActive);
  shared_->active.store(to, std::memory_order_release);
  platform::reach("overlay.rotate.activated");
  raise_layout();
  shared_->ready.store(0, std::memory_order_release);
}

// --- populating pages --------------------------------------------------------------------------------------------

bool Overlay::Impl::is_touched(std::uint32_t index, std::uint64_t end) const noexcept {
  const std::uint64_t touched = touched_[index].load(std::memory_order_acquire);
  return touched >> 32 == row(index).generation.load(std::memory_order_acquire) &&
         (touched & UINT32_MAX) * kPageSize >= end;
}

Status Overlay::Impl::touch_ahead(std::uint64_t bytes) {
  const std::uint32_t active = shared_->active.load(std::memory_order_acquire);
  const std::uint64_t used = row(active).used.load(std::memory_order_relaxed);
  const std::uint64_t size = size_of(active);
  if (!is_touched(active, std::min(size, used + bytes + kTouchMargin))) return touch_slowly(bytes);
  if (used + bytes <= size - size / 4) [[likely]]
    return Code::kOK;
  // A rotation is near: have the next segment here as well.
  const std::uint32_t ready = shared_->ready.load(std::memory_order_acquire);
  if (ready == 0 || (ready & kReadyTaken) != 0) return Code::kOK;
  const std::uint64_t end = arena_start(size_of(ready - 1)) + bytes + kTouchMargin;
  return is_touched(ready - 1, std::min(size_of(ready - 1), end)) ? Status() : touch_slowly(bytes);
}

Status Overlay::Impl::touch_slowly(std::uint64_t bytes) {
  const std::lock_guard lock(touch_mutex_);
  const std::uint32_t active = shared_->active.load(std::memory_order_acquire);
  if (Status status = touch(active, bytes); !status.ok()) return status;
  const std::uint64_t size = size_of(active);
  if (row(active).used.load(std::memory_order_relaxed) + bytes <= size - size / 4) return Code::kOK;
  const std::uint32_t ready = shared_->ready.load(std::memory_order_acquire);
  if (ready == 0 || (ready & kReadyTaken) != 0) return Code::kOK;
  (void)touch(ready - 1, bytes);  // only ahead of need; when it becomes active, the failure will be met again
  return Code::kOK;
}

// Requires: touch_mutex_ held.
Status Overlay::Impl::touch(std::uint32_t index, std::uint64_t bytes) {
  Result<SegmentRef> mapped = mappings_.map(index);
  if (!mapped.ok()) return std::move(mapped).status();
  const Segment& segment = **mapped;
  const std::uint64_t size = segment.region_->size();
  const std::uint64_t used = std::min(size, row(index).used.load(std::memory_order_relaxed));
  const std::uint32_t file_no = row(index).file_no.load(std::memory_order_acquire);

  std::uint64_t end = (touched_[index].load(std::memory_order_relaxed) & UINT32_MAX) * kPageSize;
  if (touched_file_no_[index] != file_no) {  // new to this process
    touched_file_no_[index] = file_no;
    end = arena_start(size);
    segment.region_->populate(0, end);
  }
  if (end < used && used - end > kCatchUp) end = used - kCatchUp;
  const std::uint64_t wanted = std::min(size, align_up(used + bytes + kTouchMargin, kPageSize));
  if (end < wanted) {
    const std::uint64_t target = std::min(size, wanted + kTouchStep);
    segment.region_->populate(end, target - end);
    end = target;
  }
  touched_[index].store(std::uint64_t{segment.generation()} << 32 | end / kPageSize, std::memory_order_release);
  return Code::kOK;
}

// --- the public face ---------------------------------------------------------------------------------------------

Overlay::Overlay(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Overlay::~Overlay() = default;

Result<std::unique_ptr<Overlay>> Overlay::attach(OverlayShared& shared, OverlayOptions options) {
  if (shared.bytes_max == 0 || shared.active.load(std::memory_order_acquire) >= kSegmentsMax) {
    return Status(Code::kCORRUPT, "the overlay's shared part was never created");
  }
  auto impl = std::make_unique<Impl>(shared, std::move(options.directory));  // maps nothing yet: joining stays quick
  return std::unique_ptr<Overlay>(new Overlay(std::move(impl)));
}

std::uint64_t Overlay::layout_version() const noexcept {
  return impl_->shared().layout_version.load(std::memory_order_acquire);
}
Result<std::vector<SegmentRef>> Overlay::segments_after(Csn base_csn) { return impl_->segments_after(base_csn); }

std::uint64_t Overlay::space_of(std::size_t key_size, std::size_t value_size) noexcept {
  return Writer::space_of(key_size, value_size);
}
Status Overlay::touch_ahead(std::uint64_t bytes) { return impl_->touch_ahead(bytes); }
bool Overlay::has_room(std::uint64_t bytes) const noexcept { return impl_->has_room(bytes); }
bool Overlay::can_rotate(std::uint64_t bytes) const noexcept { return impl_->can_rotate(bytes); }
void Overlay::rotate(Csn last_csn) noexcept { impl_->rotate(last_csn); }
void Overlay::finish_rotation() noexcept { impl_->finish_rotation(); }
Status Overlay::map_active() { return impl_->map_active(); }
void Overlay::insert(Csn csn, const Change& change) noexcept { impl_->insert(csn, change); }

Status Overlay::prepare(std::uint64_t bytes) { return impl_->prepare(bytes); }
bool Overlay::has_ready() const noexcept { return impl_->has_ready(); }
double Overlay::fullness() const noexcept { return impl_->fullness(); }
Result<SegmentRef> Overlay::oldest_sealed() { return impl_->oldest_sealed(); }
void Overlay::set_merged(const Segment& segment) noexcept { impl_->set_merged(segment); }
Status Overlay::free_merged(Csn oldest_pin) { return impl_->free_merged(oldest_pin); }
OverlayStats Overlay::stats() const noexcept { return impl_->stats(); }

}  // namespace hf::overlay
