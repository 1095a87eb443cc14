// SPDX-License-Identifier: Apache-2.0
#include "capi/failure.h"

#include <algorithm>
#include <cstring>

#include "capi/call.h"

namespace hf::capi {
namespace {

// Cuts what does not fit and ends with NUL.
void copy_text(const std::string& text, char* out, std::size_t capacity) noexcept {
  const std::size_t size = std::min(text.size(), capacity - 1);
  std::memcpy(out, text.data(), size);
  out[size] = '\0';
}

// As one can read it on one line: at most the first bytes, and what is not printable as \xNN.
std::string readable(Bytes bytes) {
  constexpr std::size_t kShownMax = 48;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes.substr(0, kShownMax)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\') {
      text += c;
    } else {
      text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  if (bytes.size() > kShownMax) text += "...";
  return text;
}

const char* mode_name(lock::Mode mode) noexcept {
  switch (mode) {
    case lock::Mode::kShared:
      return "shared";
    case lock::Mode::kExclusive:
      return "exclusive";
    case lock::Mode::kIncrement:
      return "increment";
    default:
      return "nothing";
  }
}

// Who it is, for a reader who wants to find it.
std::string name_of(const lock::Party& party) {
  std::string text = party.session ? "session " : "transaction ";
  text += std::to_string(party.number);
  if (!party.label.empty()) text += " \"" + readable(party.label) + "\"";
  return text + " of process " + std::to_string(party.pid) + ", thread " + std::to_string(party.thread);
}

std::string name_of_row(catalog::Catalog* catalog, const lock::Party& party) {
  std::string table = catalog != nullptr && party.table != lock::kNames ? catalog->name_of_data(party.table) : "";
  if (!table.empty()) table = readable(table) + "/";
  return table + "\"" + readable(party.key) + "\"";
}

// Messages are one line, whatever a file name or a message from below holds.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return text;
}

}  // namespace

void Failure::set_key(Bytes key) noexcept {
  // An illegal key can be why the call failed.
  key_size_ = key.data() == nullptr ? 0 : static_cast<std::uint32_t>(std::min(key.size(), sizeof key_));
  if (key_size_ != 0) std::memcpy(key_, key.data(), key_size_);
}

int Failure::set(Status status, const Concern& concern) noexcept {
  status_ = std::move(status);
  table_ = concern.table;
  if (!name_.empty()) name_.clear();
  if (concern.name != nullptr) {
    try {
      name_.assign(concern.name, strnlen(concern.name, HF_TABLE_NAME_SIZE_MAX));
    } catch (...) {  // the code matters more than the name
      name_.clear();
    }
  }
  has_report_ = false;
  obstacle_.table = 0;
  obstacle_.other_csn = obstacle_.other_pid = obstacle_.other_age_ms = 0;
  if (!obstacle_.other_label.empty()) obstacle_.other_label.clear();
  attempts_ = 0;
  set_key(concern.key);
  return code();
}

int Failure::set(Status status, const txn::Obstacle& obstacle) noexcept {
  set(std::move(status));
  set_key(obstacle.key);
  obstacle_.table = obstacle.table;
  obstacle_.other_csn = obstacle.other_csn;
  obstacle_.other_pid = obstacle.other_pid;
  obstacle_.other_age_ms = obstacle.other_age_ms;
  try {
    obstacle_.other_label = obstacle.other_label;
  } catch (...) {
    obstacle_.other_label.clear();
  }
  return code();
}

int Failure::set(Status status, const lock::Report& report) noexcept {
  set(std::move(status));
  set_key(report.key);
  obstacle_.table = report.wanted.row.table;
  try {
    report_.wanted = report.wanted;
    report_.held = report.held;
    report_.waited_ms = report.waited_ms;
    report_.other = report.other;
    report_.cycle = report.cycle;
    has_report_ = true;
  } catch (...) {
    has_report_ = false;
  }
  return code();
}

void Failure::set_other(const lock::Party& other) noexcept {
  obstacle_.other_pid = other.pid;
  obstacle_.other_age_ms = other.since_ms;
  try {
    obstacle_.other_label = other.label;
  } catch (...) {
    obstacle_.other_label.clear();
  }
}

