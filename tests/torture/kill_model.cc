// SPDX-License-Identifier: Apache-2.0
#include "torture/kill_model.h"

#include <algorithm>

namespace torture::kill {
namespace {

// Of 10,000 operations. Blobs are few: each is a megabyte for the log, the overlay and the base.
struct Share {
  Kind kind;
  std::uint32_t share;
};
constexpr Share kShares[] = {{Kind::kBasket, 2300},   {Kind::kRestock, 400}, {Kind::kCoupon, 1500},
                             {Kind::kTransfer, 2000}, {Kind::kLike, 1000},   {Kind::kItem, 1000},
                             {Kind::kPick, 250},      {Kind::kCensus, 100},  {Kind::kTill, 850},
                             {Kind::kLoiter, 95},     {Kind::kBlob, 5},      {Kind::kScan, 500}};

constexpr std::uint64_t kNumbersPerCampaign = 100;
constexpr std::size_t kPadding = 90;  // makes the log roll and the overlay rotate several times a second

Kind choose_kind(Random& random) {
  std::uint32_t left = random.below(10'000);
  for (const Share& each : kShares) {
    if (left < each.share) return each.kind;
    left -= each.share;
  }
  return Kind::kScan;
}

Finish choose_finish(Random& random, Kind kind) {
  const std::uint32_t chance = random.below(100);
  if (kind == Kind::kLike) return chance < 70 ? Finish::kRelaxed : Finish::kTicket;
  if (chance < 50) return Finish::kDurable;
  if (chance < 70) return Finish::kRelaxed;
  if (chance < 85) return Finish::kTicket;
  // Those that can be a function without a view of their own.
  const bool plain = kind == Kind::kBasket || kind == Kind::kRestock || kind == Kind::kCoupon || kind == Kind::kCensus;
  return plain ? Finish::kTransact : Finish::kDurable;
}

void plan_basket(Random& random, Plan& plan) {
  plan.lines_count = 1 + random.below(kLinesMax);
  for (std::uint32_t i = 0; i < plan.lines_count; ++i) {
    // Few products sell most.
    const std::uint32_t product = random.below(2) == 0 ? random.below(4) : random.below(kProducts);
    plan.lines[i] = {product, 1 + random.below(3)};
  }
}

}  // namespace

const char* name_of(Kind kind) noexcept {
  constexpr const char* kNames[kKindsCount] = {"nothing", "basket", "restock", "coupon", "transfer", "like", "item",
                                               "pick",    "census", "till",    "loiter", "blob",     "scan"};
  const auto at = static_cast<std::size_t>(kind);
  return at < kKindsCount ? kNames[at] : "unknown";
}

std::uint32_t campaign_at(std::uint64_t number) noexcept {
  return static_cast<std::uint32_t>(number / kNumbersPerCampaign);
}

Plan plan_of(std::uint64_t seed, std::uint32_t lane, std::uint64_t number) {
  Random random(seed ^ (std::uint64_t{lane + 1} << 48) ^ number);
  Plan plan;
  plan.kind = choose_kind(random);
  plan.finish = choose_finish(random, plan.kind);
  plan.way = random.below(8);
  plan.removes = random.below(3) == 0;
  switch (plan.kind) {
    case Kind::kBasket:
      plan_basket(random, plan);
      break;
    case Kind::kRestock:
      plan.what = random.below(2) == 0 ? random.below(4) : random.below(kProducts);
      plan.amount = 10 + random.below(30);
      break;
    case Kind::kCoupon:
    case Kind::kCensus:
      plan.what = campaign_at(number);
      plan.other = random.below(kBuyers);
      break;
    case Kind::kTransfer:
      plan.what = random.below(random.below(2) == 0 ? 4 : kAccounts);  // some are in everybody's way
      plan.other = (plan.what + 1 + random.below(kAccounts - 1)) % kAccounts;
      if (plan.what < 4 && random.below(2) == 0) plan.other = (plan.what + 1 + random.below(3)) % 4;  // deadlocks
      plan.amount = 1 + random.below(60);
      break;
    case Kind::kLike:
      plan.what = random.below(kPictures);
      break;
    case Kind::kItem:
      plan.what = random.below(kItems);
      plan.other = random.below(kColours);
      break;
    case Kind::kPick:
    case Kind::kScan:
      plan.what = random.below(kColours);
      break;
    case Kind::kTill:
      plan.what = random.below(kTills);
      break;
    case Kind::kLoiter:
      plan.what = random.below(kAccounts);
      break;
    case Kind::kBlob:
    case Kind::kNone:
      break;
  }
  return plan;
}

std::string be(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

std::uint64_t from_be(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

std::string key_of(std::uint32_t number) { return be(number, 4); }
std::string key_of(std::uint32_t first, std::uint32_t second) { return be(first, 4) + be(second, 4); }
std::string history_key(std::uint32_t lane, std::uint64_t number) { return be(lane, 2) + be(number, 8); }

std::string history_value(const Entry& entry, std::uint32_t lane, std::uint64_t number) {
  std::string value = be(static_cast<std::uint8_t>(entry.kind), 1) + be(entry.result, 8) + history_key(lane, number);
  value.append(kPadding, static_cast<char>('a' + number % 26));
  return value;
}

bool read_history(std::string_view value, std::uint32_t lane, std::uint64_t number, Entry* entry) {
  if (value.size() < 9) return false;
  entry->kind = static_cast<Kind>(value[0]);
  entry->result = from_be(value.substr(1, 8));
  return value == history_value(*entry, lane, number);
}

std::string order_value(const Plan& plan) {
  std::string value;
  for (std::uint32_t i = 0; i < plan.lines_count; ++i) {
    value += key_of(plan.lines[i].product, static_cast<std::uint32_t>(plan.lines[i].quantity));
  }
  return value;
}

std::string blob_value(std::uint32_t lane, std::uint64_t number) {
  std::string value = history_key(lane, number);
  Random random(number * kKindsCount + lane);
  value.reserve(kBlobSize);
  while (value.size() < kBlobSize) value += be(random.next(), 8);
  return value;
}

std::string load_value(std::uint64_t number) {
  std::string value;
  Random random(number);
  while (value.size() < 64) value += be(random.next(), 8);
  return value;
}

}  // namespace torture::kill
