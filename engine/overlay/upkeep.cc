// SPDX-License-Identifier: Apache-2.0
// The maintainer's side of the overlay: making, reusing and removing segments within the budget.
//
// Sizes double from segment_size_min up to a quarter of the budget (regular). A request that no regular segment can
// hold gets one of 3/8 of the budget. So beside the largest active and the largest ready segment the largest new one
// fits, once all others are free: 3/8 + 1/4 + 3/8.
//
// Idle rows are the maintainer's own: kFree ones, and kReady ones that `ready` does not name, which is what a killed
// maintainer, or one that lost a race with a rotation, leaves behind. Segment files that no row names, left by a killed
// maintainer, too, are removed when the next file is made.
#include <algorithm>
#include <cstring>
#include <thread>

#include "overlay/impl.h"
#include "platform/file.h"
#include "platform/test_point.h"

namespace hf::overlay {
namespace {

constexpr std::uint64_t kPageSize = 4096;
constexpr std::uint64_t kSegmentSizeLeast = 64u << 10;  // below, the header and rounding take too much
constexpr std::uint64_t kBudgetLeast = 4 * kSegmentSizeLeast;
constexpr std::uint32_t kIdleFilesMax = 2;  // kept for reuse; others give their memory back

constexpr std::uint64_t page_down(std::uint64_t size) noexcept { return size & ~(kPageSize - 1); }

}  // namespace

// --- sizes -------------------------------------------------------------------------------------------------------

std::uint64_t Overlay::Impl::size_max_regular() const noexcept {
  return page_down(std::min(shared_->bytes_max / 4, kSegmentSizeMax));
}
std::uint64_t Overlay::Impl::size_max() const noexcept {
  return page_down(std::min(shared_->bytes_max / 8 * 3, kSegmentSizeMax));
}
// What a segment made now should have: twice the active one.
std::uint64_t Overlay::Impl::size_next() const noexcept {
  const std::uint64_t active = size_of(shared_->active.load(std::memory_order_acquire));
  return std::clamp(active * 2, shared_->segment_size_min, size_max_regular());
}
// The smallest segment that holds `bytes`. Requires: the largest does.
std::uint64_t Overlay::Impl::size_for(std::uint64_t bytes) const noexcept {
  for (std::uint64_t size = shared_->segment_size_min;; size *= 2) {
    size = std::min(size, size_max_regular());
    if (arena_size(size) >= bytes) return size;
    if (size == size_max_regular()) return size_max();
  }
}

std::uint64_t Overlay::Impl::bytes_mapped() const noexcept {
  std::uint64_t sum = 0;
  for (std::uint32_t index = 0; index < kSegmentsMax; ++index) sum += size_of(index);
  return sum;
}

// --- create ------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<Overlay>> Overlay::create(OverlayShared& shared, OverlayOptions options, Csn first_csn) {
  if (options.bytes_max < kBudgetLeast) {
    return Status(Code::kINVALID_ARGUMENT, "the overlay needs " + std::to_string(kBudgetLeast) + " bytes or more");
  }
  if (Status status = remove_files(options.directory); !status.ok()) return status;
  shared.bytes_max = options.bytes_max;
  const std::uint64_t smallest = std::max(kSegmentSizeLeast, align_up(options.segment_size_min, kPageSize));
  shared.segment_size_min = std::min(smallest, page_down(std::min(options.bytes_max / 4, kSegmentSizeMax)));
  auto impl = std::make_unique<Impl>(shared, std::move(options.directory));
  if (Status status = impl->create_first(first_csn); !status.ok()) return status;
  return std::unique_ptr<Overlay>(new Overlay(std::move(impl)));
}

Status Overlay::Impl::create_first(Csn first_csn) {
  Result<std::uint32_t> made = make_file(shared_->segment_size_min, 0);
  if (!made.ok()) return std::move(made).status();
  if (Status status = format(*made); !status.ok()) return status;
  row(*made).first_csn.store(first_csn, std::memory_order_relaxed);
  row(*made).last_csn.store(kCsnMax, std::memory_order_relaxed);
  set_state(*made, SegmentState::kActive);
  shared_->active.store(*made, std::memory_order_release);
  raise_layout();
  return map_active();
}

