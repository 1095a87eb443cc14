// SPDX-License-Identifier: Apache-2.0
// Goal: with HF_OPEN_VERIFY_READS no call hands out a row that was damaged where it is kept, in the base or in the
// overlay: each answers HF_CORRUPT and names row and file. Without it, rows are given as they are. Damage in memory
// never gets into the base: the database fails, and is whole again when it is opened anew.
//
// Method: a row whose value stands only once in the file is found there and a bit of it flipped, through the file
// system, while the database is open.
#include <fcntl.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "support.h"

namespace conformance {
namespace {

constexpr char kValue[] = "a value that stands nowhere else";

class VerifyReads : public testing::Test {
 protected:
  void open(std::uint32_t flags) {
    hf_error error = HF_ERROR_INIT;
    ASSERT_EQ(open_small(directory_.path("db"), &db_, &error, flags | HF_OPEN_NO_THREAD), HF_OK) << error.message;
    if (hf_table_open(db_, "rows", &table_) != HF_OK) {
      ASSERT_EQ(hf_table_create(db_, "rows", &table_), HF_OK);
    }
  }
  void TearDown() override { hf_close(&db_); }

  void put(const std::string& key, const std::string& value) {
    hf_txn* txn = nullptr;
    ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
    ASSERT_EQ(hf_put(txn, table_, bytes(key), bytes(value), 0), HF_OK);
    ASSERT_EQ(hf_commit(txn), HF_OK);
    hf_txn_end(&txn);
  }
  void fill() {
    put("a", "first");
    put("k", kValue);
    put("z", "last");
    hf_txn* txn = nullptr;
    ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
    ASSERT_EQ(hf_counter_set(txn, table_, bytes("n"), 0x1716151413121110), HF_OK);
    ASSERT_EQ(hf_commit(txn), HF_OK);
    hf_txn_end(&txn);
  }

  // Flips a bit of every copy of `wanted` in the file.
  static void damage(const std::string& file, const std::string& wanted) {
    std::ifstream in(file, std::ios::binary);
    std::stringstream all;
    all << in.rdbuf();
    const std::string content = all.str();
    const int fd = ::open(file.c_str(), O_RDWR);
    ASSERT_GE(fd, 0) << file;
    int copies = 0;
    for (std::size_t at = content.find(wanted); at != std::string::npos; at = content.find(wanted, at + 1), ++copies) {
      const char byte = static_cast<char>(content[at] ^ 4);
      ASSERT_EQ(::pwrite(fd, &byte, 1, static_cast<off_t>(at)), 1);
    }
    ::close(fd);
    ASSERT_GT(copies, 0) << file;
  }
  std::string counter_bytes() const { return std::string("\x10\x11\x12\x13\x14\x15\x16\x17", 8); }

  void expect_named(int code, hf_txn* txn, const std::string& key, const std::string& file) {
    EXPECT_EQ(code, HF_CORRUPT);
    const hf_error error = error_of(txn);
    EXPECT_NE(std::string(error.message).find(file), std::string::npos) << error.message;
    EXPECT_NE(std::string(error.message).find("'" + key + "'"), std::string::npos) << error.message;
  }

  // Every way to read the rows "k" and "n", which are damaged.
  void expect_all_refuse(const std::string& file) {
    hf_txn* txn = nullptr;
    ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
    hf_row row{};
    expect_named(hf_get(txn, table_, bytes("k"), &row), txn, "k", file);
    EXPECT_EQ(hf_get(txn, table_, bytes("a"), &row), HF_OK);
    const hf_bytes keys[] = {bytes("a"), bytes("k"), bytes("z")};
    hf_row rows[3] = {};
    const int code = hf_get_many(txn, table_, keys, 3, rows);
    EXPECT_TRUE(code == HF_CORRUPT || rows[1].code == HF_CORRUPT) << code << " " << rows[1].code;
    std::int64_t value = 0;
    expect_named(hf_counter_get(txn, table_, bytes("n"), &value), txn, "n", file);
    expect_named(hf_add(txn, table_, bytes("n"), 1, INT64_MIN, INT64_MAX), txn, "n", file);
    expect_named(hf_insert(txn, table_, bytes("k"), bytes("v"), 0), txn, "k", file);
    expect_named(hf_delete(txn, table_, bytes("k")), txn, "k", file);
    expect_named(hf_get_for_update(txn, table_, bytes("k"), nullptr, &row), txn, "k", file);
    for (const std::uint32_t flags : {0u, static_cast<std::uint32_t>(HF_CURSOR_REVERSE)}) {
      hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
      options.flags = flags;
      hf_cursor* cursor = nullptr;
      ASSERT_EQ(hf_cursor_open(txn, table_, &options, &cursor), HF_OK);
      hf_bytes key{};
      ASSERT_EQ(hf_cursor_next(cursor, &key, &row), HF_OK);
      EXPECT_EQ(text(key), flags == 0 ? "a" : "z");
      expect_named(hf_cursor_next(cursor, &key, &row), txn, flags == 0 ? "k" : "n", file);
      hf_cursor_close(&cursor);
    }
    hf_txn_end(&txn);
  }

