// SPDX-License-Identifier: Apache-2.0
#include "checkout.h"

#include <chrono>
#include <string_view>

#include "die.h"
#include "naive.h"
#include "sale.h"

namespace flash_sale {
namespace {

// Nobody in the queue is sent away because the shop is busy: patience for a crowd on one row.
constexpr std::uint32_t kAttemptsMax = 10'000;
constexpr std::chrono::milliseconds kPatience{60'000};
// How long a buyer stands before somebody in the way without asking who that is.
constexpr std::chrono::milliseconds kHurry{5};

bool is_about(const holdfast::error& why, std::string_view table) {
  return why.detail() != nullptr && why.detail()->table == table;
}

}  // namespace

Checkout::Checkout(holdfast::Database& database, Board& board, const Options& options)
    : database_(database), board_(board), options_(options), shop_(Shop::open(database)) {
  patient_.attempts_max = kAttemptsMax;
  patient_.total_timeout = kPatience;
  patient_.txn.isolation = options.naive ? holdfast::isolation::read_committed : holdfast::isolation::serializable;
  patient_.txn.durability = holdfast::durability::durable;
  hurried_ = patient_;
  hurried_.attempts_max = 1;
  hurried_.txn.lock_timeout = kHurry;
}

Outcome Checkout::claim_coupon(std::uint32_t buyer) {
  const auto claim = options_.naive ? naive::claim_coupon : flash_sale::claim_coupon;
  // Patient from the start: who leaves a line that is in order of arrival joins it again at its end.
  const Service service = run(patient_, [&](holdfast::Transaction& txn) { return claim(txn, shop_, options_, buyer); });
  return finish("claim a coupon", buyer, service);
}

Outcome Checkout::buy_basket(std::uint32_t buyer) {
  const auto buy = options_.naive ? naive::buy_basket : flash_sale::buy_basket;
  const Service service =
      run_hurried_first(buyer, [&](holdfast::Transaction& txn) { return buy(txn, shop_, options_, buyer); });
  Contention& contention = board_.figures().contention;
  if (service.answer && *service.answer == Outcome::kYes) {
    contention.orders.fetch_add(1, std::memory_order_relaxed);
    contention.order_attempts.fetch_add(service.report.attempts, std::memory_order_relaxed);
  }
  return finish("buy a basket", buyer, service);
}

Outcome Checkout::like(std::uint32_t buyer, std::uint32_t picture) {
  const auto like = options_.naive ? naive::like : flash_sale::like;
  const Service service =
      run(patient_, [&](holdfast::Transaction& txn) { return like(txn, shop_, options_, buyer, picture); });
  return finish("like a picture", buyer, service);
}

template <typename Body>
Checkout::Service Checkout::run(const holdfast::transact_options& patience, Body&& body) {
  holdfast::transact_report report;
  holdfast::result<Outcome> answer = database_.transact(body, patience, &report);
  return {std::move(answer), report};
}

// A buyer who has to wait wants to know for whom. The report of a lock that was not to be had names the holder; then
// the buyer stands in line like everybody.
template <typename Body>
Checkout::Service Checkout::run_hurried_first(std::uint32_t buyer, Body&& body) {
  const Service first = run(hurried_, body);
  if (first.answer || !first.answer.error().is_retryable()) return first;
  const holdfast::error& why = first.answer.error();
  if (why.is(HF_LOCK_TIMEOUT)) {
    Contention& contention = board_.figures().contention;
    contention.refused_by_lock.fetch_add(1, std::memory_order_relaxed);
    // Not of a second click, which has only the first one in its way.
    if (is_about(why, "stock")) contention.lock_refusal.note(buyer, why);
  }
  Service second = run(patient_, body);
  second.report.attempts += first.report.attempts;
  second.report.elapsed += first.report.elapsed;
  return second;
}

Outcome Checkout::finish(const char* wish, std::uint32_t buyer, const Service& service) {
  Figures& figures = board_.figures();
  figures.contention.transactions.fetch_add(1, std::memory_order_relaxed);
  figures.contention.attempts.fetch_add(service.report.attempts, std::memory_order_relaxed);
  if (service.report.csn != 0) figures.latency.add(static_cast<std::uint64_t>(service.report.elapsed.count()));
  if (service.answer) return *service.answer;

  const holdfast::error& why = service.answer.error();
  if (why.is(HF_EXISTS)) return Outcome::kRepeated;
  if (!why.is(HF_OUT_OF_RANGE)) die(wish, why);
  figures.contention.counter_refusal.note(buyer, why);
  return is_about(why, "points") ? Outcome::kTooPoor : Outcome::kSoldOut;
}

}  // namespace flash_sale
