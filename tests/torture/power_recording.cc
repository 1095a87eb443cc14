// SPDX-License-Identifier: Apache-2.0
#include "torture/power_recording.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace torture::power {
namespace {

// What this thread's call, now under way, is recorded as.
thread_local Event* current = nullptr;

[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "power: %s: %s\n", why, std::strerror(errno));
  std::abort();
}

bool is_shared_memory(std::string_view path) noexcept {
  return path.find("/memory/") != path.npos || path.ends_with("/memory") || path.ends_with("/lock.mdb") ||
         path.ends_with("/liveness");
}

std::uint64_t inode_at(const char* path) noexcept {
  struct stat info;
  return ::stat(path, &info) == 0 ? info.st_ino : 0;
}

}  // namespace

Area area_of(std::string_view path) noexcept {
  if (path.find("/log") != path.npos) return Area::kLog;
  return path.find("/base") != path.npos ? Area::kBase : Area::kRoot;
}

// --- the arena -----------------------------------------------------------------------------------------------------

struct Arena::Head {
  std::atomic<std::uint64_t> used;  // bytes, this head included
  std::atomic<std::uint64_t> number;
};

Arena::Arena(std::uint64_t size) : size_(size) {
  void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) give_up("no memory for a recording");
  head_ = new (at) Head{};
  head_->used = sizeof(Head);
}

Arena::Arena(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info {};
  if (fd < 0 || ::fstat(fd, &info) != 0) give_up(file.c_str());
  size_ = static_cast<std::uint64_t>(info.st_size);
  void* const at = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
  if (at == MAP_FAILED) give_up(file.c_str());
  ::close(fd);
  head_ = static_cast<Head*>(at);
}

Arena::~Arena() { munmap(head_, size_); }

Event* Arena::add(std::uint64_t bytes_behind) noexcept {
  const std::uint64_t size = (sizeof(Event) + bytes_behind + 7) / 8 * 8;
  const std::uint64_t at = head_->used.fetch_add(size);
  if (at + size > size_) give_up("a recording grew too large");
  auto* const event = reinterpret_cast<Event*>(reinterpret_cast<char*>(head_) + at);
  event->size_in_arena = size;
  return event;
}

std::uint64_t Arena::next_number() noexcept { return head_->number.fetch_add(1) + 1; }

void Arena::save(const std::string& file) const {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) give_up(file.c_str());
  const char* const from = reinterpret_cast<const char*>(head_);
  for (std::uint64_t done = 0; done < head_->used;) {
    const ssize_t count = ::write(fd, from + done, std::min<std::uint64_t>(head_->used - done, 1u << 30));
    if (count <= 0) give_up(file.c_str());
    done += static_cast<std::uint64_t>(count);
  }
  ::close(fd);
}

std::vector<const Event*> Arena::events() const {
  std::vector<const Event*> all;
  for (std::uint64_t at = sizeof(Head); at < head_->used;) {
    const auto* const event = reinterpret_cast<const Event*>(reinterpret_cast<const char*>(head_) + at);
    at += event->size_in_arena;
    if (event->kind != Kind::kNone) all.push_back(event);
  }
  std::sort(all.begin(), all.end(), [](const Event* left, const Event* right) { return left->begin < right->begin; });
  return all;
}

// --- the recorder --------------------------------------------------------------------------------------------------

Recorder::Recorder(std::string root, Arena& arena, unsigned sync_us_max)
    : root_(std::move(root)), arena_(arena), sync_us_max_(sync_us_max) {}

void Recorder::start() { io::observe(this); }
void Recorder::stop() { io::observe(nullptr); }

std::string_view Recorder::below_root(const char* path) const noexcept {
  const std::string_view whole(path == nullptr ? "" : path);
  if (!whole.starts_with(root_) || is_shared_memory(whole)) return {};
  if (whole.size() == root_.size()) return ".";
  return whole[root_.size()] == '/' ? whole.substr(root_.size() + 1) : std::string_view();
}

const Recorder::Descriptor* Recorder::descriptor(int fd) const noexcept {
  if (fd < 0 || fd >= kDescriptorsMax) return nullptr;
  const Descriptor& found = descriptors_[static_cast<std::size_t>(fd)];
  return found.known ? &found : nullptr;
}

Event* Recorder::add(Kind kind, std::string_view path, std::string_view target, std::uint64_t data_size) noexcept {
  Event* const event = arena_.add(path.size() + target.size() + data_size);
  char* out = reinterpret_cast<char*>(event + 1);
  std::memcpy(out, path.data(), path.size());
  if (!target.empty()) std::memcpy(out + path.size(), target.data(), target.size());
  event->path_size = static_cast<std::uint32_t>(path.size());
  event->target_size = static_cast<std::uint32_t>(target.size());
  event->kind = kind;
  event->begin = arena_.next_number();
  return event;
}