  TempDirectory directory_;
  hf_db* db_ = nullptr;
  hf_table* table_ = nullptr;
};

TEST_F(VerifyReads, DamageInTheBase) {
  open(0);
  fill();
  ASSERT_EQ(hf_close(&db_), HF_OK);  // merges
  ASSERT_NO_FATAL_FAILURE(damage(directory_.path("db") + "/base/data.mdb", kValue));
  ASSERT_NO_FATAL_FAILURE(damage(directory_.path("db") + "/base/data.mdb", counter_bytes()));
  open(HF_OPEN_VERIFY_READS);
  expect_all_refuse("data.mdb");
  ASSERT_EQ(hf_close(&db_), HF_OK);

  open(0);
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  hf_row row{};
  EXPECT_EQ(hf_get(txn, table_, bytes("k"), &row), HF_OK) << "nobody asked for checks";
  hf_txn_end(&txn);
}

TEST_F(VerifyReads, DamageInTheOverlay) {
  open(HF_OPEN_VERIFY_READS);
  fill();
  ASSERT_NO_FATAL_FAILURE(damage(directory_.path("db") + "/memory/overlay-1.hfo", kValue));
  ASSERT_NO_FATAL_FAILURE(damage(directory_.path("db") + "/memory/overlay-1.hfo", counter_bytes()));
  expect_all_refuse("overlay-1.hfo");
}

TEST_F(VerifyReads, ACounterDamagedAfterTheCallIsNotAddedTo) {
  open(HF_OPEN_VERIFY_READS);
  fill();
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_add(txn, table_, bytes("n"), 1, INT64_MIN, INT64_MAX), HF_OK);
  ASSERT_NO_FATAL_FAILURE(damage(directory_.path("db") + "/memory/overlay-1.hfo", counter_bytes()));
  EXPECT_EQ(hf_commit(txn), HF_CORRUPT);
  hf_txn_end(&txn);
}

TEST_F(VerifyReads, DamageInTheOverlayDoesNotGetIntoTheBase) {
  open(0);
  fill();
  ASSERT_NO_FATAL_FAILURE(damage(directory_.path("db") + "/memory/overlay-1.hfo", kValue));
  EXPECT_EQ(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_CORRUPT);
  const hf_error error = error_of(db_);
  EXPECT_NE(std::string(error.message).find("'k'"), std::string::npos) << error.message;
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_put(txn, table_, bytes("b"), bytes("v"), 0), HF_OK);
  EXPECT_EQ(hf_commit(txn), HF_FAILED) << "nothing may build on a damaged overlay";
  hf_txn_end(&txn);
  ASSERT_EQ(hf_close(&db_), HF_OK);

  open(HF_OPEN_VERIFY_READS);  // replays the log
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  hf_row row{};
  ASSERT_EQ(hf_get(txn, table_, bytes("k"), &row), HF_OK);
  EXPECT_EQ(text(row.value), kValue);
  EXPECT_EQ(hf_get(txn, table_, bytes("b"), &row), HF_NOT_FOUND);
  hf_txn_end(&txn);
  EXPECT_EQ(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_OK);
}

}  // namespace
}  // namespace conformance
