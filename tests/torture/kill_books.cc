// SPDX-License-Identifier: Apache-2.0
// Reading everything, and replaying the operations that are there.
#include <algorithm>
#include <functional>

#include "torture/kill_audit.h"

namespace torture::kill {
namespace {

using holdfast::Table;
using holdfast::Transaction;

std::string hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text += kDigits[static_cast<unsigned char>(byte) >> 4];
    text += kDigits[static_cast<unsigned char>(byte) & 15];
  }
  return text;
}

using Visit = std::function<std::string(std::string_view key, const holdfast::row& row)>;

std::string each_row(Transaction& txn, Table table, const char* name, const Visit& visit) {
  auto range = txn.range(table);
  for (const auto& [key, row] : range) {
    if (std::string wrong = visit(key, row); !wrong.empty()) {
      return std::string(name) + ", row " + hex(key) + ": " + wrong;
    }
  }
  if (range.status() || range.status().error().is(HF_NO_TABLE)) return "";  // dropped to be loaded anew
  return std::string(name) + ": " + text_of(range.status().error());
}

std::string read_rows(Transaction& txn, Table table, const char* name, Rows* rows) {
  return each_row(txn, table, name, [rows](std::string_view key, const holdfast::row& row) -> std::string {
    return rows->emplace(key, row.value).second ? "" : "twice";
  });
}

std::string read_counters(Transaction& txn, Table table, const char* name, Counters* counters) {
  return each_row(txn, table, name, [&](std::string_view key, const holdfast::row&) -> std::string {
    const auto value = txn.counter_get(table, key);
    if (!value) return text_of(value.error());
    counters->emplace(static_cast<std::uint32_t>(from_be(key)), *value);
    return "";
  });
}

std::string read_operations(Transaction& txn, Shop& shop, std::vector<Done>* history) {
  return each_row(txn, shop.history, "history", [history](std::string_view key, const holdfast::row& row) {
    Done done{static_cast<std::uint32_t>(from_be(key.substr(0, 2))), from_be(key.substr(2)), row.version, {}};
    if (!read_history(row.value, done.lane, done.number, &done.entry)) return std::string("damaged");
    history->push_back(done);
    return std::string();
  });
}

std::string read_blobs(Transaction& txn, Shop& shop, std::map<std::string, std::uint64_t>* blobs) {
  return each_row(txn, shop.blobs, "blobs", [blobs](std::string_view key, const holdfast::row& row) {
    const std::uint64_t number = row.value.size() < 10 ? 0 : from_be(row.value.substr(2, 8));
    if (row.value != blob_value(static_cast<std::uint32_t>(from_be(key)), number)) return std::string("damaged");
    blobs->emplace(key, number);
    return std::string();
  });
}

std::string read_load(Transaction& txn, Shop& shop, std::uint64_t* rows) {
  const std::string wrong = each_row(txn, shop.load, "load", [rows](std::string_view key, const holdfast::row& row) {
    const bool right = from_be(key) == *rows && row.value == load_value(*rows);
    ++*rows;
    return std::string(right ? "" : "not what was loaded");
  });
  if (!wrong.empty() || *rows == 0 || *rows == kLoadRows) return wrong;
  return "half a bulk load: " + std::to_string(*rows) + " rows";
}

// Carries the operations out in the order of their commits.
class Replay {
 public:
  Replay(std::uint64_t seed, const Books& books) : seed_(seed), found_(books) {
    for (std::uint32_t account = 0; account < kAccounts; ++account) {
      expected_.accounts[key_of(account)] = be(kBalanceFirst, 8);
    }
    for (std::uint32_t product = 0; product < kProducts; ++product) expected_.stock[product] = kStockFirst;
  }

  std::string run() {
    for (const Done& done : found_.history) {
      const Plan plan = plan_of(seed_, done.lane, done.number);
      const std::string wrong = plan.kind != done.entry.kind ? "another kind than planned" : carry_out(done, plan);
      if (!wrong.empty()) {
        return "commit " + std::to_string(done.csn) + " (lane " + std::to_string(done.lane) + ", operation " +
               std::to_string(done.number) + ", " + name_of(plan.kind) + "): " + wrong;
      }
    }
    return differences();
  }

 private:
  std::string carry_out(const Done& done, const Plan& plan) {
    const std::string own = history_key(done.lane, done.number);
    switch (plan.kind) {
      case Kind::kBasket:
        for (std::uint32_t i = 0; i < plan.lines_count; ++i) {
          std::int64_t& left = expected_.stock[plan.lines[i].product];
          if ((left -= plan.lines[i].quantity) < 0) return "sold what was not there";
        }
        expected_.orders[own] = order_value(plan);
        return "";
      case Kind::kRestock:
        expected_.stock[plan.what] += plan.amount;
        return "";
      case Kind::kCoupon:
        if (++expected_.issued[plan.what] > kCouponsEach) return "one coupon too many";
        return expected_.claims.emplace(key_of(plan.what, plan.other), own).second ? "" : "a second coupon for a buyer";
      case Kind::kTransfer:
        return transfer(plan);
      case Kind::kLike:
        ++expected_.likes[plan.what];
        return "";
      case Kind::kItem:
        return item(plan);
      case Kind::kPick:
        return pick(plan, done.entry.result);
      case Kind::kCensus: {
        const auto issued = expected_.issued.find(plan.what);
        const std::int64_t claims = issued == expected_.issued.end() ? 0 : issued->second;
        return static_cast<std::uint64_t>(claims) == done.entry.result
                   ? ""
                   : "counted " + std::to_string(done.entry.result) + " claims";
      }
      case Kind::kTill: {
        std::string& till = expected_.tills[key_of(plan.what)];
        till = be(till.empty() ? 1 : from_be(till) + 1, 8);
        return from_be(till) == done.entry.result ? "" : "wrote " + std::to_string(done.entry.result);
      }
      case Kind::kBlob:
        expected_.blobs[key_of(done.lane)] = done.number;
        return "";
      case Kind::kLoiter:
        return "";
      case Kind::kScan:
      case Kind::kNone:
        break;
    }
    return "writes nothing";
  }

