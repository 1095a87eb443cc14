// SPDX-License-Identifier: Apache-2.0
#include "torture/kill_shop.h"

#include "torture/kill_model.h"

namespace torture::kill {
namespace {

struct Name {
  const char* name;
  holdfast::Table Shop::*table;
};
constexpr Name kNames[] = {
    {"history", &Shop::history}, {"stock", &Shop::stock},   {"orders", &Shop::orders},
    {"issued", &Shop::issued},   {"claims", &Shop::claims}, {"accounts", &Shop::accounts},
    {"likes", &Shop::likes},     {"items", &Shop::items},   {"by_colour", &Shop::by_colour},
    {"tills", &Shop::tills},     {"blobs", &Shop::blobs},   {"visits", &Shop::visits},
};

// All in one transaction: it is there whole, or not, whenever it is cut off.
holdfast::status fill(Shop& shop) {
  return shop.database.transact([&](holdfast::Transaction& txn) -> holdfast::status {
    holdfast::result<std::optional<holdfast::row>> first = txn.find(shop.accounts, key_of(0));
    if (!first) return first.error();
    if (first->has_value()) return {};
    for (std::uint32_t account = 0; account < kAccounts; ++account) {
      if (holdfast::status put = txn.put(shop.accounts, key_of(account), be(kBalanceFirst, 8)); !put) return put;
    }
    for (std::uint32_t product = 0; product < kProducts; ++product) {
      if (holdfast::status set = txn.counter_set(shop.stock, key_of(product), kStockFirst); !set) return set;
    }
    return {};
  });
}

}  // namespace

holdfast::open_options small_options(const std::string& label) {
  holdfast::open_options options;
  options.label = label;
  options.map_size = std::uint64_t{4} << 30;  // sanitizers have no room for a terabyte
  options.overlay_bytes_max = 12u << 20;
  options.log_segment_size_max = 2u << 20;
  options.flush_interval = holdfast::milliseconds(20);
  options.merge_interval = holdfast::milliseconds(5);
  options.sweep_interval = holdfast::milliseconds(200);
  options.open_timeout = holdfast::milliseconds(20'000);
  options.tables_max = 50;
  return options;
}

holdfast::result<Shop> open_shop(const std::string& path, const holdfast::open_options& options, bool fills) {
  holdfast::result<holdfast::Database> database = holdfast::Database::open(path, options);
  if (!database) return database.error();
  Shop shop;
  shop.database = std::move(*database);
  for (const Name& each : kNames) {
    holdfast::result<holdfast::Table> table = shop.database.ensure_table(each.name);
    if (!table) return table.error();
    shop.*each.table = *table;
  }
  holdfast::result<holdfast::Table> load = shop.database.open_table("load");
  if (load) shop.load = *load;
  if (!load && !load.error().is(HF_NO_TABLE)) return load.error();
  if (fills) {
    if (holdfast::status filled = fill(shop); !filled) return filled.error();
  }
  return shop;
}

std::string text_of(const holdfast::error& why) { return std::string(why.name()) + ": " + why.message(); }

}  // namespace torture::kill
