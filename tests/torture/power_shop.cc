// SPDX-License-Identifier: Apache-2.0
#include "torture/power_shop.h"

#include <unistd.h>

#include <iterator>

namespace torture::power {
namespace {

using Random = std::mt19937_64;

constexpr int kAccounts = 12;
constexpr int kItems = 10;
constexpr int kCarts = 60;
constexpr const char* kTables[] = {"accounts", "blobs", "carts", "coupons", "lines", "orders", "stock"};

// One transaction and what it does, for the recorder.
class Sale {
 public:
  Sale(hf_db* db, Recorder& recorder) : db_(db), recorder_(recorder) {}
  ~Sale() { hf_txn_end(&txn_); }
  Sale(const Sale&) = delete;

  // Runs `body` until it commits. Records the commit; with `durable`, that it was answered. Empty, or what is wrong.
  template <typename Body>
  std::string run(bool durable, Body&& body) {
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    options.durability = durable ? HF_DURABLE : HF_RELAXED;
    int code = hf_begin(db_, &options, &txn_);
    for (int attempt = 0; code == HF_OK || hf_is_retryable(code); ++attempt) {
      if (attempt > 0) code = hf_restart(txn_);
      if (attempt == 1000) break;
      changes_.clear();
      counters_.clear();
      if (code == HF_OK) code = body(*this);
      if (code == HF_OK) code = hf_commit(txn_);
      if (code == HF_OK) break;
      hf_abort(txn_);
    }
    if (code != HF_OK) return failure(code);
    const Csn csn = hf_txn_csn(txn_);
    if (csn == 0) return "";
    for (const auto& [table, name, key] : counters_) {
      std::int64_t value = 0;
      if (hf_counter_after(txn_, table, bytes_of(key), &value) != HF_OK) return "a counter's value is not known";
      note(Change::Kind::kPut, name, key, {reinterpret_cast<const char*>(&value), sizeof value});
    }
    recorder_.commit(csn, encode(changes_));
    if (durable) recorder_.acknowledge(csn);
    csn_ = csn;
    return "";
  }

  int put(hf_table* table, const char* name, const std::string& key, const std::string& value, std::uint64_t ttl = 0) {
    // What expires has expired when anybody looks.
    note(ttl == 0 ? Change::Kind::kPut : Change::Kind::kErase, name, key, value);
    return hf_put(txn_, table, bytes_of(key), bytes_of(value), ttl);
  }
  int erase(hf_table* table, const char* name, const std::string& key) {
    note(Change::Kind::kErase, name, key, {});
    return hf_erase(txn_, table, bytes_of(key));
  }
  int add(hf_table* table, const char* name, const std::string& key, std::int64_t delta) {
    counters_.push_back({table, name, key});
    return hf_add(txn_, table, bytes_of(key), delta, INT64_MIN, INT64_MAX);
  }
  hf_txn* txn() const { return txn_; }
  Csn csn() const { return csn_; }

 private:
  struct Counter {
    hf_table* table;
    const char* name;
    std::string key;
  };
  void note(Change::Kind kind, const char* table, const std::string& key, std::string_view value) {
    changes_.push_back({kind, table, key, hash_of(value)});
  }
  std::string failure(int code) {
    hf_error error = HF_ERROR_INIT;
    if (txn_ != nullptr) (void)hf_txn_error(txn_, &error);
    return std::string("a transaction answered ") + hf_code_name(code) + ": " + error.message;
  }

  hf_db* db_;
  Recorder& recorder_;
  hf_txn* txn_ = nullptr;
  Changes changes_;
  std::vector<Counter> counters_;
  Csn csn_ = 0;
};

struct Tables7 {
  hf_table *accounts, *blobs, *carts, *coupons, *lines, *orders, *stock;
};

// One thread that sells.
class Seller {
 public:
  Seller(hf_db* db, Recorder& recorder, const SellerPlan& plan, std::uint64_t id)
      : db_(db), recorder_(recorder), plan_(plan), id_(id), random_(plan.seed * 1000 + id) {}

