// SPDX-License-Identifier: Apache-2.0
// Goal: recovery cuts torn tails and nothing else; damage, loss and foreign files are refused by file and offset, with
// nothing changed on disk. Method: files are damaged by hand between sessions.
#include "log_testing.h"

namespace hf::log {
namespace {

struct Frames {
  std::vector<std::uint64_t> offsets;  // of each frame in the file; the last entry is the end
};

Frames frames_of(const std::string& path) {
  Frames result;
  const std::string bytes = read_file(path);
  std::uint64_t offset = kSegmentHeaderSize;
  FrameHeader header;
  for (;;) {
    result.offsets.push_back(offset);
    std::memcpy(&header, bytes.data() + offset, sizeof header);
    if (header.magic != kFrameMagic) return result;
    offset += frame_size(header.body_size);
  }
}

void expect_refused(Bench& bench, Code code, const std::string& path, std::uint64_t offset, Csn applied = 0) {
  const auto before = image_of(bench);
  const Status status = bench.reopen(applied);
  EXPECT_EQ(status.code(), code) << status.message();
  EXPECT_NE(status.message().find(path), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("offset " + std::to_string(offset) + ":"), std::string::npos) << status.message();
  EXPECT_EQ(image_of(bench), before);
}

TEST(LogRecover, TornTailAtEveryByte) {
  Bench bench;
  bench.options.segment_size_min = 16 << 10;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(4);
  ASSERT_TRUE(bench.process->flush().ok());
  bench.process->append_numbered(1);
  ASSERT_TRUE(bench.process->flush().ok());
  bench.process.reset();
  const std::string path = bench.file_of(1);
  const auto image = image_of(bench);
  const std::string whole = read_file(path);
  const Frames frames = frames_of(path);
  const std::uint64_t begin = frames.offsets[4];
  const std::uint64_t end = frames.offsets[5];
  int torn = 0;
  for (std::uint64_t at = begin; at < end; ++at) {
    for (const char fill : {'\0', '\x55'}) {
      restore(bench, image);
      std::string bytes = whole;
      std::fill(bytes.begin() + static_cast<long>(at), bytes.begin() + static_cast<long>(end), fill);
      write_file(path, bytes);
      ASSERT_TRUE(bench.reopen().ok()) << "torn at " << at;
      if (bytes == whole) {
        bench.expect_replayed(1, 5);
        continue;
      }
      bench.expect_replayed(1, 4);
      EXPECT_EQ(bench.found.last_csn, 4u);
      const std::size_t last_nonzero = bytes.find_last_not_of('\0');
      EXPECT_EQ(bench.found.bytes_cut, last_nonzero >= begin ? last_nonzero + 1 - begin : 0u);
      if (++torn % 4 != 0) continue;
      // Another commit 5 takes its place, and what was cut never comes back.
      bench.process->append_numbered(2, 200);
      ASSERT_TRUE(bench.process->flush().ok());
      ASSERT_TRUE(bench.reopen().ok());
      bench.expect_replayed(1, 6);
      EXPECT_EQ(bench.replayed[4].payload, payload_for(5, 200));
      EXPECT_EQ(bench.found.bytes_cut, 0u);
    }
  }
  EXPECT_GT(torn, 80);
}

// Whole records behind a torn one were never durable. After the cut they must not be read again, not even when the
// new records leave the log's end right before one of them.
TEST(LogRecover, CutRecordsAreNeverResurrected) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(3, 100);
  ASSERT_TRUE(bench.process->flush().ok());
  bench.process->append_numbered(5, 100);
  ASSERT_TRUE(bench.process->flush().ok());  // one flush: none of the five says that another was durable
  bench.process.reset();
  const std::string path = bench.file_of(1);
  const Frames frames = frames_of(path);
  const std::string behind = read_file(path).substr(frames.offsets[4], frames.offsets[8] - frames.offsets[4]);
  flip_bit(path, frames.offsets[3] + 50);
  ASSERT_TRUE(bench.reopen().ok());
  bench.expect_replayed(1, 3);
  EXPECT_GT(bench.found.bytes_cut, 400u);
  bench.process->append(make_body(payload_for(4, 100)));  // as long as the torn one
  ASSERT_TRUE(bench.process->flush().ok());
  for (int session = 0; session < 3; ++session) {
    bench.process.reset();
    patch_file(path, frames.offsets[4], behind);  // the terminator may be a write that the failing power lost
    ASSERT_TRUE(bench.reopen().ok());
    bench.expect_replayed(1, 4);
  }
}

TEST(LogRecover, DamageInTheMiddle) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  for (int turn = 0; turn < 10; ++turn) {
    bench.process->append_numbered(1, 300);
    ASSERT_TRUE(bench.process->flush().ok());
  }
  bench.process.reset();
  const std::string path = bench.file_of(1);
  const auto image = image_of(bench);
  const Frames frames = frames_of(path);
  for (std::size_t record = 0; record < 8; ++record) {
    for (std::uint64_t inside : {0, 4, 9, 17, 25, 40, 200}) {
      restore(bench, image);
      flip_bit(path, frames.offsets[record] + inside);
      expect_refused(bench, Code::kCORRUPT, path, frames.offsets[record]);
    }
  }
  restore(bench, image);  // a block of zeros where records had been
  patch_file(path, frames.offsets[3], std::string(512, '\0'));
  expect_refused(bench, Code::kCORRUPT, path, frames.offsets[3]);
  restore(bench, image);
  ASSERT_TRUE(bench.reopen().ok());
  bench.expect_replayed(1, 10);
}

