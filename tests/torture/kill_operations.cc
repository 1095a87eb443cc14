// SPDX-License-Identifier: Apache-2.0
#include "torture/kill_operations.h"

#include <algorithm>
#include <array>

#include "torture/kill_board.h"

namespace torture::kill {
namespace {

using holdfast::milliseconds;
using holdfast::row;
using holdfast::status;
using holdfast::Transaction;

constexpr milliseconds kLoiterDeadline{3};
constexpr milliseconds kVisitTtl{150};
constexpr milliseconds kShortWait{2};

// Ways of a transfer to lock its accounts.
enum : std::uint32_t { kOptimistic, kOptimisticToo, kManyForUpdate, kLockMany, kOneByOne, kUpgrade, kNoWait, kShort };

status broken(const std::string& what) { return holdfast::error(kBroken, what); }
status unwanted() { return holdfast::error(kUnwanted); }

std::string till_name(std::uint32_t till) { return "till " + std::to_string(till); }

}  // namespace

Operations::Operations(Shop& shop, std::uint64_t seed, std::uint32_t lane) : shop_(shop), seed_(seed), lane_(lane) {
  holdfast::result<holdfast::Session> session = shop.database.open_session("cashier " + std::to_string(lane));
  if (session) session_ = std::move(*session);  // else each till answers misuse, which is no expected code
}

bool Operations::is_expected(const Plan& plan, int code) noexcept {
  switch (code) {
    case HF_OK:
    case HF_CONFLICT:
    case HF_DEADLOCK:
    case HF_SNAPSHOT_TOO_OLD:
    case kUnwanted:
      return true;
    case HF_OUT_OF_RANGE:
      return plan.kind == Kind::kBasket || plan.kind == Kind::kCoupon;
    case HF_EXISTS:
      return plan.kind == Kind::kCoupon;
    case HF_LOCKED:
    case HF_LOCK_TIMEOUT:
      return plan.kind == Kind::kTransfer && plan.way >= kNoWait;
    case HF_EXPIRED:
      return plan.kind == Kind::kLoiter;
    default:
      return false;
  }
}

Answer Operations::run(const Plan& plan, std::uint64_t number, std::uint64_t committed) {
  if (plan.kind == Kind::kScan) return scan(plan, committed);
  if (plan.finish == Finish::kTransact) return run_in_transact(plan, number);
  holdfast::txn_options options;
  options.durability = plan.finish == Finish::kDurable ? holdfast::durability::durable : holdfast::durability::relaxed;
  if (plan.kind == Kind::kLoiter) options.deadline = kLoiterDeadline;
  if (plan.kind == Kind::kTill) {
    options.isolation = holdfast::isolation::read_committed;
    options.session = &session_;
    if (status locked = session_.lock(till_name(plan.what)); !locked) {
      return {locked.code(), Event::kRefused, 0, "session lock: " + text_of(locked.error())};
    }
  }
  Answer answer;
  {
    holdfast::result<Transaction> txn = shop_.database.begin(options);
    if (!txn) return {txn.code(), Event::kRefused, 0, text_of(txn.error())};
    const status done = body(*txn, plan, number);
    if (done) {
      answer = finish(*txn, plan.finish);
    } else {
      txn->abort();
      answer = {done.code(), Event::kRefused, 0, text_of(done.error())};
    }
  }
  if (plan.kind == Kind::kTill) {
    if (status unlocked = session_.unlock(till_name(plan.what)); !unlocked) {
      return {kBroken, answer.event, answer.csn, "a session lock was gone: " + text_of(unlocked.error())};
    }
  }
  return answer;
}

Answer Operations::finish(Transaction& txn, Finish how) {
  if (how == Finish::kTicket) {
    holdfast::result<holdfast::Ticket> ticket = txn.commit_ticket();
    if (!ticket) return {ticket.code(), Event::kRefused, 0, text_of(ticket.error())};
    return {HF_OK, Event::kTicket, ticket->csn(), {}};
  }
  if (status done = txn.commit(); !done) return {done.code(), Event::kRefused, 0, text_of(done.error())};
  return {HF_OK, how == Finish::kRelaxed ? Event::kRelaxed : Event::kDurable, txn.csn(), {}};
}

Answer Operations::run_in_transact(const Plan& plan, std::uint64_t number) {
  holdfast::transact_report report;
  holdfast::transact_options options;
  options.txn.durability = holdfast::durability::durable;
  const status done =
      shop_.database.transact([&](Transaction& txn) { return body(txn, plan, number); }, options, &report);
  if (!done) return {done.code(), Event::kRefused, 0, text_of(done.error())};
  return {HF_OK, Event::kDurable, report.csn, {}};
}

status Operations::body(Transaction& txn, const Plan& plan, std::uint64_t number) {
  switch (plan.kind) {
    case Kind::kBasket:
      return basket(txn, plan, number);
    case Kind::kRestock:
      if (status added = txn.add(shop_.stock, key_of(plan.what), plan.amount); !added) return added;
      return note(txn, plan, number);
    case Kind::kCoupon:
      return coupon(txn, plan, number);
    case Kind::kTransfer:
      return transfer(txn, plan, number);
    case Kind::kLike:
      return like(txn, plan, number);
    case Kind::kItem:
      return item(txn, plan, number);
    case Kind::kPick:
      return pick(txn, plan, number);
    case Kind::kCensus:
      return census(txn, plan, number);
    case Kind::kTill:
      return till(txn, plan, number);
    case Kind::kLoiter:
      return loiter(txn, plan, number);
    case Kind::kBlob:
      if (status put = txn.put(shop_.blobs, key_of(lane_), blob_value(lane_, number)); !put) return put;
      return note(txn, plan, number);
    case Kind::kScan:
    case Kind::kNone:
      break;
  }
  return broken("an operation without a plan");
}

status Operations::note(Transaction& txn, const Plan& plan, std::uint64_t number, std::uint64_t result) {
  return txn.insert(shop_.history, history_key(lane_, number), history_value({plan.kind, result}, lane_, number));
}

status Operations::basket(Transaction& txn, const Plan& plan, std::uint64_t number) {
  for (std::uint32_t i = 0; i < plan.lines_count; ++i) {
    const Line& line = plan.lines[i];
    if (status taken = txn.add(shop_.stock, key_of(line.product), -line.quantity, {.min = 0}); !taken) return taken;
  }
  if (plan.way == 0) {  // a change of mind
    const holdfast::result<std::uint64_t> before = txn.savepoint();
    if (!before) return before.error();
    if (status more = txn.add(shop_.stock, key_of(0), 1'000); !more) return more;
    if (status put = txn.put(shop_.orders, history_key(lane_, number), "never"); !put) return put;
    if (status back = txn.rollback_to(*before); !back) return back;
  }
  if (status put = txn.insert(shop_.orders, history_key(lane_, number), order_value(plan)); !put) return put;
  return note(txn, plan, number);
}

status Operations::coupon(Transaction& txn, const Plan& plan, std::uint64_t number) {
  const std::string claim = key_of(plan.what, plan.other);
  if (status put = txn.insert(shop_.claims, claim, history_key(lane_, number)); !put) return put;
  if (status added = txn.add(shop_.issued, key_of(plan.what), 1, {.min = 0, .max = kCouponsEach}); !added) return added;
  return note(txn, plan, number);
}

status Operations::lock_accounts(Transaction& txn, const Plan& plan) {
  const std::string from = key_of(plan.what);
  const std::string to = key_of(plan.other);
  const std::array<holdfast::bytes_view, 2> both = {holdfast::bytes_view(to), holdfast::bytes_view(from)};
  switch (plan.way) {
    case kManyForUpdate: {
      const auto rows = txn.get_many_for_update(shop_.accounts, both);
      return rows ? status() : rows.error();
    }
    case kLockMany: {
      const auto locked = txn.lock_many({{shop_.accounts, to}, {shop_.accounts, from}});
      return locked ? status() : locked.error();
    }
    case kOneByOne: {  // in no order: deadlocks
      const auto first = txn.get_for_update(shop_.accounts, from);
      if (!first) return first.error();
      sleep_us(500);
      const auto second = txn.get_for_update(shop_.accounts, to);
      return second ? status() : second.error();
    }
    case kUpgrade: {
      const auto rows = txn.get_many_for_share(shop_.accounts, both);
      if (!rows) return rows.error();
      sleep_us(200);  // for others to share it too
      return txn.lock(shop_.accounts, from);
    }
    case kNoWait:
      return txn.lock(shop_.accounts, from, {.wait = holdfast::lock_wait::no_wait});
    case kShort:
      return txn.lock(shop_.accounts, from, {.timeout = kShortWait, .strict = true});
    default:
      return {};
  }
}

status Operations::transfer(Transaction& txn, const Plan& plan, std::uint64_t number) {
  if (status locked = lock_accounts(txn, plan); !locked) return locked;
  const std::string from = key_of(plan.what);
  const std::string to = key_of(plan.other);
  const auto giver = txn.get(shop_.accounts, from);
  if (!giver) return giver.error();
  const auto taker = txn.get(shop_.accounts, to);
  if (!taker) return taker.error();
  const auto left = static_cast<std::int64_t>(from_be(giver->value)) - plan.amount;
  if (left < 0) return unwanted();
  const std::uint64_t more = from_be(taker->value) + static_cast<std::uint64_t>(plan.amount);
  if (status put = txn.put(shop_.accounts, from, be(static_cast<std::uint64_t>(left), 8)); !put) return put;
  if (status put = txn.put(shop_.accounts, to, be(more, 8)); !put) return put;
  return note(txn, plan, number);
}

status Operations::like(Transaction& txn, const Plan& plan, std::uint64_t number) {
  if (status added = txn.add(shop_.likes, key_of(plan.what), 1); !added) return added;
  if (status put = txn.put(shop_.visits, history_key(lane_, number), "", kVisitTtl); !put) return put;
  return note(txn, plan, number);
}

status Operations::item(Transaction& txn, const Plan& plan, std::uint64_t number) {
  const std::string key = key_of(plan.what);
  const auto found = plan.way < 4 ? txn.find(shop_.items, key) : txn.find_for_update(shop_.items, key);
  if (!found) return found.error();
  const std::string index = key_of(plan.other, plan.what);
  if (!found->has_value()) {
    if (status put = txn.insert(shop_.items, key, key_of(plan.other)); !put) return put;
    if (status put = txn.insert(shop_.by_colour, index, ""); !put) return put;
    return note(txn, plan, number);
  }
  const std::string old_index = std::string((*found)->value) + key;
  if (status gone = txn.remove(shop_.by_colour, old_index); !gone) {
    return gone.error().is(HF_NOT_FOUND) ? broken("an item is not in its index") : gone;
  }
  if (plan.removes) {
    if (status gone = txn.remove(shop_.items, key); !gone) return gone;
  } else {
    if (status put = txn.update(shop_.items, key, key_of(plan.other)); !put) return put;
    if (status put = txn.put(shop_.by_colour, index, ""); !put) return put;
  }
  return note(txn, plan, number);
}

status Operations::pick(Transaction& txn, const Plan& plan, std::uint64_t number) {
  const std::string colour = key_of(plan.what);
  std::uint32_t picked = 0;
  {
    auto cursor = txn.cursor(shop_.by_colour, {.prefix = colour,
                                               .limit = 1,
                                               .lock = holdfast::lock_mode::exclusive,
                                               .wait = holdfast::lock_wait::skip_locked});
    if (!cursor) return cursor.error();
    const auto first = cursor->next();
    if (!first) return first.error().is(HF_END) ? unwanted() : status(first.error());
    picked = static_cast<std::uint32_t>(from_be(first->key.substr(4)));
  }
  const auto row = txn.find_for_update(shop_.items, key_of(picked));
  if (!row) return row.error();
  if (!row->has_value() || (*row)->value != colour) return broken("an index leads to no item of its colour");
  if (status gone = txn.remove(shop_.by_colour, key_of(plan.what, picked)); !gone) return gone;
  if (status gone = txn.remove(shop_.items, key_of(picked)); !gone) return gone;
  return note(txn, plan, number, picked);
}

status Operations::census(Transaction& txn, const Plan& plan, std::uint64_t number) {
  const auto claims = txn.count(shop_.claims, {.prefix = key_of(plan.what)});
  if (!claims) return claims.error();
  const auto issued = txn.counter_get(shop_.issued, key_of(plan.what));
  if (!issued && !issued.error().is(HF_NOT_FOUND)) return issued.error();
  const std::int64_t counted = issued.value_or(0);
  if (static_cast<std::int64_t>(*claims) != counted) {
    return broken("campaign " + std::to_string(plan.what) + ": " + std::to_string(*claims) + " claims, " +
                  std::to_string(counted) + " issued");
  }
  return note(txn, plan, number, *claims);
}

// At read committed nothing but the session's lock keeps two cashiers apart.
status Operations::till(Transaction& txn, const Plan& plan, std::uint64_t number) {
  const std::string key = key_of(plan.what);
  const auto found = txn.find(shop_.tills, key);
  if (!found) return found.error();
  const std::uint64_t before = found->has_value() ? from_be((*found)->value) : 0;
  if (plan.way == 0) sleep_us(200);
  if (status put = txn.put(shop_.tills, key, be(before + 1, 8)); !put) return put;
  return note(txn, plan, number, before + 1);
}

// Every second one sleeps past its deadline, while others want its row.
status Operations::loiter(Transaction& txn, const Plan& plan, std::uint64_t number) {
  const auto row = txn.get_for_update(shop_.accounts, key_of(plan.what));
  if (!row) return row.error();
  if (status noted = note(txn, plan, number); !noted) return noted;
  if (plan.way % 2 != 0) return {};
  sleep_us(static_cast<std::uint64_t>(kLoiterDeadline.count()) * 1'000 + 2'000);
  const status late = txn.put(shop_.visits, history_key(lane_, number), "", kVisitTtl);
  return late ? broken("a transaction went on past its deadline") : late;
}

status Operations::scan_accounts(Transaction& txn) {
  std::int64_t sum = 0;
  auto range = txn.range(shop_.accounts);
  for (const auto& [key, row] : range) sum += static_cast<std::int64_t>(from_be(row.value));
  if (!range.status()) return range.status();
  if (sum != kAccounts * kBalanceFirst) return broken("a scan saw accounts with a sum of " + std::to_string(sum));
  return {};
}

// Of one colour: those in the index are those among the items.
status Operations::scan_colour(Transaction& txn, std::uint32_t colour) {
  const std::string wanted = key_of(colour);
  std::vector<std::string> in_index;
  auto index = txn.range(shop_.by_colour, {.prefix = wanted, .reverse = true});
  for (const auto& [key, row] : index) in_index.emplace_back(key.substr(4));
  if (!index.status()) return index.status();
  std::vector<std::string> in_items;
  auto items = txn.range(shop_.items);
  for (const auto& [key, row] : items) {
    if (row.value == wanted) in_items.emplace_back(key);
  }
  if (!items.status()) return items.status();
  std::reverse(in_index.begin(), in_index.end());
  if (in_index != in_items) return broken("a scan saw an index that is not its rows");
  return {};
}

Answer Operations::scan(const Plan& plan, std::uint64_t committed) {
  holdfast::txn_options options;
  options.read_only = true;
  options.base_only = plan.way == 0;
  options.read_durable = plan.way == 1;
  if (plan.way == 2) options.isolation = holdfast::isolation::snapshot;
  holdfast::result<Transaction> txn = shop_.database.begin(options);
  if (!txn) return {txn.code(), Event::kRefused, 0, text_of(txn.error())};
  status done;
  if (committed != 0 && !options.base_only) {
    const auto own = txn->find(shop_.history, history_key(lane_, committed));
    if (!own) {
      done = own.error();
    } else if (!own->has_value()) {
      done = broken("lane " + std::to_string(lane_) + " does not see its acknowledged commit " +
                    std::to_string(committed));
    }
  }
  if (done) done = scan_accounts(*txn);
  if (done) done = scan_colour(*txn, plan.what);
  if (done) done = txn->commit();
  return {done.code(), Event::kRefused, 0, done ? std::string() : text_of(done.error())};
}

}  // namespace torture::kill