void Failure::clear() noexcept {
  if (status_.ok()) return;
  set(Status());
}

std::string Failure::table_name(catalog::Catalog* catalog) const {
  if (!name_.empty() || catalog == nullptr) return name_;
  if (obstacle_.table != 0) return catalog->name_of_data(obstacle_.table);
  if (table_ == nullptr || check_live(table_) != HF_OK) return {};
  // Renamed since it was opened? Dropped, or never read yet: the name that it was opened by has to do.
  const TableId data_id = table_->table->data_id.load(std::memory_order_relaxed);
  std::string name = data_id != 0 ? catalog->name_of_data(data_id) : std::string();
  return name.empty() ? table_->name : name;
}

// Who holds what, and for how long it was waited for.
std::string Failure::words_of_locks(catalog::Catalog* catalog) const {
  std::string text = std::string(": ") + mode_name(report_.wanted.mode) + " wanted";
  if (report_.held != lock::Mode::kNone) text += std::string(", ") + mode_name(report_.held) + " held";
  if (report_.waited_ms != 0) text += ", waited " + std::to_string(report_.waited_ms) + " ms";
  for (const lock::Party& party : report_.cycle) {
    text += "; " + name_of(party) + " waits for " + name_of_row(catalog, party);
  }
  const lock::Party& other = report_.other;
  if (!report_.cycle.empty() || other.number == 0) return text;
  text += "; " + name_of(other);
  text += other.held != lock::Mode::kNone ? std::string(" holds it ") + mode_name(other.held)
                                          : std::string(" waits for it ") + mode_name(other.wanted);
  return text + " for " + std::to_string(other.since_ms) + " ms" + (other.expired ? " and has expired" : "");
}

std::string Failure::message(catalog::Catalog* catalog, const std::string& table) const {
  std::string text = one_line(status_.message());
  const std::string key = readable(Bytes(key_, key_size_));
  const bool is_name = has_report_ && obstacle_.table == lock::kNames;
  if (!table.empty() || key_size_ != 0) {
    text += " (";
    if (!table.empty()) text += "table \"" + readable(table) + "\"";
    if (!table.empty() && key_size_ != 0) text += ", ";
    if (key_size_ != 0) text += (is_name ? "name \"" : "key \"") + key + "\"";
    text += ")";
  }
  return has_report_ ? text + words_of_locks(catalog) : text;
}

void Failure::describe_locks(hf_error* error) const {
  const lock::Party& other = report_.other.number == 0 && report_.cycle.size() > 1 ? report_.cycle[1] : report_.other;
  error->mode_wanted = static_cast<std::uint32_t>(report_.wanted.mode);
  error->mode_held = static_cast<std::uint32_t>(report_.held);
  error->waited_ms = report_.waited_ms;
  error->other_mode_held = static_cast<std::uint32_t>(other.held);
  error->other_mode_wanted = static_cast<std::uint32_t>(other.wanted);
  error->other_txn = other.number;
  error->other_thread = other.thread;
  error->other_pid = other.pid;
  error->other_age_ms = other.since_ms;
  copy_text(other.label, error->other_label, sizeof error->other_label);
}

void Failure::describe(catalog::Catalog* catalog, hf_error* error) const {
  std::memset(error, 0, sizeof *error);
  error->size = sizeof *error;
  error->code = code();
  if (status_.ok()) return;
  const std::string table = table_name(catalog);
  copy_text(table, error->table, sizeof error->table);
  copy_text(message(catalog, table), error->message, sizeof error->message);
  error->key_size = key_size_;
  if (key_size_ != 0) std::memcpy(error->key, key_, key_size_);
  error->attempts = attempts_;
  copy_text(obstacle_.other_label, error->other_label, sizeof error->other_label);
  error->other_pid = obstacle_.other_pid;
  error->other_age_ms = obstacle_.other_age_ms;
  error->other_csn = obstacle_.other_csn;
  if (has_report_) describe_locks(error);
}

}  // namespace hf::capi