class LogRecoverSegments : public testing::Test {
 protected:
  void SetUp() override {
    bench.options.segment_size_min = 64 << 10;
    bench.options.segment_size_max = 64 << 10;
    ASSERT_TRUE(bench.create().ok());
    while (bench.process->shared.log.header_sequence.load() < 4) {
      bench.process->append_numbered(10, 1000);
      ASSERT_TRUE(bench.process->flush().ok());
    }
    last = bench.log().appended_csn();
    bench.process.reset();
  }
  Bench bench;
  Csn last = 0;
};

TEST_F(LogRecoverSegments, AllRead) {
  ASSERT_TRUE(bench.reopen().ok());
  bench.expect_replayed(1, last);
}

TEST_F(LogRecoverSegments, MissingSegmentIsNamed) {
  const auto image = image_of(bench);
  for (std::uint64_t sequence = 1; sequence <= 4; ++sequence) {
    restore(bench, image);
    const std::string path = bench.file_of(sequence);
    std::filesystem::remove(path);
    const auto before = image_of(bench);
    const Status status = bench.reopen();
    EXPECT_EQ(status.code(), Code::kCORRUPT);
    EXPECT_NE(status.message().find("missing segment"), std::string::npos) << status.message();
    if (sequence == 4) {
      EXPECT_NE(status.message().find(path), std::string::npos) << status.message();
    }
    EXPECT_EQ(image_of(bench), before);
  }
  restore(bench, {});
  EXPECT_EQ(bench.reopen().code(), Code::kCORRUPT);
  EXPECT_EQ(bench.reopen(5).code(), Code::kCORRUPT);
  ASSERT_TRUE(bench.reopen(5, true).ok());  // after an orderly end the log may be absent
  EXPECT_EQ(bench.log().appended_csn(), 5u);
  bench.process->append_numbered(1);
  ASSERT_TRUE(bench.process->flush().ok());
  ASSERT_TRUE(bench.reopen(5).ok());
  bench.expect_replayed(6, 6);
}

TEST_F(LogRecoverSegments, UnneededSegmentMayBeMissing) {
  std::filesystem::remove(bench.file_of(1));
  ASSERT_TRUE(bench.reopen(last).ok());
  bench.expect_replayed(last + 1, last);
  EXPECT_EQ(bench.found.last_csn, last);
}

TEST_F(LogRecoverSegments, DamageBeforeALaterSegment) {
  const std::string path = bench.file_of(2);
  const Frames frames = frames_of(path);
  const std::uint64_t last_record = frames.offsets[frames.offsets.size() - 2];
  flip_bit(path, last_record + 60);
  expect_refused(bench, Code::kCORRUPT, path, last_record);
  flip_bit(path, last_record + 60);
  const std::uint64_t roll = frames.offsets.back();
  flip_bit(path, roll + 8);
  expect_refused(bench, Code::kCORRUPT, path, roll);
}

