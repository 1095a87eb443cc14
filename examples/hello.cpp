// SPDX-License-Identifier: Apache-2.0
// Sells one pear: read, decide, write, as one durable transaction.
#include <holdfast/holdfast.hpp>
#include <iostream>
#include <string>

int main() {
  auto db = holdfast::Database::open("hello.db").value();
  auto stock = db.ensure_table("stock").value();
  auto left = db.transact([&](holdfast::Transaction& txn) -> holdfast::result<int> {
    auto row = txn.find(stock, "pear");
    if (!row) return row.error();
    const int pears = row->has_value() ? std::stoi(std::string((*row)->value)) : 10;
    if (pears == 0) return holdfast::error(1000, "sold out");
    if (auto put = txn.put(stock, "pear", std::to_string(pears - 1)); !put) return put.error();
    return pears - 1;
  });
  std::cout << (left ? std::to_string(*left) + " pears left" : left.error().message()) << '\n';
}
