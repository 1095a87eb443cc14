// SPDX-License-Identifier: Apache-2.0
#include <holdfast/holdfast.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>

#include "torture/flips.h"

namespace torture::flips {
namespace {

constexpr int kTailCommits = 60;
constexpr int kRows = 1200;
constexpr std::uint64_t kTtlMs = 1'000'000'000;  // expires long after the campaign, and so has an index entry

[[noreturn]] void die(const char* what, int code) {
  std::fprintf(stderr, "flips: %s answered %s\n", what, hf_code_name(code));
  std::_Exit(9);
}
void need(int code, const char* what) {
  if (code != HF_OK) die(what, code);
}

std::string value_of(std::mt19937_64& random) {
  // Mostly small; some fill a page, some go to overflow pages.
  const std::uint64_t kind = random() % 20;
  const std::size_t size = kind < 15 ? random() % 120 : kind < 19 ? 200 + random() % 1500 : 2500 + random() % 9000;
  std::string value(size, '\0');
  for (char& byte : value) byte = static_cast<char>(random());
  return value;
}

// Everything that the database will hold is decided here, so that parent and child agree without talking.
class Maker {
 public:
  explicit Maker(std::uint64_t seed) : random_(seed) {}

  // Null `db`: only the model.
  void base_part(hf_db* db) {
    for (const char* name : {"plain", "other", "tail", "gone"}) table(db, name);
    for (int round = 0; round < 3; ++round) {  // so that pages are freed and used again
      begin(db);
      for (int i = 0; i < kRows; ++i) {
        const std::string key = "key-" + std::to_string(random_() % (2 * kRows));
        const char* name = i % 3 == 0 ? "other" : "plain";
        if (random_() % 8 == 0) {
          erase(db, name, key);
        } else {
          put(db, name, key, value_of(random_), i % 10 == 0);
        }
        if (i % 100 == 99) {
          commit(db);
          begin(db);
        }
      }
      for (int i = 0; i < 50; ++i) put(db, "gone", std::to_string(i), value_of(random_), false);
      for (int i = 0; i < 20; ++i) counter(db, "counter-" + std::to_string(i), static_cast<std::int64_t>(random_()));
      put(db, "tail", "serial", "0", false);
      commit(db);
      if (db != nullptr) need(hf_maintain(db, HF_MAINTAIN_MERGE_ALL), "hf_maintain");
    }
    state_.erase("gone");
    if (db != nullptr) need(hf_table_drop(db, "gone"), "hf_table_drop");
    load(db);
  }

  void tail_commit(hf_db* db, int number) {
    begin(db);
    for (int i = 0; i < 6; ++i) {
      const std::string key = "key-" + std::to_string(random_() % (2 * kRows));
      if (random_() % 6 == 0) {
        erase(db, "plain", key);
      } else {
        put(db, "plain", key, value_of(random_), i == 3);
      }
    }
    add(db, "counter-" + std::to_string(random_() % 20), static_cast<std::int64_t>(random_() % 1000));
    put(db, "tail", "serial", std::to_string(number), false);
    commit(db);
  }

  const State& state() const { return state_; }

