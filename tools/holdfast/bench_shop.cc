// SPDX-License-Identifier: Apache-2.0
#include "bench_shop.h"

#include <endian.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "failure.h"

namespace tool::bench {
namespace {

constexpr std::int64_t kPrice = 100;  // of the first product; each further one costs one more

// Numbers as keys: big endian, so that rows lie in their order.
template <std::size_t count>
class Key {
 public:
  template <typename... Numbers>
  explicit Key(Numbers... numbers) : numbers_{htobe64(numbers)...} {}
  operator holdfast::bytes_view() const noexcept { return std::as_bytes(std::span(numbers_)); }

 private:
  std::array<std::uint64_t, count> numbers_;
};
template <typename... Numbers>
Key(Numbers...) -> Key<sizeof...(Numbers)>;

template <typename Value>
Value value_of(std::string_view bytes) {
  Value value{};
  if (bytes.size() != sizeof value) throw Failure(kDamaged, "a row of the benchmark does not have its size");
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::uint64_t number_of(std::string_view key) { return be64toh(value_of<std::uint64_t>(key)); }

}  // namespace

std::uint64_t random_below(std::uint64_t& state, std::uint64_t bound) noexcept {
  // An increment that never repeats, mixed until its bits look like dice.
  state += 0x9e3779b97f4a7c15u;
  std::uint64_t value = state;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return (value ^ (value >> 31)) % bound;
}

Shop::Shop(holdfast::Database& database, const Plan& plan)
    : database_(database),
      plan_(plan),
      stock_(must(database.ensure_table("stock"))),
      tills_(must(database.ensure_table("tills"))),
      stations_(must(database.ensure_table("stations"))),
      orders_(must(database.ensure_table("orders"))) {}

void Shop::fill() {
  const auto fill = [&](holdfast::Transaction& txn) -> holdfast::status {
    for (std::uint64_t product = 0; product < plan_.products; ++product) {
      const auto stock = static_cast<std::int64_t>(plan_.stock);
      if (auto set = txn.counter_set(stock_, Key(product), stock); !set) return set;
      if (auto set = txn.counter_set(tills_, Key(product), 0); !set) return set;
    }
    for (std::uint64_t station = 0; station < plan_.stations; ++station) {
      if (auto put = txn.put(stations_, Key(station), holdfast::bytes_of(std::uint64_t{0})); !put) return put;
    }
    return {};
  };
  must(database_.transact(fill), "filling the shop");
}

holdfast::status Shop::sell(holdfast::Transaction& txn, std::uint64_t worker, std::uint64_t sequence, Order& order) {
  for (std::uint32_t line = 0; line < order.count; ++line) {
    const std::uint64_t product = order.products[line];
    if (auto taken = txn.add(stock_, Key(product), -1, {.min = 0}); !taken) return taken;
    const auto price = kPrice + static_cast<std::int64_t>(product);
    if (auto paid = txn.add(tills_, Key(product), price); !paid) return paid;
  }
  const auto station = txn.get_for_update(stations_, Key(std::uint64_t{order.station}));
  if (!station) return station.error();
  order.number = value_of<std::uint64_t>(station->value) + 1;
  if (auto put = txn.put(stations_, Key(std::uint64_t{order.station}), holdfast::bytes_of(order.number)); !put) {
    return put;
  }
  return txn.insert(orders_, Key(worker, sequence), holdfast::bytes_of(order));
}

Shop::Served Shop::serve(std::uint64_t worker, std::uint64_t sequence, std::uint64_t& random) {
  Order order;
  order.count = 1 + static_cast<std::uint32_t>(random_below(random, std::min(kBasketSizeMax, plan_.products)));
  order.station = static_cast<std::uint32_t>(random_below(random, plan_.stations));
  for (std::uint32_t line = 0; line < order.count; ++line) {
    const auto begin = order.products.begin();
    do {
      // Half of the crowd wants the tenth of the products that is on offer.
      const bool is_hot = random_below(random, 2) == 0;
      const std::uint64_t choice = is_hot ? std::max(plan_.products / 10, kBasketSizeMax) : plan_.products;
      order.products[line] = static_cast<std::uint32_t>(random_below(random, choice) % plan_.products);
    } while (std::find(begin, begin + line, order.products[line]) != begin + line);
  }
  holdfast::transact_options patience;
  patience.attempts_max = 10'000;
  patience.total_timeout = holdfast::milliseconds(60'000);
  patience.txn.durability = static_cast<holdfast::durability>(plan_.durability);
  holdfast::transact_report report;
  const auto sold = database_.transact([&](holdfast::Transaction& txn) { return sell(txn, worker, sequence, order); },
                                       patience, &report);
  if (!sold && sold.code() != HF_OUT_OF_RANGE) fail("an order", sold.error());
  return {sold ? Answer::kSold : Answer::kSoldOut, report.attempts, static_cast<std::uint64_t>(report.elapsed.count())};
}

struct Shop::Books {
  std::vector<std::int64_t> stock;
  std::vector<std::int64_t> tills;
  std::vector<std::uint64_t> stations;
  std::vector<Order> orders;
};

Shop::Books Shop::read_books() {
  Books books;
  holdfast::Transaction txn = must(database_.begin({.read_only = true}));
  const auto read = [&](holdfast::Table table, auto take) {
    holdfast::Rows range = txn.range(table);
    for (const holdfast::entry& entry : range) take(entry);
    must(range.status(), "reading the books");
  };
  const auto counters = [&](holdfast::Table table, std::vector<std::int64_t>& values) {
    read(table, [&](const holdfast::entry& entry) {
      if (number_of(entry.key) == values.size()) values.push_back(must(txn.counter_get(table, entry.key)));
    });
  };
  counters(stock_, books.stock);
  counters(tills_, books.tills);
  read(stations_, [&](const auto& entry) { books.stations.push_back(value_of<std::uint64_t>(entry.row.value)); });
  read(orders_, [&](const auto& entry) { books.orders.push_back(value_of<Order>(entry.row.value)); });
  return books;
}

std::vector<std::string> Shop::audit(std::uint64_t orders_answered) {
  const Books books = read_books();
  std::vector<std::string> wrong;
  const auto expect = [&](const std::string& what, std::uint64_t found, std::uint64_t expected) {
    if (found == expected) return;
    wrong.push_back(what + ": " + std::to_string(found) + ", expected " + std::to_string(expected));
  };
  expect("orders", books.orders.size(), orders_answered);
  expect("products", books.stock.size(), plan_.products);
  expect("tills", books.tills.size(), plan_.products);
  expect("packing stations", books.stations.size(), plan_.stations);
  if (!wrong.empty()) return wrong;

  std::vector<std::uint64_t> sold(plan_.products);
  std::vector<std::uint64_t> packed(plan_.stations);
  std::set<std::pair<std::uint32_t, std::uint64_t>> numbers;
  for (const Order& order : books.orders) {
    for (std::uint32_t line = 0; line < std::min(order.count, kBasketSizeMax); ++line) {
      ++sold.at(order.products[line] % plan_.products);
    }
    ++packed.at(order.station % plan_.stations);
    numbers.emplace(order.station, order.number);
  }
  expect("numbers given once", numbers.size(), books.orders.size());
  for (std::uint32_t product = 0; product < plan_.products; ++product) {
    const std::string name = "product " + std::to_string(product);
    if (books.stock[product] < 0) wrong.push_back(name + " was oversold");
    expect(name + ", sold and left", sold[product] + static_cast<std::uint64_t>(books.stock[product]), plan_.stock);
    expect(name + ", money taken", static_cast<std::uint64_t>(books.tills[product]),
           sold[product] * static_cast<std::uint64_t>(kPrice + product));
  }
  for (std::uint32_t station = 0; station < plan_.stations; ++station) {
    expect("orders of packing station " + std::to_string(station), packed[station], books.stations[station]);
  }
  return wrong;
}

}  // namespace tool::bench
