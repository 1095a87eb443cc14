// SPDX-License-Identifier: Apache-2.0
// log.
#include <endian.h>

#include <cstring>
#include <memory>

#include <nlohmann/json.hpp>

#include "commands.h"
#include "failure.h"
#include "holdfast/admin.h"
#include "signals.h"
#include "units.h"

namespace tool {
namespace {

struct LogOptions {
  Common common;
  std::uint64_t from = 0;
  std::uint64_t limit = 0;
  std::string table;
  bool follow = false;
  Encoding encoding = Encoding::kText;
};

constexpr std::uint64_t kFollowWaitMs = 200;  // between two looks at whether a signal asked to stop

class LogReader {
 public:
  LogReader(const std::string& directory, std::uint64_t from) {
    hf_error info = HF_ERROR_INIT;
    if (const int code = hf_log_open(directory.c_str(), from, &reader_, &info); code != HF_OK) {
      fail("cannot read the log of " + directory, to_error(code, info));
    }
  }
  ~LogReader() { hf_log_close(&reader_); }
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  // Null: the end, for now.
  const hf_log_record* next(std::uint64_t timeout_ms) {
    record_ = {};
    record_.size = sizeof record_;
    const int code = hf_log_next(reader_, timeout_ms, &record_);
    if (code == HF_NOT_FOUND) return nullptr;
    if (code == HF_OK) return &record_;
    fail("log", holdfast::detail::make_error(code, [&](hf_error* info) { return hf_log_error(reader_, info); }));
  }

 private:
  hf_log_reader* reader_ = nullptr;
  hf_log_record record_ = {};
};

const char* kind_text(const hf_log_operation& operation) {
  switch (operation.kind) {
    case HF_LOG_PUT:
      return operation.is_counter != 0 ? "counter" : "put";
    case HF_LOG_DELETE:
      return "delete";
    case HF_LOG_DROP_TABLE:
      return "drop-table";
    default:
      return "unknown";
  }
}

std::string table_text(const hf_log_operation& operation) {
  return *operation.table != '\0' ? operation.table : "#" + std::to_string(operation.table_id);
}

// Nothing of what is no counter's eight bytes.
std::optional<std::int64_t> counter_of(const hf_log_operation& operation) {
  if (operation.is_counter == 0 || operation.value.size != sizeof(std::uint64_t)) return std::nullopt;
  std::uint64_t little = 0;
  std::memcpy(&little, operation.value.data, sizeof little);
  return static_cast<std::int64_t>(le64toh(little));
}

Json operation_json(const LogOptions& options, const hf_log_operation& operation) {
  Json object;
  object["kind"] = kind_text(operation);
  object["table"] = table_text(operation);
  object["table_id"] = operation.table_id;
  if (operation.kind == HF_LOG_DROP_TABLE) return object;
  set_bytes(object, "key", holdfast::to_string_view(operation.key), options.encoding);
  if (operation.kind != HF_LOG_PUT) return object;
  if (const auto counter = counter_of(operation)) {
    object["counter"] = *counter;
  } else {
    set_bytes(object, "value", holdfast::to_string_view(operation.value), options.encoding);
  }
  if (operation.expires_ms != 0) object["expires_ms"] = operation.expires_ms;
  return object;
}

std::string operation_text(const LogOptions& options, const hf_log_operation& operation) {
  std::string text = std::string(kind_text(operation)) + '\t' + escape(table_text(operation)) + '\t' +
                     encode(holdfast::to_string_view(operation.key), options.encoding) + '\t';
  if (operation.kind != HF_LOG_PUT) return text;
  const auto counter = counter_of(operation);
  return text +
         (counter ? std::to_string(*counter) : encode(holdfast::to_string_view(operation.value), options.encoding));
}

// False: nothing of it is of the table that was asked for.
bool print_record(const LogOptions& options, const hf_log_record& record) {
  Json operations = Json::array();
  std::string text;
  const std::string head = std::to_string(record.csn) + '\t' + format_time(record.committed_at_ms) + '\t';
  bool any = options.table.empty();
  for (std::uint32_t i = 0; i < record.operation_count; ++i) {
    const hf_log_operation& operation = record.operations[i];
    if (!options.table.empty() && table_text(operation) != options.table) continue;
    any = true;
    if (options.common.json) {
      operations.push_back(operation_json(options, operation));
    } else {
      text += head + operation_text(options, operation) + '\n';
    }
  }
  if (!any) return false;
  if (options.common.json) {
    Json object;
    object["csn"] = record.csn;
    object["committed_at"] = format_time(record.committed_at_ms);
    object["committed_at_ms"] = record.committed_at_ms;
    object["file"] = record.file;
    object["offset"] = record.offset;
    object["bytes"] = record.bytes;
    object["operations"] = std::move(operations);
    out().json(object);
  } else {
    out().write(text);
  }
  return true;
}

int run_log(const LogOptions& options) {
  LogReader reader(options.common.directory, options.from);
  std::uint64_t printed = 0;
  while (options.limit == 0 || printed < options.limit) {
    if (options.follow && interrupted()) break;  // how one leaves
    check_interrupted();
    const hf_log_record* record = reader.next(0);
    if (record == nullptr) {
      if (!options.follow) break;
      out().flush();
      record = reader.next(kFollowWaitMs);
      if (record == nullptr) continue;
    }
    if (print_record(options, *record)) ++printed;
  }
  return kDone;
}

}  // namespace

void add_log_command(Commands& commands) {
  auto options = std::make_shared<LogOptions>();
  CLI::App& app = commands.add({"log", kWatchGroup, "Print the commits that the log still has",
                                "  holdfast log shop --from 4711 --limit 20\n"
                                "  holdfast log shop --follow --table orders --json"},
                               [options] { return run_log(*options); });
  add_common(app, options->common);
  app.add_option("--from", options->from, "The first commit; default: the oldest there is")
      ->check(CLI::NonNegativeNumber)
      ->type_name("CSN");
  app.add_option("--limit", options->limit, "At most so many commits")
      ->check(CLI::NonNegativeNumber)
      ->type_name("COMMITS");
  app.add_option("--table", options->table, "Only what concerns this table")->type_name("NAME");
  app.add_flag("-f,--follow", options->follow, "Wait for further commits");
  add_encoding(app, options->encoding, /*with_raw=*/false);
}

}  // namespace tool
