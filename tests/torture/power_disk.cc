// SPDX-License-Identifier: Apache-2.0
#include "torture/power_disk.h"

#include <algorithm>
#include <cstring>

namespace torture::power {
namespace {

constexpr std::uint64_t kSector = 512;

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::uint64_t mixed(std::uint64_t value) noexcept {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

// The luck of one file: which sectors of which changes got to the disk.
class Chance {
 public:
  Chance(Random& random, std::size_t changes)
      : luck_(static_cast<Luck>(random() % kLuckCount)),
        salt_(random()),
        odds_(1 + random() % 15),
        changes_(changes),
        first_lost_(random() % (changes + 1)) {}

  bool has_write(std::size_t change) const noexcept {
    return luck_ != Luck::kWrites || coin(change, 0);  // the others decide by sector
  }
  bool has_sector(std::size_t change, std::uint64_t sector) const noexcept {
    switch (luck_) {
      case Luck::kNothing:
        return false;
      case Luck::kEverything:
      case Luck::kWrites:
        return true;
      case Luck::kPrefix:
        return change < first_lost_ || (change == first_lost_ && coin(change, sector));
      case Luck::kSectors:
        return coin(change, sector);
      case Luck::kMoments:
        return change < mixed(salt_ + sector * 0x9e3779b97f4a7c15u) % (changes_ + 1);
    }
    return false;
  }
  // Lengths have a luck of their own in every case but the two extremes.
  bool has_length(std::size_t change) const noexcept {
    if (luck_ == Luck::kNothing || luck_ == Luck::kEverything) return luck_ == Luck::kEverything;
    return coin(change, UINT64_MAX);
  }
  // Where a length between two may stand that a file system sets page by page.
  std::uint64_t part_of(std::size_t change, std::uint64_t from, std::uint64_t to) const noexcept {
    const std::uint64_t dice = mixed(salt_ + change);
    if (dice % 4 != 0) return to;
    return std::max(from, (from + dice / 4 % (to - from)) / 4096 * 4096);
  }

 private:
  bool coin(std::size_t change, std::uint64_t sector) const noexcept {
    return mixed(salt_ ^ mixed(change + 1) ^ (sector * 0x9e3779b97f4a7c15u)) % 16 < odds_;
  }

  Luck luck_;
  std::uint64_t salt_;
  std::uint64_t odds_;  // of 16
  std::size_t changes_;
  std::size_t first_lost_;
};

void put_bytes(std::string* bytes, const Event& write, std::uint64_t from, std::uint64_t to) {
  if (bytes->size() < to) bytes->resize(to);
  if (write.data() == nullptr) {
    std::memset(bytes->data() + from, 0, to - from);
  } else {
    std::memcpy(bytes->data() + from, write.data() + (from - write.offset), to - from);
  }
}

void put_sectors(std::string* bytes, const Event& write, std::size_t change, const Chance& chance) {
  const std::uint64_t end = write.offset + write.size;
  for (std::uint64_t at = write.offset; at < end;) {
    const std::uint64_t sector = at / kSector;
    const std::uint64_t stop = std::min(end, (sector + 1) * kSector);
    if (chance.has_sector(change, sector)) put_bytes(bytes, write, at, stop);
    at = stop;
  }
}

void apply_wholly(std::string* bytes, const Event& event) {
  switch (event.kind) {
    case Kind::kWrite:
      if (event.size != 0) put_bytes(bytes, event, event.offset, event.offset + event.size);
      break;
    case Kind::kAllocate:
      if (bytes->size() < event.offset + event.size) bytes->resize(event.offset + event.size);
      break;
    case Kind::kTruncate:
      bytes->resize(event.size);
      break;
    default:
      break;
  }
}

// One unsynced change to `bytes`, which may be longer than the file: its length is kept apart.
void apply_by_chance(std::string* bytes, std::uint64_t* length, const Event& event, std::size_t change,
                     const Chance& chance) {
  if (event.kind == Kind::kTruncate && event.size < *length) {
    if (!chance.has_length(change)) return;
    bytes->resize(event.size);
    *length = event.size;
    return;
  }
  if (event.kind == Kind::kWrite && chance.has_write(change)) put_sectors(bytes, event, change, chance);
  const std::uint64_t grown = event.kind == Kind::kTruncate ? event.size : event.offset + event.size;
  if (grown > *length && chance.has_length(change)) *length = chance.part_of(change, *length, grown);
}

}  // namespace

Disk::Disk(Image start, const std::vector<const Event*>& events) {
  for (const std::string& directory : start.directories) names_[directory] = kDirectory;
  for (auto& [path, bytes] : start.files) {
    names_[path] = ++files_made_;
    files_[files_made_].bytes = std::move(bytes);
  }
  live_names_ = names_;
  for (const Event* event : events) {
    if (event->kind == Kind::kCommit || event->kind == Kind::kAck) continue;
    steps_.push_back({event->begin, event, false});
    if (event->end != 0) steps_.push_back({event->end, event, true});
  }
  std::sort(steps_.begin(), steps_.end(), [](const Step& a, const Step& b) { return a.number < b.number; });
}

void Disk::advance(std::uint64_t number) {
  for (; next_step_ < steps_.size() && steps_[next_step_].number <= number; ++next_step_) {
    const Step& step = steps_[next_step_];
    newest_ = step.event;
    newest_ended_ = step.is_end;
    if (step.is_end) {
      end(*step.event);
    } else {
      begin(*step.event);
    }
  }
}

std::uint64_t Disk::file_of(const Event& event) {
  const auto known = inodes_.find(event.file);
  if (known != inodes_.end()) return known->second;
  // It was there before the recording began.
  return inodes_[event.file] = live_names_.at(std::string(event.path()));
}

void Disk::apply_name(Names* names, const Event& event, std::uint64_t file) {
  const std::string path(event.path());
  switch (event.kind) {
    case Kind::kCreate:
    case Kind::kMkdir:
      (*names)[path] = file;
      break;
    case Kind::kRename:
      names->erase(path);
      (*names)[std::string(event.target())] = file;
      break;
    case Kind::kUnlink:
      names->erase(path);
      break;
    default:
      break;
  }
}

void Disk::begin(const Event& event) {
  switch (event.kind) {
    case Kind::kWrite:
    case Kind::kAllocate:
    case Kind::kTruncate:
      files_[file_of(event)].changes.push_back({&event, false});
      return;
    case Kind::kCreate:
    case Kind::kMkdir:
    case Kind::kRename:
    case Kind::kUnlink: {
      std::uint64_t file = kDirectory;
      if (event.kind == Kind::kCreate) file = inodes_[event.file] = ++files_made_;
      if (event.kind == Kind::kRename) file = file_of(event);
      name_changes_.push_back({&event, file});
      apply_name(&live_names_, event, file);
      return;
    }
    default:
      return;
  }
}

void Disk::end(const Event& event) {
  const auto covered = [&event](const Event& change) { return change.end != 0 && change.end < event.begin; };
  if (event.kind == Kind::kSync) {
    File& file = files_[file_of(event)];
    for (Change& change : file.changes) change.settled |= covered(*change.event);
    settle(&file);
  } else if (event.kind == Kind::kWrite && event.synced) {
    File& file = files_[file_of(event)];
    for (Change& change : file.changes) change.settled |= change.event == &event;
    settle(&file);
  } else if (event.kind == Kind::kSyncDirectory) {
    const std::string directory(event.path());
    std::erase_if(name_changes_, [&](const NameChange& change) {
      if (directory_of(std::string(change.event->path())) != directory || !covered(*change.event)) return false;
      apply_name(&names_, *change.event, change.file);
      return true;
    });
  }
}

void Disk::settle(File* file) noexcept {
  while (!file->changes.empty() && file->changes.front().settled) {
    apply_wholly(&file->bytes, *file->changes.front().event);
    file->changes.pop_front();
  }
}

Disk::Names Disk::names_after_cut(Random& random) const {
  Names names = names_;
  std::map<std::string, Chance> chances;
  for (std::size_t i = 0; i < name_changes_.size(); ++i) {
    const NameChange& change = name_changes_[i];
    const std::string directory = directory_of(std::string(change.event->path()));
    const auto chance = chances.try_emplace(directory, random, name_changes_.size()).first;
    if (chance->second.has_write(i) && chance->second.has_sector(i, 0)) {
      apply_name(&names, *change.event, change.file);
    }
  }
  return names;
}

std::string Disk::bytes_of(const File& file, Random* random) {
  std::string bytes = file.bytes;
  if (random == nullptr) {
    for (const Change& change : file.changes) apply_wholly(&bytes, *change.event);
    return bytes;
  }
  std::uint64_t length = bytes.size();
  const Chance chance(*random, file.changes.size());
  std::size_t index = 0;
  for (const Change& change : file.changes) {
    if (change.settled) {
      // As applied to the file as it is; what chance left beyond its end is not part of it.
      apply_wholly(&bytes, *change.event);
      const std::uint64_t reaches = change.event->offset + change.event->size;
      length = change.event->kind == Kind::kTruncate ? change.event->size : std::max(length, reaches);
    } else {
      apply_by_chance(&bytes, &length, *change.event, index, chance);
    }
    ++index;
  }
  bytes.resize(length);
  return bytes;
}

Image Disk::make_image(const Names& names, Random* random) const {
  Image image;
  for (const auto& [path, file] : names) {  // a directory comes before what is in it
    const std::string directory = directory_of(path);
    if (directory != "." && !image.directories.contains(directory)) continue;
    if (file == kDirectory) {
      image.directories.insert(path);
    } else if (const auto found = files_.find(file); found != files_.end()) {
      image.files[path] = bytes_of(found->second, random);
    } else {
      image.files[path];
    }
  }
  return image;
}

Image Disk::after_cut(Random& random) const { return make_image(names_after_cut(random), &random); }
Image Disk::as_written() const { return make_image(live_names_, nullptr); }

}  // namespace torture::power
