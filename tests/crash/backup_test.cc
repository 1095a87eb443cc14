// SPDX-License-Identifier: Apache-2.0
// Goal: a backup, a restore or a compaction that is killed at any step, or that the disk refuses, leaves either all of
// what it makes or something that nothing takes for a database, and never harms what it works on.
//
// Method: children are killed at named points while others commit; every n-th call of each kind of system call fails
// until a run passes; a destination that is really full (root only).
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "admin/backup.h"
#include "admin/compact.h"
#include "admin/restore.h"
#include "crash/fixture.h"
#include "platform/file.h"
#include "platform/test_point.h"

namespace hf::crash {
namespace {

constexpr int kSkipped = 77;

int answer(Board& board, const Status& status) {
  board.code = static_cast<std::uint32_t>(status.code());
  std::snprintf(board.report, sizeof board.report, "%s", status.message().c_str());
  return status.ok() ? 0 : 2;
}

int backup_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) return answer(*board, session.status());
  // From here on: the session's own opening passes points too.
  platform::arm(arguments.at("point"));
  admin::BackupResult result;
  return answer(*board, admin::backup(*session->database(), arguments.at("to"), {}, &result));
}
const Role backup_registration("backup", backup_role);

int restore_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  platform::arm(arguments.at("point"));
  admin::RestoreOptions options;
  options.log_of = arguments.at("log_of");
  admin::RestoreResult result;
  return answer(*board, admin::restore(arguments.at("from"), arguments.at("to"), options, &result));
}
const Role restore_registration("restore", restore_role);

int compact_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  platform::arm(arguments.at("point"));
  admin::CompactResult result;
  return answer(*board, admin::compact(arguments.at("db"), {}, &result));
}
const Role compact_registration("compact", compact_role);

txn::DatabaseOptions keeping_options() {
  txn::DatabaseOptions options = small_options();
  options.log_keep_bytes = UINT64_MAX;
  return options;
}

class BackupCrashTest : public CrashTest {
 protected:
  ~BackupCrashTest() override { platform::arm(""); }

  void fill(std::uint64_t count) {
    Result<Session> session = Session::open(db(), keeping_options());
    ASSERT_TRUE(session.ok()) << session.status().message();
    ASSERT_TRUE(work(*session, **board_, 0, txn::Durability::kDurable, count).ok());
  }
  Status backup_to(const std::string& name) {
    Result<Session> session = Session::open(db(), keeping_options());
    if (!session.ok()) return std::move(session).status();
    admin::BackupResult result;
    return admin::backup(*session->database(), path(name), {}, &result);
  }
  Status restore_to(const std::string& from, const std::string& name, bool with_log) {
    admin::RestoreOptions options;
    if (with_log) options.log_of = db();
    admin::RestoreResult result;
    return admin::restore(path(from), path(name), options, &result);
  }
  // Opens it the way a user would, who does not know what happened; answers "" if it is sound, or why it was refused.
  std::string open_and_audit(const std::string& name) {
    Result<Session> session = Session::open(path(name), small_options());
    if (!session.ok()) return session.status().message();
    const std::string wrong = audit_groups(*session);
    EXPECT_EQ(wrong, "") << name;
    return wrong;
  }
  // What a killed maker left: whole, or refused by everything.
  void expect_whole_or_refused(const std::string& name, bool whole, const std::string& where) {
    if (!std::filesystem::exists(path(name))) return;
    const Status again = restore_to("good", name, false);
    EXPECT_EQ(again.code(), Code::kEXISTS) << where << ": a directory that is not empty was taken";
    const std::string refused = open_and_audit(name);
    if (whole) {
      EXPECT_EQ(refused, "") << where;
    } else {
      EXPECT_NE(refused.find("not empty"), std::string::npos) << where << ": opened, or: " << refused;
    }
    std::filesystem::remove_all(path(name));
  }
};

