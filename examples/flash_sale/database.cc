// SPDX-License-Identifier: Apache-2.0
#include "database.h"

#include <unistd.h>

#include <cstdio>

namespace flash_sale {

void die(const std::string& what) {
  std::fprintf(stderr, "flash_sale: %s\n", what.c_str());
  // Not exit(): other threads of this process may be in the middle of a transaction.
  _exit(2);
}

Database::Database(const std::string& path, std::uint32_t flags, const std::string& label) {
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.flags = flags;
  options.label = label.c_str();
  hf_error error = HF_ERROR_INIT;
  const int code = hf_open(path.c_str(), &options, &db_, &error);
  if (code != HF_OK) die("cannot open " + path + ": " + hf_code_name(code) + ": " + error.message);
}

Database::~Database() {
  const int code = hf_close(&db_);
  if (code != HF_OK) die(std::string("cannot close the database: ") + hf_code_name(code));
}

hf_table* Database::create_table(const char* name) {
  hf_table* table = nullptr;
  const int code = hf_table_create(db_, name, &table);
  if (code != HF_OK) die(std::string("cannot make table ") + name + ": " + hf_code_name(code));
  return table;
}

hf_table* Database::open_table(const char* name) {
  hf_table* table = nullptr;
  const int code = hf_table_open(db_, name, &table);
  if (code != HF_OK) die(std::string("cannot open table ") + name + ": " + hf_code_name(code));
  return table;
}

hf_stats Database::stats() {
  hf_stats stats{};
  stats.size = sizeof stats;
  const int code = hf_stat(db_, &stats);
  if (code != HF_OK) die(std::string("cannot read the figures: ") + hf_code_name(code));
  return stats;
}

}  // namespace flash_sale