TEST_F(LogRecoverSegments, DamagedHeaderOfTheNewest) {
  const std::string path = bench.file_of(4);
  ASSERT_TRUE(bench.reopen().ok());
  bench.process->append_numbered(1);
  ASSERT_TRUE(bench.process->flush().ok());
  bench.process->append_numbered(1);
  ASSERT_TRUE(bench.process->flush().ok());
  bench.process.reset();
  for (const std::uint64_t offset : {0, 33, 60}) {
    flip_bit(path, offset);
    expect_refused(bench, Code::kCORRUPT, path, 0);
    flip_bit(path, offset);
  }
}

TEST_F(LogRecoverSegments, ForeignFilesAreRefused) {
  const std::string path = bench.file_of(3);
  const auto image = image_of(bench);
  bench.options.database_id ^= 1;
  const Status status = bench.reopen();
  EXPECT_EQ(status.code(), Code::kWRONG_FORMAT);
  EXPECT_NE(status.message().find("offset 16:"), std::string::npos) << status.message();
  bench.options.database_id ^= 1;
  patch_file(path, 12, std::string("\x01\x02\x03\x04", 4));
  expect_refused(bench, Code::kWRONG_FORMAT, path, 12);
  restore(bench, image);
  patch_file(path, 8, std::string("\x02", 1));
  expect_refused(bench, Code::kWRONG_FORMAT, path, 8);
  restore(bench, image);
  std::filesystem::resize_file(path, 20'000);
  expect_refused(bench, Code::kCORRUPT, path, 20'000);
  restore(bench, image);
  ASSERT_TRUE(bench.reopen().ok());
}

TEST_F(LogRecoverSegments, LogBehindTheBase) {
  const std::string path = bench.file_of(4);
  const auto image = image_of(bench);
  const Frames frames = frames_of(path);
  expect_refused(bench, Code::kCORRUPT, path, frames.offsets.back(), last + 10);
  ASSERT_TRUE(bench.reopen(last + 10, true).ok());  // the base has it all
  EXPECT_EQ(bench.log().appended_csn(), last + 10);
  bench.process->append_numbered(3);
  ASSERT_TRUE(bench.process->flush().ok());
  ASSERT_TRUE(bench.reopen(last + 10).ok());
  bench.expect_replayed(last + 11, last + 13);
}

TEST(LogRecover, WholeFrameThatIsNoRecord) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(1);
  bench.process->append("these bytes are no flatbuffer, but their checksum is right");
  ASSERT_TRUE(bench.process->flush().ok());
  const std::string path = bench.file_of(1);
  const Frames frames = frames_of(path);
  expect_refused(bench, Code::kCORRUPT, path, frames.offsets[1]);
}

TEST(LogRecover, ApplyMayRefuse) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(5);
  ASSERT_TRUE(bench.process->flush().ok());
  platform::SharedMemory<Memory> memory;
  auto log = Log::recover(
      memory->log, memory->ring, bench.process->liveness, bench.options, 0, false,
      [](Csn csn, Bytes) { return csn == 3 ? Status(Code::kLIMIT, "enough") : Status(); }, nullptr);
  EXPECT_EQ(log.code(), Code::kLIMIT);
}

// Many recoveries without a merge between never use up the table of segments.
// A header with a right checksum, and numbers that leave no room to count on from them.
TEST(LogRecover, HeaderWithNumbersBeyondAll) {
  constexpr std::uint64_t kHuge = UINT64_MAX - 7;
  const SegmentHeader headers[] = {make_segment_header(kDatabaseId, kHuge, 0, 1, 16 << 10),
                                   make_segment_header(kDatabaseId, 1, kHuge, 1, 16 << 10),
                                   make_segment_header(kDatabaseId, 1, 0, kHuge, 16 << 10)};
  for (const SegmentHeader& header : headers) {
    Bench bench;
    bench.options.segment_size_min = 16 << 10;
    ASSERT_TRUE(bench.create().ok());
    bench.process.reset();
    std::string bytes = read_file(bench.file_of(1));
    std::memcpy(bytes.data(), &header, sizeof header);
    write_file(bench.file_of(1), bytes);
    const auto before = image_of(bench);
    const Status status = bench.reopen(0);
    EXPECT_EQ(status.code(), Code::kCORRUPT) << status.message();
    EXPECT_EQ(image_of(bench), before);
  }
}

