// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <string>
#include <vector>

#include "contention_report.h"
#include "shop.h"
#include "text.h"

namespace flash_sale {
namespace {

constexpr unsigned kYes = static_cast<unsigned>(Outcome::kYes);
constexpr unsigned kSoldOut = static_cast<unsigned>(Outcome::kSoldOut);
constexpr unsigned kRepeated = static_cast<unsigned>(Outcome::kRepeated);
constexpr unsigned kTooPoor = static_cast<unsigned>(Outcome::kTooPoor);

constexpr std::uint64_t kUnlimited = UINT64_MAX;

// One thing that buyers could get.
struct Line {
  std::string name;
  std::string key;             // in JSON
  std::uint64_t offered = 0;   // kUnlimited: as many as want it
  std::uint64_t granted = 0;   // what buyers were told to have
  std::uint64_t stored = 0;    // what the database says
  std::uint64_t refused = 0;   // sold out, too poor
  std::uint64_t repeated = 0;  // second clicks that were refused
  std::uint64_t twice = 0;     // second clicks that were granted
  bool has_answers = true;     // false: a product, of which orders hold several

  std::uint64_t oversold() const {
    const std::uint64_t most = std::max(granted, stored);
    return most <= offered ? 0 : most - offered;
  }
};

struct Summary {
  std::vector<Line> lines;
  double elapsed_s = 0;
  std::uint64_t commits = 0;
  std::uint64_t syncs = 0;
  std::uint64_t oversold = 0;
  std::uint64_t twice = 0;
  std::int64_t points_lost = 0;