  std::string run() {
    hf_table** const into[] = {&tables_.accounts, &tables_.blobs,  &tables_.carts, &tables_.coupons,
                               &tables_.lines,    &tables_.orders, &tables_.stock};
    for (std::size_t i = 0; i < std::size(kTables); ++i) {
      if (hf_table_open(db_, kTables[i], into[i]) != HF_OK) return std::string("no table ") + kTables[i];
    }
    std::string wrong;
    for (int i = 0; i < plan_.commits && wrong.empty(); ++i) wrong = step();
    return wrong;
  }

 private:
  std::string step() {
    switch (random_() % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return order();
      case 5:
      case 6:
      case 7:
        return cart();
      case 8:
      case 9:
        return transfer();
      case 10:
        return cancel_order();
      case 11:
        return coupon();
      case 12:
        return ticket();
      case 13:
        return read_durable();
      case 14:
        return random_() % 3 == 0 ? blob() : order();
      default:
        return upkeep();
    }
  }

  std::string order() {
    const std::string key = "o" + std::to_string(id_) + "-" + std::to_string(++orders_made_);
    const std::size_t size = random_() % 8 == 0 ? random_() % 12000 : random_() % 1200;
    const std::string value = random_value(random_, size);
    const int lines = 1 + static_cast<int>(random_() % 4);
    const std::string item = "item" + std::to_string(random_() % kItems);
    return trade(random_() % 4 != 0, [&](Sale& sale) {
      int code = sale.put(tables_.orders, "orders", key, value);
      for (int i = 0; i < lines && code == HF_OK; ++i) {
        code = sale.put(tables_.lines, "lines", key + "/" + std::to_string(i), value.substr(0, 40));
      }
      if (code == HF_OK) code = sale.add(tables_.stock, "stock", item, -lines);
      return code;
    });
  }
  std::string cancel_order() {
    if (orders_made_ <= orders_gone_) return order();
    const std::string key = "o" + std::to_string(id_) + "-" + std::to_string(++orders_gone_);
    return trade(true, [&](Sale& sale) {
      int code = sale.erase(tables_.orders, "orders", key);
      for (int i = 0; i < 4 && code == HF_OK; ++i) {
        code = sale.erase(tables_.lines, "lines", key + "/" + std::to_string(i));
      }
      return code;
    });
  }
  std::string cart() {
    const std::string key = "cart" + std::to_string(random_() % kCarts);
    const std::string value = random_value(random_, random_() % 300);
    const bool gone = random_() % 3 == 0;
    return trade(random_() % 2 == 0, [&](Sale& sale) {
      return gone ? sale.erase(tables_.carts, "carts", key) : sale.put(tables_.carts, "carts", key, value);
    });
  }
  std::string transfer() {
    const std::string from = "a" + std::to_string(random_() % kAccounts);
    const std::string to = "a" + std::to_string(random_() % kAccounts);
    const std::string mark = std::to_string(random_());
    return trade(true, [&](Sale& sale) {
      hf_row row;
      int code = hf_get(sale.txn(), tables_.accounts, bytes_of(from), &row);
      if (code == HF_NOT_FOUND) code = HF_OK;
      if (code == HF_OK) code = sale.put(tables_.accounts, "accounts", from, "from " + mark);
      if (code == HF_OK && to != from) code = sale.put(tables_.accounts, "accounts", to, "to " + mark);
      return code;
    });
  }
  std::string coupon() {
    const std::string key = "coupon" + std::to_string(random_() % 30);
    const std::uint64_t ttl = random_() % 2 == 0 ? 1 + random_() % 20 : 0;
    const std::string value = random_value(random_, 60);
    return trade(true, [&](Sale& sale) { return sale.put(tables_.coupons, "coupons", key, value, ttl); });
  }
  std::string blob() {
    std::size_t size = 4000 + random_() % 60000;
    if (plan_.large_rows && random_() % 4 == 0) size = (1u << 20) + random_() % 300'000;
    const std::string key = "blob" + std::to_string(random_() % 3);
    const std::string value = random_value(random_, size);
    const bool gone = random_() % 4 == 0;
    return trade(random_() % 2 == 0, [&](Sale& sale) {
      return gone ? sale.erase(tables_.blobs, "blobs", key) : sale.put(tables_.blobs, "blobs", key, value);
    });
  }

