// SPDX-License-Identifier: Apache-2.0
// The shop of the kill campaign: its tables, and what each operation is to do. An operation follows from (seed, lane,
// number) alone, so that the audit can tell from the numbers of those that are there what all rows have to be.
//
// Tables
//   history   lane, number -> kind, result   one row for each operation that committed, written by its transaction;
//                                            its version is the place of the operation in the order of all
//   stock     product -> counter >= 0        orders    lane, number -> lines (a basket takes its lines from the stock)
//   issued    campaign -> counter <= 100     claims    campaign, buyer -> lane, number (a coupon: insert and add)
//   accounts  account -> balance >= 0; the sum stays what it was
//   likes     picture -> counter
//   items     item -> colour                 by_colour colour, item -> "" : the index that the application keeps
//   tills     till -> number, read and written at read committed under a session lock on its name
//   blobs     lane -> number and a megabyte: commits that go past the log's ring
//   visits    lane, number -> "" with a short life
//   load      number -> bytes: empty or all of a bulk load
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace torture::kill {

inline constexpr std::uint32_t kProducts = 48;
inline constexpr std::int64_t kStockFirst = 400;
inline constexpr std::uint32_t kLinesMax = 4;
inline constexpr std::int64_t kCouponsEach = 100;
inline constexpr std::uint32_t kBuyers = 160;
inline constexpr std::uint32_t kAccounts = 24;
inline constexpr std::int64_t kBalanceFirst = 1'000;
inline constexpr std::uint32_t kPictures = 6;
inline constexpr std::uint32_t kItems = 400;
inline constexpr std::uint32_t kColours = 12;
inline constexpr std::uint32_t kTills = 2;
inline constexpr std::size_t kBlobSize = 1'200'000;  // over what the log's ring takes
inline constexpr std::uint32_t kLoadRows = 3'000;

enum class Kind : std::uint8_t {
  kNone,
  kBasket,
  kRestock,
  kCoupon,
  kTransfer,
  kLike,
  kItem,    // puts an item of some colour, gives it another, or removes it
  kPick,    // takes the first free item of a colour: locked, others' skipped
  kCensus,  // counts a campaign's claims and compares with its counter
  kTill,
  kLoiter,  // holds a lock past its deadline
  kBlob,
  kScan,  // reads only
};
inline constexpr int kKindsCount = 13;
const char* name_of(Kind kind) noexcept;

// How it locks (what the number means depends on the kind) and how it ends.
enum class Finish : std::uint8_t { kDurable, kRelaxed, kTicket, kTransact };

struct Line {
  std::uint32_t product;
  std::int64_t quantity;
};

struct Plan {
  Kind kind = Kind::kNone;
  Finish finish = Finish::kDurable;
  std::uint32_t way = 0;
  std::uint32_t lines_count = 0;
  std::array<Line, kLinesMax> lines{};
  std::uint32_t what = 0;   // campaign, picture, item, till, or the first account
  std::uint32_t other = 0;  // buyer, colour, or the second account
  std::int64_t amount = 0;
  bool removes = false;
};
Plan plan_of(std::uint64_t seed, std::uint32_t lane, std::uint64_t number);
// The campaign that operations of about this number take coupons of.
std::uint32_t campaign_at(std::uint64_t number) noexcept;

// Numbers as bytes whose order is theirs.
std::string be(std::uint64_t value, int bytes);
std::uint64_t from_be(std::string_view bytes);
std::string key_of(std::uint32_t number);
std::string key_of(std::uint32_t first, std::uint32_t second);
std::string history_key(std::uint32_t lane, std::uint64_t number);

// Of a row of `history`. `result`: what the operation found and the plan does not say: the item of a pick, the number
// of a census.
struct Entry {
  Kind kind;
  std::uint64_t result;
};
std::string history_value(const Entry& entry, std::uint32_t lane, std::uint64_t number);
bool read_history(std::string_view value, std::uint32_t lane, std::uint64_t number, Entry* entry);

std::string order_value(const Plan& plan);
std::string blob_value(std::uint32_t lane, std::uint64_t number);
std::string load_value(std::uint64_t number);

// Small and fast; the same numbers on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() noexcept {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;  // splitmix64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::uint32_t below(std::uint32_t limit) noexcept { return static_cast<std::uint32_t>(next() % limit); }

 private:
  std::uint64_t state_;
};

}  // namespace torture::kill
