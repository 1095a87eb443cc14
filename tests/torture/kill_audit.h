// SPDX-License-Identifier: Apache-2.0
// The audit: what one snapshot of the database shows, against the journals and against what the operations that are
// there must have made of all other rows. It uses reads and the journals, nothing that the engine says about itself.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "torture/kill_journal.h"
#include "torture/kill_model.h"
#include "torture/kill_shop.h"

namespace torture::kill {

struct Done {  // an operation that is there
  std::uint32_t lane;
  std::uint64_t number;
  std::uint64_t csn;
  Entry entry;
};

using Rows = std::map<std::string, std::string>;
using Counters = std::map<std::uint32_t, std::int64_t>;

// Everything that one snapshot shows.
struct Books {
  std::vector<Done> history;  // in order of csn, once replayed
  Rows orders, claims, accounts, items, by_colour, tills;
  std::map<std::string, std::uint64_t> blobs;  // lane's key -> number inside
  Counters stock, issued, likes;
  std::uint64_t load_rows = 0;
  std::uint64_t snapshot = 0;
};
// "" or what is wrong with a row by itself.
std::string read_books(Shop& shop, const holdfast::txn_options& options, Books* books);

// What the operations that are there must have made of the other tables. "" or the first difference.
std::string replay(std::uint64_t seed, Books& books);

// The journals of all lanes: what was answered by then.
struct Answers {
  std::vector<std::vector<Record>> lanes;
  std::uint64_t csn_max = 0;  // of what was acknowledged
  std::string read(const std::string& directory, std::uint32_t lanes_count);
};

struct Counts {
  std::uint64_t acknowledged = 0, durable = 0, refused = 0, lost = 0, in_doubt = 0, in_doubt_there = 0;
};
// `before`: read before the snapshot was taken; what it acknowledges has to be there. `after`: read later; what it says
// was refused must not be there, and what is there must have been tried.
std::string compare(const Books& books, const Answers& before, const Answers& after, Counts* counts);

// While nobody lives: notes in the journals what is not there of what was in doubt, so that it may not show up later.
// With `amnesia` the shared memory went with the processes, as when the machine's power went and its disk's cache did
// not: what was not answered as durable may be gone, together with all after it, and is noted too. "" or what should be
// there.
std::string settle_doubts(const std::string& journals, const Books& books, const Answers& answers, bool amnesia);

}  // namespace torture::kill