  // Commits without waiting, then waits for its ticket or for everything.
  std::string ticket() {
    const std::string key = "ticket" + std::to_string(random_() % 20);
    Sale sale(db_, recorder_);
    std::string wrong =
        sale.run(false, [&](Sale& one) { return one.put(tables_.carts, "carts", key, std::to_string(random_())); });
    if (!wrong.empty()) return wrong;
    const int code = random_() % 2 == 0 ? hf_ticket_wait(db_, sale.csn(), 10'000) : hf_sync(db_, 10'000);
    if (code != HF_OK) return "a ticket: " + describe(db_, code);
    recorder_.acknowledge(sale.csn());
    return "";
  }

  // Whatever a reader saw, and asked to be durable, has to stay.
  std::string read_durable() {
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    options.flags = HF_TXN_READ_ONLY | HF_TXN_READ_DURABLE;
    hf_txn* txn = nullptr;
    int code = hf_begin(db_, &options, &txn);
    const Csn seen = hf_txn_snapshot(txn);
    hf_row row;
    if (code == HF_OK) code = hf_get(txn, tables_.stock, bytes_of("item1"), &row);
    if (code == HF_OK || code == HF_NOT_FOUND) code = hf_commit(txn);
    if (code == HF_OK) recorder_.acknowledge(seen);
    hf_txn_end(&txn);
    return code == HF_OK || hf_is_retryable(code) ? "" : std::string("a durable read answered ") + hf_code_name(code);
  }

  std::string upkeep() {
    const int code = hf_maintain(db_, random_() % 2 == 0 ? HF_MAINTAIN_MERGE_ALL : HF_MAINTAIN_STEP);
    return code == HF_OK || code == HF_BUSY ? "" : "hf_maintain: " + describe(db_, code);
  }

  template <typename Body>
  std::string trade(bool durable, Body&& body) {
    return Sale(db_, recorder_).run(durable, std::forward<Body>(body));
  }

  hf_db* db_;
  Recorder& recorder_;
  const SellerPlan& plan_;
  std::uint64_t id_;
  Random random_;
  Tables7 tables_{};
  int orders_made_ = 0, orders_gone_ = 0;
};

Csn published(hf_db* db) {
  hf_stats stats{};
  stats.size = sizeof stats;
  return hf_stat(db, &stats) == HF_OK ? stats.csn_published : 0;
}

// The one thread that makes, fills, loads, and drops tables. Such changes do not tell their csn: it is the newest one
// that no other thread had, of those between before and after.
class Keeper {
 public:
  Keeper(hf_db* db, Recorder& recorder, std::uint64_t seed) : db_(db), recorder_(recorder), random_(seed) {}

  std::string make_tables() {
    std::string wrong;
    for (const char* name : kTables) {
      if (wrong.empty()) wrong = create(name, nullptr);
    }
    return wrong;
  }

  std::string run(const std::string& prefix, const std::atomic<bool>& stop) {
    std::string wrong;
    for (int i = 0; !stop && wrong.empty(); ++i) {
      const std::string name = prefix + std::to_string(i);
      hf_table* table = nullptr;
      wrong = create(name, &table);
      if (wrong.empty() && random_() % 2 == 0) wrong = load(name, table);
      if (wrong.empty()) wrong = fill(name, table);
      if (wrong.empty() && random_() % 3 != 0) wrong = drop(name);
      ::usleep(2000);
    }
    return wrong;
  }

