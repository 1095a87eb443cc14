// SPDX-License-Identifier: Apache-2.0
// Runs one operation of the shop, as its plan says, on the public C++ face.
//
// Thread contract: one object per lane, used by its thread. The Shop may be shared.
#pragma once

#include <cstdint>
#include <string>

#include "torture/kill_journal.h"
#include "torture/kill_model.h"
#include "torture/kill_shop.h"

namespace torture::kill {

// A code of the shop's own: the transaction decided not to.
inline constexpr int kUnwanted = 1'000;
// What the database showed must not be; the message says it.
inline constexpr int kBroken = 1'001;

struct Answer {
  int code = HF_OK;
  Event event = Event::kRefused;  // what to write down
  std::uint64_t csn = 0;
  std::string message;  // of a failure
};

class Operations {
 public:
  // `committed` is the newest number of this lane that was acknowledged; it has to be there.
  Operations(Shop& shop, std::uint64_t seed, std::uint32_t lane);

  Answer run(const Plan& plan, std::uint64_t number, std::uint64_t committed);
  // Whether a code may be the answer to such an operation when all is well.
  static bool is_expected(const Plan& plan, int code) noexcept;

 private:
  using status = holdfast::status;

  Answer finish(holdfast::Transaction& txn, Finish how);
  Answer run_in_transact(const Plan& plan, std::uint64_t number);
  status body(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number);
  status note(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number, std::uint64_t result = 0);

  status basket(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number);
  status coupon(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number);
  status lock_accounts(holdfast::Transaction& txn, const Plan& plan);
  status transfer(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number);
  status like(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number);
  status item(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number);
  status pick(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number);
  status census(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number);
  status till(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number);
  status loiter(holdfast::Transaction& txn, const Plan& plan, std::uint64_t number);
  status scan_accounts(holdfast::Transaction& txn);
  status scan_colour(holdfast::Transaction& txn, std::uint32_t colour);
  Answer scan(const Plan& plan, std::uint64_t committed);

  Shop& shop_;
  const std::uint64_t seed_;
  const std::uint32_t lane_;
  holdfast::Session session_;
};

}  // namespace torture::kill
