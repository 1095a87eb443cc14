// SPDX-License-Identifier: Apache-2.0
// get, put, delete.
#include <memory>
#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "database.h"
#include "files.h"
#include "text_table.h"
#include "units.h"

namespace tool {
namespace {

// --- get ----------------------------------------------------------------------------------------------------------

struct GetOptions {
  Common common;
  std::string table;
  std::vector<std::string> keys;
  Encoding encoding = Encoding::kText;
  bool version = false;
  bool meta = false;
};

void print_meta(const ShownRow& row, Encoding encoding) {
  TextTable text({{""}, {""}});
  text.add({"key", encode(row.key, encoding == Encoding::kRaw ? Encoding::kText : encoding)});
  text.add({"kind", row.counter ? "counter" : "row"});
  text.add({"version", std::to_string(row.version)});
  text.add({"expires", row.expires_ms == 0 ? "never" : format_time(row.expires_ms)});
  text.add({"size", std::to_string(row.value.size())});
  out().write(text.text(false));
}

void print_got(const GetOptions& options, const ShownRow& row) {
  if (options.common.json) {
    Json object = row_json(row, options.encoding);
    if (options.meta) object["size"] = row.value.size();
    out().json(object);
  } else if (options.meta) {
    print_meta(row, options.encoding);
  } else if (options.encoding == Encoding::kRaw && !options.version) {
    out().write(row.value);
  } else {
    std::string line;
    if (options.keys.size() > 1) line = encode(row.key, options.encoding) + '\t';
    out().line(line + (options.version ? std::to_string(row.version) : value_text(row, options.encoding)));
  }
}

int run_get(const GetOptions& options) {
  std::vector<std::string> keys;
  for (const std::string& key : options.keys) keys.push_back(decode(key, options.encoding, "the key"));
  holdfast::Database database = open_database(options.common, "get", OpenMode::kGuest);
  const holdfast::Table table = open_table(database, options.table);
  int exit_code = kDone;
  {
    holdfast::Transaction txn = must(database.begin({.read_only = true}));
    for (const std::string& key : keys) {
      const auto row = must(txn.find(table, key));
      if (row) {
        print_got(options, show_row(txn, table, key, *row));
        continue;
      }
      exit_code = kNothing;
      say("no row '" + encode(key, options.encoding == Encoding::kRaw ? Encoding::kText : options.encoding) +
          "' in table '" + escape(options.table) + "'");
    }
  }
  close_database(database);
  return exit_code;
}

// --- put ----------------------------------------------------------------------------------------------------------

struct PutOptions {
  Common common;
  std::string table;
  std::string key;
  std::optional<std::string> value;
  std::string file;
  Encoding encoding = Encoding::kText;
  std::uint32_t durability = HF_DURABLE;
  std::uint64_t ttl_ms = 0;
  bool insert = false;
  bool update = false;
  std::optional<std::uint64_t> if_version;
  bool counter = false;
  bool add = false;
};

std::string strip(std::string text) {
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; });
  return text;
}

// From a file or stdin it is bytes as they are, unless they are encoded; then line breaks do not count.
std::string value_of(const PutOptions& options) {
  const std::string from = !options.file.empty() ? options.file : options.value == "-" ? "-" : "";
  if (from.empty()) {
    if (!options.value) fail_usage("a VALUE is missing ('-': from stdin), or --file");
    return options.counter || options.add ? *options.value : decode(*options.value, options.encoding, "the value");
  }
  Input input(from);
  std::string bytes;
  const std::size_t size_max = options.encoding == Encoding::kText ? HF_VALUE_SIZE_MAX : 4 * HF_VALUE_SIZE_MAX;
  if (!input.read_rest(bytes, size_max)) {
    fail_usage("a value has at most " + std::to_string(HF_VALUE_SIZE_MAX) + " bytes; " + input.name() + " has more");
  }
  const bool is_coded = options.encoding == Encoding::kHex || options.encoding == Encoding::kBase64;
  if (options.counter || options.add) return strip(bytes);
  return is_coded ? decode(strip(bytes), options.encoding, "the value") : bytes;
}

