// SPDX-License-Identifier: Apache-2.0
// Goal: a C++20 program outside the tree builds against the installed holdfast.hpp and runs. Method: write, read,
// transact, walk, fail on purpose; check every answer. Argument: a directory that does not exist yet.
#include <holdfast/holdfast.hpp>

#include <cstdio>
#include <string>

namespace {

int failures = 0;

void expect(bool is_so, const char* what) {
  if (is_so) return;
  ++failures;
  std::fprintf(stderr, "not so: %s\n", what);
}

void run(const char* directory) {
  auto db = holdfast::Database::open(directory);
  expect(db.has_value(), "the database opens");
  if (!db) return;
  auto items = db->ensure_table("items");
  expect(items.has_value(), "the table is made");
  if (!items) return;

  auto written = db->transact([&](holdfast::Transaction& txn) -> holdfast::status {
    for (int i = 0; i < 10; ++i) {
      if (auto put = txn.put(*items, "key" + std::to_string(i), "value" + std::to_string(i)); !put) return put;
    }
    return {};
  });
  expect(static_cast<bool>(written), "ten rows are committed");

  auto sum = db->transact([&](holdfast::Transaction& txn) -> holdfast::result<int> {
    int rows = 0;
    for (auto [key, row] : txn.range(*items)) rows += key.size() == 4 && row.value.size() == 6 ? 1 : 0;
    return rows;
  });
  expect(sum.has_value() && *sum == 10, "a walk finds them");

  auto missing = db->transact([&](holdfast::Transaction& txn) -> holdfast::result<bool> {
    auto row = txn.find(*items, "nothing");
    if (!row) return row.error();
    return row->has_value();
  });
  expect(missing.has_value() && !*missing, "an absent row is absent");
  expect(!db->open_table("no such table").has_value(), "an absent table is an error");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  run(argv[1]);
  if (failures == 0) std::puts("cpp20 consumer: every answer as expected");
  return failures == 0 ? 0 : 1;
}
