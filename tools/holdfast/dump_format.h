// SPDX-License-Identifier: Apache-2.0
// What `dump` writes and `load` reads: docs/formats.md, section "Dump", describes both forms.
//
//   JSON lines   {"holdfast":"dump","format":1}           first line; may be missing in files made by others
//                {"table":"stock"}                        a table begins; made when it is absent
//                {"table":"stock","key":"pear","value":"12"}
//                {"table":"likes","key":"pear","counter":7}
//                {"end":{"tables":2,"rows":2}}            last line; must be there when the first line was
//   raw          the same as bytes with lengths
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "files.h"

namespace tool {

struct DumpRow {
  std::string table;
  std::string key;
  std::string value;
  std::optional<std::int64_t> counter;  // then `value` is empty
  std::uint64_t expires_ms = 0;         // wall clock; 0: never
};

enum class DumpFormat { kJson, kRaw };

// Prints to out().
class DumpWriter {
 public:
  virtual ~DumpWriter() = default;
  virtual void begin_table(const std::string& name) = 0;
  virtual void row(const DumpRow& row) = 0;
  virtual void end() = 0;
  static std::unique_ptr<DumpWriter> make(DumpFormat format);
};

class DumpReader {
 public:
  enum class Item { kTable, kRow, kBad, kEnd };
  virtual ~DumpReader() = default;
  // kTable: row.table is set. kBad: `error` says what is wrong with this line, and the next one may be good again.
  // Damage that one cannot read over ends the command.
  virtual Item next(DumpRow& row, std::string& error) = 0;
  // "file:line" or "file: record N" of what was read last.
  virtual std::string place() const = 0;
  // Looks at the input to tell which form it has. `table_default`: of rows that name none.
  static std::unique_ptr<DumpReader> make(Input& input, const std::string& table_default);
};

}  // namespace tool
