// SPDX-License-Identifier: Apache-2.0
// What the overlay's tests share: an overlay in a directory of its own whose shared part a forked child sees too,
// commits that are a pure function of their number, and a model of the rows to compare with.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "overlay/overlay.h"
#include "platform/file.h"
#include "platform/test_point.h"

namespace hf::overlay {

struct RowChange {
  TableId table = 1;
  std::string key;
  std::string value;
  VersionKind kind = VersionKind::kPut;
  std::uint8_t flags = 0;
  std::uint64_t expires_ms = 0;

  Change view() const {
    Change change{table, key, row_hash(table, key), kind, flags, expires_ms, value};
    change.content = content_of(change);
    return change;
  }
  std::uint64_t space() const { return Overlay::space_of(key.size(), value.size()); }
};
using Commit = std::vector<RowChange>;

inline std::uint64_t space_of_commit(const Commit& commit) {
  std::uint64_t sum = 0;
  for (const RowChange& change : commit) sum += change.space();
  return sum;
}

// Every version of every row, oldest first.
struct Model {
  struct Entry {
    Csn csn;
    RowChange change;
  };
  using RowId = std::pair<TableId, std::string>;
  std::map<RowId, std::vector<Entry>> rows;

  void apply(Csn csn, const Commit& commit) {
    for (const RowChange& change : commit) rows[{change.table, change.key}].push_back({csn, change});
  }
  static const Entry* visible(const std::vector<Entry>& versions, Csn snapshot, Csn first) {
    for (auto entry = versions.rbegin(); entry != versions.rend(); ++entry) {
      if (entry->csn <= snapshot) return entry->csn >= first ? &*entry : nullptr;
    }
    return nullptr;
  }
};

struct Shared {
  OverlayShared overlay;
  std::atomic<Csn> published;
};

class World {
 public:
  explicit World(std::uint64_t bytes_max = 64u << 20, std::uint64_t segment_size_min = 1u << 20) {
    std::string pattern = testing::TempDir() + "hf_overlay_XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared_ = static_cast<Shared*>(memory);
    options_ = OverlayOptions{directory_, bytes_max, segment_size_min};
    Result<std::unique_ptr<Overlay>> made = Overlay::create(shared_->overlay, options_, 1);
    if (!made.ok()) ADD_FAILURE() << made.status().message();
    overlay_ = std::move(made).value();
  }
  ~World() {
    overlay_.reset();
    EXPECT_TRUE(Overlay::remove_files(directory_).ok());
    ::munmap(shared_, sizeof(Shared));
    EXPECT_EQ(::rmdir(directory_.c_str()), 0) << "files are left in " << directory_;
  }

  Overlay& overlay() { return *overlay_; }
  Shared& shared() { return *shared_; }
  const std::string& directory() const { return directory_; }
  std::unique_ptr<Overlay> attach() {
    Result<std::unique_ptr<Overlay>> other = Overlay::attach(shared_->overlay, options_);
    if (!other.ok()) ADD_FAILURE() << other.status().message();
    return std::move(other).value();
  }
  // What another process does: forks, attaches, runs. The child ends with exit code 0, unless something kills it.
  pid_t spawn(const std::function<void(Overlay&)>& body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      Result<std::unique_ptr<Overlay>> other = Overlay::attach(shared_->overlay, options_);
      if (!other.ok()) ::_exit(99);
      body(**other);
      ::_exit(testing::Test::HasFailure() ? 98 : 0);
    }
    return pid;
  }
  static int wait_for(pid_t pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
  }

 private:
  std::string directory_;
  Shared* shared_;
  OverlayOptions options_;
  std::unique_ptr<Overlay> overlay_;
};

// A whole commit as a latch owner does it, with rotation and, for want of a maintainer, preparing.
inline void run_commit(Overlay& overlay, Csn csn, const Commit& commit) {
  const std::uint64_t bytes = space_of_commit(commit);
  for (int attempt = 0; attempt < 4; ++attempt) {
    const Status touched = overlay.touch_ahead(bytes);
    ASSERT_TRUE(touched.ok()) << touched.message();
    if (overlay.has_room(bytes)) {
      for (const RowChange& change : commit) overlay.insert(csn, change.view());
      return;
    }
    if (!overlay.can_rotate(bytes)) {
      const Status status = overlay.prepare(bytes);
      ASSERT_TRUE(status.ok()) << status.message();
    }
    ASSERT_TRUE(overlay.can_rotate(bytes));
    overlay.rotate(csn - 1);
  }
  FAIL() << "no room after rotating";
}

// Rows that are hard to tell apart: keys that share prefixes, end in zeros, are empty or as long as allowed.
inline std::string hard_key(std::mt19937_64& random) {
  static const std::string kStems[] = {
      "", "a", "ab", "abcdefg", "abcdefgh", std::string(8, '\xff'), std::string(7, '\0')};
  std::string key = kStems[random() % std::size(kStems)];
  switch (random() % 6) {
    case 0:
      break;
    case 1:
      key += std::string(random() % 10, '\0');
      break;
    case 2:
      key += std::string(random() % 3, '\xff');
      break;
    case 3:
      key += static_cast<char>(random());
      break;
    case 4:
      key += std::to_string(random() % 50);
      break;
    default:
      key += std::string(kKeySizeMax - key.size() - random() % 2, random() % 2 ? '\0' : 'z');
  }
  return key;
}

