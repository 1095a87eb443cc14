// SPDX-License-Identifier: Apache-2.0
#include "platform/liveness.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

namespace hf::platform {
namespace {

constexpr off_t kGateByte = 0;
constexpr off_t kFirstSlotByte = 1;

constexpr std::uint32_t kSlotBits = 9;
constexpr std::uint32_t kGenerationMask = (1u << (31 - kSlotBits)) - 1;
static_assert(kProcessSlotsMax <= (1u << kSlotBits) - 1, "slot + 1 has to fit");

constexpr std::uint64_t kGatePollMinNs = 1'000'000;   // an opening process usually needs a few milliseconds
constexpr std::uint64_t kGatePollMaxNs = 10'000'000;  // a recovering one needs longer: poll less

off_t slot_byte(std::uint32_t slot) noexcept { return kFirstSlotByte + static_cast<off_t>(slot); }

OwnerId make_owner(std::uint32_t generation, std::uint32_t slot) noexcept {
  return (generation & kGenerationMask) << kSlotBits | (slot + 1);
}

struct flock lock_range(short type, off_t start, off_t length) noexcept {
  struct flock range;
  std::memset(&range, 0, sizeof range);  // l_pid has to be 0 for open-file-description locks
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = start;
  range.l_len = length;
  return range;
}

// Locks or unlocks one byte without waiting: 0 or an error number; EAGAIN when another description holds it.
int set_lock(int fd, short type, off_t byte) noexcept {
  struct flock range = lock_range(type, byte, 1);
  while (fcntl(fd, F_OFD_SETLK, &range) != 0) {
    if (errno == EACCES) return EAGAIN;  // POSIX allows either number for a lock held elsewhere
    if (errno != EINTR) return errno;
  }
  return 0;
}

// Whether another description holds a lock in the range: 0 and `held`, or an error number. Own locks never count.
int find_lock(int fd, off_t start, off_t length, bool& held) noexcept {
  struct flock range = lock_range(F_WRLCK, start, length);
  while (fcntl(fd, F_OFD_GETLK, &range) != 0) {
    if (errno != EINTR) return errno;
    range = lock_range(F_WRLCK, start, length);
  }
  held = range.l_type != F_UNLCK;
  return 0;
}

// A lock that cannot be asked about counts as held: taking something from the living is the worse mistake.
bool lock_is_held(int fd, off_t byte) noexcept {
  bool held = true;
  return find_lock(fd, byte, 1, held) != 0 || held;
}

void sleep_ns(std::uint64_t ns) noexcept {
  timespec time;
  time.tv_sec = static_cast<time_t>(ns / 1'000'000'000u);
  time.tv_nsec = static_cast<long>(ns % 1'000'000'000u);
  nanosleep(&time, nullptr);  // a signal that cuts it short only makes the next look come earlier
}

// Copies as much of the label as fits, never a part of a UTF-8 character, and zeroes the rest.
void copy_label(char (&out)[48], const std::string& label) noexcept {
  std::size_t size = std::min(label.size(), sizeof out - 1);
  if (size < label.size()) {
    while (size > 0 && (static_cast<unsigned char>(label[size]) & 0xC0) == 0x80) --size;
  }
  std::memset(out, 0, sizeof out);
  std::memcpy(out, label.data(), size);
}

}  // namespace

Liveness::Liveness(Liveness&& other) noexcept
    : file_(std::move(other.file_)),
      slots_(std::exchange(other.slots_, nullptr)),
      me_(std::exchange(other.me_, 0)),
      gate_held_(std::exchange(other.gate_held_, false)) {}

Liveness& Liveness::operator=(Liveness&& other) noexcept {
  if (this != &other) {
    release_slot();
    unlock_gate();
    file_ = std::move(other.file_);
    slots_ = std::exchange(other.slots_, nullptr);
    me_ = std::exchange(other.me_, 0);
    gate_held_ = std::exchange(other.gate_held_, false);
  }
  return *this;
}

Liveness::~Liveness() {
  release_slot();
  unlock_gate();
}

Result<Liveness> Liveness::open(const std::string& path) {
  Result<File> file = File::open(path, File::Mode::kCreate);
  if (!file.ok()) return std::move(file).status();
  Liveness liveness;
  liveness.file_ = std::move(file).value();
  return liveness;
}

// F_OFD_SETLKW has no bound, and an alarm signal would belong to the application: so the wait is a poll.
Status Liveness::lock_gate(Deadline deadline) {
  assert(!gate_held_);
  std::uint64_t poll_ns = kGatePollMinNs;
  for (;;) {
    const int error = set_lock(file_.fd(), F_WRLCK, kGateByte);
    if (error == 0) break;
    if (error != EAGAIN) return Status::from_errno(error, "fcntl(F_OFD_SETLK)", file_.path());
    const std::uint64_t wait_ns = deadline.remaining_ns(poll_ns);
    if (wait_ns == 0) {
      return Status(Code::kBUSY, "another process is opening, recovering or closing: " + file_.path());
    }
    sleep_ns(wait_ns);
    poll_ns = std::min(poll_ns * 2, kGatePollMaxNs);
  }
  gate_held_ = true;
  return Status();
}

// Unlocks by call and not only by closing: a child between fork and its fork handler still shares the description.
void Liveness::unlock_gate() noexcept {
  if (gate_held_ && file_.is_open()) (void)set_lock(file_.fd(), F_UNLCK, kGateByte);
  gate_held_ = false;
}

Result<bool> Liveness::others_alive() const {
  assert(gate_held_);
  return anybody_alive();
}

Result<bool> Liveness::anybody_alive() const {
  bool held = false;
  const int error = find_lock(file_.fd(), kFirstSlotByte, kProcessSlotsMax, held);
  if (error != 0) return Status::from_errno(error, "fcntl(F_OFD_GETLK)", file_.path());
  return held;
}

Status Liveness::take_slot(ProcessSlot* slots, const std::string& label) {
  assert(gate_held_ && me_ == 0 && slots != nullptr);
  for (std::uint32_t slot = 0; slot < kProcessSlotsMax; ++slot) {
    const int error = set_lock(file_.fd(), F_WRLCK, slot_byte(slot));
    if (error == EAGAIN) continue;
    if (error != 0) return Status::from_errno(error, "fcntl(F_OFD_SETLK)", file_.path());

    ProcessSlot& row = slots[slot];
    // Relaxed: only the holder of the slot's lock writes it, and the kernel orders one holder after the other.
    std::uint32_t generation = (row.generation.load(std::memory_order_relaxed) + 1) & kGenerationMask;
    if (generation == 0) generation = 1;  // a fresh table reads 0, so no life may be called that
    // Pairs with the load in alive(): first the dead life is made stale, then its row is overwritten.
    row.generation.store(generation, std::memory_order_seq_cst);
    row.pid = static_cast<std::uint32_t>(getpid());
    row.opened_at_ms = wall_ms();
    copy_label(row.label, label);
    slots_ = slots;
    me_ = make_owner(generation, slot);
    return Status();
  }
  return Status(Code::kLIMIT, "all " + std::to_string(kProcessSlotsMax) + " process slots are taken: " + file_.path());
}

void Liveness::release_slot() noexcept {
  if (me_ != 0 && file_.is_open()) (void)set_lock(file_.fd(), F_UNLCK, slot_byte(owner_slot(me_)));
  me_ = 0;
  slots_ = nullptr;
}

void Liveness::close_in_forked_child() noexcept {
  file_.close();
  gate_held_ = false;
}

bool Liveness::alive(OwnerId id) const noexcept {
  assert(me_ != 0);
  if (id == me_) return true;  // also because an own lock never shows up as held
  const std::uint32_t slot = owner_slot(id);
  if (slot >= kProcessSlotsMax) return false;  // 0, or not an id at all
  // Pairs with the store in take_slot(). A stale value could only name an older life than `id`; the caller's acquire
  // load of `id` rules that out. A newer value than `id` proves that its life ended.
  if (make_owner(slots_[slot].generation.load(std::memory_order_acquire), slot) != id) return false;
  // A taker between its lock and its new generation makes a dead life look alive for that moment; callers ask again.
  return lock_is_held(file_.fd(), slot_byte(slot));
}

OwnerId Liveness::holder_of(std::uint32_t slot) const noexcept {
  assert(me_ != 0);
  if (slot >= kProcessSlotsMax) return 0;
  if (slot == owner_slot(me_)) return me_;
  if (!lock_is_held(file_.fd(), slot_byte(slot))) return 0;
  const std::uint32_t generation = slots_[slot].generation.load(std::memory_order_acquire);  // as in alive()
  return (generation & kGenerationMask) == 0 ? 0 : make_owner(generation, slot);
}

}  // namespace hf::platform