 private:
  void table(hf_db* db, const std::string& name) {
    state_[name];
    if (db != nullptr) need(hf_table_create(db, name.c_str(), &tables_[name]), "hf_table_create");
  }
  void load(hf_db* db) {
    hf_load* load = nullptr;
    table(db, "loaded");
    if (db != nullptr) need(hf_load_begin(db, tables_["loaded"], &load), "hf_load_begin");
    for (int i = 0; i < 300; ++i) {
      const std::string key = std::to_string(100'000 + i), value = value_of(random_);
      state_["loaded"][key] = value;
      if (db != nullptr) {
        need(hf_load_add(load, {key.data(), key.size()}, {value.data(), value.size()}, i % 7 == 0 ? kTtlMs : 0),
             "hf_load_add");
      }
    }
    if (db != nullptr) need(hf_load_finish(load), "hf_load_finish");
    hf_load_end(&load);
  }
  void begin(hf_db* db) {
    if (db != nullptr) need(hf_begin(db, nullptr, &txn_), "hf_begin");
  }
  void commit(hf_db* db) {
    if (db == nullptr) return;
    need(hf_commit(txn_), "hf_commit");
    hf_txn_end(&txn_);
  }
  void put(hf_db* db, const std::string& name, const std::string& key, const std::string& value, bool expires) {
    state_[name][key] = value;
    if (db == nullptr) return;
    need(hf_put(txn_, tables_[name], {key.data(), key.size()}, {value.data(), value.size()}, expires ? kTtlMs : 0),
         "hf_put");
  }
  void erase(hf_db* db, const std::string& name, const std::string& key) {
    state_[name].erase(key);
    if (db != nullptr) need(hf_erase(txn_, tables_[name], {key.data(), key.size()}), "hf_erase");
  }
  void counter(hf_db* db, const std::string& key, std::int64_t value) {
    value %= 1'000'000'000;
    state_["plain"][key] = std::string(reinterpret_cast<const char*>(&value), sizeof value);
    if (db != nullptr) need(hf_counter_set(txn_, tables_["plain"], {key.data(), key.size()}, value), "hf_counter_set");
  }
  void add(hf_db* db, const std::string& key, std::int64_t delta) {
    std::string& bytes = state_["plain"][key];
    std::int64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    value += delta;
    std::memcpy(bytes.data(), &value, sizeof value);
    if (db != nullptr) {
      need(hf_add(txn_, tables_["plain"], {key.data(), key.size()}, delta, INT64_MIN, INT64_MAX), "hf_add");
    }
  }

  std::mt19937_64 random_;
  State state_;
  std::map<std::string, hf_table*> tables_;
  hf_txn* txn_ = nullptr;
};

hf_db* open_database(const std::string& path) {
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.flags = HF_OPEN_NO_THREAD;
  options.map_size = std::uint64_t{1} << 32;
  options.overlay_bytes_max = 32u << 20;
  options.log_segment_size_max = 2u << 20;
  hf_db* db = nullptr;
  need(hf_open(path.c_str(), &options, &db, nullptr), "hf_open");
  return db;
}

// `body` in a child that is killed at its end.
template <typename Body>
void in_killed_child(Body body) {
  const pid_t pid = fork();
  if (pid == 0) {
    body();
    kill(getpid(), SIGKILL);
    _exit(9);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
    std::fprintf(stderr, "flips: making the database failed\n");
    std::exit(2);
  }
}

}  // namespace

Model make_databases(const std::string& closed, const std::string& crashed, std::uint64_t seed) {
  in_killed_child([&] {
    Maker maker(seed);
    hf_db* db = open_database(closed);
    maker.base_part(db);
    for (int i = 1; i <= kTailCommits; ++i) maker.tail_commit(db, i);
    need(hf_close(&db), "hf_close");
  });
  in_killed_child([&] {
    Maker maker(seed);
    hf_db* db = open_database(crashed);
    maker.base_part(db);
    need(hf_maintain(db, HF_MAINTAIN_MERGE_ALL), "hf_maintain");
    for (int i = 1; i <= kTailCommits; ++i) maker.tail_commit(db, i);
  });
  Model model;
  Maker maker(seed);
  maker.base_part(nullptr);
  model.after.push_back(maker.state());
  for (int i = 1; i <= kTailCommits; ++i) {
    maker.tail_commit(nullptr, i);
    model.after.push_back(maker.state());
  }
  model.full = model.after.back();
  return model;
}

Holder::Holder(const std::string& path) {
  int ready[2];
  if (pipe(ready) != 0) return;
  pid_ = fork();
  if (pid_ == 0) {
    hf_db* db = open_database(path);
    // Some locks, so that the lock table has something in it.
    hf_table* table = nullptr;
    hf_txn* txn = nullptr;
    need(hf_table_open(db, "tail", &table), "hf_table_open");
    need(hf_begin(db, nullptr, &txn), "hf_begin");
    for (int i = 0; i < 20; ++i) {
      const std::string key = "locked-" + std::to_string(i) + std::string(i % 3 == 0 ? 100 : 1, 'x');
      need(hf_lock(txn, table, {key.data(), key.size()}, nullptr), "hf_lock");
    }
    const char byte = 1;
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    for (;;) pause();
  }
  close(ready[1]);
  char byte = 0;
  open_ = read(ready[0], &byte, 1) == 1;
  close(ready[0]);
}

Holder::~Holder() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

}  // namespace torture::flips
