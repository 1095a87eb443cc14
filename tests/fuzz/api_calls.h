// SPDX-License-Identifier: Apache-2.0
// The calls of fuzz_api: takes a step of the input to the library and to the model, and compares.
//
//   api_calls.cc      one transaction: begin, read, write, count, end    api_calls_all.cc  the whole database
//   api_ranges.cc     one transaction: locks, savepoints, cursors        api_abuse.cc      calls that are wrong
#pragma once

#include <array>
#include <string>

#include "fuzz/api_model.h"
#include "fuzz/fuzz.h"

namespace hf::fuzz {

inline hf_bytes view(const std::string& bytes) { return {bytes.data(), bytes.size()}; }
inline std::string text(hf_bytes bytes) { return {static_cast<const char*>(bytes.data), bytes.size}; }
void demand_code(int code, int expected, const char* call);

class Calls {
 public:
  Calls();
  ~Calls();
  Calls(const Calls&) = delete;

  void begin();  // an empty database, and a model of one
  void take(Input& in);
  void end();  // compares everything

 private:
  static constexpr int kActors = 3;
  static constexpr int kTables = 2;
  static constexpr int kSession = 100;  // its number among the owners of locks
  struct Actor {
    hf_txn* txn = nullptr;
    TxnModel model;
    hf_cursor* cursor = nullptr;
    Key cursor_last;
    std::uint64_t cursor_snapshot = 0;
    bool cursor_started = false, cursor_is_reverse = false;
    int cursor_table = 0;
  };

  // api_calls.cc
  void take_txn(Input& in);
  void begin_txn(Actor& actor, Input& in);
  void end_txn(Actor& actor, bool by_abort);
  void ended(Actor& actor);  // by an answer
  void commit(Actor& actor, bool by_ticket);
  void read(Actor& actor, Input& in);
  void write(Actor& actor, Input& in);
  void count(Actor& actor, Input& in);
  void check_row(const Actor& actor, const Key& key, int code, const hf_row& row, const char* call);
  int number_of(const Actor& actor) const { return static_cast<int>(&actor - actors_.data()); }
  static Key key_of(Input& in);
  hf_table* table_of(const Key& key) const { return tables_[static_cast<std::size_t>(key.first)]; }

  // api_ranges.cc
  void lock(Actor& actor, Input& in);
  bool locked(Actor& actor, int code, const Key& key, std::uint32_t mode, const char* call);
  void savepoint(Actor& actor, Input& in);
  void open_cursor(Actor& actor, Input& in);
  void move_cursor(Actor& actor);

  // api_calls_all.cc
  void open();
  void close();
  void take_all(Input& in);
  void execute(Input& in);
  void take_session(Input& in);
  void load(Input& in);
  void compare_everything();
  void end_all();

  // api_abuse.cc
  void abuse(Input& in);
  void abuse_txn(hf_txn* txn, Input& in);

  Scratch scratch_;
  hf_db* db_ = nullptr;
  std::array<hf_table*, kTables> tables_{};
  std::array<Actor, kActors> actors_;
  hf_session* session_ = nullptr;
  Rows rows_;
  Locks locks_;
  std::uint64_t inputs_ = 0;
};

}  // namespace hf::fuzz