Status Overlay::remove_files(const std::string& directory) {
  Result<std::vector<std::string>> names = platform::list_directory(directory);
  if (!names.ok()) return std::move(names).status();
  for (const std::string& name : *names) {
    if (segment_file_no(name) == 0) continue;
    if (Status status = platform::remove_file(directory + "/" + name); !status.ok()) return status;
  }
  return Code::kOK;
}

// --- making and reusing segments -----------------------------------------------------------------------------------

Status Overlay::Impl::prepare(std::uint64_t bytes) {
  if (bytes > arena_size(size_max())) {
    return Status(Code::kTOO_LARGE, "a commit of " + std::to_string(bytes) + " bytes is larger than the " +
                                        std::to_string(arena_size(size_max())) + " that one overlay segment holds");
  }
  if (can_rotate(bytes)) return Code::kOK;
  platform::reach("overlay.prepare");
  Result<std::uint32_t> index = take_segment(bytes);
  if (!index.ok()) return std::move(index).status();
  if (Status status = format(*index); !status.ok()) return status;
  publish_ready(*index);
  return Code::kOK;
}

// Whether the row is the maintainer's to use. Only the maintainer names rows; so when `named`, loaded before, does not
// name the row, no rotation can take it, and a rotation to it that is complete shows as another state than kReady.
bool Overlay::Impl::is_idle(std::uint32_t index, std::uint32_t named) const noexcept {
  const SegmentState now = state(index);
  if (now == SegmentState::kFree) return true;
  return now == SegmentState::kReady && (named & ~kReadyTaken) != index + 1;
}

Result<std::uint32_t> Overlay::Impl::take_segment(std::uint64_t bytes) {
  const std::uint32_t named = shared_->ready.load(std::memory_order_acquire);
  const std::uint64_t size_least = size_for(bytes);
  std::uint64_t in_use = 0;
  for (std::uint32_t index = 0; index < kSegmentsMax; ++index) {
    if (!is_idle(index, named)) in_use += size_of(index);
  }
  // Where the budget is short, a smaller segment is better than none.
  for (std::uint64_t size = std::max(size_next(), size_least);; size = std::max(page_down(size / 2), size_least)) {
    if (const std::optional<std::uint32_t> index = idle_file(size, named)) return *index;
    if (in_use + size <= shared_->bytes_max) return make_file(size, named);
    if (size == size_least) break;
  }
  return Status(Code::kOVERLOADED, "the overlay's " + std::to_string(shared_->bytes_max) +
                                       " bytes hold commits that are not merged yet, or that readers need");
}

// The smallest idle file of that size; the largest files are not spent on regular requests.
std::optional<std::uint32_t> Overlay::Impl::idle_file(std::uint64_t size, std::uint32_t named) const noexcept {
  const std::uint64_t most = size <= size_max_regular() ? size_max_regular() : size_max();
  std::optional<std::uint32_t> best;
  for (std::uint32_t index = 0; index < kSegmentsMax; ++index) {
    if (!is_idle(index, named) || size_of(index) < size || size_of(index) > most) continue;
    if (!best || size_of(index) < size_of(*best)) best = index;
  }
  return best;
}

