// SPDX-License-Identifier: Apache-2.0
// The commerce transaction: five products of a basket are locked at once, one of each is taken from the stock, an order
// is written, and the buyer's points pay for it. Popular products are wanted more often. Data: a stock that does not
// sell out, buyers rich enough; made in the new database before the workers start.
//
// The tally is the number of pieces sold.
#include <array>
#include <cstring>

#include "buyers.h"
#include "contest.h"
#include "workloads.h"

namespace hf::bench {
namespace {

constexpr const char* kStock = "stock";
constexpr const char* kOrders = "orders";
constexpr const char* kPoints = "points";
constexpr std::uint64_t kRowsOfBatch = 1'000;  // in one transaction that makes data

class HoldfastShop {
 public:
  using Side = HoldfastSide;
  static constexpr std::uint64_t kTallyStep = kBasket;

  HoldfastShop(Side& side, const Options&)
      : side_(side),
        stock_(side.ensure_table(kStock)),
        orders_(side.ensure_table(kOrders)),
        points_(side.ensure_table(kPoints)) {
    Side::Runner runner(side_);
    if (count(runner, stock_) == 0) make_data(runner);
  }

  std::uint64_t tally() {
    Side::Runner runner(side_);
    std::uint64_t left = 0;
    runner.run([&](hf_txn* txn) {
      left = 0;
      for (std::uint64_t product = 0; product < kProducts; ++product) {
        hf_row row;
        const int code = hf_get(txn, stock_, view(Key(product)), &row);
        if (code != HF_OK) return code;
        left += Value::generation_of(row.value.data);
      }
      return static_cast<int>(HF_OK);
    });
    return pieces_sold(left, count(runner, orders_));
  }

  class Client {
   public:
    Client(HoldfastShop& shop, unsigned worker) : shop_(shop), buyers_(shop.zipf_, worker), runner_(shop.side_) {}
    void run(Moment& had) {
      const Basket basket = buyers_.next();
      runner_.run([&](hf_txn* txn) { return buy(txn, basket, had); });
    }
    std::uint64_t retries() const { return runner_.retries(); }

   private:
    int buy(hf_txn* txn, const Basket& basket, Moment& had) {
      std::array<hf_bytes, kBasket> views;
      std::array<hf_row, kBasket> rows;
      const std::array<Key, kBasket> keys = keys_of(basket);
      for (std::size_t i = 0; i < kBasket; ++i) views[i] = view(keys[i]);
      int code = hf_get_many_for_update(txn, shop_.stock_, views.data(), kBasket, nullptr, rows.data());
      had.mark();
      for (std::size_t i = 0; i < kBasket && code == HF_OK; ++i) {
        if (rows[i].code != HF_OK) return rows[i].code;
        take_one(value_, rows[i].value.data, basket.products[i]);
        code = hf_put(txn, shop_.stock_, views[i], view(value_), 0);
      }
      value_.stamp(basket.order, basket.buyer);
      if (code == HF_OK) code = hf_insert(txn, shop_.orders_, view(Key(basket.order)), view(value_), 0);
      if (code != HF_OK) return code;
      return hf_add(txn, shop_.points_, view(Key(basket.buyer)), -kPrice * std::int64_t{kBasket}, 0, kPointsFirst);
    }
    static std::array<Key, kBasket> keys_of(const Basket& basket) {
      const auto& of = basket.products;
      return {Key(of[0]), Key(of[1]), Key(of[2]), Key(of[3]), Key(of[4])};
    }

    HoldfastShop& shop_;
    Buyers buyers_;
    Side::Runner runner_;
    Value value_;
  };

 private:
  static std::uint64_t count(Side::Runner& runner, hf_table* table) {
    std::uint64_t rows = 0;
    runner.run([&](hf_txn* txn) { return hf_count(txn, table, nullptr, &rows); });
    return rows;
  }

