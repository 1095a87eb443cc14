// SPDX-License-Identifier: Apache-2.0
// Dumps as bytes with lengths, for rows that are no text and for speed. Integers are little endian.
//
//   "HFDUMP1\n"
//   'T'  u32 size of the name                                        name
//   'R'  u32 size of the key   u32 size of the value  u64 expires_ms  key  value
//   'C'  u32 size of the key   i64 counter                           key
//   'E'  u64 tables            u64 rows                               and nothing behind it
#include <endian.h>

#include <cstring>

#include "dump_forms.h"
#include "failure.h"
#include "holdfast/holdfast.h"
#include "output.h"

namespace tool {
namespace {

constexpr std::string_view kMagic = "HFDUMP1\n";

void append_u32(std::string& bytes, std::uint64_t value) {
  const std::uint32_t little = htole32(static_cast<std::uint32_t>(value));
  bytes.append(reinterpret_cast<const char*>(&little), sizeof little);
}

void append_u64(std::string& bytes, std::uint64_t value) {
  const std::uint64_t little = htole64(value);
  bytes.append(reinterpret_cast<const char*>(&little), sizeof little);
}

class RawWriter : public DumpWriter {
 public:
  RawWriter() { out().write(kMagic); }

  void begin_table(const std::string& name) override {
    ++tables_;
    std::string bytes = "T";
    append_u32(bytes, name.size());
    out().write(bytes + name);
  }

  void row(const DumpRow& row) override {
    ++rows_;
    std::string bytes = row.counter ? "C" : "R";
    append_u32(bytes, row.key.size());
    if (row.counter) {
      append_u64(bytes, static_cast<std::uint64_t>(*row.counter));
    } else {
      append_u32(bytes, row.value.size());
      append_u64(bytes, row.expires_ms);
    }
    out().write(bytes);
    out().write(row.key);
    out().write(row.value);
  }

  void end() override {
    std::string bytes = "E";
    append_u64(bytes, tables_);
    append_u64(bytes, rows_);
    out().write(bytes);
  }

 private:
  std::uint64_t tables_ = 0;
  std::uint64_t rows_ = 0;
};

class RawReader : public DumpReader {
 public:
  RawReader(Input& input, const std::string& table_default) : input_(input), table_default_(table_default) {
    char magic[kMagic.size()];
    (void)input_.read_exactly(magic, sizeof magic);  // seen before
  }

  // Records carry no marks to find the next one by: what is wrong ends it.
  Item next(DumpRow& row, std::string&) override {
    if (ended_) return Item::kEnd;
    ++records_;
    char kind = 0;
    read(&kind, 1);
    row = {};
    switch (kind) {
      case 'T':
        table_ = read_bytes(read_u32(), HF_TABLE_NAME_SIZE_MAX, "name");
        row.table = table_;
        ++tables_;
        return Item::kTable;
      case 'R':
        read_row(row);
        break;
      case 'C': {
        const std::uint32_t key_size = read_u32();
        row.counter = static_cast<std::int64_t>(read_u64());
        row.key = read_bytes(key_size, HF_KEY_SIZE_MAX, "key");
        break;
      }
      case 'E':
        read_end();
        return Item::kEnd;
      default:
        damaged("no record begins here");
    }
    row.table = table_.empty() ? table_default_ : table_;
    if (row.table.empty()) damaged("a row before the name of its table");
    ++rows_;
    return Item::kRow;
  }

  std::string place() const override { return input_.name() + ": record " + std::to_string(records_); }

 private:
  [[noreturn]] void damaged(const std::string& what) const {
    throw Failure(kDamaged, place() + ", before byte " + std::to_string(input_.position()) + ": " + what);
  }

  void read(void* data, std::size_t size) {
    if (!input_.read_exactly(data, size)) damaged("the dump is cut off");
  }
  std::uint32_t read_u32() {
    std::uint32_t value = 0;
    read(&value, sizeof value);
    return le32toh(value);
  }
  std::uint64_t read_u64() {
    std::uint64_t value = 0;
    read(&value, sizeof value);
    return le64toh(value);
  }
  std::string read_bytes(std::uint32_t size, std::uint32_t size_max, const char* what) {
    if (size > size_max) damaged(std::string("a ") + what + " of " + std::to_string(size) + " bytes");
    std::string bytes(size, '\0');
    read(bytes.data(), size);
    return bytes;
  }

  void read_row(DumpRow& row) {
    const std::uint32_t key_size = read_u32();
    const std::uint32_t value_size = read_u32();
    row.expires_ms = read_u64();
    row.key = read_bytes(key_size, HF_KEY_SIZE_MAX, "key");
    row.value = read_bytes(value_size, HF_VALUE_SIZE_MAX, "value");
  }

  void read_end() {
    const std::uint64_t tables = read_u64();
    const std::uint64_t rows = read_u64();
    if (tables != tables_ || rows != rows_) damaged("the end counts other rows than there were");
    if (!input_.peek(1).empty()) damaged("something follows the end");
    ended_ = true;
  }

  Input& input_;
  const std::string table_default_;
  std::string table_;
  std::uint64_t records_ = 0;
  std::uint64_t tables_ = 0;
  std::uint64_t rows_ = 0;
  bool ended_ = false;
};

}  // namespace

bool begins_as_raw(Input& input) { return input.peek(kMagic.size()) == kMagic; }

std::unique_ptr<DumpWriter> make_raw_writer() { return std::make_unique<RawWriter>(); }

std::unique_ptr<DumpReader> make_raw_reader(Input& input, const std::string& table_default) {
  return std::make_unique<RawReader>(input, table_default);
}

}  // namespace tool