// A row with a new file, not formatted. Removes idle files where the budget or the number of rows needs it.
Result<std::uint32_t> Overlay::Impl::make_file(std::uint64_t size, std::uint32_t named) {
  std::optional<std::uint32_t> empty_row;
  for (std::uint32_t index = 0; index < kSegmentsMax; ++index) {
    if (is_idle(index, named) && size_of(index) == 0) empty_row = index;
  }
  for (std::uint32_t index = 0; index < kSegmentsMax; ++index) {
    if (empty_row && bytes_mapped() + size <= shared_->bytes_max) break;
    if (!is_idle(index, named) || size_of(index) == 0) continue;
    if (Status status = remove_file(index); !status.ok()) return status;
    empty_row = index;
  }
  if (!empty_row) return Status(Code::kOVERLOADED, "all rows of the overlay's segment table are in use");
  if (Status status = sweep_files(); !status.ok()) return status;

  // The number is spent before the file is there: a killed maintainer's file is never taken for a later one.
  const std::uint32_t file_no = shared_->files_made.load(std::memory_order_relaxed) + 1;
  shared_->files_made.store(file_no, std::memory_order_release);
  Result<platform::Region> region = platform::Region::create(segment_path(mappings_.directory(), file_no), size);
  if (!region.ok()) return std::move(region).status();
  auto* header = reinterpret_cast<SegmentHeader*>(region->data());
  std::memcpy(header->magic, kSegmentMagic, sizeof kSegmentMagic);
  header->fingerprint = layout_fingerprint();
  header->size = size;
  header->bucket_mask = static_cast<std::uint32_t>(bucket_count(size) - 1);

  platform::reach("overlay.prepare.created");
  set_state(*empty_row, SegmentState::kFree);
  row(*empty_row).size.store(size, std::memory_order_release);
  row(*empty_row).file_no.store(file_no, std::memory_order_release);
  mappings_.adopt(*empty_row, std::make_shared<const platform::Region>(std::move(region).value()));
  return *empty_row;
}

// Requires: an idle row.
Status Overlay::Impl::remove_file(std::uint32_t index) {
  const std::uint32_t file_no = row(index).file_no.load(std::memory_order_relaxed);
  set_state(index, SegmentState::kFree);
  row(index).size.store(0, std::memory_order_release);
  row(index).file_no.store(0, std::memory_order_release);
  mappings_.drop_stale();
  return platform::remove_file(segment_path(mappings_.directory(), file_no));
}

// Removes segment files that no row names.
Status Overlay::Impl::sweep_files() {
  Result<std::vector<std::string>> names = platform::list_directory(mappings_.directory());
  if (!names.ok()) return std::move(names).status();
  for (const std::string& name : *names) {
    const std::uint32_t file_no = segment_file_no(name);
    const bool is_named =
        std::any_of(std::begin(shared_->segments), std::end(shared_->segments),
                    [&](const SegmentRow& one) { return one.file_no.load(std::memory_order_relaxed) == file_no; });
    if (file_no == 0 || is_named) continue;
    if (Status status = platform::remove_file(mappings_.directory() + "/" + name); !status.ok()) return status;
  }
  return Code::kOK;
}

// Makes the row's file an empty segment of a new generation, kReady but not named. Requires: an idle row with a file.
Status Overlay::Impl::format(std::uint32_t index) {
  Result<std::shared_ptr<const platform::Region>> region = mappings_.map_file(index);
  if (!region.ok()) return std::move(region).status();
  SegmentRow& target = row(index);
  set_state(index, SegmentState::kFree);
  // A killed maintainer may have freed the row without saying so.
  raise_layout();
  const std::uint32_t generation = target.generation.load(std::memory_order_relaxed) + 1;
  target.generation.store(generation, std::memory_order_release);

  const std::uint64_t size = size_of(index);
  auto* header = reinterpret_cast<SegmentHeader*>((*region)->data());
  header->generation.store(generation, std::memory_order_release);
  // The arena needs no zeros: everything allocated is filled whole.
  constexpr std::size_t kKept = offsetof(SegmentHeader, tables);
  std::memset((*region)->data() + kKept, 0, arena_start(size) - kKept);
  reinterpret_cast<Node*>(header->head)->height = kHeightMax;

  target.first_csn.store(0, std::memory_order_relaxed);
  target.last_csn.store(0, std::memory_order_relaxed);
  target.used.store(arena_start(size), std::memory_order_relaxed);
  target.pending.store(0, std::memory_order_relaxed);
  target.rows.store(0, std::memory_order_relaxed);
  set_state(index, SegmentState::kReady);
  return Code::kOK;
}