std::int64_t number_of(const std::string& text) {
  std::size_t end = 0;
  long long number = 0;
  try {
    number = std::stoll(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  if (end == 0 || end != text.size()) fail_usage("'" + escape(text) + "' is not a number of 64 bits");
  return number;
}

// As one operation and not a transaction that reads: adds to a busy counter never conflict.
int add_to_counter(const PutOptions& options, holdfast::Database& database, holdfast::Table table,
                   const std::string& key, std::int64_t number) {
  holdfast::Operations operations;
  operations.add(table, key, number);
  holdfast::transact_report report;
  const auto answers = must(database.execute(operations, patience(options.common, options.durability), &report));
  close_database(database);
  const std::int64_t sum = answers.front().counter;
  if (options.common.json) {
    Json object;
    object["csn"] = report.csn;
    object["counter"] = sum;
    out().json(object);
  } else {
    out().line(std::to_string(sum));
  }
  return kDone;
}

int run_put(const PutOptions& options) {
  const std::string key = decode(options.key, options.encoding, "the key");
  const std::string value = value_of(options);
  const bool is_number = options.counter || options.add;
  const std::int64_t number = is_number ? number_of(value) : 0;
  const holdfast::milliseconds ttl(static_cast<std::int64_t>(options.ttl_ms));
  holdfast::Database database = open_database(options.common, "put", OpenMode::kGuest);
  const holdfast::Table table = open_table(database, options.table);
  if (options.add) return add_to_counter(options, database, table, key, number);
  const auto report = run_transaction(database, patience(options.common, options.durability), "",
                                      [&](holdfast::Transaction& txn) -> holdfast::status {
                                        if (options.counter) return txn.counter_set(table, key, number);
                                        if (options.insert) return txn.insert(table, key, value, ttl);
                                        if (options.update) return txn.update(table, key, value, ttl);
                                        if (options.if_version)
                                          return txn.put_if_version(table, key, value, *options.if_version, ttl);
                                        return txn.put(table, key, value, ttl);
                                      });
  close_database(database);
  if (options.common.json) {
    Json object;
    object["csn"] = report.csn;
    if (options.counter) object["counter"] = number;
    out().json(object);
  }
  return kDone;
}

// --- delete -------------------------------------------------------------------------------------------------------

struct DeleteOptions {
  Common common;
  std::string table;
  std::vector<std::string> keys;
  Encoding encoding = Encoding::kText;
  std::uint32_t durability = HF_DURABLE;
  bool if_exists = false;
};

int run_delete(const DeleteOptions& options) {
  std::vector<std::string> keys;
  for (const std::string& key : options.keys) keys.push_back(decode(key, options.encoding, "the key"));
  holdfast::Database database = open_database(options.common, "delete", OpenMode::kGuest);
  const holdfast::Table table = open_table(database, options.table);
  std::uint64_t deleted = 0;
  const auto report = run_transaction(
      database, patience(options.common, options.durability), "", [&](holdfast::Transaction& txn) -> holdfast::status {
        deleted = 0;
        for (const std::string& key : keys) {
          const auto removed = txn.remove(table, key);
          if (removed) {
            ++deleted;
          } else if (removed.code() != HF_NOT_FOUND) {
            return removed;
          } else if (!options.if_exists) {
            return holdfast::error(HF_NOT_FOUND, "no row '" + encode(key, options.encoding) + "' in table '" +
                                                     escape(options.table) + "'; nothing was deleted");
          }
        }
        return {};
      });
  close_database(database);
  if (options.common.json) {
    Json object;
    object["csn"] = report.csn;
    object["deleted"] = deleted;
    out().json(object);
  }
  return kDone;
}

void add_get(Commands& commands) {
  auto options = std::make_shared<GetOptions>();
  CLI::App& app = commands.add({"get", kRowGroup, "Print rows",
                                "  holdfast get shop stock pear\n"
                                "  holdfast get shop stock pear apple --json\n"
                                "  holdfast get shop pictures --raw 0001.jpg > 0001.jpg\n"
                                "  holdfast get shop orders --hex 00000007 --meta"},
                               [options] { return run_get(*options); });
  add_common(app, options->common);
  app.add_option("TABLE", options->table, "Its name")->required();
  app.add_option("KEY", options->keys, "One or more; behind -- when it begins with a dash")->required();
  add_encoding(app, options->encoding, /*with_raw=*/true);
  auto* version = app.add_flag("--version", options->version, "Print the row's version instead, for put --if-version");
  app.add_flag("--meta", options->meta, "Print kind, version, expiry and size instead of the value")->excludes(version);
  add_open_options(app, options->common);
}

void add_put(Commands& commands) {
  auto options = std::make_shared<PutOptions>();
  CLI::App& app = commands.add({"put", kRowGroup, "Write a row",
                                "  holdfast put shop stock pear 12\n"
                                "  holdfast put shop sessions 4711 - --ttl 30m < session.json\n"
                                "  holdfast put shop pictures 0001.jpg --file 0001.jpg\n"
                                "  holdfast put shop prices pear 2.49 --if-version 118\n"
                                "  holdfast put shop likes pear --add 1"},
                               [options] { return run_put(*options); });
  add_common(app, options->common);
  app.add_option("TABLE", options->table, "Its name")->required();
  app.add_option("KEY", options->key, "Of the row; behind -- when it begins with a dash")->required();
  auto* value = app.add_option("VALUE", options->value, "Of the row; '-': read from stdin");
  app.add_option("--file", options->file, "Read the value from this file")->type_name("PATH")->excludes(value);
  add_encoding(app, options->encoding, /*with_raw=*/false);
  auto* ttl = add_duration(app, "--ttl", options->ttl_ms, "The row vanishes after that time");
  auto* insert = app.add_flag("--insert", options->insert, "Only if there is no such row");
  auto* update = app.add_flag("--update", options->update, "Only if there is such a row")->excludes(insert);
  auto* if_version = app.add_option("--if-version", options->if_version, "Only if the row has this version; 0: absent")
                         ->check(CLI::NonNegativeNumber)
                         ->type_name("VERSION")
                         ->excludes(insert)
                         ->excludes(update);
  auto* counter = app.add_flag("--counter", options->counter, "Set a counter: VALUE is a number");
  auto* add =
      app.add_flag("--add", options->add, "Add VALUE to a counter, and print what it is then")->excludes(counter);
  for (auto* number : {counter, add}) {
    for (auto* other : {ttl, insert, update, if_version}) number->excludes(other);
  }
  add_durability(app, options->durability);
  add_open_options(app, options->common);
}

void add_delete(Commands& commands) {
  auto options = std::make_shared<DeleteOptions>();
  CLI::App& app = commands.add({"delete", kRowGroup, "Remove rows, all or none",
                                "  holdfast delete shop stock pear\n"
                                "  holdfast delete shop stock pear apple --if-exists"},
                               [options] { return run_delete(*options); });
  add_common(app, options->common);
  app.add_option("TABLE", options->table, "Its name")->required();
  app.add_option("KEY", options->keys, "One or more; behind -- when it begins with a dash")->required();
  add_encoding(app, options->encoding, /*with_raw=*/false);
  app.add_flag("--if-exists", options->if_exists, "Do not mind rows that are not there");
  add_durability(app, options->durability);
  add_open_options(app, options->common);
}

}  // namespace

void add_row_commands(Commands& commands) {
  add_get(commands);
  add_put(commands);
  add_delete(commands);
}

}  // namespace tool
