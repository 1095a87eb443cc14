// SPDX-License-Identifier: Apache-2.0
#include "overlay/mappings.h"

#include <charconv>
#include <cstring>
#include <thread>

namespace hf::overlay {
namespace {

constexpr char kNamePrefix[] = "overlay-";
constexpr char kNameSuffix[] = ".hfo";
// Each failed try means that the row changed under us, which takes its maintainer far longer than a try.
constexpr int kTriesMax = 100;

// Whether the file holds the row's segment of that generation. Everything in it is checked before it is believed.
Status check_header(const platform::Region& region, std::uint32_t generation, const std::string& path) {
  const auto* header = reinterpret_cast<const SegmentHeader*>(region.data());
  if (region.size() < arena_start(region.size()) ||
      std::memcmp(header->magic, kSegmentMagic, sizeof kSegmentMagic) != 0) {
    return Status(Code::kCORRUPT, path + " is no overlay segment");
  }
  if (header->fingerprint != layout_fingerprint()) {
    return Status(Code::kWRONG_FORMAT, path + " has the layout of another build");
  }
  if (header->size != region.size() || header->bucket_mask != bucket_count(region.size()) - 1) {
    return Status(Code::kCORRUPT, path + " does not have the size that its header says");
  }
  if (header->generation.load(std::memory_order_acquire) != generation) {
    return Status(Code::kCORRUPT, path + " is of another generation than its row");
  }
  return Code::kOK;
}

}  // namespace

std::string segment_path(const std::string& directory, std::uint32_t file_no) {
  return directory + "/" + kNamePrefix + std::to_string(file_no) + kNameSuffix;
}

std::uint32_t segment_file_no(const std::string& name) {
  constexpr std::size_t kPrefixSize = sizeof kNamePrefix - 1;
  constexpr std::size_t kSuffixSize = sizeof kNameSuffix - 1;
  if (name.size() <= kPrefixSize + kSuffixSize || !name.starts_with(kNamePrefix) || !name.ends_with(kNameSuffix))
    return 0;
  std::uint32_t number = 0;
  const char* end = name.data() + name.size() - kSuffixSize;
  const auto parsed = std::from_chars(name.data() + kPrefixSize, end, number);
  return parsed.ec == std::errc() && parsed.ptr == end ? number : 0;
}

std::shared_ptr<const Segment> Mappings::mapped(std::uint32_t index, std::uint32_t generation) const noexcept {
  const std::lock_guard lock(mutex_);
  const Entry& entry = entries_[index];
  return entry.segment != nullptr && entry.segment->generation() == generation ? entry.segment : nullptr;
}

Result<std::shared_ptr<const Segment>> Mappings::map(std::uint32_t index) {
  const SegmentRow& row = shared_->segments[index];
  Status status;
  for (int attempt = 0; attempt < kTriesMax; ++attempt) {
    // Acquire: pairs with the maintainer's stores, so that the header of at least this generation is seen.
    const std::uint32_t generation = row.generation.load(std::memory_order_acquire);
    if (std::shared_ptr<const Segment> segment = mapped(index, generation)) return segment;
    const std::uint32_t file_no = row.file_no.load(std::memory_order_acquire);

    Result<std::shared_ptr<const platform::Region>> region = map_file(index);
    status = region.ok() ? check_header(**region, generation, segment_path(directory_, file_no)) : region.status();
    const bool is_unchanged = row.generation.load(std::memory_order_acquire) == generation &&
                              row.file_no.load(std::memory_order_acquire) == file_no;
    if (status.ok() && is_unchanged) {
      const std::lock_guard lock(mutex_);
      Entry& entry = entries_[index];
      if (entry.segment == nullptr || entry.segment->generation() != generation) {
        entry.segment = std::make_shared<const Segment>(std::move(region).value(), row, index, generation);
      }
      return entry.segment;
    }
    if (is_unchanged) return status;
    std::this_thread::yield();
  }
  return status.ok() ? Status(Code::kBUSY, "an overlay segment changes all the time") : status;
}

Result<std::shared_ptr<const platform::Region>> Mappings::map_file(std::uint32_t index) {
  const SegmentRow& row = shared_->segments[index];
  const std::uint32_t file_no = row.file_no.load(std::memory_order_acquire);
  {
    const std::lock_guard lock(mutex_);
    const Entry& entry = entries_[index];
    if (entry.region != nullptr && entry.file_no == file_no) return entry.region;
  }
  Result<platform::Region> opened =
      platform::Region::open(segment_path(directory_, file_no), row.size.load(std::memory_order_acquire));
  if (!opened.ok()) return std::move(opened).status();
  if (opened->size() < sizeof(SegmentHeader))
    return Status(Code::kCORRUPT, segment_path(directory_, file_no) + " is too short");
  auto region = std::make_shared<const platform::Region>(std::move(opened).value());
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[index];
  if (entry.region != nullptr && entry.file_no == file_no) return entry.region;  // another thread was faster
  entry = Entry{file_no, region, nullptr};
  return region;
}

void Mappings::adopt(std::uint32_t index, std::shared_ptr<const platform::Region> region) {
  const std::uint32_t file_no = shared_->segments[index].file_no.load(std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  entries_[index] = Entry{file_no, std::move(region), nullptr};
}

void Mappings::drop_stale() noexcept {
  const std::lock_guard lock(mutex_);
  for (std::uint32_t index = 0; index < kSegmentsMax; ++index) {
    Entry& entry = entries_[index];
    if (entry.file_no != 0 && entry.file_no != shared_->segments[index].file_no.load(std::memory_order_acquire))
      entry = Entry();
  }
}

}  // namespace hf::overlay
