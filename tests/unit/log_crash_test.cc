// SPDX-License-Identifier: Apache-2.0
// Goal: a process killed at any named point, holding any latch, harms nobody: those who live go on at once, and if all
// are dead the next open has every commit that was answered. Method: children that commit until a point kills them;
// then the parent either takes over in the same session or opens anew, with and without salvage.
#include "log_testing.h"

namespace hf::log {
namespace {

constexpr int kKilled = 128 + SIGKILL;

void use_small_segments(Bench& bench) {
  bench.options.segment_size_min = 32 << 10;
  bench.options.segment_size_max = 64 << 10;
}

std::unique_ptr<Process> join(Bench& bench) {
  auto process = std::make_unique<Process>(**bench.memory, bench.directory.path());
  auto log = Log::attach((*bench.memory)->log, (*bench.memory)->ring, process->liveness, bench.options);
  process->log = std::move(log).value();
  return process;
}

// What the child does: small and large commits whose payloads tell their csn; notes[0] is the newest durable one.
int commit_until_killed(Bench& bench, const std::string& point, bool with_direct) {
  auto process = join(bench);
  platform::arm(point);
  for (Csn turn = 1; turn < 2000; ++turn) {
    const Csn next = process->log->appended_csn() + 1;
    if (with_direct && turn % 7 == 0) {
      Csn csn = 0;
      if (!process->append_direct(make_body(payload_for(next, 20'000)), &csn).ok() || csn != next) return 2;
    } else {
      process->append_numbered(1, 100 + turn % 5 * 700);
    }
    if (turn % 3 == 0) {
      if (!process->flush().ok()) return 3;
      process->shared.notes[0].store(process->log->durable_csn());
    }
    if (turn % 10 == 0) {
      if (!process->log->prepare_ahead().ok()) return 4;
      if (!process->log->recycle(process->shared.notes[1].load()).ok()) return 5;
    }
  }
  return 1;
}

// Before the next append a latch owner finds the newest record whole: it is the one of appended_csn.
void expect_last_is_whole(Process& process) {
  Csn csn = 0;
  std::string body;
  if (process.log->appended_csn() == 0) return;
  ASSERT_TRUE(process.log->last(&csn, &body).ok());
  EXPECT_EQ(csn, process.log->appended_csn());
  const std::string start = payload_for(csn);
  EXPECT_EQ(payload_of(body).substr(0, start.size()), start);
}

struct Case {
  const char* point;
  int nth;
};
std::vector<Case> cases() {
  std::vector<Case> result;
  for (const char* point :
       {"log.append.before_publish", "log.append.published", "log.flush.written", "log.flush.synced"}) {
    for (const int nth : {1, 2, 7, 60, 61, 62, 63, 150}) result.push_back({point, nth});
  }
  for (const char* point : {"log.roll", "log.prepare"}) {
    for (const int nth : {1, 2, 3}) result.push_back({point, nth});
  }
  for (const int nth : {1, 5, 33, 90, 91, 92, 93, 94, 95, 96, 200}) {
    result.push_back({"file.write", nth});
    result.push_back({"file.sync", nth});
  }
  return result;
}

class LogCrash : public testing::TestWithParam<bool> {};

TEST_P(LogCrash, OthersGoOn) {
  for (const Case& at : cases()) {
    SCOPED_TRACE(std::string(at.point) + ":" + std::to_string(at.nth));
    Bench bench;
    use_small_segments(bench);
    ASSERT_TRUE(bench.create().ok());
    const std::string spec = std::string(at.point) + ":kill:" + std::to_string(at.nth);
    for (int death = 0; death < 2; ++death) {
      ASSERT_EQ(
          platform::wait_for_child(platform::fork_child([&] { return commit_until_killed(bench, spec, GetParam()); })),
          kKilled);
      const std::uint64_t begin = monotonic_ns();
      ASSERT_NE(bench.process->latch->acquire(Deadline::after_ms(2000)), platform::Acquired::kNo);
      expect_last_is_whole(*bench.process);
      bench.process->latch->release();
      bench.process->append_numbered(3, 500);
      ASSERT_TRUE(bench.process->flush().ok());
      EXPECT_LT(monotonic_ns() - begin, 1'000'000'000u);
    }
    bench.process->append_numbered(80, 1000);  // over the next roll
    ASSERT_TRUE(bench.process->flush().ok());
    const Csn last = bench.log().appended_csn();
    ASSERT_TRUE(bench.reopen().ok());
    bench.expect_replayed(1, last);
    EXPECT_EQ(bench.found.bytes_cut, 0u);
  }
}

TEST_P(LogCrash, NextOpenHasWhatWasAnswered) {
  for (const bool with_salvage : {false, true}) {
    for (const Case& at : cases()) {
      SCOPED_TRACE(std::string(at.point) + ":" + std::to_string(at.nth) + (with_salvage ? " salvage" : ""));
      Bench bench;
      use_small_segments(bench);
      ASSERT_TRUE(bench.create().ok());
      const std::string spec = std::string(at.point) + ":kill:" + std::to_string(at.nth);
      ASSERT_EQ(
          platform::wait_for_child(platform::fork_child([&] { return commit_until_killed(bench, spec, GetParam()); })),
          kKilled);
      const Csn answered = (*bench.memory)->notes[0].load();
      const Csn appended = bench.log().appended_csn();
      if (with_salvage) {
        ASSERT_TRUE(bench.salvage().ok());
        ASSERT_TRUE(bench.salvage().ok());  // a second time changes nothing
      }
      ASSERT_TRUE(bench.reopen().ok());
      EXPECT_GE(bench.found.last_csn, with_salvage ? appended : answered);
      EXPECT_LE(bench.found.last_csn, appended + 1) << "a direct record may be whole without its commit point";
      bench.expect_replayed(1, bench.found.last_csn);
      const Csn last = bench.found.last_csn;
      bench.process->append_numbered(60, 1000);
      ASSERT_TRUE(bench.process->flush().ok());
      ASSERT_TRUE(bench.reopen().ok());
      bench.expect_replayed(1, last + 60);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutDirect, LogCrash, testing::Bool());

// Recovery itself is killed at each of its steps, again and again; then it succeeds with the same result.
TEST(LogCrashRecover, KilledRecoveryIsRepeated) {
  for (const bool torn : {false, true}) {
    Bench bench;
    use_small_segments(bench);
    ASSERT_TRUE(bench.create().ok());
    bench.process->append_numbered(200, 500);
    ASSERT_TRUE(bench.process->flush().ok());
    const std::uint64_t newest = bench.process->shared.log.header_sequence.load();
    const Csn applied =
        bench.process->shared.log.segments[bench.process->shared.log.tail[0].row.load()].first_csn.load();
    bench.process.reset();
    Csn last = 200;
    if (torn) {
      const std::string path = bench.file_of(newest);
      const std::string bytes = read_file(path);
      patch_file(path, bytes.find_last_not_of('\0'), std::string(1, '\0'));
      last = 199;
    }
    int kills = 0;
    for (int nth = 1; nth <= 20; ++nth) {
      for (const char* point : {"log.recover", "file.write", "file.sync"}) {
        const pid_t child = platform::fork_child([&] {
          platform::arm(std::string(point) + ":kill:" + std::to_string(nth));
          return bench.reopen(applied).ok() ? 0 : 1;
        });
        const int end = platform::wait_for_child(child);
        ASSERT_TRUE(end == 0 || end == kKilled) << end;
        if (end == kKilled) ++kills;
      }
    }
    EXPECT_GE(kills, torn ? 5 : 2);
    ASSERT_TRUE(bench.reopen(applied).ok());
    bench.expect_replayed(applied + 1, last);
    bench.process->append_numbered(1);
    ASSERT_TRUE(bench.process->flush().ok());
    ASSERT_TRUE(bench.reopen(applied).ok());
    bench.expect_replayed(applied + 1, last + 1);
  }
}

// --- salvage ---------------------------------------------------------------------------------------------------

TEST(LogSalvage, RelaxedCommitsSurviveProcesses) {
  Bench bench;
  use_small_segments(bench);
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(20, 700);
  ASSERT_TRUE(bench.process->flush().ok());
  bench.process->append_numbered(400, 2000);  // over many segments, none of it flushed
  ASSERT_TRUE(bench.salvage().ok());
  ASSERT_TRUE(bench.reopen().ok());
  bench.expect_replayed(1, 420);
}

// Whatever is in old memory: a salvage never makes a right log wrong. Every word of it is set to strange values, and
// the ring is damaged.
TEST(LogSalvage, MemoryIsNotTrusted) {
  Bench bench;
  use_small_segments(bench);
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(100, 700);
  ASSERT_TRUE(bench.process->flush().ok());
  bench.process->append_numbered(30, 700);
  const auto image = image_of(bench);
  const auto before = std::make_unique<std::string>(reinterpret_cast<const char*>(&**bench.memory), sizeof(Memory));
  unsigned seed = 20240607;
  for (int turn = 0; turn < 120; ++turn) {
    platform::SharedMemory<Memory> copy;
    std::memcpy(static_cast<void*>(&*copy), before->data(), sizeof(Memory));
    char* bytes = reinterpret_cast<char*>(&*copy);
    for (int change = 0; change <= turn % 3; ++change) {
      const std::uint64_t values[] = {0,
                                      1,
                                      UINT64_MAX,
                                      1ull << 40,
                                      4096,
                                      static_cast<std::uint64_t>(rand_r(&seed)) * 8,
                                      *reinterpret_cast<std::uint64_t*>(bytes + rand_r(&seed) % 16 * 8)};
      const std::size_t word = static_cast<std::size_t>(rand_r(&seed)) % (turn % 2 == 0 ? 16 : sizeof(LogShared) / 8);
      std::memcpy(bytes + word * 8, &values[static_cast<std::size_t>(rand_r(&seed)) % 7], 8);
    }
    if (turn % 5 == 0) std::memset(copy->ring + 70'000 + turn * 10, 0x5a, 100);
    (void)Log::salvage(copy->log, copy->ring, bench.options);
    std::vector<Replayed> replayed;
    platform::SharedMemory<Memory> fresh;
    auto log = Log::recover(
        fresh->log, fresh->ring, bench.process->liveness, bench.options, 0, false,
        [&](Csn csn, Bytes body) {
          replayed.push_back({csn, payload_of(body)});
          return Status();
        },
        nullptr);
    ASSERT_TRUE(log.ok()) << "turn " << turn << ": " << log.status().message();
    ASSERT_GE(replayed.size(), 100u) << "turn " << turn;
    for (Csn csn = 1; csn <= replayed.size(); ++csn) ASSERT_EQ(replayed[csn - 1].payload, payload_for(csn, 700));
    restore(bench, image);
  }
}

// Whole frames of this very log, where the files have other ones: written_lsn has gone back.
TEST(LogSalvage, DurableRecordsAreNotWrittenOver) {
  for (const bool is_wrong_frame : {true, false}) {
    SCOPED_TRACE(is_wrong_frame ? "a later frame in the place of the first" : "the ring lacks what follows the first");
    Bench bench;
    ASSERT_TRUE(bench.create().ok());
    bench.process->append_numbered(5);
    ASSERT_TRUE(bench.process->flush().ok());
    const std::uint64_t begin = (*bench.memory)->log.written_lsn.load();
    bench.process->append_numbered(1);
    char* const ring = (*bench.memory)->ring;
    std::string frame(frame_size(make_body(payload_for(6)).size()), '\0');
    ring_get(ring, is_wrong_frame ? begin : 0, frame.data(), frame.size());
    std::memset(ring, 0, begin + 2 * frame.size());
    ring_put(ring, 0, frame.data(), frame.size());
    (*bench.memory)->log.written_lsn.store(0);
    ASSERT_TRUE(bench.salvage().ok());
    ASSERT_TRUE(bench.reopen().ok());
    bench.expect_replayed(1, 5);
  }
}

// The memory of an older session says nothing new.
TEST(LogSalvage, OldMemoryIsIgnored) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(5);
  ASSERT_TRUE(bench.process->flush().ok());
  bench.process->append_numbered(5, 50);
  auto old = std::make_unique<platform::SharedMemory<Memory>>();
  std::memcpy(static_cast<void*>(&**old), static_cast<const void*>(&**bench.memory), sizeof(Memory));
  patch_file(bench.file_of(1), (1u << 20) - 8, "torn");  // makes the next session go on in a new segment
  patch_file(bench.file_of(1), kSegmentHeaderSize + (*old)->log.written_lsn.load(), "torn");
  ASSERT_TRUE(bench.reopen().ok());
  bench.expect_replayed(1, 5);
  bench.process->append_numbered(2, 3000);
  ASSERT_TRUE(bench.process->flush().ok());
  ASSERT_TRUE(Log::salvage((*old)->log, (*old)->ring, bench.options).ok());
  ASSERT_TRUE(bench.reopen().ok());
  bench.expect_replayed(1, 7);
  EXPECT_EQ(bench.replayed[5].payload, payload_for(6, 3000));
}

}  // namespace
}  // namespace hf::log
