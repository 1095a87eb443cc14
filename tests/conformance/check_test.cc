// SPDX-License-Identifier: Apache-2.0
// Goal: hf_check finds nothing in a sound database, closed, open or left by a killed process, and changes no byte of
// it; what is wrong in a file it names with file, table and key; and it answers as its contract says where there is
// nothing to check, or where the caller ends it.
#include <fcntl.h>
#include <signal.h>

#include <fstream>
#include <map>
#include <sstream>
#include <vector>

#include "holdfast/admin.h"
#include "support.h"

namespace conformance {
namespace {

namespace fs = std::filesystem;

constexpr char kValue[] = "a value that stands nowhere else";

struct Told {
  int code;
  std::string file, table, key, text;
  std::uint64_t offset, csn;
};

int tell(const hf_finding* finding, void* context) {
  static_cast<std::vector<Told>*>(context)->push_back(
      {finding->code, finding->file, finding->table, text(finding->key), finding->text, finding->offset, finding->csn});
  return 0;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

std::map<std::string, std::string> files_of(const std::string& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) files[entry.path().string()] = read_file(entry.path());
  }
  return files;
}

class Check : public testing::Test {
 protected:
  int check() {
    told_.clear();
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    options.visit = tell;
    options.visit_context = &told_;
    result_ = {};
    result_.size = sizeof result_;
    error_ = HF_ERROR_INIT;
    return hf_check(path_.c_str(), &options, &result_, &error_);
  }
  std::string all_told() const {
    std::string all;
    for (const Told& told : told_) all += told.file + " at " + std::to_string(told.offset) + ": " + told.text + "\n";
    return all;
  }

  hf_db* open() {
    hf_db* db = nullptr;
    hf_error error = HF_ERROR_INIT;
    EXPECT_EQ(open_small(path_, &db, &error, HF_OPEN_NO_THREAD), HF_OK) << error.message;
    return db;
  }
  static void fill(hf_db* db) {
    hf_table* table = nullptr;
    if (hf_table_open(db, "rows", &table) != HF_OK) {
      ASSERT_EQ(hf_table_create(db, "rows", &table), HF_OK);
    }
    for (int i = 0; i < 300; ++i) {
      hf_txn* txn = nullptr;
      ASSERT_EQ(hf_begin(db, nullptr, &txn), HF_OK);
      const std::string key = "key-" + std::to_string(i), value(static_cast<std::size_t>(i * 30 % 5000), 'v');
      ASSERT_EQ(hf_put(txn, table, bytes(key), bytes(value), i % 4 == 0 ? 1'000'000 : 0), HF_OK);
      if (i == 7) {
        ASSERT_EQ(hf_put(txn, table, bytes("special"), bytes(kValue), 0), HF_OK);
      }
      ASSERT_EQ(hf_commit(txn), HF_OK);
      hf_txn_end(&txn);
    }
  }
  // Its processes are dead, and its commits not in the base.
  void make_crashed() {
    const int died = in_child([&] {
      hf_db* db = open();
      fill(db);
      kill(getpid(), SIGKILL);
      return 0;
    });
    ASSERT_EQ(died, 1000 + SIGKILL);
  }
  static void flip_value(const std::string& file) {
    const std::string content = read_file(file);
    const std::size_t at = content.find(kValue);
    ASSERT_NE(at, std::string::npos) << file;
    const int fd = ::open(file.c_str(), O_RDWR);
    const char byte = static_cast<char>(content[at + 5] ^ 1);
    ASSERT_EQ(::pwrite(fd, &byte, 1, static_cast<off_t>(at + 5)), 1);
    ::close(fd);
  }
  const Told* find(const std::string& key) const {
    for (const Told& told : told_) {
      if (told.code != HF_OK && told.key == key) return &told;
    }
    return nullptr;
  }