Event* Recorder::add_write(const io::Call& call, const Descriptor& to) noexcept {
  bool zeros = true;
  for (int i = 0; i < call.parts_count && zeros; ++i) {
    const char* const from = static_cast<const char*>(call.parts[i].iov_base);
    const std::size_t size = call.parts[i].iov_len;
    zeros = size == 0 || (from[0] == 0 && std::memcmp(from, from + 1, size - 1) == 0);
  }
  Event* const event = add(Kind::kWrite, to.path, {}, zeros ? 0 : call.size);
  event->zeros = zeros;
  event->synced = to.synced;
  if (zeros) return event;
  char* out = const_cast<char*>(event->data());
  for (int i = 0; i < call.parts_count; ++i) {
    std::memcpy(out, call.parts[i].iov_base, call.parts[i].iov_len);
    out += call.parts[i].iov_len;
  }
  return event;
}

Event* Recorder::add_name_change(const io::Call& call) noexcept {
  const std::string_view path = below_root(call.path);
  if (path.empty()) return nullptr;
  switch (call.op) {
    case io::Op::kOpen: {
      if ((call.flags & O_CREAT) == 0 || ::access(call.path, F_OK) == 0) return nullptr;
      return add(Kind::kCreate, path, {}, 0);
    }
    case io::Op::kRename: {
      const std::uint64_t file = inode_at(call.path);
      Event* const event = add(Kind::kRename, path, below_root(call.to), 0);
      event->file = file;
      return event;
    }
    case io::Op::kUnlink:
      return add(Kind::kUnlink, path, {}, 0);
    case io::Op::kMkdir:
      return add(Kind::kMkdir, path, {}, 0);
    case io::Op::kTruncate: {
      const std::uint64_t file = inode_at(call.path);
      Event* const event = add(Kind::kTruncate, path, {}, 0);
      event->file = file;
      event->size = call.size;
      return event;
    }
    default:
      return nullptr;
  }
}

int Recorder::before(const io::Call& call) noexcept {
  current = nullptr;
  if (call.path != nullptr) {
    current = add_name_change(call);
    return 0;
  }
  const Descriptor* const on = descriptor(call.fd);
  if (on == nullptr) return 0;
  switch (call.op) {
    case io::Op::kWrite:
      current = add_write(call, *on);
      break;
    case io::Op::kSync:
      current = add(on->is_directory ? Kind::kSyncDirectory : Kind::kSync, on->path, {}, 0);
      break;
    case io::Op::kTruncate:
      current = add(Kind::kTruncate, on->path, {}, 0);
      break;
    case io::Op::kAllocate:
      if ((call.flags & FALLOC_FL_KEEP_SIZE) == 0) current = add(Kind::kAllocate, on->path, {}, 0);
      break;
    case io::Op::kClose:
      descriptors_[static_cast<std::size_t>(call.fd)].known = false;
      return 0;
    default:
      return 0;
  }
  if (current == nullptr) return 0;
  current->file = on->file;
  current->offset = call.offset;
  current->size = call.size;
  const bool waits = call.op == io::Op::kSync || current->synced;
  if (waits && sync_us_max_ != 0) ::usleep(static_cast<useconds_t>(current->begin * 7919 % sync_us_max_));
  return 0;
}

void Recorder::after(const io::Call& call, long result) noexcept {
  Event* const event = current;
  current = nullptr;
  if (call.op == io::Op::kOpen && result >= 0) opened(call, static_cast<int>(result), event);
  if (event == nullptr) return;
  if (result < 0) event->kind = Kind::kNone;
  if (event->kind == Kind::kWrite) event->size = static_cast<std::uint64_t>(result);
  event->end = arena_.next_number();
}

void Recorder::opened(const io::Call& call, int fd, Event* created) noexcept {
  const std::string_view path = below_root(call.path);
  struct stat info;
  if (path.empty() || fd >= kDescriptorsMax || ::fstat(fd, &info) != 0) return;
  if (path.size() >= sizeof Descriptor::path || (call.flags & O_TRUNC) != 0) {
    errno = EINVAL;
    give_up("opened in a way that the recorder does not know");
  }
  Descriptor& entry = descriptors_[static_cast<std::size_t>(fd)];
  entry = Descriptor{true, S_ISDIR(info.st_mode), (call.flags & O_DSYNC) != 0, info.st_ino, {}};
  std::memcpy(entry.path, path.data(), path.size());
  if (created != nullptr) created->file = info.st_ino;
}

void Recorder::add_mark(Kind kind, std::uint64_t csn, std::uint64_t before, std::uint64_t after,
                        std::string_view changes) {
  Event* const event = add(kind, changes, {}, 0);
  event->file = csn;
  event->offset = before;
  event->size = after;
  event->end = event->begin;
}

void Recorder::commit(std::uint64_t csn, std::string_view changes) { add_mark(Kind::kCommit, csn, 0, 0, changes); }
void Recorder::acknowledge(std::uint64_t csn) { add_mark(Kind::kAck, csn, 0, 0, {}); }
void Recorder::commit_between(std::uint64_t before, std::uint64_t after, std::string_view changes) {
  add_mark(Kind::kCommit, 0, before, after, changes);
}
void Recorder::acknowledge_between(std::uint64_t before, std::uint64_t after) {
  add_mark(Kind::kAck, 0, before, after, {});
}

}  // namespace torture::power
