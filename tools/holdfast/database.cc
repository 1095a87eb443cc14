// SPDX-License-Identifier: Apache-2.0
#include "database.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "units.h"

namespace tool {
namespace {

// From any thread of the engine; `context` is null for those who want warnings only.
void print_message(int level, const char* text, void* context) {
  if (level >= HF_MESSAGE_WARNING || context != nullptr) say(text);
}

constexpr std::uint64_t at_least_one(std::uint64_t ms) { return std::max<std::uint64_t>(ms, 1); }

}  // namespace

holdfast::Database open_database(const Common& common, const std::string& command, OpenMode mode) {
  static bool verbose = true;
  const std::string label = "holdfast " + command;
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  if (mode != OpenMode::kMaker) options.flags |= HF_OPEN_NO_CREATE;
  if (mode == OpenMode::kGuest) options.flags |= HF_OPEN_NO_THREAD;
  options.label = label.c_str();
  options.memory_directory = common.memory_directory.empty() ? nullptr : common.memory_directory.c_str();
  options.map_size = common.map_size;
  options.open_timeout_ms = common.timeout_ms;
  options.lock_timeout_ms = common.timeout_ms;
  // Whoever looks at a shop must not be the one that lets its kept log go.
  if (mode != OpenMode::kMaker) options.log_keep_bytes = UINT64_MAX;
  options.on_message = print_message;
  options.message_context = common.verbose ? &verbose : nullptr;
  hf_error info = HF_ERROR_INIT;
  hf_db* db = nullptr;
  if (const int code = hf_open(common.directory.c_str(), &options, &db, &info); code != HF_OK) {
    fail("cannot open " + common.directory, to_error(code, info));
  }
  holdfast::Database database(db);
  check_interrupted();
  return database;
}

void close_database(holdfast::Database& database) { must(database.close(), "closing the database"); }

holdfast::Table open_table(holdfast::Database& database, const std::string& name) {
  return must(database.open_table(name));
}

holdfast::transact_options patience(const Common& common, std::uint32_t durability) {
  holdfast::transact_options options;
  options.txn.durability = static_cast<holdfast::durability>(durability);
  if (common.timeout_ms != 0) {
    const auto ms = static_cast<std::int64_t>(at_least_one(common.timeout_ms));
    options.total_timeout = holdfast::milliseconds(ms);
    options.txn.lock_timeout = holdfast::milliseconds(ms);
  }
  return options;
}

ShownRow show_row(holdfast::Transaction& txn, holdfast::Table table, std::string_view key, const holdfast::row& row) {
  ShownRow shown{key, row.value, row.version, row.expires_ms, std::nullopt};
  if (row.value.size() != sizeof(std::int64_t)) return shown;
  const auto counter = txn.counter_get(table, key);
  if (counter) {
    shown.counter = *counter;
  } else if (!counter.error().is(HF_WRONG_TYPE)) {
    fail("", counter.error());
  }
  return shown;
}

std::string value_text(const ShownRow& row, Encoding encoding) {
  return row.counter ? std::to_string(*row.counter) : encode(row.value, encoding);
}

Json row_json(const ShownRow& row, Encoding encoding) {
  Json object;
  set_bytes(object, "key", row.key, encoding);
  if (row.counter) {
    object["counter"] = *row.counter;
  } else {
    set_bytes(object, "value", row.value, encoding);
  }
  object["version"] = row.version;
  if (row.expires_ms != 0) object["expires_ms"] = row.expires_ms;
  return object;
}

}  // namespace tool