  TempDirectory directory_;
  const std::string path_ = directory_.path("db");
  std::vector<Told> told_;
  hf_check_result result_{};
  hf_error error_ = HF_ERROR_INIT;
};

TEST_F(Check, AClosedDatabaseIsSoundAndStaysAsItIs) {
  hf_db* db = open();
  fill(db);
  ASSERT_EQ(hf_close(&db), HF_OK);
  const auto before = files_of(path_);
  EXPECT_EQ(check(), HF_OK) << all_told();
  EXPECT_TRUE(files_of(path_) == before);
  EXPECT_EQ(result_.findings, 0u);
  EXPECT_EQ(result_.online, 0u);
  EXPECT_GE(result_.rows, 301u);
  EXPECT_EQ(result_.rows_unchecked, 0u);
  EXPECT_GE(result_.log_records, 300u);
  EXPECT_GT(result_.pages, 10u);
  EXPECT_EQ(result_.csn_applied, result_.csn_log);
}

TEST_F(Check, ACrashedDatabaseIsSoundAndStaysAsItIs) {
  ASSERT_NO_FATAL_FAILURE(make_crashed());
  const auto before = files_of(path_);
  EXPECT_EQ(check(), HF_OK) << all_told();
  EXPECT_TRUE(files_of(path_) == before);
  EXPECT_FALSE(told_.empty()) << "that a session died is worth a note";
  EXPECT_GT(result_.csn_log, result_.csn_applied);
}

TEST_F(Check, AnOpenDatabaseIsSound) {
  hf_db* db = open();
  fill(db);
  ASSERT_EQ(hf_maintain(db, HF_MAINTAIN_MERGE_ALL), HF_OK);
  fill(db);
  EXPECT_EQ(check(), HF_OK) << all_told();
  EXPECT_EQ(result_.online, 1u);
  EXPECT_GE(result_.overlay_versions, 301u);
  EXPECT_GE(result_.rows, 301u);
  ASSERT_EQ(hf_close(&db), HF_OK);
}

TEST_F(Check, ADamagedRowIsNamed) {
  hf_db* db = open();
  fill(db);
  ASSERT_EQ(hf_close(&db), HF_OK);
  ASSERT_NO_FATAL_FAILURE(flip_value(path_ + "/base/data.mdb"));
  EXPECT_EQ(check(), HF_CORRUPT);
  const Told* told = find("special");
  ASSERT_NE(told, nullptr) << all_told();
  EXPECT_EQ(told->file, path_ + "/base/data.mdb");
  EXPECT_EQ(told->table, "rows");
  EXPECT_NE(told->csn, 0u);
  EXPECT_NE(std::string(error_.message).find("checksum"), std::string::npos) << error_.message;
}

TEST_F(Check, ADamagedRowInTheOverlayIsNamed) {
  hf_db* db = open();
  fill(db);
  ASSERT_NO_FATAL_FAILURE(flip_value(path_ + "/memory/overlay-1.hfo"));
  EXPECT_EQ(check(), HF_CORRUPT);
  const Told* told = find("special");
  ASSERT_NE(told, nullptr) << all_told();
  EXPECT_EQ(told->file, path_ + "/memory/overlay-1.hfo");
  (void)hf_close(&db);  // cannot merge
}

TEST_F(Check, ADamagedRecordIsNamed) {
  ASSERT_NO_FATAL_FAILURE(make_crashed());
  ASSERT_NO_FATAL_FAILURE(flip_value(path_ + "/log/log-1.hfl"));
  EXPECT_EQ(check(), HF_CORRUPT);
  ASSERT_FALSE(told_.empty());
  EXPECT_NE(all_told().find("log-1.hfl at "), std::string::npos) << all_told();
}

TEST_F(Check, NothingThere) {
  EXPECT_EQ(check(), HF_NOT_FOUND);
  fs::create_directory(path_);
  EXPECT_EQ(check(), HF_NOT_FOUND);
  EXPECT_TRUE(fs::is_empty(path_)) << "a check makes nothing";
  std::ofstream(path_ + "/letter.txt") << "hello";
  EXPECT_EQ(check(), HF_WRONG_FORMAT);
}

TEST_F(Check, MissingFiles) {
  hf_db* db = open();
  fill(db);
  ASSERT_EQ(hf_close(&db), HF_OK);
  fs::rename(path_ + "/base/data.mdb", path_ + "/elsewhere");
  EXPECT_EQ(check(), HF_CORRUPT);
  EXPECT_NE(all_told().find("data.mdb"), std::string::npos) << all_told();
  fs::rename(path_ + "/elsewhere", path_ + "/base/data.mdb");
  fs::remove(path_ + "/HOLDFAST");
  EXPECT_EQ(check(), HF_CORRUPT);
  EXPECT_NE(all_told().find("HOLDFAST"), std::string::npos) << all_told();
}

TEST_F(Check, TheCallerEndsIt) {
  hf_db* db = open();
  fill(db);
  ASSERT_EQ(hf_close(&db), HF_OK);
  ASSERT_NO_FATAL_FAILURE(flip_value(path_ + "/base/data.mdb"));
  hf_check_options options = HF_CHECK_OPTIONS_INIT;
  options.visit = [](const hf_finding*, void*) { return 1; };
  EXPECT_EQ(hf_check(path_.c_str(), &options, nullptr, nullptr), HF_CANCELLED);
  options.visit = nullptr;
  EXPECT_EQ(hf_check(path_.c_str(), &options, nullptr, nullptr), HF_CORRUPT);
  EXPECT_EQ(hf_check(nullptr, nullptr, nullptr, nullptr), HF_INVALID_ARGUMENT);
  options.flags = 1;
  EXPECT_EQ(hf_check(path_.c_str(), &options, nullptr, nullptr), HF_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace conformance
