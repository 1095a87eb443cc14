// SPDX-License-Identifier: Apache-2.0
// Dumps as JSON lines.
#include <nlohmann/json.hpp>

#include "dump_forms.h"
#include "encoding.h"
#include "failure.h"
#include "holdfast/holdfast.h"

namespace tool {
namespace {

// The longest line that a row of legal size can have: each byte of key and value as \uXXXX, and room for the rest.
constexpr std::size_t kLineSizeMax = 6 * (HF_VALUE_SIZE_MAX + HF_KEY_SIZE_MAX + HF_TABLE_NAME_SIZE_MAX) + 4096;

class JsonWriter : public DumpWriter {
 public:
  void begin_table(const std::string& name) override {
    begin();
    ++tables_;
    Json object;
    object["table"] = name;
    out().json(object);
  }

  void row(const DumpRow& row) override {
    ++rows_;
    Json object;
    object["table"] = row.table;
    set_bytes(object, "key", row.key);
    if (row.counter) {
      object["counter"] = *row.counter;
    } else {
      set_bytes(object, "value", row.value);
    }
    if (row.expires_ms != 0) object["expires_ms"] = row.expires_ms;
    out().json(object);
  }

  void end() override {
    begin();
    Json object;
    object["end"]["tables"] = tables_;
    object["end"]["rows"] = rows_;
    out().json(object);
  }

 private:
  void begin() {
    if (begun_) return;
    begun_ = true;
    Json object;
    object["holdfast"] = "dump";
    object["format"] = 1;
    out().json(object);
  }

  bool begun_ = false;
  std::uint64_t tables_ = 0;
  std::uint64_t rows_ = 0;
};

// What is wrong with a line.
struct BadLine {
  std::string text;
};

const std::string& string_of(const Json& object, const std::string& name) {
  const Json& value = object.at(name);
  if (!value.is_string()) throw BadLine{"\"" + name + "\" is not a string"};
  return value.get_ref<const std::string&>();
}

// `name`, `name`_base64 or `name`_hex; false when there is none of them.
bool get_bytes(const Json& object, const std::string& name, std::string* bytes) {
  int found = 0;
  if (object.contains(name)) {
    *bytes = string_of(object, name);
    ++found;
  }
  if (const std::string coded = name + "_base64"; object.contains(coded)) {
    if (!from_base64(string_of(object, coded), bytes)) throw BadLine{"\"" + coded + "\" is not base64"};
    ++found;
  }
  if (const std::string coded = name + "_hex"; object.contains(coded)) {
    if (!from_hex(string_of(object, coded), bytes)) throw BadLine{"\"" + coded + "\" is not hexadecimal"};
    ++found;
  }
  if (found > 1) throw BadLine{"more than one \"" + name + "\""};
  return found == 1;
}

class JsonReader : public DumpReader {
 public:
  JsonReader(Input& input, const std::string& table_default) : input_(input), table_default_(table_default) {}

  Item next(DumpRow& row, std::string& error) override {
    for (;;) {
      if (!input_.read_line(line_, kLineSizeMax)) return end_of_input();
      ++line_number_;
      if (line_.find_first_not_of(" \t\r") == std::string::npos) continue;
      try {
        const std::optional<Item> item = read(Json::parse(line_), row);
        if (item) return *item;
      } catch (const Json::exception&) {
        error = "not JSON";
        return Item::kBad;
      } catch (const BadLine& bad) {
        error = bad.text;
        return Item::kBad;
      }
    }
  }

  std::string place() const override { return input_.name() + ":" + std::to_string(line_number_); }

 private:
  Item end_of_input() {
    if (has_header_ && !ended_) {
      throw Failure(kDamaged, input_.name() + ": the dump is cut off: its last line is missing");
    }
    return Item::kEnd;
  }

  // Nothing: a line about the dump itself.
  std::optional<Item> read(const Json& object, DumpRow& row) {
    if (!object.is_object()) throw BadLine{"not a JSON object"};
    if (object.contains("holdfast")) return read_header(object);
    if (object.contains("end")) {
      ended_ = true;
      return std::nullopt;
    }
    check_names(object);
    row = {};
    if (object.contains("table")) {
      row.table = string_of(object, "table");
    } else {
      row.table = table_default_;
    }
    if (row.table.empty()) throw BadLine{"no \"table\", and no --table was given"};
    if (!get_bytes(object, "key", &row.key)) {
      if (object.size() == 1 && object.contains("table")) return Item::kTable;
      throw BadLine{"no \"key\""};
    }
    read_value(object, row);
    return Item::kRow;
  }

  std::optional<Item> read_header(const Json& object) {
    if (object.at("holdfast") != "dump") throw BadLine{"not a dump"};
    if (object.value("format", Json()) != 1) {
      throw Failure(kDamaged, place() + ": a dump of another format than this version reads");
    }
    has_header_ = true;
    ended_ = false;
    return std::nullopt;
  }

  static void check_names(const Json& object) {
    for (const auto& [name, value] : object.items()) {
      // "version" is what scan prints besides; a loaded row gets a version of its own.
      const bool is_known = name == "table" || name == "key" || name == "key_base64" || name == "key_hex" ||
                            name == "value" || name == "value_base64" || name == "value_hex" || name == "counter" ||
                            name == "expires_ms" || name == "version";
      if (!is_known) throw BadLine{"unknown name \"" + escape(name) + "\""};
    }
  }

  static void read_value(const Json& object, DumpRow& row) {
    const bool has_value = get_bytes(object, "value", &row.value);
    if (object.contains("counter")) {
      const Json& counter = object.at("counter");
      const bool is_too_large = counter.is_number_unsigned() && counter.get<std::uint64_t>() > INT64_MAX;
      if (!counter.is_number_integer() || is_too_large) throw BadLine{"\"counter\" is not an integer of 64 bits"};
      row.counter = counter.get<std::int64_t>();
    }
    if (has_value == row.counter.has_value()) throw BadLine{has_value ? "both value and counter" : "no \"value\""};
    if (!object.contains("expires_ms")) return;
    const Json& expires = object.at("expires_ms");
    if (!expires.is_number_unsigned()) throw BadLine{"\"expires_ms\" is not a time in milliseconds"};
    row.expires_ms = expires.get<std::uint64_t>();
    if (row.counter && row.expires_ms != 0) throw BadLine{"a counter does not expire"};
  }

  Input& input_;
  const std::string table_default_;
  std::string line_;
  std::uint64_t line_number_ = 0;
  bool has_header_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<DumpWriter> make_json_writer() { return std::make_unique<JsonWriter>(); }

std::unique_ptr<DumpReader> make_json_reader(Input& input, const std::string& table_default) {
  return std::make_unique<JsonReader>(input, table_default);
}

}  // namespace tool