TEST_F(BackupCrashTest, KilledBackupsAreNoDatabases) {
  fill(200);
  ASSERT_TRUE(backup_to("good").ok());
  Child writer("worker", with({{"first", "4"}, {"threads", "2"}, {"auditor", "1"}}));
  ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->workers[4].acked > 5; }));
  for (const char* point :
       {"destination.made", "backup.piece", "backup.copied", "destination.synced", "destination.named"}) {
    const std::string spec = std::string(point) + ":kill:1";
    EXPECT_EQ(Child("backup", with({{"to", path("killed")}, {"point", spec}, {"background", "0"}})).wait(), kKilled)
        << spec << ": " << (*board_)->report;
    const bool whole = std::string(point) == "destination.named";
    const Status restored = restore_to("killed", "restored", false);
    EXPECT_EQ(restored.code(), Code::kCORRUPT) << point << ": " << restored.message();
    expect_whole_or_refused("killed", whole, point);
    const std::uint64_t acked = (*board_)->workers[4].acked;
    EXPECT_TRUE(eventually(kStallMaxNs / 1'000'000, [&] { return (*board_)->workers[4].acked > acked; })) << point;
  }
  (*board_)->stop = 1;
  EXPECT_EQ(writer.wait(), 0) << (*board_)->report;
  EXPECT_EQ((*board_)->faults.load(), 0u) << (*board_)->report;
  expect_sound(with({}), **board_, "source of killed backups");
}

TEST_F(BackupCrashTest, KilledRestoresAreNoDatabases) {
  fill(100);
  ASSERT_TRUE(backup_to("good").ok());
  fill(300);
  for (const char* point : {"destination.made", "restore.piece", "store.merge.before_commit", "restore.replayed",
                            "destination.synced", "destination.named"}) {
    const std::string spec = std::string(point) + ":kill:1";
    EXPECT_EQ(
        Child("restore", with({{"from", path("good")}, {"to", path("killed")}, {"log_of", db()}, {"point", spec}}))
            .wait(),
        kKilled)
        << spec << ": " << (*board_)->report;
    expect_whole_or_refused("killed", std::string(point) == "destination.named", point);
  }
  ASSERT_TRUE(restore_to("good", "whole", true).ok());
  Result<Session> session = Session::open(path("whole"), small_options());
  ASSERT_TRUE(session.ok());
  EXPECT_EQ(audit(*session, **board_, Acked::kMustBeThere), "") << "every acknowledged commit came over from the log";
}

TEST_F(BackupCrashTest, KilledCompactionsLeaveOldOrNew) {
  fill(300);
  for (const char* point : {"compact.piece", "compact.written", "compact.renamed"}) {
    const std::string spec = std::string(point) + ":kill:1";
    EXPECT_EQ(Child("compact", with({{"point", spec}})).wait(), kKilled) << spec << ": " << (*board_)->report;
    expect_sound(with({}), **board_, spec);
    EXPECT_FALSE(std::filesystem::exists(db() + "/base/data.mdb.compact")) << spec;
  }
  // Also while it recovers what a killed writer left.
  for (const char* point : {"log.recover", "open.recovered", "close.clean", "compact.renamed"}) {
    Child writer("worker", with({{"first", "2"}, {"threads", "1"}}));
    const std::uint64_t acked = (*board_)->workers[2].acked;
    ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->workers[2].acked > acked + 3; }));
    writer.kill_and_wait();
    const std::string spec = std::string(point) + ":kill:1";
    EXPECT_EQ(Child("compact", with({{"point", spec}})).wait(), kKilled) << spec << ": " << (*board_)->report;
    expect_sound(with({}), **board_, spec);
  }
}

