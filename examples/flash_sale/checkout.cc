// SPDX-License-Identifier: Apache-2.0
#include "checkout.h"

#include <array>
#include <chrono>
#include <string>
#include <thread>

namespace flash_sale {
namespace {

// Nobody in the queue is sent away because the shop is busy: patience for a crowd on one row.
constexpr std::uint32_t kAttemptsMax = 10'000;
constexpr std::uint64_t kPatienceMs = 60'000;

// Between reading and writing an application thinks: prices, taxes, a call to another service.
void think() { std::this_thread::sleep_for(std::chrono::microseconds(20)); }

}  // namespace

Checkout::Checkout(Database& database, Board& board, const Options& options)
    : database_(database), board_(board), options_(options), shop_(Shop::open(database)) {
  transact_options_.attempts_max = kAttemptsMax;
  transact_options_.total_timeout_ms = kPatienceMs;
  transact_options_.txn = HF_TXN_OPTIONS_INIT;
  transact_options_.txn.isolation = options.naive ? HF_READ_COMMITTED : HF_SERIALIZABLE;
  transact_options_.txn.durability = HF_DURABLE;
}

Outcome Checkout::claim_coupon(std::uint32_t buyer) {
  return run("claim a coupon", [&](Transaction txn, Outcome* outcome) { return try_claim(txn, buyer, outcome); });
}

Outcome Checkout::buy_basket(std::uint32_t buyer) {
  return run("buy a basket", [&](Transaction txn, Outcome* outcome) { return try_buy(txn, buyer, outcome); });
}

Outcome Checkout::like(std::uint32_t buyer, std::uint32_t picture) {
  return run("like a picture", [&](Transaction txn, Outcome* outcome) {
    const int code = write_new(txn, shop_.likes, buyer * options_.likes + picture, buyer);
    *outcome = code == HF_EXISTS ? Outcome::kRepeated : Outcome::kYes;
    return code == HF_EXISTS ? static_cast<int>(HF_OK) : code;
  });
}

int Checkout::try_claim(Transaction txn, std::uint32_t buyer, Outcome* outcome) const {
  std::uint32_t serial = 0;
  int code = txn.get(shop_.claims, buyer, &serial);
  if (code == HF_OK) {
    *outcome = Outcome::kRepeated;
    return HF_OK;
  }
  if (code != HF_NOT_FOUND) return code;

  std::int64_t left = 0;
  code = txn.get(shop_.coupons, 0, &left);
  if (code != HF_OK) return code;
  if (left <= 0) {
    *outcome = Outcome::kSoldOut;
    return HF_OK;
  }
  think();

  serial = static_cast<std::uint32_t>(options_.coupons - left + 1);
  code = write_new(txn, shop_.claims, buyer, serial);
  if (code == HF_OK) code = write_new(txn, shop_.serials, serial, buyer);
  if (code == HF_OK) code = txn.put(shop_.coupons, 0, left - 1);
  *outcome = Outcome::kYes;
  return code;
}

int Checkout::try_buy(Transaction txn, std::uint32_t buyer, Outcome* outcome) const {
  Order order;
  int code = txn.get(shop_.orders, buyer, &order);
  if (code == HF_OK) {
    *outcome = Outcome::kRepeated;
    return HF_OK;
  }
  if (code != HF_NOT_FOUND) return code;

  std::uint32_t serial = 0;
  code = txn.get(shop_.claims, buyer, &serial);
  if (code != HF_OK && code != HF_NOT_FOUND) return code;
  order = price_order(basket_of(options_.seed, buyer), code == HF_OK);

  std::array<std::int64_t, kBasketSizeMax> left{};
  for (std::uint32_t line = 0; line < order.count; ++line) {
    code = txn.get(shop_.stock, order.products[line], &left[line]);
    if (code != HF_OK) return code;
    if (left[line] <= 0) {
      *outcome = Outcome::kSoldOut;
      return HF_OK;
    }
  }
  std::int64_t points = 0;
  code = txn.get(shop_.points, buyer, &points);
  if (code != HF_OK) return code;
  if (points < order_total(order)) {
    *outcome = Outcome::kTooPoor;
    return HF_OK;
  }
  think();

  code = write_new(txn, shop_.orders, buyer, order);
  for (std::uint32_t line = 0; line < order.count && code == HF_OK; ++line) {
    code = txn.put(shop_.stock, order.products[line], left[line] - 1);
  }
  if (code == HF_OK) code = pay(txn, buyer, order, points);
  *outcome = Outcome::kYes;
  return code;
}

int Checkout::pay(Transaction txn, std::uint32_t buyer, const Order& order, std::int64_t points) const {
  int code = txn.put(shop_.points, buyer, points - order_total(order));
  for (std::uint32_t line = 0; line < order.count && code == HF_OK; ++line) {
    std::int64_t till = 0;
    code = txn.get(shop_.tills, order.products[line], &till);
    if (code == HF_OK) code = txn.put(shop_.tills, order.products[line], till + order.paid[line]);
  }
  return code;
}

template <typename Value>
int Checkout::write_new(Transaction txn, hf_table* table, std::uint32_t key, const Value& value) const {
  return options_.naive ? txn.put(table, key, value) : txn.insert(table, key, value);
}

template <typename Body>
Outcome Checkout::run(const char* what, Body&& body) {
  Outcome outcome = Outcome::kNone;
  hf_transact_result result;
  const int code = database_.transact(
      transact_options_, [&](Transaction txn) { return body(txn, &outcome); }, &result);
  // No other code is an answer to a buyer: claims and orders are read before they are inserted, so even HF_EXISTS is
  // not.
  if (code != HF_OK) die(std::string("cannot ") + what + ": " + hf_code_name(code) + ": " + result.error.message);

  Figures& figures = board_.figures();
  figures.retries.fetch_add(result.attempts - 1, std::memory_order_relaxed);
  if (result.csn != 0) figures.latency.add(result.elapsed_us);
  return outcome;
}

}  // namespace flash_sale