// A commit's rows are distinct, as those of a transaction are.
inline Commit make_commit(std::uint64_t seed, Csn csn, std::size_t rows_max = 8) {
  std::mt19937_64 random(seed * 1'000'003 + csn);
  std::map<Model::RowId, RowChange> rows;
  const std::size_t count = 1 + random() % rows_max;
  while (rows.size() < count) {
    RowChange change;
    change.table = static_cast<TableId>(1 + random() % 5 + (random() % 4 == 0 ? 4096 : 0));
    change.key = random() % 3 == 0 ? "key" + std::to_string(random() % 2000) : hard_key(random);
    change.kind = random() % 5 == 0 ? VersionKind::kDelete : VersionKind::kPut;
    if (change.kind == VersionKind::kPut) change.value = std::string(random() % 40, static_cast<char>('a' + csn % 26));
    change.flags = static_cast<std::uint8_t>(random());
    if (random() % 3 == 0) change.expires_ms = random();
    rows[{change.table, change.key}] = change;
  }
  Commit commit;
  for (auto& [id, change] : rows) commit.push_back(change);
  return commit;
}

inline void expect_same(const Version& version, const Model::Entry& entry) {
  EXPECT_EQ(version.csn, entry.csn);
  EXPECT_EQ(version.value, Bytes(entry.change.value));
  EXPECT_EQ(version.kind, entry.change.kind);
  EXPECT_EQ(version.flags, entry.change.flags);
  EXPECT_EQ(version.expires_ms, entry.change.expires_ms);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(version.value.data()) % 8, 0u);
}

// Compares a segment with the model's versions of its commits, at `snapshot`: by hash, forwards and backwards.
inline void expect_segment(const Segment& segment, const Model& model, Csn snapshot, Csn published) {
  const Csn first = segment.first_csn();
  const Csn last = std::min(published, segment.last_csn());
  std::vector<std::pair<const Model::RowId*, const std::vector<Model::Entry>*>> expected;
  for (const auto& [id, versions] : model.rows) {
    const Model::Entry* newest = Model::visible(versions, last, first);
    const std::uint64_t hash = row_hash(id.first, id.second);
    ASSERT_EQ(segment.newest(id.first, id.second, hash), newest == nullptr ? 0 : newest->csn);
    const Model::Entry* entry = Model::visible(versions, std::min(snapshot, last), first);
    Version version;
    ASSERT_EQ(segment.find(id.first, id.second, hash, snapshot, &version), entry != nullptr);
    if (entry != nullptr) expect_same(version, *entry);
    if (newest != nullptr) {
      ASSERT_TRUE(segment.has_table(id.first));
      expected.emplace_back(&id, &versions);
    }
  }
  Iterator row(segment);
  row.seek_at_or_after(0, "");
  for (const auto& [id, versions] : expected) {
    ASSERT_TRUE(row.valid());
    ASSERT_EQ(row.table(), id->first);
    ASSERT_EQ(row.key(), Bytes(id->second));
    const Model::Entry* entry = Model::visible(*versions, std::min(snapshot, last), first);
    Version version;
    ASSERT_EQ(row.version(snapshot, &version), entry != nullptr);
    if (entry != nullptr) expect_same(version, *entry);
    ASSERT_EQ(row.newest(), Model::visible(*versions, last, first)->csn);
    row.next();
  }
  ASSERT_FALSE(row.valid());
  row.seek_before(~TableId{0}, "");
  for (auto wanted = expected.rbegin(); wanted != expected.rend(); ++wanted) {
    ASSERT_TRUE(row.valid());
    ASSERT_EQ(row.table(), wanted->first->first);
    ASSERT_EQ(row.key(), Bytes(wanted->first->second));
    row.prev();
  }
  ASSERT_FALSE(row.valid());
}

// All segments, which must cover the commits 1..published without gap or overlap.
inline void expect_overlay(Overlay& overlay, const Model& model, Csn snapshot, Csn published) {
  Result<std::vector<SegmentRef>> segments = overlay.segments_after(0);
  ASSERT_TRUE(segments.ok()) << segments.status().message();
  ASSERT_FALSE(segments->empty());
  ASSERT_EQ(segments->front()->last_csn(), kCsnMax);
  ASSERT_EQ(segments->back()->first_csn(), 1u);
  for (std::size_t i = 0; i + 1 < segments->size(); ++i) {
    ASSERT_EQ((*segments)[i]->first_csn(), (*segments)[i + 1]->last_csn() + 1);
  }
  for (const SegmentRef& segment : *segments) {
    ASSERT_NO_FATAL_FAILURE(expect_segment(*segment, model, snapshot, published));
  }
}

}  // namespace hf::overlay