// Puts the row in the place of the ready one, which is smaller or absent.
void Overlay::Impl::publish_ready(std::uint32_t index) noexcept {
  // A rotation takes less than a microsecond. If its owner was killed or stopped, the row stays idle, and the next
  // prepare() finds it again.
  constexpr int kTriesMax = 1000;
  std::uint32_t named = shared_->ready.load(std::memory_order_acquire);
  for (int attempt = 0; attempt < kTriesMax; ++attempt) {
    if ((named & kReadyTaken) != 0) {
      std::this_thread::yield();
      named = shared_->ready.load(std::memory_order_acquire);
    } else if (shared_->ready.compare_exchange_weak(named, index + 1, std::memory_order_acq_rel,
                                                    std::memory_order_acquire)) {
      if (named != 0) set_state(named - 1, SegmentState::kFree);
      return;
    }
  }
}

// --- after the merge -----------------------------------------------------------------------------------------------

Result<SegmentRef> Overlay::Impl::oldest_sealed() {
  std::optional<std::uint32_t> oldest;
  for (std::uint32_t index = 0; index < kSegmentsMax; ++index) {
    if (state(index) != SegmentState::kSealed) continue;
    if (!oldest ||
        row(index).first_csn.load(std::memory_order_relaxed) < row(*oldest).first_csn.load(std::memory_order_relaxed)) {
      oldest = index;
    }
  }
  if (!oldest) return SegmentRef();
  return mappings_.map(*oldest);
}

void Overlay::Impl::set_merged(const Segment& segment) noexcept {
  const SegmentRow& merged = row(segment.index());
  if (merged.generation.load(std::memory_order_relaxed) != segment.generation()) return;
  if (state(segment.index()) != SegmentState::kSealed) return;
  set_state(segment.index(), SegmentState::kMerged);
  raise_layout();
}

Status Overlay::Impl::free_merged(Csn oldest_pin) {
  bool any = false;
  for (std::uint32_t index = 0; index < kSegmentsMax; ++index) {
    if (state(index) != SegmentState::kMerged || row(index).last_csn.load(std::memory_order_relaxed) > oldest_pin)
      continue;
    set_state(index, SegmentState::kFree);
    any = true;
  }
  if (!any) return Code::kOK;
  raise_layout();

  const std::uint64_t smallest = size_next();
  std::uint32_t kept = 0;
  for (std::uint32_t index = 0; index < kSegmentsMax; ++index) {
    if (state(index) != SegmentState::kFree || size_of(index) == 0) continue;
    const bool is_useful = size_of(index) >= smallest && size_of(index) <= size_max_regular();
    if (is_useful && kept++ < kIdleFilesMax) continue;
    if (Status status = remove_file(index); !status.ok()) return status;
  }
  mappings_.drop_stale();
  return Code::kOK;
}

// --- figures -------------------------------------------------------------------------------------------------------

bool Overlay::Impl::has_ready() const noexcept {
  const std::uint32_t ready = shared_->ready.load(std::memory_order_acquire);
  return ready != 0 && (ready & kReadyTaken) == 0;
}

double Overlay::Impl::fullness() const noexcept {
  const std::uint32_t active = shared_->active.load(std::memory_order_acquire);
  const std::uint64_t size = size_of(active);
  const std::uint64_t used = row(active).used.load(std::memory_order_relaxed);
  // A rotation in between may give us two segments' figures.
  if (size == 0) return 0;
  return std::clamp(
      (static_cast<double>(used) - static_cast<double>(arena_start(size))) / static_cast<double>(arena_size(size)), 0.0,
      1.0);
}

OverlayStats Overlay::Impl::stats() const noexcept {
  OverlayStats stats{};
  stats.bytes_max = shared_->bytes_max;
  stats.bytes_mapped = bytes_mapped();
  for (std::uint32_t index = 0; index < kSegmentsMax; ++index) {
    const SegmentState now = state(index);
    if (now == SegmentState::kActive || now == SegmentState::kSealed) {
      const std::uint64_t used = row(index).used.load(std::memory_order_relaxed);
      stats.bytes_used += used - std::min(used, arena_start(size_of(index)));
    }
    stats.active += now == SegmentState::kActive;
    stats.sealed += now == SegmentState::kSealed;
    stats.merged += now == SegmentState::kMerged;
    stats.ready += now == SegmentState::kReady;
  }
  return stats;
}

}  // namespace hf::overlay