 private:
  std::string create(const std::string& name, hf_table** table) {
    hf_table* made = nullptr;
    const Csn before = published(db_);
    const int code = hf_table_ensure(db_, name.c_str(), &made);
    if (table != nullptr) *table = made;
    if (code != HF_OK) return "hf_table_ensure: " + describe(db_, code);
    tell(before, {{Change::Kind::kCreateTable, name, "", 0}});
    return "";
  }
  std::string drop(const std::string& name) {
    const Csn before = published(db_);
    const int code = hf_table_drop(db_, name.c_str());
    if (code != HF_OK) return "hf_table_drop: " + describe(db_, code);
    tell(before, {{Change::Kind::kDropTable, name, "", 0}});
    return "";
  }
  std::string fill(const std::string& name, hf_table* table) {
    for (int i = static_cast<int>(random_() % 4); i >= 0; --i) {
      const std::string key = "k" + std::to_string(random_() % 50);
      const std::string value = random_value(random_, random_() % 500);
      Sale sale(db_, recorder_);
      std::string wrong =
          sale.run(random_() % 2 == 0, [&](Sale& one) { return one.put(table, name.c_str(), key, value); });
      if (!wrong.empty()) return wrong;
    }
    return "";
  }
  std::string load(const std::string& name, hf_table* table) {
    Csn before = published(db_);
    hf_load* load = nullptr;
    int code = hf_load_begin(db_, table, &load);
    if (code == HF_BUSY) return "";
    if (code != HF_OK) return "hf_load_begin: " + describe(db_, code);
    tell(before, {});  // marks that it loads
    Changes changes;
    for (int i = 0, rows = 1 + static_cast<int>(random_() % 120); i < rows && code == HF_OK; ++i) {
      const std::string key = "k" + std::to_string(100 + i);
      const std::string value = random_value(random_, random_() % 400);
      code = hf_load_add(load, bytes_of(key), bytes_of(value), 0);
      changes.push_back({Change::Kind::kLoad, name, key, hash_of(value)});
    }
    before = published(db_);
    const bool finish = random_() % 4 != 0;
    if (code == HF_OK && finish) code = hf_load_finish(load);
    if (code == HF_OK && finish) tell(before, changes);
    hf_load_end(&load);
    if (!finish) tell(before, {});  // an abandoned load takes its mark back
    return code == HF_OK ? "" : "a load: " + describe(db_, code);
  }
  void tell(Csn before, const Changes& changes) {
    const Csn after = published(db_);
    recorder_.commit_between(before, after, encode(changes));
    recorder_.acknowledge_between(before, after);
  }

  hf_db* db_;
  Recorder& recorder_;
  Random random_;
};

}  // namespace

hf_bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

// Random bytes, or few different ones: both that which compresses and that which looks like records of the log.
std::string random_value(Random& random, std::size_t size) {
  std::string value(size, static_cast<char>('a' + random() % 26));
  if (random() % 2 == 0) return value;
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const std::uint64_t word = random();
    value.replace(i, 8, reinterpret_cast<const char*>(&word), 8);
  }
  return value;
}

std::string sell(hf_db* db, Recorder& recorder, const SellerPlan& plan, std::uint64_t id) {
  return Seller(db, recorder, plan, id).run();
}

std::string sell_relaxed(hf_db* db, Recorder& recorder, std::uint64_t seed, int commits) {
  hf_table* carts = nullptr;
  if (hf_table_open(db, "carts", &carts) != HF_OK) return "no table carts";
  Random random(seed);
  std::string wrong;
  for (int i = 0; i < commits && wrong.empty(); ++i) {
    const std::string value = random_value(random, random() % 2000);
    wrong = Sale(db, recorder).run(false, [&](Sale& sale) {
      return sale.put(carts, "carts", "last" + std::to_string(random() % 10), value);
    });
  }
  return wrong;
}

std::string make_tables(hf_db* db, Recorder& recorder) { return Keeper(db, recorder, 0).make_tables(); }

std::string keep(hf_db* db, Recorder& recorder, std::uint64_t seed, const std::string& name,
                 const std::atomic<bool>& stop) {
  return Keeper(db, recorder, seed).run(name, stop);
}

}  // namespace torture::power
