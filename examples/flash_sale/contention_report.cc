// SPDX-License-Identifier: Apache-2.0
#include "contention_report.h"

#include <cinttypes>
#include <cstdio>
#include <string>
#include <string_view>

#include "rows.h"
#include "text.h"

namespace flash_sale {
namespace {

double ratio(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

const char* mode_name(std::uint32_t mode) {
  switch (mode) {
    case HF_LOCK_SHARED:
      return "shared";
    case HF_LOCK_EXCLUSIVE:
      return "exclusive";
    case HF_LOCK_INCREMENT:
      return "increment";
    default:
      return "nothing";
  }
}

std::uint32_t key_of(const hf_error& report) {
  if (report.key_size != Key::kSize) return 0;
  return Key::number({reinterpret_cast<const char*>(report.key), report.key_size});
}

// As the tables name their rows, and as people do.
std::string row_name(std::string_view table, std::uint32_t key) {
  std::string name = "table " + std::string(table) + ", key " + std::to_string(key);
  if (table == "stock" || table == "tills") name += " (product " + std::to_string(key + 1) + ")";
  if (table == "points" || table == "orders" || table == "claims") name += " (buyer " + std::to_string(key) + ")";
  return name;
}

void print_heading(const char* what, const Refusal& refusal) {
  std::printf("\nRefused by a %s: buyer %u, served by process %" PRId64 "; %s (%d)\n", what, refusal.buyer(),
              refusal.pid(), hf_code_name(refusal.report().code), refusal.report().code);
}

void print_lock_refusal(const Refusal& refusal) {
  const hf_error& report = refusal.report();
  print_heading("lock", refusal);
  print_row("  row", row_name(report.table, key_of(report)));
  print_row("  wanted", text_of("%s, held %s of it, waited %" PRIu64 " ms", mode_name(report.mode_wanted),
                                mode_name(report.mode_held), report.waited_ms));
  print_row("  in the way", text_of("\"%s\": process %" PRIu64 ", thread %" PRIu64 ", transaction %" PRIu64,
                                    report.other_label, report.other_pid, report.other_thread, report.other_txn));
  if (report.other_mode_wanted != 0) {
    print_row("  which", text_of("held %s, wanted %s, had waited for %" PRIu64 " ms", mode_name(report.other_mode_held),
                                 mode_name(report.other_mode_wanted), report.other_age_ms));
  } else {
    print_row("  which",
              text_of("held %s, for %" PRIu64 " ms", mode_name(report.other_mode_held), report.other_age_ms));
  }
  print_row("  message", report.message);
}

// The message has the counter's value, what was to be added, and the bounds.
void print_counter_refusal(const Refusal& refusal) {
  const hf_error& report = refusal.report();
  print_heading("counter", refusal);
  print_row("  row", row_name(report.table, key_of(report)));
  print_row("  message", report.message);
  if (report.other_pid == 0) return;
  print_row("  last changed by", text_of("\"%s\": process %" PRIu64 ", commit %" PRIu64, report.other_label,
                                         report.other_pid, report.other_csn));
}

void print_json_refusal(const char* name, const Refusal& refusal) {
  if (!refusal.is_there()) {
    std::printf("  \"%s\": null,\n", name);
    return;
  }
  const hf_error& report = refusal.report();
  std::printf("  \"%s\": {\"buyer\": %u, \"pid\": %" PRId64 ", \"code\": \"%s\", \"table\": \"%s\", \"key\": %u, ",
              name, refusal.buyer(), refusal.pid(), hf_code_name(report.code), report.table, key_of(report));
  std::printf("\"wanted\": \"%s\", \"held\": \"%s\", \"waited_ms\": %" PRIu64 ", ", mode_name(report.mode_wanted),
              mode_name(report.mode_held), report.waited_ms);
  std::printf("\"other\": {\"label\": \"%s\", \"pid\": %" PRIu64 ", \"thread\": %" PRIu64 ", \"transaction\": %" PRIu64
              ", \"held\": \"%s\", \"wanted\": \"%s\", \"age_ms\": %" PRIu64 "}},\n",
              report.other_label, report.other_pid, report.other_thread, report.other_txn,
              mode_name(report.other_mode_held), mode_name(report.other_mode_wanted), report.other_age_ms);
}

}  // namespace

void print_contention(const Contention& contention) {
  const std::uint64_t orders = contention.orders;
  const std::uint64_t waits = contention.lock_waits;
  print_row("retries", grouped(contention.attempts - contention.transactions));
  print_row("attempts per order",
            text_of("%.3f (%s for %s orders); per transaction of any kind %.3f",
                    ratio(contention.order_attempts, orders), grouped(contention.order_attempts).c_str(),
                    grouped(orders).c_str(), ratio(contention.attempts, contention.transactions)));
  print_row("lock waits", text_of("%s, %.2f ms on average, %.2f ms the longest", grouped(waits).c_str(),
                                  ratio(contention.lock_waited_us, waits) / 1e3,
                                  static_cast<double>(contention.lock_wait_longest_us) / 1e3));
  print_row("  of them", text_of("%s handed over, %s timed out, %s deadlocks; %s buyers refused, who came again",
                                 grouped(contention.lock_handovers).c_str(), grouped(contention.lock_timeouts).c_str(),
                                 grouped(contention.deadlocks).c_str(), grouped(contention.refused_by_lock).c_str()));
  const std::uint32_t queues = contention.queues.count.load(std::memory_order_acquire);
  for (std::uint32_t place = 0; place < queues; ++place) {
    const QueuePicture::Queue& queue = contention.queues.rows[place];
    print_row(place == 0 ? "hottest rows" : "",
              text_of("%u stood in line for %s", queue.waiting, row_name(queue.table.data(), queue.key).c_str()));
  }
  print_row("locked at first touch",
            text_of("%s groups of hot rows, at most", grouped(contention.hot_buckets_most).c_str()));
}

void print_refusals(const Contention& contention) {
  if (contention.lock_refusal.is_there()) print_lock_refusal(contention.lock_refusal);
  if (contention.counter_refusal.is_there()) print_counter_refusal(contention.counter_refusal);
}

void print_contention_json(const Contention& contention) {
  std::printf("  \"retries\": %" PRIu64 ", \"attempts_per_order\": %.4f, \"attempts_per_transaction\": %.4f,\n",
              contention.attempts - contention.transactions, ratio(contention.order_attempts, contention.orders),
              ratio(contention.attempts, contention.transactions));
  std::printf("  \"lock_waits\": %" PRIu64 ", \"lock_waited_us\": %" PRIu64 ", \"lock_wait_longest_us\": %" PRIu64
              ", \"lock_handovers\": %" PRIu64 ",\n",
              contention.lock_waits.load(), contention.lock_waited_us.load(), contention.lock_wait_longest_us.load(),
              contention.lock_handovers.load());
  std::printf("  \"lock_timeouts\": %" PRIu64 ", \"deadlocks\": %" PRIu64 ", \"refused_by_lock\": %" PRIu64
              ", \"hot_buckets\": %" PRIu64 ",\n",
              contention.lock_timeouts.load(), contention.deadlocks.load(), contention.refused_by_lock.load(),
              contention.hot_buckets_most.load());
  print_json_refusal("lock_refusal", contention.lock_refusal);
  print_json_refusal("counter_refusal", contention.counter_refusal);
}

}  // namespace flash_sale