TEST(LogRecover, ManyCutsInARow) {
  Bench bench;
  bench.options.segment_size_min = 8 << 10;
  ASSERT_TRUE(bench.create().ok());
  for (Csn csn = 1; csn <= 140; ++csn) {
    bench.process->append_numbered(1);
    ASSERT_TRUE(bench.process->flush().ok());
    const std::string path = bench.file_of(csn);
    ASSERT_NE(path, "");
    patch_file(path, frames_of(path).offsets.back(), "torn");
    ASSERT_TRUE(bench.reopen().ok());
    ASSERT_EQ(bench.found.last_csn, csn);
  }
  bench.expect_replayed(1, 140);
  bench.process->append_numbered(1);
  ASSERT_TRUE(bench.process->flush().ok());
  ASSERT_TRUE(bench.log().recycle(141).ok());
  ASSERT_TRUE(bench.reopen(141).ok());
  EXPECT_EQ(bench.segment_files().size(), 1u);
}

// What is wholly in the base stays, newest first, as long as it is not too much; through recovery, and without a gap.
TEST(LogRecover, KeepsMergedSegments) {
  Bench bench;
  bench.options.segment_size_min = bench.options.segment_size_max = 64 << 10;
  bench.options.keep_bytes = 5 * (64 << 10);
  ASSERT_TRUE(bench.create().ok());
  const auto sequences = [&] {
    std::string text;
    for (std::uint64_t sequence = 1; sequence < 100; ++sequence) {
      if (!bench.file_of(sequence).empty()) text += std::to_string(sequence) + " ";
    }
    return text;
  };
  bench.process->append_numbered(600, 1000);  // about ten segments
  ASSERT_TRUE(bench.process->flush().ok());
  const std::uint64_t newest = bench.process->shared.log.durable_sequence.load();
  ASSERT_GT(newest, 8u);
  ASSERT_TRUE(bench.log().recycle(600).ok());
  std::string wanted;
  for (std::uint64_t sequence = newest - 5; sequence <= newest; ++sequence) wanted += std::to_string(sequence) + " ";
  EXPECT_EQ(sequences(), wanted) << "five are kept, and the headers of those used again are gone";

  for (const bool clean : {false, true}) {
    ASSERT_TRUE(bench.reopen(600, clean).ok());
    bench.expect_replayed(601, 600);
    EXPECT_EQ(sequences(), wanted);
  }
  ASSERT_TRUE(bench.log().recycle(600).ok());
  EXPECT_EQ(sequences(), wanted) << "rows of kept segments know their last commit";
  bench.process->append_numbered(300, 1000);
  ASSERT_TRUE(bench.process->flush().ok());
  ASSERT_TRUE(bench.log().recycle(900).ok());
  EXPECT_EQ(bench.file_of(newest - 5), "");
  ASSERT_TRUE(bench.reopen(600).ok());
  bench.expect_replayed(601, 900);

  // A hole ends it: what lies before is of no use.
  const std::uint64_t last = bench.process->shared.log.durable_sequence.load();
  std::filesystem::remove(bench.file_of(last - 2));
  ASSERT_TRUE(bench.reopen(900).ok());
  EXPECT_EQ(sequences(), std::to_string(last - 1) + " " + std::to_string(last) + " ");
  bench.options.keep_bytes = 0;
  ASSERT_TRUE(bench.reopen(900).ok());
  EXPECT_EQ(sequences(), std::to_string(last) + " ");
}

// However much is to be kept, rows are left for what is not merged yet.
TEST(LogRecover, KeepingLeavesRowsForOthers) {
  Bench bench;
  bench.options.segment_size_min = bench.options.segment_size_max = 16 << 10;
  bench.options.keep_bytes = UINT64_MAX;
  ASSERT_TRUE(bench.create().ok());
  for (Csn csn = 0; csn < 2'000; csn += 50) {
    bench.process->append_numbered(50, 1000);
    ASSERT_TRUE(bench.process->flush().ok());
    ASSERT_TRUE(bench.log().recycle(csn + 50).ok());
    ASSERT_LE(bench.log().stats().segments, kSegmentsKeptMax + 3);
  }
  EXPECT_GT(bench.log().stats().segments, kSegmentsKeptMax / 2);
  ASSERT_TRUE(bench.reopen(2'000).ok());
  EXPECT_GT(bench.log().stats().segments, kSegmentsKeptMax / 2);
}

}  // namespace
}  // namespace hf::log
