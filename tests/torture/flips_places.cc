// SPDX-License-Identifier: Apache-2.0
// Where a flip goes, and what is there.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "log/frame.h"
#include "overlay/skiplist.h"
#include "store/inspect.h"
#include "torture/flips.h"

namespace torture::flips {
namespace {

namespace fs = std::filesystem;

std::vector<char> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

BaseMap::BaseMap(const std::string& path) {
  const std::string file = path + "/base/data.mdb";
  kinds_.assign(fs::file_size(file), 0);
  names_ = {"padding or free page"};
  hf::store::InspectOptions options;
  options.file = file;
  options.found = [](const hf::store::BaseFinding& finding) {
    std::fprintf(stderr, "flips: the database is not sound to begin with: %s\n", finding.text.c_str());
    std::exit(2);
    return false;
  };
  options.row = [this](const hf::store::BaseRow& row) {
    const bool is_big = row.head_offset % 4096 == 16;  // then the key is on another page
    const std::uint64_t size =
        static_cast<std::uint64_t>(row.row.value.size()) + 12 + (row.row.expires_ms != 0 ? 8 : 0);
    const std::uint64_t key_size = is_big ? 0 : row.key.size();
    rows_.push_back({row.head_offset - key_size, size + key_size});
  };
  options.covers = [this](std::uint64_t offset, std::uint64_t size, const char* what) {
    auto name = std::find(names_.begin(), names_.end(), what);
    if (name == names_.end()) name = names_.insert(names_.end(), what);
    const auto kind = static_cast<std::uint8_t>(name - names_.begin());
    std::fill_n(kinds_.begin() + static_cast<std::ptrdiff_t>(offset), size, kind);
  };
  if (!hf::store::inspect_base(options).ok()) std::exit(2);
}

std::string BaseMap::what(std::uint64_t offset) const { return "base: " + names_[kinds_[offset]]; }

OverlayMap map_overlay(const std::string& memory) {
  using namespace hf::overlay;
  OverlayMap map;
  for (const auto& entry : fs::directory_iterator(memory)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("overlay-")) continue;
    std::vector<char> bytes = read_file(entry.path().string());
    char* const base = bytes.data();
    for (Offset at = next_of(node_at(base, kHeadOffset), 0); at != 0; at = next_of(node_at(base, at), 0)) {
      const Node* node = node_at(base, at);
      map.nodes.push_back({name, at * kOffsetUnit, node_key_offset(node->height) + node->key_size});
      for (Offset version = node->newest; version != 0; version = version_at(base, version)->prev) {
        const VersionRecord* record = version_at(base, version);
        map.versions.push_back({name, version * kOffsetUnit, std::uint64_t{record->value_offset} + record->value_size});
      }
    }
  }
  return map;
}

std::uint64_t log_end(const std::string& file) {
  using namespace hf::log;
  const std::vector<char> bytes = read_file(file);
  SegmentHeader segment;
  if (bytes.size() < kSegmentHeaderSize) return 0;
  std::memcpy(&segment, bytes.data(), sizeof segment);
  if (std::memcmp(segment.magic, kSegmentMagic, sizeof segment.magic) != 0) return 0;
  std::uint64_t offset = kSegmentHeaderSize;
  FrameHeader frame;
  while (offset + sizeof frame <= bytes.size()) {
    std::memcpy(&frame, bytes.data() + offset, sizeof frame);
    if (frame.magic != kFrameMagic && frame.magic != kRollMagic) break;
    offset += frame.magic == kRollMagic ? kRollSize : frame_size(frame.body_size);
  }
  return std::min<std::uint64_t>(offset, bytes.size());
}

void flip(const std::string& directory, const Place& place) {
  const std::string path = directory + "/" + place.file;
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  char byte = 0;
  bool done = fd >= 0 && pread(fd, &byte, 1, static_cast<off_t>(place.offset)) == 1;
  byte = static_cast<char>(byte ^ (1 << place.bit));
  done = done && pwrite(fd, &byte, 1, static_cast<off_t>(place.offset)) == 1;
  if (fd >= 0) close(fd);
  if (!done) {
    std::fprintf(stderr, "flips: cannot flip a bit of %s at %llu\n", path.c_str(),
                 static_cast<unsigned long long>(place.offset));
    std::exit(2);
  }
}

}  // namespace torture::flips
