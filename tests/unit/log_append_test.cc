// SPDX-License-Identifier: Apache-2.0
// Goal: what is appended is read back by recovery, whatever it crosses: the ring's end, a segment's end, the ring
// itself. Method: one process, small segments, sessions that end without order.
#include <algorithm>
#include <set>

#include "log_testing.h"

namespace hf::log {
namespace {

TEST(LogAppend, NewDatabaseIsSmall) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  EXPECT_EQ(bench.found.last_csn, 0u);
  EXPECT_EQ(bench.log().appended_csn(), 0u);
  EXPECT_EQ(bench.log().durable_csn(), 0u);
  std::uint64_t bytes = 0;
  for (const std::string& path : bench.segment_files()) bytes += std::filesystem::file_size(path);
  EXPECT_LE(bytes, 2u << 20);
  EXPECT_EQ(bench.log().stats().bytes_on_disk, bytes);
}

TEST(LogAppend, RoundTripOverSessions) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(100);
  EXPECT_EQ(bench.log().appended_csn(), 100u);
  ASSERT_TRUE(bench.process->flush().ok());
  EXPECT_EQ(bench.log().durable_csn(), 100u);
  for (int session = 1; session <= 3; ++session) {
    ASSERT_TRUE(bench.reopen().ok());
    bench.expect_replayed(1, 100 * session);
    EXPECT_EQ(bench.found.bytes_cut, 0u);
    EXPECT_EQ(bench.segment_files().size(), 1u) << "an orderly end needs no new segment";
    bench.process->append_numbered(100);
    ASSERT_TRUE(bench.process->flush().ok());
  }
  ASSERT_TRUE(bench.reopen(150).ok());
  bench.expect_replayed(151, 400);
}

TEST(LogAppend, UnflushedIsNotThere) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(3);
  ASSERT_TRUE(bench.process->flush().ok());
  bench.process->append_numbered(3);
  ASSERT_TRUE(bench.reopen().ok());
  bench.expect_replayed(1, 3);
}

// The bytes of a segment are as docs/formats.md says.
TEST(LogAppend, BytesOnDisk) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  const std::string body = make_body("hello");
  bench.process->append(body);
  ASSERT_TRUE(bench.process->flush().ok());
  const std::string bytes = read_file(bench.file_of(1));
  const auto u64 = [&](std::size_t offset) {
    std::uint64_t value;
    std::memcpy(&value, bytes.data() + offset, 8);
    return value;
  };
  const auto u32 = [&](std::size_t offset) { return static_cast<std::uint32_t>(u64(offset)); };
  EXPECT_EQ(bytes.substr(0, 8), "HFLOG001");
  EXPECT_EQ(u32(8), 1u);
  EXPECT_EQ(u32(12), 0x01020304u);
  EXPECT_EQ(u64(16), kDatabaseId);
  EXPECT_EQ(u64(24), 1u);
  EXPECT_EQ(u64(32), 0u);
  EXPECT_EQ(u64(40), 1u);
  EXPECT_EQ(u64(48), bytes.size());
  EXPECT_EQ(u64(56), checksum(bytes.data(), 56, kDatabaseId));
  EXPECT_EQ(bytes.substr(4096, 4), "HFR1");
  EXPECT_EQ(u32(4100), body.size());
  EXPECT_EQ(u64(4104), 1u);
  EXPECT_EQ(u64(4112), 0u);
  const std::uint64_t seed = kDatabaseId ^ 0x9e3779b97f4a7c15u;
  EXPECT_EQ(u64(4120), checksum(body.data(), body.size(), checksum(bytes.data() + 4096, 24, seed)));
  EXPECT_EQ(bytes.substr(4128, body.size()), body);
  EXPECT_TRUE(
      std::all_of(bytes.begin() + 4128 + static_cast<long>(body.size()), bytes.end(), [](char c) { return c == 0; }));
}

