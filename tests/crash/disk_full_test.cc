// SPDX-License-Identifier: Apache-2.0
// Goal: on a device that is really full nothing is lost and nobody is killed by SIGBUS; the answer says so, reading
// goes on, and with room again so does writing, in the same open.
//
// Method: a file system of 24 MiB in memory, mounted by a child in a mount namespace of its own, so that it is gone
// with the child however that ends. Needs root; skipped without.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/clock.h"
#include "crash/fixture.h"

namespace hf::crash {
namespace {

constexpr int kSkipped = 77;
constexpr std::uint64_t kMiB = 1u << 20;

bool mount_small(const std::string& directory) {
  if (unshare(CLONE_NEWNS) != 0) return false;
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  mkdir(directory.c_str(), 0777);
  return mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=24m") == 0;
}

bool take_room(const std::string& path, std::uint64_t size) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  const bool taken = fd >= 0 && fallocate(fd, 0, 0, static_cast<off_t>(size)) == 0;
  close(fd);
  return taken;
}

class Script {
 public:
  explicit Script(const Arguments& arguments) : board_(arguments.at("board")) {}
  int answer() const { return failed_ ? 4 : 0; }
  Board& board() { return *board_; }

  bool check(bool holds, const std::string& what) {
    if (holds || failed_) return holds;
    failed_ = true;
    std::snprintf(board_->report, sizeof board_->report, "%s", what.c_str());
    return false;
  }

  // Commits until refused: with a documented code, and not a final one.
  void fill(const Session& session) {
    const Deadline deadline = Deadline::after_ms(15'000);
    Status status;
    while (status.ok() && !deadline.passed()) {
      status = work(session, *board_, 0, txn::Durability::kDurable, 20);
      if (status.ok()) status = work(session, *board_, 1, txn::Durability::kRelaxed, 200);
    }
    check(status.code() == Code::kDISK_FULL || status.code() == Code::kOVERLOADED,
          "a full disk was answered with " + std::string(code_name(static_cast<int>(status.code()))) + ": " +
              status.message());
    check(audit_groups(session).empty(), "reading on a full disk: " + audit_groups(session));
  }

  void goes_on(const Session& session) {
    Status status;
    const bool works = eventually(5'000, [&] {
      status = work(session, *board_, 0, txn::Durability::kDurable, 10);
      return status.ok();
    });
    check(works, "with room again: " + status.message());
  }

 private:
  SharedBoard board_;
  bool failed_ = false;
};

int full_role(const Arguments& arguments) {
  const std::string device = arguments.at("device");
  if (!mount_small(device)) return kSkipped;
  Script script(arguments);
  const std::string ballast = device + "/ballast";
  txn::DatabaseOptions options = options_in(arguments);
  options.overload_timeout_ms = 1'000;

  script.check(take_room(ballast, 23 * kMiB), "fallocate");
  Result<Session> session = Session::open(device + "/db", options);
  script.check(session.code() == Code::kDISK_FULL, "opened on a full disk: " + session.status().message());
  script.check(truncate(ballast.c_str(), static_cast<off_t>(5 * kMiB)) == 0, "truncate");
  session = Session::open(device + "/db", options);
  if (!script.check(session.ok(), "open: " + session.status().message())) return script.answer();

  script.fill(*session);
  unlink(ballast.c_str());
  script.goes_on(*session);
  script.fill(*session);
  mount("tmpfs", device.c_str(), "tmpfs", MS_REMOUNT, "size=64m");
  script.goes_on(*session);
  script.check(audit(*session, script.board(), Acked::kMustBeThere).empty(),
               "audit: " + audit(*session, script.board(), Acked::kMustBeThere));

  // Full again, and closed like that: the next open, with room, has everything.
  script.check(take_room(ballast, 8 * kMiB), "fallocate");
  mount("tmpfs", device.c_str(), "tmpfs", MS_REMOUNT, "size=40m");
  session->close();
  mount("tmpfs", device.c_str(), "tmpfs", MS_REMOUNT, "size=96m");
  session = Session::open(device + "/db", options);
  if (!script.check(session.ok(), "reopen: " + session.status().message())) return script.answer();
  const std::string wrong = audit(*session, script.board(), Acked::kMustBeThere);
  script.check(wrong.empty(), "audit after reopening: " + wrong);
  script.goes_on(*session);
  return script.answer();
}
const Role full_registration("full", full_role);

class DiskFullTest : public CrashTest {};

TEST_F(DiskFullTest, RefusesAndGoesOn) {
  const int end = Child("full", with({{"device", path("device")}})).wait(50'000);
  if (end == kSkipped) GTEST_SKIP() << "mounting needs root";
  EXPECT_EQ(end, 0) << (*board_)->report;
  EXPECT_GT((*board_)->workers[1].acked.load(), 1'000u);
}

}  // namespace
}  // namespace hf::crash