  std::string transfer(const Plan& plan) {
    std::string& from = expected_.accounts[key_of(plan.what)];
    std::string& to = expected_.accounts[key_of(plan.other)];
    const std::int64_t left = static_cast<std::int64_t>(from_be(from)) - plan.amount;
    if (left < 0) return "gave what was not there";
    from = be(static_cast<std::uint64_t>(left), 8);
    to = be(from_be(to) + static_cast<std::uint64_t>(plan.amount), 8);
    return "";
  }

  std::string item(const Plan& plan) {
    const std::string key = key_of(plan.what);
    const auto there = expected_.items.find(key);
    if (there == expected_.items.end()) {
      expected_.items[key] = key_of(plan.other);
      expected_.by_colour[key_of(plan.other, plan.what)];
      return "";
    }
    expected_.by_colour.erase(there->second + key);
    if (plan.removes) {
      expected_.items.erase(there);
    } else {
      there->second = key_of(plan.other);
      expected_.by_colour[key_of(plan.other, plan.what)];
    }
    return "";
  }

  std::string pick(const Plan& plan, std::uint64_t picked) {
    const auto item = static_cast<std::uint32_t>(picked);
    const auto there = expected_.items.find(key_of(item));
    if (there == expected_.items.end() || there->second != key_of(plan.what)) return "took what was not there";
    expected_.items.erase(there);
    expected_.by_colour.erase(key_of(plan.what, item));
    return "";
  }

  template <typename Map>
  static std::string difference(const char* name, const Map& expected, const Map& found) {
    if (expected == found) return "";
    const auto [left, right] = std::mismatch(expected.begin(), expected.end(), found.begin(), found.end());
    std::string text = std::string(name) + " is not what the operations made of it: " + std::to_string(found.size()) +
                       " rows, " + std::to_string(expected.size()) + " expected";
    if (left != expected.end()) text += "; expected " + text_of(left->first) + " = " + text_of(left->second);
    if (right != found.end()) text += "; found " + text_of(right->first) + " = " + text_of(right->second);
    return text;
  }
  static std::string text_of(const std::string& bytes) { return hex(bytes); }
  template <typename Number>
  static std::string text_of(Number number) requires std::is_integral_v<Number> {
    return std::to_string(number);
  }

  std::string differences() const {
    std::string wrong = difference("stock", expected_.stock, found_.stock);
    if (wrong.empty()) wrong = difference("orders", expected_.orders, found_.orders);
    if (wrong.empty()) wrong = difference("issued", expected_.issued, found_.issued);
    if (wrong.empty()) wrong = difference("claims", expected_.claims, found_.claims);
    if (wrong.empty()) wrong = difference("accounts", expected_.accounts, found_.accounts);
    if (wrong.empty()) wrong = difference("likes", expected_.likes, found_.likes);
    if (wrong.empty()) wrong = difference("items", expected_.items, found_.items);
    if (wrong.empty()) wrong = difference("by_colour", expected_.by_colour, found_.by_colour);
    if (wrong.empty()) wrong = difference("tills", expected_.tills, found_.tills);
    return wrong.empty() ? difference("blobs", expected_.blobs, found_.blobs) : wrong;
  }

  const std::uint64_t seed_;
  const Books& found_;
  Books expected_;
};

}  // namespace

std::string read_books(Shop& shop, const holdfast::txn_options& options, Books* books) {
  holdfast::result<Transaction> txn = shop.database.begin(options);
  if (!txn) return "begin: " + text_of(txn.error());
  books->snapshot = txn->snapshot();
  std::string wrong = read_operations(*txn, shop, &books->history);
  if (wrong.empty()) wrong = read_counters(*txn, shop.stock, "stock", &books->stock);
  if (wrong.empty()) wrong = read_rows(*txn, shop.orders, "orders", &books->orders);
  if (wrong.empty()) wrong = read_counters(*txn, shop.issued, "issued", &books->issued);
  if (wrong.empty()) wrong = read_rows(*txn, shop.claims, "claims", &books->claims);
  if (wrong.empty()) wrong = read_rows(*txn, shop.accounts, "accounts", &books->accounts);
  if (wrong.empty()) wrong = read_counters(*txn, shop.likes, "likes", &books->likes);
  if (wrong.empty()) wrong = read_rows(*txn, shop.items, "items", &books->items);
  if (wrong.empty()) wrong = read_rows(*txn, shop.by_colour, "by_colour", &books->by_colour);
  if (wrong.empty()) wrong = read_rows(*txn, shop.tills, "tills", &books->tills);
  if (wrong.empty()) wrong = read_blobs(*txn, shop, &books->blobs);
  if (wrong.empty() && shop.load.c_table() != nullptr) wrong = read_load(*txn, shop, &books->load_rows);
  return wrong;
}

std::string replay(std::uint64_t seed, Books& books) {
  std::sort(books.history.begin(), books.history.end(),
            [](const Done& left, const Done& right) { return left.csn < right.csn; });
  const auto twice = std::adjacent_find(books.history.begin(), books.history.end(),
                                        [](const Done& left, const Done& right) { return left.csn == right.csn; });
  if (twice != books.history.end()) return "two operations are commit " + std::to_string(twice->csn);
  return Replay(seed, books).run();
}

}  // namespace torture::kill
