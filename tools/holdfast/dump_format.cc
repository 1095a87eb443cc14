// SPDX-License-Identifier: Apache-2.0
#include "dump_format.h"

#include "dump_forms.h"

namespace tool {

std::unique_ptr<DumpWriter> DumpWriter::make(DumpFormat format) {
  return format == DumpFormat::kRaw ? make_raw_writer() : make_json_writer();
}

std::unique_ptr<DumpReader> DumpReader::make(Input& input, const std::string& table_default) {
  return begins_as_raw(input) ? make_raw_reader(input, table_default) : make_json_reader(input, table_default);
}

}  // namespace tool
