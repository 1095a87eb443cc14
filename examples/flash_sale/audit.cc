// SPDX-License-Identifier: Apache-2.0
#include "audit.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <map>
#include <vector>

#include "die.h"
#include "rows.h"
#include "shop.h"

namespace flash_sale {
namespace {

// The whole database, in one consistent read.
struct Books {
  std::int64_t coupons_left = 0;
  std::map<std::uint32_t, std::uint32_t> claims;   // buyer -> serial
  std::map<std::uint32_t, std::uint32_t> serials;  // serial -> buyer
  std::map<std::uint32_t, std::int64_t> stock;
  std::map<std::uint32_t, std::int64_t> points;
  std::map<std::uint32_t, std::int64_t> tills;
  std::map<std::uint32_t, Order> orders;
  std::map<std::uint32_t, std::uint32_t> likes;
};

template <typename Value>
holdfast::status read_table(holdfast::Transaction& txn, holdfast::Table table, std::map<std::uint32_t, Value>* rows) {
  auto range = txn.range(table);
  for (const auto& [key, row] : range) {
    const auto value = value_of<Value>(row);
    if (!value) return value.error();
    if (key.size() != Key::kSize) return holdfast::error(HF_CORRUPT, "a key does not have its size");
    rows->emplace(Key::number(key), *value);
  }
  return range.status();
}

Books read_books(holdfast::Database& database) {
  const Shop shop = Shop::open(database);
  holdfast::Transaction txn = must(database.begin({.read_only = true}), "begin the audit");
  Books books;
  std::map<std::uint32_t, std::int64_t> coupons;
  must(read_table(txn, shop.coupons, &coupons), "read the coupons");
  must(read_table(txn, shop.claims, &books.claims), "read the claims");
  must(read_table(txn, shop.serials, &books.serials), "read the serials");
  must(read_table(txn, shop.stock, &books.stock), "read the stock");
  must(read_table(txn, shop.points, &books.points), "read the points");
  must(read_table(txn, shop.tills, &books.tills), "read the tills");
  must(read_table(txn, shop.orders, &books.orders), "read the orders");
  must(read_table(txn, shop.likes, &books.likes), "read the likes");
  if (coupons.size() != 1) die("there is not one row of coupons");
  books.coupons_left = coupons.begin()->second;
  return books;
}

class Auditor {
 public:
  Auditor(const Books& books, const Options& options, const Board& board, AuditResult* result)
      : books_(books), options_(options), board_(board), result_(*result) {}

  void check_all() {
    check_coupons();
    check_stock();
    check_points();
    check_orders();
    check_visits();
    const auto coupon_granted = [](const Visit& visit, std::uint32_t) { return visit.claim == Outcome::kYes; };
    const auto order_granted = [](const Visit& visit, std::uint32_t) { return visit.order == Outcome::kYes; };
    const auto like_granted = [](const Visit& visit, std::uint32_t picture) {
      return (visit.likes_yes.load() >> picture & 1) != 0;
    };
    check_answers("coupon", 1, coupon_granted, books_.claims);
    check_answers("order", 1, order_granted, books_.orders);
    check_answers("like", options_.likes, like_granted, books_.likes);
    result_.claims = books_.claims.size();
    result_.orders = books_.orders.size();
    result_.likes = books_.likes.size();
    const std::uint64_t likes = std::uint64_t{options_.buyers} * options_.likes;
    expect(books_.likes.size() == likes, "%zu likes of %llu", books_.likes.size(),
           static_cast<unsigned long long>(likes));
  }

 private:
  __attribute__((format(printf, 3, 4))) void expect(bool holds, const char* format, ...) {
    if (holds) return;
    if (result_.failures < AuditResult::kFailuresShownMax) {
      char* text = result_.failure_texts[result_.failures];
      va_list arguments;
      va_start(arguments, format);
      std::vsnprintf(text, sizeof result_.failure_texts[0], format, arguments);
      va_end(arguments);
    }
    ++result_.failures;
  }

  void check_coupons() {
    const auto claimed = static_cast<std::int64_t>(books_.claims.size());
    expect(claimed <= options_.coupons, "%lld buyers have a coupon, %u were offered", static_cast<long long>(claimed),
           options_.coupons);
    expect(books_.coupons_left + claimed == options_.coupons, "coupons: %lld left + %lld claimed is not %u",
           static_cast<long long>(books_.coupons_left), static_cast<long long>(claimed), options_.coupons);
    expect(books_.serials.size() == books_.claims.size(), "%zu coupon serials for %zu claims", books_.serials.size(),
           books_.claims.size());
    std::uint32_t serial_expected = 1;
    for (const auto& [serial, buyer] : books_.serials) {
      expect(serial == serial_expected++, "coupon serial %u is out of order", serial);
      const auto claim = books_.claims.find(buyer);
      expect(claim != books_.claims.end() && claim->second == serial, "coupon %u: buyer %u does not have it", serial,
             buyer);
    }
    for (const auto& [buyer, serial] : books_.claims) {
      const auto owner = books_.serials.find(serial);
      expect(owner != books_.serials.end() && owner->second == buyer, "buyer %u has coupon %u of somebody else", buyer,
             serial);
    }
  }