  void make_data(Side::Runner& runner) {
    Value value;
    for (std::uint64_t first = 0; first < kProducts; first += kRowsOfBatch) {
      runner.run([&](hf_txn* txn) {
        int code = HF_OK;
        for (std::uint64_t product = first; product < first + kRowsOfBatch && code == HF_OK; ++product) {
          value.stamp(product, kStockFirst);
          code = hf_put(txn, stock_, view(Key(product)), view(value), 0);
        }
        return code;
      });
    }
    for (std::uint64_t first = 0; first < kBuyers; first += kRowsOfBatch) {
      runner.run([&](hf_txn* txn) {
        int code = HF_OK;
        for (std::uint64_t buyer = first; buyer < first + kRowsOfBatch && code == HF_OK; ++buyer) {
          code = hf_counter_set(txn, points_, view(Key(buyer)), kPointsFirst);
        }
        return code;
      });
    }
  }

  Side& side_;
  hf_table* stock_;
  hf_table* orders_;
  hf_table* points_;
  Zipf zipf_{kProducts, kSkew};
};

class LmdbShop {
 public:
  using Side = LmdbSide;
  static constexpr std::uint64_t kTallyStep = kBasket;

  LmdbShop(Side& side, const Options&)
      : side_(side),
        stock_(side.ensure_table(kStock)),
        orders_(side.ensure_table(kOrders)),
        points_(side.ensure_table(kPoints)) {
    Side::Change change(side_);
    if (change.get(stock_, Key(0)) == nullptr) make_data(change);
  }

  std::uint64_t tally() {
    Side::Change change(side_);
    std::uint64_t left = 0;
    for (std::uint64_t product = 0; product < kProducts; ++product) {
      const void* value = change.get(stock_, Key(product));
      if (value == nullptr) fail("a stock row is missing");
      left += Value::generation_of(value);
    }
    return pieces_sold(left, change.count(orders_));
  }

  class Client {
   public:
    Client(LmdbShop& shop, unsigned worker) : shop_(shop), buyers_(shop.zipf_, worker) {}
    void run(Moment& had) {
      const Basket basket = buyers_.next();
      Side::Change change(shop_.side_);
      had.mark();
      for (const std::uint64_t product : basket.products) {
        const void* before = change.get(shop_.stock_, Key(product));
        if (before == nullptr) fail("a stock row is missing");
        take_one(value_, before, product);
        change.put(shop_.stock_, Key(product), value_.data(), kValueSize);
      }
      value_.stamp(basket.order, basket.buyer);
      change.insert(shop_.orders_, Key(basket.order), value_.data(), kValueSize);
      pay(change, basket);
      change.commit();
    }
    std::uint64_t retries() const { return 0; }

   private:
    void pay(Side::Change& change, const Basket& basket) {
      const void* before = change.get(shop_.points_, Key(basket.buyer));
      if (before == nullptr) fail("a buyer is missing");
      std::int64_t points;
      std::memcpy(&points, before, sizeof points);
      points -= kPrice * std::int64_t{kBasket};
      if (points < 0) fail("a buyer has no points left");
      change.put(shop_.points_, Key(basket.buyer), &points, sizeof points);
    }

    LmdbShop& shop_;
    Buyers buyers_;
    Value value_;
  };

 private:
  void make_data(Side::Change& change) {
    Value value;
    for (std::uint64_t product = 0; product < kProducts; ++product) {
      value.stamp(product, kStockFirst);
      change.put(stock_, Key(product), value.data(), kValueSize);
    }
    for (std::uint64_t buyer = 0; buyer < kBuyers; ++buyer) {
      change.put(points_, Key(buyer), &kPointsFirst, sizeof kPointsFirst);
    }
    change.commit();
  }

  Side& side_;
  MDB_dbi stock_;
  MDB_dbi orders_;
  MDB_dbi points_;
  Zipf zipf_{kProducts, kSkew};
};

}  // namespace

int run_basket(const Options& options) {
  make_directory(options.directory);
  if (options.engine == LmdbSide::kName) return run_contest<LmdbShop>(options, "basket");
  check_holdfast(options);
  return run_contest<HoldfastShop>(options, "basket");
}

}  // namespace hf::bench