TEST(LogAppend, RingWraps) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(150, 100'003);  // 15 MB through a ring of 4 MiB
  ASSERT_TRUE(bench.process->flush().ok());
  EXPECT_LT(bench.log().stats().syncs, 20u) << "room in the ring must not cost a sync each time";
  ASSERT_TRUE(bench.reopen().ok());
  bench.expect_replayed(1, 150);
  EXPECT_EQ(bench.replayed[77].payload, payload_for(78, 100'003));
}

TEST(LogAppend, LastIsTheNewest) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  Csn csn = 0;
  std::string body;
  EXPECT_EQ(bench.log().last(&csn, &body).code(), Code::kNOT_FOUND);
  for (Csn i = 1; i <= 60; ++i) {
    const std::string expected = make_body(payload_for(i, 90'001));
    bench.process->append(expected);
    ASSERT_TRUE(bench.log().last(&csn, &body).ok());
    EXPECT_EQ(csn, i);
    EXPECT_EQ(body, expected);
  }
  const std::string large = make_body(payload_for(61, 3u << 20));
  ASSERT_TRUE(bench.process->append_direct(large, &csn).ok());
  ASSERT_TRUE(bench.log().last(&csn, &body).ok());
  EXPECT_EQ(csn, 61u);
  EXPECT_EQ(body, large);
  bench.process->append(make_body("x"));
  ASSERT_TRUE(bench.log().last(&csn, &body).ok());
  EXPECT_EQ(payload_of(body), "x");
}

TEST(LogAppend, DirectRecords) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  Csn csn = 0;
  Csn last = 0;
  for (int turn = 0; turn < 6; ++turn) {
    bench.process->append_numbered(5, 1000);
    last += 5;
    const std::size_t size = (1u << 20) + static_cast<std::size_t>(turn) * 1'700'003;  // from 1 to 9 MB
    ASSERT_TRUE(bench.process->append_direct(make_body(payload_for(last + 1, size)), &csn).ok());
    EXPECT_EQ(csn, ++last);
    if (turn % 2 == 0) {
      bench.process->append_numbered(2);  // goes through the ring behind a record that is not in it
      last += 2;
    }
    if (turn % 3 == 0) {
      ASSERT_TRUE(bench.process->flush().ok());
    }
  }
  ASSERT_TRUE(bench.process->flush().ok());
  ASSERT_TRUE(bench.reopen().ok());
  bench.expect_replayed(1, last);
  EXPECT_EQ(bench.replayed[5].payload, payload_for(6, 1u << 20));
}

TEST(LogAppend, TooLarge) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  EXPECT_FALSE(bench.log().has_room(kRecordSizeMax + 1));
  EXPECT_EQ(bench.log().make_room(kRecordSizeMax + 1, Deadline::never()).code(), Code::kTOO_LARGE);
  EXPECT_EQ(bench.log().lock_direct(kRecordSizeMax + 1, Deadline::never()).code(), Code::kTOO_LARGE);
}

TEST(LogAppend, RollsAndRecycles) {
  Bench bench;
  bench.options.segment_size_min = 64 << 10;
  bench.options.segment_size_max = 128 << 10;
  ASSERT_TRUE(bench.create().ok());
  std::set<std::string> names;
  for (int turn = 0; turn < 40; ++turn) {
    bench.process->append_numbered(50, 1000);
    ASSERT_TRUE(bench.process->flush().ok());
    ASSERT_TRUE(bench.log().prepare_ahead().ok());
    ASSERT_TRUE(bench.log().recycle(bench.log().durable_csn()).ok());
    for (const std::string& path : bench.segment_files()) names.insert(path);
    EXPECT_LE(bench.segment_files().size(), 6u);
    EXPECT_EQ(bench.log().stats().segments, bench.segment_files().size());
  }
  EXPECT_LT(names.size(), 10u) << "files are used again";
  EXPECT_GT(bench.process->shared.log.header_sequence.load(), 15u);
  ASSERT_TRUE(bench.reopen(1990).ok());
  bench.expect_replayed(1991, 2000);
  EXPECT_EQ(bench.segment_files().size(), 1u);
}

TEST(LogAppend, NothingIsRecycledTooEarly) {
  Bench bench;
  bench.options.segment_size_min = 64 << 10;
  bench.options.segment_size_max = 64 << 10;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(600, 1000);
  ASSERT_TRUE(bench.process->flush().ok());
  ASSERT_TRUE(bench.log().recycle(300).ok());
  bench.process->append_numbered(200, 1000);
  ASSERT_TRUE(bench.process->flush().ok());
  ASSERT_TRUE(bench.reopen(300).ok());
  bench.expect_replayed(301, 800);
  // Rows of segments of the session before are recycled in this one.
  ASSERT_TRUE(bench.log().recycle(800).ok());
  EXPECT_LE(bench.segment_files().size(), 4u);
  bench.process->append_numbered(200, 1000);
  ASSERT_TRUE(bench.process->flush().ok());
  ASSERT_TRUE(bench.reopen(800).ok());
  bench.expect_replayed(801, 1000);
}

TEST(LogAppend, FullDiskIsMetBeforeAnything) {
  Bench bench;
  bench.options.segment_size_min = 64 << 10;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(50, 1000);
  platform::arm("file.allocate:errno=28");
  const std::string body = make_body(payload_for(51, 30'000));
  EXPECT_FALSE(bench.log().has_room(body.size()));
  EXPECT_EQ(bench.log().make_room(body.size(), Deadline::never()).code(), Code::kDISK_FULL);
  EXPECT_FALSE(bench.log().has_room(body.size()));
  EXPECT_TRUE(bench.log().failure().ok());
  EXPECT_EQ(bench.segment_files().size(), 1u);
  ASSERT_TRUE(bench.process->flush().ok());
  platform::arm("");
  bench.process->append(body);
  ASSERT_TRUE(bench.process->flush().ok());
  ASSERT_TRUE(bench.reopen().ok());
  bench.expect_replayed(1, 51);
}

}  // namespace
}  // namespace hf::log
