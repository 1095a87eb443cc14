// SPDX-License-Identifier: Apache-2.0
// Dumps as JSON lines, and as bytes: the two forms behind dump_format.h.
#pragma once

#include "dump_format.h"

namespace tool {

std::unique_ptr<DumpWriter> make_json_writer();
std::unique_ptr<DumpReader> make_json_reader(Input& input, const std::string& table_default);
std::unique_ptr<DumpWriter> make_raw_writer();
std::unique_ptr<DumpReader> make_raw_reader(Input& input, const std::string& table_default);
bool begins_as_raw(Input& input);

}  // namespace tool
