// SPDX-License-Identifier: Apache-2.0
// The other process: has the database open while the command is tried on it, and does what it is told on stdin, one
// order per line. Answers 'ok' or the name of the code. Ends at the end of its input.
//
//   put TABLE KEY VALUE     commits a row
//   lock TABLE KEY          locks a row in a transaction that stays open, labelled "holder"
//   wait TABLE KEY          the same in a thread of its own, labelled "waiter": answers at once, waits there
//   name NAME               locks a name in a session
//   pin                     begins a read-only transaction that stays open
//   busy TABLE ROWS         from now on a thread commits rows without end: counts up the keys 0 to ROWS - 1
//   release                 ends all of these
#include <atomic>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "holdfast/holdfast.hpp"

namespace {

class Neighbour {
 public:
  explicit Neighbour(holdfast::Database& database) : database_(database) {}
  ~Neighbour() { release(); }

  holdfast::status obey(const std::string& order) {
    std::istringstream words(order);
    std::string verb, first, second, third;
    words >> verb >> first >> second >> third;
    if (verb == "put") return put(first, second, third);
    if (verb == "lock") return lock(first, second, "holder");
    if (verb == "wait") {
      threads_.emplace_back([this, first, second] { (void)lock(first, second, "waiter"); });
      return {};
    }
    if (verb == "name") return lock_name(first);
    if (verb == "pin") return pin();
    if (verb == "busy") {
      threads_.emplace_back([this, first, rows = std::stoull(second)] { write_on(first, rows); });
      return {};
    }
    if (verb == "release") {
      release();
      return {};
    }
    return holdfast::error(HF_INVALID_ARGUMENT);
  }

 private:
  holdfast::status put(const std::string& table, const std::string& key, const std::string& value) {
    const auto opened = database_.open_table(table);
    if (!opened) return opened.error();
    return database_.transact([&](holdfast::Transaction& txn) { return txn.put(*opened, key, value); });
  }

  holdfast::status lock(const std::string& table, const std::string& key, const std::string& label) {
    const auto opened = database_.open_table(table);
    if (!opened) return opened.error();
    auto txn = database_.begin({.label = label, .lock_timeout = holdfast::milliseconds(30'000)});
    if (!txn) return txn.error();
    if (auto locked = txn->lock(*opened, key); !locked) return locked;
    if (label == "waiter") return {};  // gives it back
    transactions_.push_back(std::move(*txn));
    return {};
  }

  holdfast::status lock_name(const std::string& name) {
    auto session = database_.open_session("sexton");
    if (!session) return session.error();
    if (auto locked = session->lock(name); !locked) return locked;
    sessions_.push_back(std::move(*session));
    return {};
  }

  holdfast::status pin() {
    auto txn = database_.begin({.read_only = true, .label = "reader"});
    if (!txn) return txn.error();
    transactions_.push_back(std::move(*txn));
    return {};
  }

  void write_on(const std::string& table, unsigned long long rows) {
    for (unsigned long long count = 0; !stop_.load(); ++count) {
      const holdfast::status done = put(table, std::to_string(count % rows), std::to_string(count));
      if (!done) std::cerr << "neighbour: " << done.error().message() << std::endl;
    }
  }

  void release() {
    stop_.store(true);
    transactions_.clear();
    sessions_.clear();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    stop_.store(false);
  }

  holdfast::Database& database_;
  std::vector<holdfast::Transaction> transactions_;
  std::vector<holdfast::Session> sessions_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_{false};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto database = holdfast::Database::open(argv[1], {.label = "neighbour", .create = false});
  if (!database) {
    std::cout << database.error().name() << std::endl;
    return 1;
  }
  std::cout << "ok" << std::endl;
  Neighbour neighbour(*database);
  for (std::string order; std::getline(std::cin, order);) {
    const holdfast::status done = neighbour.obey(order);
    std::cout << (done ? "ok" : done.error().name()) << std::endl;
  }
  return 0;
}