// Every n-th call of that kind fails, and all after it, until a run gets through.
class BackupFaultTest : public BackupCrashTest, public testing::WithParamInterface<const char*> {
 protected:
  template <typename Run>
  int sweep(const std::string& error, const std::string& made, Run&& run) {
    int failed = 0;
    for (int n = 1; n < 2'000; ++n) {
      platform::arm(std::string(GetParam()) + ":" + error + ":" + std::to_string(n));
      const Status status = run();
      platform::arm("");
      if (status.ok()) return failed;
      ++failed;
      EXPECT_TRUE(status.code() == Code::kIO_ERROR || status.code() == Code::kDISK_FULL) << n << status.message();
      EXPECT_FALSE(std::filesystem::exists(path(made))) << n << ": what was made is taken back; " << status.message();
    }
    ADD_FAILURE() << "never got through";
    return failed;
  }
};

TEST_P(BackupFaultTest, AreAnsweredAndLeaveNothing) {
  fill(150);
  ASSERT_TRUE(backup_to("good").ok());
  fill(150);
  // Nobody else works on the source meanwhile, whose calls would fail too.
  txn::DatabaseOptions options = keeping_options();
  options.background_thread = false;
  Result<Session> session = Session::open(db(), options);
  ASSERT_TRUE(session.ok());
  ASSERT_TRUE(session->database()->maintain(true).ok());
  for (const char* error : {"errno=5", "errno=28"}) {
    admin::BackupResult made;
    const int backups =
        sweep(error, "made", [&] { return admin::backup(*session->database(), path("made"), {}, &made); });
    EXPECT_EQ(open_and_audit("made"), "");
    std::filesystem::remove_all(path("made"));
    const int restores = sweep(error, "made", [&] { return restore_to("good", "made", false); });
    EXPECT_EQ(open_and_audit("made"), "");
    std::filesystem::remove_all(path("made"));
    EXPECT_GT(backups, 0);
    EXPECT_GT(restores, 0);
    // With nothing left open it is refused or done, and the database is sound.
    EXPECT_EQ(audit(*session, **board_, Acked::kMustBeThere), "");
  }
  session->close();
  for (int n = 1; n < 500; ++n) {
    platform::arm(std::string(GetParam()) + ":errno=28:" + std::to_string(n));
    admin::CompactResult result;
    const Status status = admin::compact(db(), {}, &result);
    platform::arm("");
    EXPECT_FALSE(std::filesystem::exists(db() + "/base/data.mdb.compact")) << n;
    EXPECT_EQ(open_and_audit("db"), "") << n;
    if (status.ok()) break;
    EXPECT_LT(n, 499);
  }
  expect_sound(with({}), **board_, GetParam());
}
INSTANTIATE_TEST_SUITE_P(Calls, BackupFaultTest, testing::Values("file.write", "file.sync", "file.sync_directory"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '.' ? '_' : c;
                           return name;
                         });

int full_destination_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  const std::string device = arguments.at("device");
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return kSkipped;
  mkdir(device.c_str(), 0777);
  if (mount("tmpfs", device.c_str(), "tmpfs", 0, "size=64k") != 0) return kSkipped;
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) return answer(*board, session.status());
  admin::BackupResult result;
  const Status status = admin::backup(*session->database(), device + "/copy", {}, &result);
  if (status.code() != Code::kDISK_FULL) return answer(*board, status) + 10;
  if (platform::file_exists(device + "/copy")) return 20;
  if (Status later = work(*session, *board, 1, txn::Durability::kDurable, 10); !later.ok())
    return answer(*board, later);
  mount("tmpfs", device.c_str(), "tmpfs", MS_REMOUNT, "size=64m");
  return answer(*board, admin::backup(*session->database(), device + "/copy", {}, &result));
}
const Role full_destination_registration("full destination", full_destination_role);

TEST_F(BackupCrashTest, AFullDestinationHarmsNobody) {
  fill(500);
  const int end = Child("full destination", with({{"device", path("device")}})).wait(30'000);
  if (end == kSkipped) GTEST_SKIP() << "mounting needs root";
  EXPECT_EQ(end, 0) << (*board_)->report;
  expect_sound(with({}), **board_, "source");
}

}  // namespace
}  // namespace hf::crash
