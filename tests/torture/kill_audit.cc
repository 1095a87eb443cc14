// SPDX-License-Identifier: Apache-2.0
#include "torture/kill_audit.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "holdfast/admin.h"
#include "torture/kill_board.h"
#include "torture/kill_roles.h"

namespace torture::kill {
namespace {

// A dead process's locks are taken back by whoever does the upkeep, within a second.
constexpr std::uint64_t kLocksGoneNs = 2'000'000'000;

std::string operation_text(std::uint32_t lane, std::uint64_t number, std::uint8_t kind) {
  return "lane " + std::to_string(lane) + ", operation " + std::to_string(number) + " (" +
         name_of(static_cast<Kind>(kind)) + "): ";
}

const char* name_of_event(Event event) {
  switch (event) {
    case Event::kDurable:
      return "acknowledged as durable";
    case Event::kRelaxed:
      return "acknowledged as relaxed";
    case Event::kTicket:
      return "acknowledged with a ticket";
    case Event::kWaited:
      return "acknowledged, its ticket too";
    case Event::kRefused:
      return "refused";
    case Event::kAbsent:
      return "found absent";
    case Event::kLost:
      return "lost with the memory";
    case Event::kIntent:
      break;
  }
  return "in doubt";
}

bool is_acknowledged(Event event) {
  return event == Event::kDurable || event == Event::kRelaxed || event == Event::kTicket || event == Event::kWaited;
}

// The last word on each operation of a lane, and where it is said to be.
struct Said {
  Event event;
  std::uint8_t kind;
  std::uint64_t csn;
  std::int32_t code;
};
using LaneAnswers = std::map<std::uint64_t, Said>;

LaneAnswers last_words(const std::vector<Record>& records) {
  LaneAnswers answers;
  for (const Record& record : records) {
    answers[record.number] = {record.event, record.kind, record.csn, record.code};
  }
  return answers;
}

std::string compare_lane(std::uint32_t lane, const std::map<std::uint64_t, std::uint64_t>& there,
                         const LaneAnswers& before, const LaneAnswers& after, Counts* counts) {
  for (const auto& [number, said] : before) {
    if (!is_acknowledged(said.event)) continue;
    const auto row = there.find(number);
    if (row == there.end()) return operation_text(lane, number, said.kind) + name_of_event(said.event) + ", and gone";
    if (row->second != said.csn) {
      return operation_text(lane, number, said.kind) + "answered commit " + std::to_string(said.csn) + ", is commit " +
             std::to_string(row->second);
    }
    ++counts->acknowledged;
    if (said.event != Event::kRelaxed && said.event != Event::kTicket) ++counts->durable;
  }
  for (const auto& [number, said] : after) {
    if (!is_acknowledged(said.event) && said.event != Event::kIntent) {
      std::uint64_t& count = said.event == Event::kRefused  ? counts->refused
                             : said.event == Event::kAbsent ? counts->in_doubt
                                                            : counts->lost;
      ++count;
      if (there.count(number) != 0) {
        return operation_text(lane, number, said.kind) + name_of_event(said.event) + " (" + std::to_string(said.code) +
               "), and there";
      }
    } else if (said.event == Event::kIntent) {
      ++counts->in_doubt;
      counts->in_doubt_there += there.count(number);
    }
  }
  for (const auto& [number, csn] : there) {
    if (after.count(number) == 0) return operation_text(lane, number, 0) + "there, and nobody tried it";
  }
  return "";
}

// `still`: nobody commits, so that figures read one after the other belong together.
std::string check_stats(Shop& shop, std::uint64_t csn_max, bool still) {
  const holdfast::result<hf_stats> stats = shop.database.stats();
  if (!stats) return "stats: " + text_of(stats.error());
  const auto text = [](const char* what, std::uint64_t left, std::uint64_t right) {
    return std::string("stats: ") + what + ": " + std::to_string(left) + " and " + std::to_string(right);
  };
  if (still && stats->csn_applied > stats->csn_published)
    return text("applied and published", stats->csn_applied, stats->csn_published);
  if (still && stats->csn_applied > stats->csn_durable)
    return text("applied and durable", stats->csn_applied, stats->csn_durable);
  if (csn_max > stats->csn_published) return text("acknowledged and published", csn_max, stats->csn_published);
  if (stats->transactions_open != 0) return text("transactions open", stats->transactions_open, 0);
  if (stats->processes == 0 || stats->processes > kProcessesMax) return text("processes", stats->processes, 1);
  if (stats->overlay_bytes > stats->overlay_bytes_max) {
    return text("overlay and its limit", stats->overlay_bytes, stats->overlay_bytes_max);
  }
  return "";
}

// Everybody stands still: nobody may hold or want a lock, also not the dead.
std::string check_no_locks(Shop& shop) {
  const std::uint64_t until = now_ns() + kLocksGoneNs;
  for (;;) {
    const auto locks = shop.database.locks();
    if (!locks) return "locks: " + text_of(locks.error());
    if (locks->empty()) return "";
    if (now_ns() > until) {
      const holdfast::lock_info& first = locks->front();
      return std::to_string(locks->size()) + " locks were left behind; the first is of " + first.label + ", pid " +
             std::to_string(first.pid) + ", on table " + first.table + ", " + std::to_string(first.age.count()) +
             " ms old";
    }
    sleep_us(10'000);
  }
}

std::string check_once(const RoleOptions& options, Shop& shop, const holdfast::txn_options& txn, Counts* counts) {
  const std::uint32_t lanes = options.processes * options.threads;
  Answers before;
  Answers after;
  std::string wrong = before.read(options.journals(), lanes);
  Books books;
  if (wrong.empty()) wrong = read_books(shop, txn, &books);
  if (wrong.empty() && options.alone) {
    wrong = settle_doubts(options.journals(), books, before, options.amnesia);
    if (wrong.empty()) wrong = before.read(options.journals(), lanes);
  }
  if (wrong.empty()) wrong = after.read(options.journals(), lanes);
  if (wrong.empty()) wrong = replay(options.seed, books);
  if (wrong.empty()) wrong = compare(books, before, after, counts);
  if (wrong.empty() && before.csn_max > books.snapshot) wrong = "a snapshot does not reach what was acknowledged";
  return wrong.empty() ? check_stats(shop, before.csn_max, options.quiet || options.alone) : wrong;
}

// Reads everything once more, out of the base alone.
std::string check_base(const RoleOptions& options, Shop& shop) {
  if (holdfast::status merged = shop.database.maintain(true); !merged) return "merge: " + text_of(merged.error());
  holdfast::txn_options base;
  base.read_only = true;
  base.base_only = true;
  Counts ignored;
  const std::string wrong = check_once(options, shop, base, &ignored);
  return wrong.empty() ? "" : "in the base: " + wrong;
}

// The operator's own check, once nobody has the database open.
std::string run_hf_check(const RoleOptions& options) {
  hf_check_options how = HF_CHECK_OPTIONS_INIT;
  hf_check_result result = {};
  result.size = sizeof result;
  hf_error error = HF_ERROR_INIT;
  const int code = hf_check(options.database().c_str(), &how, &result, &error);
  const bool missing = code == HF_INTERNAL && error.code == HF_OK && result.csn_log == 0;  // not in this library yet
  if (code == HF_OK || missing) return "";
  return std::string("hf_check: ") + hf_code_name(code) + ": " + error.message;
}

std::string audit_all(const RoleOptions& options, Board& board, Shop& shop) {
  holdfast::txn_options reads;
  reads.read_only = true;
  Counts counts;
  std::string wrong = check_once(options, shop, reads, &counts);
  if (wrong.empty() && (options.quiet || options.alone)) wrong = check_no_locks(shop);
  if (wrong.empty() && (options.quiet || options.alone)) wrong = check_base(options, shop);
  if (wrong.empty()) {
    board.audit.audits.fetch_add(1);
    board.audit.acknowledged.store(counts.acknowledged);
    board.audit.durable.store(counts.durable);
    board.audit.refused.store(counts.refused);
    board.audit.lost.store(counts.lost);
    board.audit.in_doubt.store(counts.in_doubt);
    board.audit.in_doubt_there.store(counts.in_doubt_there);
  }
  return wrong;
}

}  // namespace

std::string Answers::read(const std::string& directory, std::uint32_t lanes_count) {
  lanes.resize(lanes_count);
  csn_max = 0;
  for (std::uint32_t lane = 0; lane < lanes_count; ++lane) {
    if (std::string wrong = read_journal(directory, lane, &lanes[lane]); !wrong.empty()) return wrong;
    for (const auto& [number, said] : last_words(lanes[lane])) {
      if (is_acknowledged(said.event)) csn_max = std::max(csn_max, said.csn);
    }
  }
  return "";
}

std::string compare(const Books& books, const Answers& before, const Answers& after, Counts* counts) {
  std::vector<std::map<std::uint64_t, std::uint64_t>> there(after.lanes.size());
  for (const Done& done : books.history) {
    if (done.lane >= there.size()) return "an operation of lane " + std::to_string(done.lane);
    there[done.lane][done.number] = done.csn;
  }
  for (std::uint32_t lane = 0; lane < there.size(); ++lane) {
    const std::string wrong =
        compare_lane(lane, there[lane], last_words(before.lanes[lane]), last_words(after.lanes[lane]), counts);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string settle_doubts(const std::string& journals, const Books& books, const Answers& answers, bool amnesia) {
  std::uint64_t newest = 0;
  std::vector<std::map<std::uint64_t, std::uint64_t>> there(answers.lanes.size());
  for (const Done& done : books.history) {
    newest = std::max(newest, done.csn);
    if (done.lane < there.size()) there[done.lane][done.number] = done.csn;
  }
  for (std::uint32_t lane = 0; lane < there.size(); ++lane) {
    std::vector<std::pair<std::uint64_t, Said>> gone;
    for (const auto& [number, said] : last_words(answers.lanes[lane])) {
      if (there[lane].count(number) != 0) continue;
      if (said.event == Event::kIntent || (amnesia && is_acknowledged(said.event))) gone.emplace_back(number, said);
    }
    if (gone.empty()) continue;
    Journal journal(journals, lane);
    for (const auto& [number, said] : gone) {
      const std::string what = operation_text(lane, number, said.kind) + name_of_event(said.event);
      if (said.event == Event::kDurable || said.event == Event::kWaited) return what + ", and gone with the memory";
      if (said.csn > 0 && said.csn <= newest) {
        return what + ", is gone, and commit " + std::to_string(newest) + " after its " + std::to_string(said.csn) +
               " is there";
      }
      journal.append(said.event == Event::kIntent ? Event::kAbsent : Event::kLost, said.kind, number, said.csn, 0);
    }
  }
  return "";
}

int audit(const RoleOptions& options, Board& board) {
  std::string wrong;
  {
    const std::string label = options.alone ? "audit, alone" : "audit";
    holdfast::result<Shop> shop = open_shop(options.database(), small_options(label), options.fills);
    begin_stage(options, board, Phase::kRunning);
    wrong = shop ? audit_all(options, board, *shop) : "open: " + text_of(shop.error());
    begin_stage(options, board, Phase::kLeaving);
  }
  if (wrong.empty() && options.alone) wrong = run_hf_check(options);
  if (wrong.empty()) return 0;
  report_fault(board, "audit: " + wrong);
  return kExitFault;
}

// Drops what an earlier load left, loads anew, and again.
int load(const RoleOptions& options, Board& board) {
  const auto fail = [&](const char* what, const holdfast::error& why) {
    report_fault(board, std::string("bulk load, ") + what + ": " + text_of(why));
    return kExitFault;
  };
  holdfast::result<Shop> shop = open_shop(options.database(), small_options("loader"), false);
  if (!shop) return fail("open", shop.error());
  begin_stage(options, board, Phase::kRunning);
  if (shop->load.c_table() != nullptr) {
    if (holdfast::status gone = shop->database.drop_table("load"); !gone) return fail("drop", gone.error());
  }
  holdfast::result<holdfast::Table> table = shop->database.ensure_table("load");
  if (!table) return fail("make the table", table.error());
  holdfast::result<holdfast::Load> loading = shop->database.load(*table);
  if (!loading) return fail("begin", loading.error());
  for (std::uint32_t i = 0; i < kLoadRows; ++i) {
    if (holdfast::status added = loading->add(be(i, 4), load_value(i)); !added) {
      return fail("add", added.error());
    }
  }
  if (holdfast::status done = loading->finish(); !done) return fail("finish", done.error());
  begin_stage(options, board, Phase::kLeaving);
  return 0;
}

// For the dump of a campaign that is stuck.
int list_locks(const RoleOptions& options, Board&) {
  holdfast::open_options open = small_options("dump");
  open.open_timeout = holdfast::milliseconds(3'000);
  open.background_thread = false;
  holdfast::result<holdfast::Database> database = holdfast::Database::open(options.database(), open);
  if (!database) {
    std::fprintf(stderr, "cannot open to list the locks: %s\n", text_of(database.error()).c_str());
    return kExitFault;
  }
  if (const auto stats = database->stats()) {
    std::fprintf(
        stderr, "csn: published %llu, durable %llu, applied %llu; processes %u; takeovers %llu; lock units %llu\n",
        static_cast<unsigned long long>(stats->csn_published), static_cast<unsigned long long>(stats->csn_durable),
        static_cast<unsigned long long>(stats->csn_applied), stats->processes,
        static_cast<unsigned long long>(stats->takeovers), static_cast<unsigned long long>(stats->locks_held));
  }
  const auto locks = database->locks();
  if (!locks) return kExitFault;
  for (const holdfast::lock_info& lock : *locks) {
    std::fprintf(stderr, "  lock: %s, pid %llu, thread %llu, %s, holds %u, wants %u, %lld ms\n", lock.label.c_str(),
                 static_cast<unsigned long long>(lock.pid), static_cast<unsigned long long>(lock.thread),
                 lock.table.c_str(), static_cast<unsigned>(lock.held), static_cast<unsigned>(lock.wanted),
                 static_cast<long long>(lock.age.count()));
  }
  std::fflush(stderr);
  _exit(0);  // a stuck database need not be left in order
}

}  // namespace torture::kill