  double commits_per_s() const { return elapsed_s > 0 ? static_cast<double>(commits) / elapsed_s : 0; }
  double commits_per_sync() const { return syncs > 0 ? static_cast<double>(commits) / static_cast<double>(syncs) : 0; }
};

Line line_of(const char* name, const char* key, const std::uint64_t (&answers)[5], std::uint64_t offered,
             std::uint64_t stored, std::uint64_t twice) {
  return {name,  key, offered, answers[kYes], stored, answers[kSoldOut] + answers[kTooPoor], answers[kRepeated],
          twice, true};
}

// Visits of one buyer stand side by side.
std::uint64_t granted_twice(const Board& board, std::atomic<Outcome> Visit::*slot) {
  std::uint64_t twice = 0;
  for (std::uint32_t index = 1; index < board.visit_count(); ++index) {
    const auto yes = [&](std::uint32_t visit) {
      return (board.visit(visit).*slot).load(std::memory_order_relaxed) == Outcome::kYes;
    };
    if (Board::buyer_of(index) == Board::buyer_of(index - 1) && yes(index) && yes(index - 1)) ++twice;
  }
  return twice;
}

Summary summarize(const Options& options, const Board& board) {
  const Figures& figures = board.figures();
  const AuditResult& audit = figures.audit;
  const Tally tally = board.tally();
  Summary summary;
  summary.lines.push_back(
      line_of("coupons", "coupons", tally.claims, options.coupons, audit.claims, granted_twice(board, &Visit::claim)));
  summary.lines.push_back(
      line_of("orders", "orders", tally.orders, kUnlimited, audit.orders, granted_twice(board, &Visit::order)));
  for (std::uint32_t product = 0; product < kProductCount; ++product) {
    Line line;
    const std::string number = std::to_string(product + 1);
    line.name = "  of product " + number;
    line.key = "product_" + number;
    line.offered = static_cast<std::uint64_t>(initial_stock(options, product));
    line.stored = audit.items[product];
    line.has_answers = false;
    summary.lines.push_back(line);
  }
  Line* const products = &summary.lines[2];
  for (std::uint32_t index = 0; index < board.visit_count(); ++index) {
    if (board.visit(index).order.load(std::memory_order_relaxed) != Outcome::kYes) continue;
    const Basket basket = basket_of(options.seed, Board::buyer_of(index));
    for (std::uint32_t line = 0; line < basket.count; ++line) ++products[basket.products[line]].granted;
  }
  Line likes;
  likes.name = likes.key = "likes";
  likes.offered = kUnlimited;
  likes.granted = tally.likes_yes;
  likes.stored = audit.likes;
  likes.repeated = tally.likes_repeated;
  likes.twice = tally.likes_yes > audit.likes ? tally.likes_yes - audit.likes : 0;
  summary.lines.push_back(likes);

  for (const Line& line : summary.lines) summary.oversold += line.oversold();
  summary.twice = summary.lines[0].twice + summary.lines[1].twice;  // a second like costs nobody anything
  summary.points_lost = audit.points_initial - audit.points_buyers - audit.points_tills;
  summary.elapsed_s = static_cast<double>(figures.ended_ns - figures.started_ns) / 1e9;
  summary.commits = figures.commits_after - figures.commits_before;
  summary.syncs = figures.syncs_after - figures.syncs_before;
  return summary;
}

void print_lines(const Summary& summary) {
  std::printf("\n%-16s%10s%10s%13s%10s%12s%10s%10s\n", "", "offered", "granted", "in database", "refused", "duplicates",
              "granted", "oversold");
  std::printf("%-16s%10s%10s%13s%10s%12s%10s%10s\n", "", "", "", "", "", "refused", "twice", "");
  for (const Line& line : summary.lines) {
    const auto if_any = [&](std::uint64_t count) { return line.has_answers ? grouped(count) : std::string(); };
    const bool limited = line.offered != kUnlimited;
    const std::string offered = limited ? grouped(line.offered) : "any";
    std::printf("%-16s%10s%10s%13s%10s%12s%10s%10s\n", line.name.c_str(), offered.c_str(),
                grouped(line.granted).c_str(), grouped(line.stored).c_str(), if_any(line.refused).c_str(),
                if_any(line.repeated).c_str(), if_any(line.twice).c_str(),
                limited ? grouped(line.oversold()).c_str() : "");
  }
}

void print_figures(const Options& options, const Board& board, const CrowdResult& crowd, const Summary& summary) {
  const Figures& figures = board.figures();
  const AuditResult& audit = figures.audit;
  std::printf("\n");
  print_row("points", grouped(audit.points_initial) + " before; now " + grouped(audit.points_buyers) +
                          " with buyers + " + grouped(audit.points_tills) + " in tills: " +
                          (summary.points_lost == 0 ? "conserved" : "difference " + grouped(-summary.points_lost)));
  print_row("commits",
            text_of("%s in %.2f s = %s per second, durable", grouped(summary.commits).c_str(), summary.elapsed_s,
                    grouped(static_cast<std::uint64_t>(summary.commits_per_s())).c_str()));
  print_row("commits per disk sync",
            text_of("%.1f (%s syncs)", summary.commits_per_sync(), grouped(summary.syncs).c_str()));
  print_row("commit latency", text_of("p50 %.2f ms, p99 %.2f ms, max %.2f ms",
                                      static_cast<double>(figures.latency.quantile_us(0.50)) / 1e3,
                                      static_cast<double>(figures.latency.quantile_us(0.99)) / 1e3,
                                      static_cast<double>(figures.latency.max_us()) / 1e3));
  print_contention(figures.contention);
  if (!options.kill) return;
  print_row("killed", crowd.killed_pid == 0 ? "nothing: all was over"
                                            : text_of("process %" PRId64 ", %.2f s after the start; the others went on",
                                                      crowd.killed_pid, crowd.killed_at_s));
  print_row("in flight there",
            grouped(board.tally().visits_given_back) +
                " visits, taken over by others; unanswered but committed: " + grouped(audit.unanswered));
}

void print_json(const Options& options, const Board& board, const CrowdResult& crowd, const Summary& summary,
                bool good) {
  const Figures& figures = board.figures();
  const AuditResult& audit = figures.audit;
  std::printf("{\n  \"good\": %s, \"naive\": %s, \"processes\": %u, \"threads\": %u, \"buyers\": %u, \"seed\": %" PRIu64
              ",\n",
              good ? "true" : "false", options.naive ? "true" : "false", options.processes, options.threads,
              options.buyers, options.seed);
  for (const Line& line : summary.lines) {
    const std::string offered = line.offered == kUnlimited ? "null" : std::to_string(line.offered);
    std::printf("  \"%s\": {\"offered\": %s, \"granted\": %" PRIu64 ", \"in_database\": %" PRIu64, line.key.c_str(),
                offered.c_str(), line.granted, line.stored);
    if (line.has_answers) {
      std::printf(", \"refused\": %" PRIu64 ", \"duplicates_refused\": %" PRIu64 ", \"granted_twice\": %" PRIu64,
                  line.refused, line.repeated, line.twice);
    }
    std::printf(", \"oversold\": %" PRIu64 "},\n", line.oversold());
  }
  std::printf("  \"points_before\": %" PRId64 ", \"points_lost\": %" PRId64 ",\n", audit.points_initial,
              summary.points_lost);
  std::printf("  \"elapsed_s\": %.6f, \"commits\": %" PRIu64 ", \"commits_per_s\": %.1f, \"syncs\": %" PRIu64
              ", \"commits_per_sync\": %.2f,\n",
              summary.elapsed_s, summary.commits, summary.commits_per_s(), summary.syncs, summary.commits_per_sync());
  std::printf("  \"latency_us\": {\"p50\": %" PRIu64 ", \"p99\": %" PRIu64 ", \"max\": %" PRIu64 "},\n",
              figures.latency.quantile_us(0.50), figures.latency.quantile_us(0.99), figures.latency.max_us());
  print_contention_json(figures.contention);
  std::printf("  \"killed_pid\": %" PRId64 ", \"visits_taken_over\": %" PRIu64 ", \"unanswered_committed\": %" PRIu64
              ",\n",
              crowd.killed_pid, board.tally().visits_given_back, audit.unanswered);
  std::printf("  \"audit_failures\": %" PRIu64 ", \"failures\": [", audit.failures);
  // The texts are our own and hold neither quotes nor backslashes.
  const std::uint64_t shown = std::min<std::uint64_t>(audit.failures, AuditResult::kFailuresShownMax);
  for (std::uint64_t index = 0; index < shown; ++index) {
    std::printf("%s\"%s\"", index == 0 ? "" : ", ", audit.failure_texts[index]);
  }
  std::printf("]\n}\n");
}

// Naive, failures are expected, and a few of them make the point.
void print_failures(const Options& options, const AuditResult& audit) {
  if (audit.failures == 0) return;
  const std::uint64_t shown_max = options.naive ? 5 : AuditResult::kFailuresShownMax;
  std::printf("\nThe audit found %s:\n",
              audit.failures == 1 ? "one failure" : (grouped(audit.failures) + " failures").c_str());
  const std::uint64_t shown = std::min(audit.failures, shown_max);
  for (std::uint64_t index = 0; index < shown; ++index) std::printf("  %s\n", audit.failure_texts[index]);
  if (shown < audit.failures) std::printf("  and %s more\n", grouped(audit.failures - shown).c_str());
}

}  // namespace

void ProgressPrinter::print(const Board& board, std::uint64_t elapsed_ns) {
  const Tally tally = board.tally();
  const std::uint64_t commits = tally.claims[kYes] + tally.orders[kYes] + tally.likes_yes;
  const double rate =
      static_cast<double>(commits - commits_before_) * 1e9 / static_cast<double>(elapsed_ns - elapsed_before_ns_);
  commits_before_ = commits;
  elapsed_before_ns_ = elapsed_ns;
  std::FILE* const out = options_.json ? stderr : stdout;
  std::fprintf(out, "%6.1f s %10s of %s visits  %6s coupons  %6s orders  %8s likes  %8s commits/s\n",
               static_cast<double>(elapsed_ns) / 1e9, grouped(tally.visits_finished).c_str(),
               grouped(std::uint64_t{board.visit_count()}).c_str(), grouped(tally.claims[kYes]).c_str(),
               grouped(tally.orders[kYes]).c_str(), grouped(tally.likes_yes).c_str(),
               grouped(static_cast<std::uint64_t>(rate)).c_str());
  std::fflush(out);
}

bool print_report(const Options& options, const Board& board, const CrowdResult& crowd) {
  const AuditResult& audit = board.figures().audit;
  const Summary summary = summarize(options, board);
  const bool exact = audit.failures == 0 && summary.oversold == 0 && summary.twice == 0 && summary.points_lost == 0;
  const bool kill_missed = options.kill && crowd.killed_pid == 0;
  const bool good = options.naive ? summary.oversold > 0 : exact && !kill_missed;
  if (options.json) {
    print_json(options, board, crowd, summary, good);
    return good;
  }
  print_lines(summary);
  print_figures(options, board, crowd, summary);
  print_refusals(board.figures().contention);
  print_failures(options, audit);
  if (options.naive) {
    const std::uint64_t coupons = summary.lines[0].oversold();
    std::printf("\nnaive: oversold %s coupons and %s items, granted %s twice, points off by %s%s\n",
                grouped(coupons).c_str(), grouped(summary.oversold - coupons).c_str(), grouped(summary.twice).c_str(),
                grouped(-summary.points_lost).c_str(), good ? "" : "; EXPECTED IT TO OVERSELL");
  } else if (kill_missed) {
    std::printf("\nno process was killed: the sale was over too early\n");
  } else {
    std::printf("\n%s\n", exact ? "every audit exact" : "AUDIT FAILED");
  }
  return good;
}

}  // namespace flash_sale
