// SPDX-License-Identifier: Apache-2.0
#include "capi/options.h"

#include <errno.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "capi/call.h"

namespace hf::capi {
namespace {

// Stands for "never" where the engine adds an interval to a clock or counts it in nanoseconds: ten years.
constexpr std::uint64_t kIntervalMax_ms = 10ull * 366 * 24 * 3600 * 1000;

std::uint64_t interval(std::uint64_t given_ms, std::uint64_t default_ms) noexcept {
  return given_ms == 0 ? default_ms : std::min(given_ms, kIntervalMax_ms);
}
// Limits, where the engine's 0 is "none".
std::uint64_t limit(std::uint64_t given_ms, std::uint64_t default_ms) noexcept {
  if (given_ms == HF_FOREVER) return 0;
  return interval(given_ms, default_ms);
}
// Of locks: 0 is somebody else's default, the engine's UINT64_MAX is "none".
std::uint64_t lock_timeout(std::uint64_t given_ms) noexcept {
  return given_ms > kIntervalMax_ms ? UINT64_MAX : given_ms;
}
template <typename T>
T or_default(T given, T otherwise) noexcept {
  return given == 0 ? otherwise : given;
}

Status illegal(const char* field, std::uint64_t value) {
  return Status(Code::kINVALID_ARGUMENT, std::string(field) + " " + std::to_string(value) + " is not legal");
}

Status read_levels(std::uint32_t isolation, std::uint32_t durability, txn::Isolation* isolation_out,
                   txn::Durability* durability_out) {
  if (isolation > HF_READ_COMMITTED) return illegal("isolation", isolation);
  if (durability > HF_RELAXED) return illegal("durability", durability);
  if (isolation != HF_ISOLATION_DEFAULT) *isolation_out = static_cast<txn::Isolation>(isolation);
  if (durability != HF_DURABILITY_DEFAULT) *durability_out = static_cast<txn::Durability>(durability);
  return {};
}

static_assert(static_cast<int>(txn::Isolation::kSerializable) == HF_SERIALIZABLE);
static_assert(static_cast<int>(txn::Isolation::kSnapshot) == HF_SNAPSHOT);
static_assert(static_cast<int>(txn::Isolation::kReadCommitted) == HF_READ_COMMITTED);
static_assert(static_cast<int>(txn::Durability::kDurable) == HF_DURABLE);
static_assert(static_cast<int>(txn::Durability::kRelaxed) == HF_RELAXED);
static_assert(static_cast<int>(lock::Mode::kShared) == HF_LOCK_SHARED);
static_assert(static_cast<int>(lock::Mode::kExclusive) == HF_LOCK_EXCLUSIVE);
static_assert(static_cast<int>(lock::Mode::kIncrement) == HF_LOCK_INCREMENT);
static_assert(kKeySizeMax == HF_KEY_SIZE_MAX && kValueSizeMax == HF_VALUE_SIZE_MAX);

Status read_bound(const char* name, hf_bytes given, Bytes* out) {
  if (given.size != 0 && given.data == nullptr) {
    return Status(Code::kINVALID_ARGUMENT, std::string(name) + " is NULL with a size");
  }
  if (given.size > HF_KEY_SIZE_MAX) {
    return Status(Code::kTOO_LARGE, std::string(name) + " has " + std::to_string(given.size) + " bytes, the limit is " +
                                        std::to_string(HF_KEY_SIZE_MAX));
  }
  *out = to_bytes(given);
  return {};
}

// Bytes of the UTF-8 sequence that starts there, 0 when it is none. Refuses overlong forms, surrogates and what is
// beyond U+10FFFF, by the table of well-formed sequences of the Unicode standard.
std::size_t utf8_sequence(const unsigned char* text) noexcept {
  if (text[0] < 0x80) return 1;
  if (text[0] < 0xC2 || text[0] > 0xF4) return 0;
  const unsigned char second_min = text[0] == 0xE0 ? 0xA0 : text[0] == 0xF0 ? 0x90 : 0x80;
  const unsigned char second_max = text[0] == 0xED ? 0x9F : text[0] == 0xF4 ? 0x8F : 0xBF;
  if (text[1] < second_min || text[1] > second_max) return 0;  // NUL is outside too: what follows is not read
  const std::size_t size = text[0] < 0xE0 ? 2 : text[0] < 0xF0 ? 3 : 4;
  for (std::size_t i = 2; i < size; ++i) {
    if ((text[i] & 0xC0) != 0x80) return 0;
  }
  return size;
}

}  // namespace

Status wrong_size(const char* name, std::uint32_t size) {
  return Status(Code::kINVALID_ARGUMENT,
                std::string(name) + ".size is " + std::to_string(size) +
                    ": not set, or of a newer version with fields that this one does not know");
}

Status read_label(const char* given, std::string* out) {
  if (given == nullptr) return {};
  const std::size_t size = strnlen(given, HF_LABEL_SIZE_MAX + 1);
  if (size > HF_LABEL_SIZE_MAX) {
    return Status(Code::kINVALID_ARGUMENT, "the label is longer than " + std::to_string(HF_LABEL_SIZE_MAX) + " bytes");
  }
  out->assign(given, size);
  return {};
}

Status read_open_options(const hf_open_options* given, txn::DatabaseOptions* out) {
  hf_open_options options;
  if (Status status = read_sized(given, "hf_open_options", &options); !status.ok()) return status;
  constexpr std::uint32_t kFlags = HF_OPEN_NO_CREATE | HF_OPEN_NO_THREAD | HF_OPEN_LOCK_ORDERED |
                                   HF_OPEN_NO_DEADLOCK_SEARCH | HF_OPEN_NO_HEAT | HF_OPEN_VERIFY_READS;
  if ((options.flags & ~kFlags) != 0) return illegal("flags", options.flags);
  if (options.reserved != 0) return illegal("reserved", options.reserved);
  if (options.locks_max > lock::kLocksMax) return illegal("locks_max", options.locks_max);
  if (options.lock_reserved != 0) return illegal("lock_reserved", options.lock_reserved);
  if (Status status = read_levels(options.isolation, options.durability, &out->isolation, &out->durability);
      !status.ok()) {
    return status;
  }
  out->label = Bytes(program_invocation_short_name).substr(0, HF_LABEL_SIZE_MAX);
  if (Status status = read_label(options.label, &out->label); !status.ok()) return status;
  if (options.memory_directory != nullptr) out->memory_directory = options.memory_directory;
  out->create = (options.flags & HF_OPEN_NO_CREATE) == 0;
  out->verify_reads = (options.flags & HF_OPEN_VERIFY_READS) != 0;
  out->background_thread = (options.flags & HF_OPEN_NO_THREAD) == 0;
  out->map_size = or_default(options.map_size, out->map_size);
  out->overlay_bytes_max = or_default(options.overlay_bytes_max, out->overlay_bytes_max);
  out->log_segment_size_max = or_default(options.log_segment_size_max, out->log_segment_size_max);
  out->log_keep_bytes = options.log_keep_bytes;
  const std::uint64_t quarter = out->overlay_bytes_max / 4;
  if (options.txn_bytes_max > quarter) {
    return Status(Code::kINVALID_ARGUMENT, "txn_bytes_max " + std::to_string(options.txn_bytes_max) +
                                               " is more than a quarter of overlay_bytes_max, " +
                                               std::to_string(quarter));
  }
  out->txn_bytes_max = or_default(options.txn_bytes_max, std::min(out->txn_bytes_max, quarter));
  out->open_timeout_ms = interval(options.open_timeout_ms, out->open_timeout_ms);
  out->overload_timeout_ms = interval(options.overload_timeout_ms, out->overload_timeout_ms);
  out->flush_interval_ms = interval(options.flush_interval_ms, out->flush_interval_ms);
  out->merge_interval_ms = interval(options.merge_interval_ms, out->merge_interval_ms);
  out->sweep_interval_ms = interval(options.sweep_interval_ms, out->sweep_interval_ms);
  out->txn_deadline_ms = limit(options.txn_deadline_ms, 0);
  out->txn_idle_ms = limit(options.txn_idle_ms, 0);
  out->tables_max = or_default(options.tables_max, out->tables_max);
  out->lock_timeout_ms = lock_timeout(or_default(options.lock_timeout_ms, out->lock_timeout_ms));
  out->locks_max = or_default(options.locks_max, out->locks_max);
  out->lock_ordered = (options.flags & HF_OPEN_LOCK_ORDERED) != 0;
  out->deadlock_search = (options.flags & HF_OPEN_NO_DEADLOCK_SEARCH) == 0;
  out->heat = (options.flags & HF_OPEN_NO_HEAT) == 0;
  out->on_message = options.on_message;
  out->message_context = options.message_context;
  return {};
}

Status read_txn_options(const txn::DatabaseOptions& defaults, const hf_txn_options* given, txn::TxnOptions* out,
                        hf_session** session) {
  constexpr std::uint32_t kFlags = HF_TXN_READ_ONLY | HF_TXN_BASE_ONLY | HF_TXN_READ_DURABLE | HF_TXN_LOCK_ORDERED |
                                   HF_TXN_NO_DEADLOCK_SEARCH | HF_TXN_NO_HEAT;
  hf_txn_options options;
  if (Status status = read_sized(given, "hf_txn_options", &options); !status.ok()) return status;
  if ((options.flags & ~kFlags) != 0) return illegal("flags", options.flags);
  out->isolation = defaults.isolation;
  out->durability = defaults.durability;
  if (Status status = read_levels(options.isolation, options.durability, &out->isolation, &out->durability);
      !status.ok()) {
    return status;
  }
  out->base_only = (options.flags & HF_TXN_BASE_ONLY) != 0;
  out->read_only = out->base_only || (options.flags & HF_TXN_READ_ONLY) != 0;
  out->read_durable = (options.flags & HF_TXN_READ_DURABLE) != 0;
  out->deadline_ms = limit(options.deadline_ms, defaults.txn_deadline_ms);
  out->idle_ms = limit(options.idle_ms, defaults.txn_idle_ms);
  out->lock_timeout_ms = lock_timeout(or_default(options.lock_timeout_ms, defaults.lock_timeout_ms));
  out->lock_ordered = defaults.lock_ordered || (options.flags & HF_TXN_LOCK_ORDERED) != 0;
  out->deadlock_search = defaults.deadlock_search && (options.flags & HF_TXN_NO_DEADLOCK_SEARCH) == 0;
  out->heat = defaults.heat && (options.flags & HF_TXN_NO_HEAT) == 0;
  *session = options.session;
  return read_label(options.label, &out->label);
}

Status read_cursor_options(const hf_cursor_options* given, txn::Range* out) {
  hf_cursor_options options;
  if (Status status = read_sized(given, "hf_cursor_options", &options); !status.ok()) return status;
  if ((options.flags & ~(HF_CURSOR_REVERSE | HF_CURSOR_LOW_EXCLUSIVE | HF_CURSOR_HIGH_INCLUSIVE)) != 0) {
    return illegal("flags", options.flags);
  }
  if (Status status = read_bound("low", options.low, &out->low); !status.ok()) return status;
  if (Status status = read_bound("high", options.high, &out->high); !status.ok()) return status;
  if (Status status = read_bound("prefix", options.prefix, &out->prefix); !status.ok()) return status;
  out->reverse = (options.flags & HF_CURSOR_REVERSE) != 0;
  out->low_exclusive = (options.flags & HF_CURSOR_LOW_EXCLUSIVE) != 0;
  out->high_inclusive = (options.flags & HF_CURSOR_HIGH_INCLUSIVE) != 0;
  out->skip = options.skip;
  out->limit = options.limit;
  if (options.lock_wait > HF_SKIP_LOCKED) return illegal("lock_wait", options.lock_wait);
  out->locks = options.lock_mode != 0;
  out->skip_locked = options.lock_wait == HF_SKIP_LOCKED;
  out->lock.wait = options.lock_wait == HF_WAIT;
  out->lock.timeout_ms = lock_timeout(options.lock_timeout_ms);
  return read_lock_mode(options.lock_mode, LockUse::kRead, &out->lock.mode);
}

Status read_lock_mode(std::uint32_t given, LockUse use, lock::Mode* out) {
  const std::uint32_t mode =
      or_default<std::uint32_t>(given, use == LockUse::kShare ? HF_LOCK_SHARED : HF_LOCK_EXCLUSIVE);
  const bool is_legal = use == LockUse::kAny      ? mode <= HF_LOCK_INCREMENT
                        : use == LockUse::kRead   ? mode <= HF_LOCK_EXCLUSIVE
                        : use == LockUse::kUpdate ? mode == HF_LOCK_EXCLUSIVE
                                                  : mode == HF_LOCK_SHARED;
  if (!is_legal) return illegal("lock mode", given);
  *out = static_cast<lock::Mode>(mode);
  return {};
}

Status read_lock_options(const hf_lock_options* given, LockUse use, LockCall* out) {
  hf_lock_options options;
  if (Status status = read_sized(given, "hf_lock_options", &options); !status.ok()) return status;
  if (options.wait > HF_SKIP_LOCKED) return illegal("wait", options.wait);
  if ((options.flags & ~static_cast<std::uint32_t>(HF_LOCK_STRICT)) != 0) return illegal("flags", options.flags);
  out->skip = options.wait == HF_SKIP_LOCKED;
  out->rule.wait = options.wait == HF_WAIT;
  out->rule.strict = (options.flags & HF_LOCK_STRICT) != 0;
  out->rule.timeout_ms = lock_timeout(options.timeout_ms);
  return read_lock_mode(options.mode, use, &out->rule.mode);
}

Status read_transact_options(const txn::DatabaseOptions& defaults, const hf_transact_options* given,
                             txn::RetryOptions* retry, txn::TxnOptions* txn, hf_session** session) {
  constexpr std::uint64_t kPauseMax_us = kIntervalMax_ms * 1000;
  hf_transact_options options;
  if (Status status = read_sized(given, "hf_transact_options", &options); !status.ok()) return status;
  const std::uint64_t longest = or_default(options.backoff_max_us, retry->backoff_max_us);
  if (options.backoff_min_us > longest) return illegal("backoff_min_us", options.backoff_min_us);
  retry->attempts_max = or_default(options.attempts_max, retry->attempts_max);
  retry->total_timeout_ms = interval(options.total_timeout_ms, retry->total_timeout_ms);
  retry->backoff_max_us = std::min(longest, kPauseMax_us);
  retry->backoff_min_us = std::min(or_default(options.backoff_min_us, retry->backoff_min_us), retry->backoff_max_us);
  const hf_txn_options unset{};
  const bool is_set = std::memcmp(&options.txn, &unset, sizeof unset) != 0;
  if (is_set && options.txn.size > sizeof options.txn) {
    // A newer program's: what this version does not know lies behind the struct, and read_sized has seen that it is
    // zero.
    const std::uint64_t room = given->size - offsetof(hf_transact_options, txn);
    if (options.txn.size > room) return wrong_size("hf_transact_options.txn", options.txn.size);
    options.txn.size = sizeof options.txn;
  }
  return read_txn_options(defaults, is_set ? &options.txn : nullptr, txn, session);
}

Status check_table_name(const char* name) {
  if (name == nullptr) return null_argument("name");
  const std::size_t size = strnlen(name, HF_TABLE_NAME_SIZE_MAX + 1);
  if (size == 0) return Status(Code::kINVALID_ARGUMENT, "the table name is empty");
  if (size > HF_TABLE_NAME_SIZE_MAX) {
    return Status(Code::kINVALID_ARGUMENT,
                  "the table name is longer than " + std::to_string(HF_TABLE_NAME_SIZE_MAX) + " bytes");
  }
  const auto* text = reinterpret_cast<const unsigned char*>(name);
  for (std::size_t i = 0; i < size;) {
    const std::size_t sequence = utf8_sequence(text + i);
    if (sequence == 0) return Status(Code::kINVALID_ARGUMENT, "the table name is not UTF-8");
    // C0, DEL, and C1, which is U+0080 to U+009F.
    if (text[i] < 0x20 || text[i] == 0x7f || (text[i] == 0xC2 && text[i + 1] < 0xA0)) {
      return Status(Code::kINVALID_ARGUMENT, "the table name has a control character");
    }
    i += sequence;
  }
  return {};
}

}  // namespace hf::capi
