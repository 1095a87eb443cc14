// SPDX-License-Identifier: Apache-2.0
// Opening, what must not be opened, limits and full disks.
#include <fcntl.h>
#include <lmdb.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>
#include <vector>

#include "store_testing.h"

namespace hf::store {
namespace {

using namespace testing;

void write_file(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(StoreEnvironment, NewBaseIsEmpty) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  auto snapshot = (*store)->snapshot();
  ASSERT_OK(snapshot);
  EXPECT_EQ((*snapshot)->applied_csn(), 0u);
  EXPECT_EQ((*snapshot)->entries(1), 0u);
  EXPECT_EQ(value_of(**snapshot, 1, "key"), std::nullopt);
  auto cursor = Cursor::open(**snapshot, 1);
  ASSERT_OK(cursor);
  for (const Result<bool>& on : {cursor->first(), cursor->last(), cursor->next(), cursor->prev(),
                                 cursor->seek_at_or_after("a"), cursor->seek_before("a")}) {
    ASSERT_OK(on);
    EXPECT_FALSE(on.value());
  }
}

TEST(StoreEnvironment, KeepsWhatWasCommitted) {
  Directory directory;
  {
    auto store = Store::open(options_for(directory));
    ASSERT_OK(store);
    ASSERT_OK(put_one(**store, 7, "key", row_of("value", 42, 0, 3), 99));
    ASSERT_OK((*store)->set_meta("database_id", "abc"));
  }
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  auto snapshot = (*store)->snapshot();
  ASSERT_OK(snapshot);
  EXPECT_EQ((*snapshot)->applied_csn(), 99u);
  Row row;
  auto found = (*snapshot)->get(7, "key", &row);
  ASSERT_OK(found);
  ASSERT_TRUE(*found);
  EXPECT_EQ(row.value, "value");
  EXPECT_EQ(row.version, 42u);
  EXPECT_EQ(row.flags, 3u);
  EXPECT_EQ(row.expires_ms, 0u);
  auto id = (*store)->get_meta("database_id");
  ASSERT_OK(id);
  EXPECT_EQ(*id, "abc");
  EXPECT_EQ((*store)->get_meta("nothing").code(), Code::kNOT_FOUND);
}

TEST(StoreEnvironment, MissingDirectory) {
  StoreOptions options;
  options.directory = ::testing::TempDir() + "hf_store_that_is_not_there";
  auto store = Store::open(options);
  EXPECT_EQ(store.code(), Code::kNOT_FOUND);
  EXPECT_NE(store.status().message().find(options.directory), std::string::npos);
}

// Whatever is not ours is refused and left as it is.
TEST(StoreEnvironment, RefusesOtherFiles) {
  std::string garbage(1 << 16, '\0');
  for (std::size_t i = 0; i < garbage.size(); ++i) garbage[i] = static_cast<char>(i * 131 + (i >> 7));
  for (const std::string& bytes : {std::string("Dear diary,\n"), garbage, std::string(1 << 14, '\0')}) {
    Directory directory;
    write_file(directory.path() + "/data.mdb", bytes);
    auto store = Store::open(options_for(directory));
    EXPECT_EQ(store.code(), Code::kWRONG_FORMAT) << text_of(store);
    EXPECT_EQ(read_file(directory.path() + "/data.mdb"), bytes);
  }
}

void make_foreign_lmdb(const std::string& path, const char* database, const char* name) {
  MDB_env* env;
  MDB_txn* txn;
  MDB_dbi dbi;
  ASSERT_EQ(mdb_env_create(&env), 0);
  ASSERT_EQ(mdb_env_set_maxdbs(env, 8), 0);
  ASSERT_EQ(mdb_env_open(env, path.c_str(), 0, 0666), 0);
  ASSERT_EQ(mdb_txn_begin(env, nullptr, 0, &txn), 0);
  ASSERT_EQ(mdb_dbi_open(txn, database, MDB_CREATE, &dbi), 0);
  MDB_val key{std::strlen(name), const_cast<char*>(name)}, value{3, const_cast<char*>("abc")};
  ASSERT_EQ(mdb_put(txn, dbi, &key, &value, 0), 0);
  ASSERT_EQ(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
}

TEST(StoreEnvironment, RefusesOtherLmdbDatabases) {
  const std::pair<const char*, const char*> cases[] = {
      {nullptr, "a row"}, {"users", "a row"}, {"meta", "format"}, {"meta", "other"}, {nullptr, "meta"}};
  for (const auto& [database, name] : cases) {
    Directory directory;
    make_foreign_lmdb(directory.path(), database, name);
    auto store = Store::open(options_for(directory));
    EXPECT_EQ(store.code(), Code::kWRONG_FORMAT) << name << ": " << text_of(store);
  }
}

// A number that no commit has would make the next ones run over.
TEST(StoreEnvironment, RefusesAppliedCsnOutOfRange) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  const Csn wrong = kCsnMax + 1;
  ASSERT_EQ((*store)->set_meta(kAppliedCsnKey, Bytes(reinterpret_cast<const char*>(&wrong), sizeof wrong)).code(),
            Code::kOK);
  EXPECT_EQ((*store)->snapshot().code(), Code::kCORRUPT);
}

TEST(StoreEnvironment, RefusesNewerFormat) {
  Directory directory;
  {
    auto store = Store::open(options_for(directory));
    ASSERT_OK(store);
    FormatRecord format{};
    std::memcpy(format.magic, kFormatMagic, sizeof format.magic);
    format.version = kFormatVersion + 1;
    format.byte_order = kByteOrder;
    ASSERT_OK((*store)->set_meta(kFormatKey, Bytes(reinterpret_cast<const char*>(&format), sizeof format)));
  }
  auto store = Store::open(options_for(directory));
  EXPECT_EQ(store.code(), Code::kWRONG_FORMAT) << text_of(store);
}

TEST(StoreEnvironment, ContradictingDirectoryIsCorrupt) {
  Directory directory;
  {
    auto store = Store::open(options_for(directory));
    ASSERT_OK(store);
    ASSERT_OK(put_one(**store, 1, "key", row_of("value")));
    const DirectoryRecord wrong{77, 0, 0};  // table 1 has slot 0, which does not exist
    ASSERT_OK((*store)->set_meta(kDirectoryKey, Bytes(reinterpret_cast<const char*>(&wrong), sizeof wrong)));
    EXPECT_EQ((*store)->snapshot().code(), Code::kCORRUPT);
    EXPECT_EQ((*store)->begin_merge().code(), Code::kCORRUPT);
  }
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  EXPECT_EQ((*store)->snapshot().code(), Code::kCORRUPT);
}

// A map that is too small answers kDISK_FULL, loses nothing, and a larger one goes on.
TEST(StoreEnvironment, FullMap) {
  Directory directory;
  const std::string value(10'000, 'v');
  Csn written = 0;
  {
    auto store = Store::open(options_for(directory, 1 << 20));
    ASSERT_OK(store);
    Status status;
    while (written < 1000) {
      status = put_one(**store, 1, std::to_string(written + 1), row_of(value), written + 1);
      if (!status.ok()) break;
      ++written;
    }
    EXPECT_EQ(status.code(), Code::kDISK_FULL) << text_of(status);
    EXPECT_NE(status.message().find("map_size"), std::string::npos) << status.message();
    ASSERT_GT(written, 10u);
    auto snapshot = (*store)->snapshot();
    ASSERT_OK(snapshot);
    EXPECT_EQ((*snapshot)->applied_csn(), written);
    EXPECT_EQ((*snapshot)->entries(1), written);
    EXPECT_EQ(value_of(**snapshot, 1, "1"), value);
  }
  auto store = Store::open(options_for(directory, 4 << 20));
  ASSERT_OK(store);
  ASSERT_OK(put_one(**store, 1, "more", row_of(value), written + 1));
  EXPECT_EQ(snapshot_of(**store)->entries(1), written + 1);
}

// A file size limit instead of a really full disk: the same path, SIGXFSZ included. Method: a child with RLIMIT_FSIZE.
TEST(StoreEnvironment, FullDisk) {
  Directory directory;
  const int code = wait_child(fork_child([&] {
    signal(SIGXFSZ, SIG_DFL);
    auto store = Store::open(options_for(directory));
    if (!store.ok()) return 1;
    // Met in the middle of a write, which is then short; and lastly before it begins, which raises the signal.
    for (std::uint64_t limit : {300'000u, 400'000u, 1'000'001u, 40'960u}) {
      const rlimit small{limit, RLIM_INFINITY};
      if (setrlimit(RLIMIT_FSIZE, &small) != 0) return 2;
      const Csn before = snapshot_of(**store)->applied_csn();
      std::string value(100'000, 'v');
      Status status;
      Csn csn = before;
      while (status.ok() && csn < before + 100) {
        ++csn;
        status = put_one(**store, 1, std::to_string(csn), row_of(value, csn), csn);
      }
      if (status.code() != Code::kDISK_FULL) return 3;
      auto snapshot = (*store)->snapshot();
      if (!snapshot.ok() || (*snapshot)->applied_csn() != csn - 1 || (*snapshot)->entries(1) != csn - 1) return 4;
    }
    const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &none);
    return put_one(**store, 1, "more", row_of("value"), 1000).ok() ? 0 : 5;  // works again once there is room
  }));
  EXPECT_EQ(code, 0);
}

TEST(StoreEnvironment, NoAddressSpaceNamesTheOption) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need address space themselves";
  Directory directory;
  const int code = wait_child(fork_child([&] {
    const rlimit small{std::uint64_t{1} << 30, RLIM_INFINITY};
    setrlimit(RLIMIT_AS, &small);
    auto store = Store::open(options_for(directory, std::uint64_t{1} << 40));
    if (store.code() != Code::kLIMIT || store.status().message().find("map_size") == std::string::npos) return 1;
    return Store::open(options_for(directory, 1 << 24)).ok() ? 0 : 2;
  }));
  EXPECT_EQ(code, 0);
}

TEST(StoreEnvironment, OutOfDescriptors) {
  Directory directory;
  const int code = wait_child(fork_child([&] {
    const rlimit few{4, 4};
    setrlimit(RLIMIT_NOFILE, &few);
    return Store::open(options_for(directory)).code() == Code::kLIMIT ? 0 : 1;
  }));
  EXPECT_EQ(code, 0);
}

// Another process with our pid, as two containers have: LMDB finds the byte of that pid locked in lock.mdb. Method: a
// child, which has no store open, takes that very lock.
TEST(StoreEnvironment, SamePidElsewhere) {
  Directory directory;
  { ASSERT_OK(Store::open(options_for(directory))); }
  int ready[2], done[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t ours = getpid();
  const pid_t child = fork_child([&] {
    const int fd = open((directory.path() + "/lock.mdb").c_str(), O_RDWR);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = ours;
    lock.l_len = 1;
    if (fcntl(fd, F_SETLK, &lock) != 0) return 1;
    char byte = 'r';
    if (write(ready[1], &byte, 1) != 1) return 2;
    close(done[1]);
    return read(done[0], &byte, 1) == 1 ? 0 : 3;
  });
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  auto refused = Store::open(options_for(directory));
  EXPECT_EQ(refused.code(), Code::kBUSY) << text_of(refused);
  EXPECT_NE(refused.status().message().find("pid namespace"), std::string::npos);
  ASSERT_EQ(write(done[1], "d", 1), 1);
  EXPECT_EQ(wait_child(child), 0);
  ASSERT_OK(Store::open(options_for(directory)));
  for (int fd : {ready[0], ready[1], done[0], done[1]}) close(fd);
}

TEST(StoreEnvironment, ReadersFullNamesTheOption) {
  Directory directory;
  StoreOptions options = options_for(directory);
  options.readers_max = 3;
  auto store = Store::open(options);
  ASSERT_OK(store);
  std::vector<std::shared_ptr<const Snapshot>> held;
  Result<std::shared_ptr<const Snapshot>> snapshot = (*store)->snapshot();
  for (; snapshot.ok() && held.size() < 10; snapshot = (*store)->snapshot()) held.push_back(*snapshot);
  EXPECT_EQ(held.size(), 3u);
  EXPECT_EQ(snapshot.code(), Code::kLIMIT);
  EXPECT_NE(snapshot.status().message().find("readers_max"), std::string::npos);
  held.pop_back();
  ASSERT_OK((*store)->snapshot());
}

// Slots of a killed process are given back by check_readers().
TEST(StoreEnvironment, DeadReaders) {
  Directory directory;
  const pid_t child = fork_child([&] {
    auto store = Store::open(options_for(directory));
    if (!store.ok()) return 1;
    std::vector<std::shared_ptr<const Snapshot>> held;
    for (int i = 0; i < 5; ++i) held.push_back(snapshot_of(**store));
    kill(getpid(), SIGSTOP);
    return 2;
  });
  int state;
  ASSERT_EQ(waitpid(child, &state, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(state));
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  { ASSERT_OK((*store)->snapshot()); }
  ASSERT_OK((*store)->check_readers());
  EXPECT_EQ((*store)->stats()->readers, 6u);  // it lives, and so do its slots
  kill(child, SIGKILL);
  EXPECT_EQ(wait_child(child), 1000 + SIGKILL);
  ASSERT_OK((*store)->check_readers());
  EXPECT_EQ((*store)->stats()->readers, 1u);
}

TEST(StoreEnvironment, LargerMapElsewhere) {
  Directory directory;
  { ASSERT_OK(Store::open(options_for(directory, 1 << 20))); }
  auto small = Store::open(options_for(directory, 1 << 20));
  ASSERT_OK(small);
  const int code = wait_child(fork_child([&] {
    auto large = Store::open(options_for(directory, 16 << 20));
    return large.ok() && put_one(**large, 1, "key", row_of(std::string(4 << 20, 'v'))).ok() ? 0 : 1;
  }));
  ASSERT_EQ(code, 0);
  auto snapshot = (*small)->snapshot();
  EXPECT_EQ(snapshot.code(), Code::kLIMIT) << text_of(snapshot);
  EXPECT_NE(snapshot.status().message().find("map_size"), std::string::npos);
}

TEST(StoreEnvironment, StatsCount) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  ASSERT_OK(put_one(**store, 1, "key", row_of(std::string(1 << 20, 'v'))));
  ASSERT_OK(put_one(**store, 2, "key", row_of("v")));
  auto stats = (*store)->stats();
  ASSERT_OK(stats);
  EXPECT_EQ(stats->tables, 2u);
  EXPECT_GE(stats->file_bytes, 1u << 20);
  const std::uint64_t used = stats->used_bytes;
  EXPECT_GE(used, 1u << 20);
  auto merge = (*store)->begin_merge();
  ASSERT_OK(merge);
  ASSERT_OK((*merge)->drop_table(1));
  ASSERT_OK((*merge)->commit(2));
  ASSERT_OK(put_one(**store, 2, "other", row_of("v"), 3));  // the freed pages count as free one commit later
  stats = (*store)->stats();
  ASSERT_OK(stats);
  EXPECT_EQ(stats->tables, 1u);
  EXPECT_LT(stats->used_bytes, used / 2);
}

// A child made by fork must not disturb the parent when its copies of the objects are destroyed.
TEST(StoreEnvironment, ForkedChildLeavesParentAlone) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  ASSERT_OK(put_one(**store, 1, "key", row_of("one"), 1));
  auto snapshot = (*store)->snapshot();
  ASSERT_OK(snapshot);
  const int code = wait_child(fork_child([&] {
    snapshot->reset();
    store->reset();
    return 0;
  }));
  ASSERT_EQ(code, 0);
  // The pages of the old snapshot must stay reserved for it, whatever is written now.
  for (Csn csn = 2; csn < 50; ++csn) ASSERT_OK(put_one(**store, 1, "key", row_of("two", csn), csn));
  EXPECT_EQ(value_of(**snapshot, 1, "key"), "one");
}

}  // namespace
}  // namespace hf::store
