// SPDX-License-Identifier: Apache-2.0
// Goal: after a power failure at any moment, every commit answered durable is there, in order, without a gap, and
// nothing else is half there; over many failures in a row, with rolls, recycling and large records.
//
// Method: a model of the disk. Each sync is noted, with the file's bytes as of then. At a random flush, after its
// writes and before its sync, the power fails: each 512-byte sector of each file is what the last sync of that file
// left or what was written since, by the toss of a coin. A file removed since the last sync of the directory may
// come back. Then recovery runs on what is left. Seeds are printed.
#include <map>
#include <random>

#include "log_testing.h"

namespace hf::log {
namespace {

constexpr std::size_t kSector = 512;
using Image = std::map<std::string, std::string>;

class Disk {
 public:
  explicit Disk(const Bench& bench) : bench_(bench) { synced_ = written(); }

  Image written() const {
    Image result;
    for (const std::string& path : bench_.segment_files()) result[path] = read_file(path);
    return result;
  }

  // Called before each sync, whose file is not told: the log writes to one file between two syncs of it, except for
  // direct records in the next one, so whatever changed is taken as synced only when it is one file.
  void sync() {
    const Image now = written();
    std::vector<std::string> changed;
    for (const auto& [path, bytes] : now) {
      const auto old = synced_.find(path);
      if (old == synced_.end() || old->second != bytes) changed.push_back(path);
    }
    for (const std::string& path : changed) {
      if (changed.size() == 1 || !is_ahead(now.at(path))) synced_[path] = now.at(path);
    }
  }

  Image after_power_failure(std::mt19937_64& random) const {
    Image result = written();
    for (const auto& [path, bytes] : synced_) {
      if (!result.contains(path)) {
        if (random() % 2 == 0) result[path] = bytes;
        continue;
      }
      std::string& mixed = result[path];
      const std::uint64_t odds = random() % 4;  // some failures lose nearly all, some nearly nothing
      for (std::size_t at = 0; at < mixed.size() && at < bytes.size(); at += kSector) {
        if (random() % 4 <= odds) mixed.replace(at, kSector, bytes, at, kSector);
      }
    }
    return result;
  }

 private:
  // Whether the file holds a direct record behind a header that no flush has written yet.
  static bool is_ahead(const std::string& bytes) {
    SegmentHeader header;
    FrameHeader frame;
    std::memcpy(&header, bytes.data(), sizeof header);
    std::memcpy(&frame, bytes.data() + kSegmentHeaderSize, sizeof frame);
    return frame.magic == kFrameMagic && (header.sequence == 0 || header.first_csn != frame.csn);
  }

  const Bench& bench_;
  Image synced_;
};

class PowerTest {
 public:
  explicit PowerTest(std::uint64_t seed) : random_(seed) {
    bench_.options.segment_size_min = 16 << 10;
    bench_.options.segment_size_max = 32 << 10;
  }

  void run(int failures) {
    ASSERT_TRUE(bench_.create().ok());
    for (int i = 0; i < failures && !testing::Test::HasFatalFailure(); ++i) one_life(i);
  }

 private:
  void one_life(int number) {
    SCOPED_TRACE("life " + std::to_string(number));
    Disk disk(bench_);
    bool is_over = false;
    std::uint64_t flushes_left = random_() % 25;
    Image left;
    platform::arm_hook("file.sync", [&] {
      if (!is_over) disk.sync();
    });
    platform::arm_hook("log.flush.written", [&] {
      if (is_over || flushes_left-- != 0) return;
      is_over = true;
      left = disk.after_power_failure(random_);
    });
    while (!is_over) work(&is_over);
    platform::arm("");
    restore_image(left);
    const Csn applied = applied_;
    const Status status = bench_.reopen(applied);
    ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_GE(bench_.found.last_csn, durable_);
    ASSERT_EQ(bench_.replayed.size(), bench_.found.last_csn - applied);
    for (const Replayed& record : bench_.replayed) {
      ASSERT_EQ(record.payload, payloads_.at(record.csn)) << "commit " << record.csn;
    }
    // What was not durable is gone for good.
    payloads_.erase(payloads_.upper_bound(bench_.found.last_csn), payloads_.end());
    durable_ = bench_.found.last_csn;
  }

  void work(bool* is_over) {
    Process& process = *bench_.process;
    switch (random_() % 12) {
      case 0:
      case 1:
      case 2:
      case 3: {
        ASSERT_TRUE(process.flush().ok());
        if (!*is_over) durable_ = process.log->durable_csn();
        return;
      }
      case 4: {
        const std::string payload = new_payload(random_() % 40'000);
        Csn csn = 0;
        ASSERT_TRUE(process.append_direct(make_body(payload), &csn).ok());
        payloads_[csn] = payload;
        return;
      }
      case 5:
        ASSERT_TRUE(process.log->prepare_ahead().ok());
        return;
      case 6:  // a merge, which the base makes durable
        if (random_() % 3 != 0 || *is_over) return;
        applied_ += durable_ > applied_ ? random_() % (durable_ - applied_ + 1) : 0;
        ASSERT_TRUE(process.log->recycle(applied_).ok());
        return;
      default: {
        const std::string payload = new_payload(random_() % (random_() % 5 == 0 ? 9000 : 300));
        payloads_[process.append(make_body(payload))] = payload;
        return;
      }
    }
  }

  // Never the same twice, so that a record of a lost history is told from the one in its place.
  std::string new_payload(std::size_t size) { return payload_for(++serial_, size); }

  void restore_image(const Image& image) {
    for (const std::string& path : bench_.segment_files()) std::filesystem::remove(path);
    for (const auto& [path, bytes] : image) write_file(path, bytes);
  }

  std::mt19937_64 random_;
  Bench bench_;
  std::map<Csn, std::string> payloads_;
  std::uint64_t serial_ = 0;
  Csn durable_ = 0;
  Csn applied_ = 0;
};

TEST(LogPower, ManyFailures) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    PowerTest(seed).run(12);
    platform::arm("");
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace hf::log