  void check_stock() {
    for (const auto& [buyer, order] : books_.orders) {
      for (std::uint32_t line = 0; line < std::min(order.count, kBasketSizeMax); ++line) {
        if (order.products[line] < kProductCount) ++result_.items[order.products[line]];
      }
    }
    expect(books_.stock.size() == kProductCount, "%zu products", books_.stock.size());
    for (const auto& [product, left] : books_.stock) {
      if (product >= kProductCount) continue;
      const auto sold = static_cast<long long>(result_.items[product]);
      const auto initial = static_cast<long long>(initial_stock(options_, product));
      expect(left >= 0, "product %u: %lld left", product + 1, static_cast<long long>(left));
      expect(left + sold == initial, "product %u: %lld left + %lld sold is not %lld", product + 1,
             static_cast<long long>(left), sold, initial);
    }
  }

  void check_points() {
    result_.points_initial = std::int64_t{options_.buyers} * options_.points;
    std::map<std::uint32_t, std::int64_t> tills_expected;
    for (std::uint32_t product = 0; product < kProductCount; ++product) tills_expected[product] = 0;
    for (const auto& [buyer, order] : books_.orders) {
      for (std::uint32_t line = 0; line < kBasketSizeMax; ++line)
        tills_expected[order.products[line]] += order.paid[line];
    }
    expect(books_.points.size() == options_.buyers, "%zu buyers have points, of %u", books_.points.size(),
           options_.buyers);
    for (const auto& [buyer, points] : books_.points) {
      result_.points_buyers += points;
      const auto order = books_.orders.find(buyer);
      const std::int64_t paid = order == books_.orders.end() ? 0 : order_total(order->second);
      expect(points == options_.points - paid, "buyer %u has %lld points, the order says %lld", buyer,
             static_cast<long long>(points), static_cast<long long>(options_.points - paid));
    }
    for (const auto& [product, till] : books_.tills) result_.points_tills += till;
    for (const auto& [product, expected] : tills_expected) {
      const auto till = books_.tills.find(product);
      const long long found = till == books_.tills.end() ? -1 : static_cast<long long>(till->second);
      expect(found == expected, "till %u: %lld points, the orders say %lld", product + 1, found,
             static_cast<long long>(expected));
    }
    const std::int64_t sum = result_.points_buyers + result_.points_tills;
    expect(sum == result_.points_initial, "points: %lld now, %lld before", static_cast<long long>(sum),
           static_cast<long long>(result_.points_initial));
  }

  void check_orders() {
    for (const auto& [buyer, order] : books_.orders) {
      const bool has_coupon = books_.claims.count(buyer) != 0;
      const Order expected = price_order(basket_of(options_.seed, buyer), has_coupon);
      expect(std::memcmp(&order, &expected, sizeof order) == 0, "the order of buyer %u is not its basket at its price",
             buyer);
    }
  }

  void check_visits() {
    for (std::uint32_t index = 0; index < board_.visit_count(); ++index) {
      const Visit& visit = board_.visit(index);
      const bool answered = visit.claim != Outcome::kNone && visit.order != Outcome::kNone &&
                            visit.likes_answered == options_.likes && visit.finished == 1;
      expect(answered, "visit %u did not get all of its answers", index);
    }
  }

  // `each`: how many of these things a buyer may have; the key of a row is buyer * each + which of them.
  template <typename Granted, typename Row>
  void check_answers(const char* what, std::uint32_t each, Granted granted, const std::map<std::uint32_t, Row>& rows) {
    std::vector<std::uint8_t> times(std::size_t{options_.buyers} * each);  // told to have it
    std::vector<bool> given_back(options_.buyers);
    for (std::uint32_t index = 0; index < board_.visit_count(); ++index) {
      const std::uint32_t buyer = Board::buyer_of(index);
      for (std::uint32_t item = 0; item < each; ++item) {
        if (granted(board_.visit(index), item)) ++times[buyer * each + item];
      }
      if (board_.visit(index).given_back != 0) given_back[buyer] = true;
    }
    for (std::uint32_t key = 0; key < times.size(); ++key) {
      const std::uint32_t buyer = key / each;
      const bool there = rows.count(key) != 0;
      expect(times[key] <= 1, "buyer %u was granted one %s %u times", buyer, what, times[key]);
      expect(there || times[key] == 0, "buyer %u was granted a %s that is not in the database", buyer, what);
      if (!there || times[key] != 0) continue;
      expect(given_back[buyer], "buyer %u has a %s that nobody granted", buyer, what);
      ++result_.unanswered;
    }
    expect(rows.empty() || rows.rbegin()->first < times.size(), "there is a %s of nobody", what);
  }

  const Books& books_;
  const Options& options_;
  const Board& board_;
  AuditResult& result_;
};

}  // namespace

void run_audit(const std::string& database_path, const Options& options, Board& board) {
  static_assert(kProductCount <= AuditResult::kProductsMax);
  holdfast::Database database = open_database(database_path, "audit");
  const Books books = read_books(database);
  AuditResult& result = board.figures().audit;
  Auditor(books, options, board, &result).check_all();
  result.finished = 1;
}

}  // namespace flash_sale
