// SPDX-License-Identifier: Apache-2.0
// Inside of `overlay`: the segment files that this process has mapped, and their names.
//
// Any thread. The mutex is a leaf, and no file is opened or mapped under it. Segments handed out stay valid for as long
// as somebody holds them, also when the file is gone.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <string>

#include "overlay/overlay.h"

namespace hf::overlay {

// "overlay-<file_no>.hfo" in the directory.
std::string segment_path(const std::string& directory, std::uint32_t file_no);
// The file_no in a plain name, or 0 when it is no segment file's.
std::uint32_t segment_file_no(const std::string& name);

class Mappings {
 public:
  Mappings(OverlayShared& shared, std::string directory) : shared_(&shared), directory_(std::move(directory)) {}

  // The segment that the row holds now. Requires: the row is kReady or later, or becomes so meanwhile.
  Result<std::shared_ptr<const Segment>> map(std::uint32_t index);
  // The same, or null when it is not mapped here at that generation.
  std::shared_ptr<const Segment> mapped(std::uint32_t index, std::uint32_t generation) const noexcept;
  // The file of the row, whatever is in it. [maintainer]
  Result<std::shared_ptr<const platform::Region>> map_file(std::uint32_t index);
  // The row has just got this file. [maintainer]
  void adopt(std::uint32_t index, std::shared_ptr<const platform::Region> region);
  // Lets go of files that no row names any more, so that their memory comes back.
  void drop_stale() noexcept;

  const std::string& directory() const noexcept { return directory_; }

 private:
  struct Entry {
    std::uint32_t file_no = 0;
    std::shared_ptr<const platform::Region> region;
    std::shared_ptr<const Segment> segment;
  };

  OverlayShared* shared_;
  std::string directory_;
  mutable std::mutex mutex_;  // guards entries_
  std::array<Entry, kSegmentsMax> entries_;
};

}  // namespace hf::overlay
