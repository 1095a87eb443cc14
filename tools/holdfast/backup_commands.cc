// SPDX-License-Identifier: Apache-2.0
// backup, restore.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>

#include <nlohmann/json.hpp>

#include "database.h"
#include "holdfast/admin.h"
#include "progress.h"
#include "stats.h"
#include "units.h"

namespace tool {
namespace {

// --- backup -------------------------------------------------------------------------------------------------------

struct BackupOptions {
  Common common;
  std::string destination;
  bool stream = false;
};

// A file that a stream goes to: taken away again unless it became whole.
class StreamFile {
 public:
  explicit StreamFile(const std::string& path) : path_(path) {
    fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0) fail_system("cannot make " + path, errno);
  }
  ~StreamFile() {
    if (fd_ >= 0) close(fd_);
    if (!whole_) unlink(path_.c_str());
  }
  StreamFile(const StreamFile&) = delete;
  StreamFile& operator=(const StreamFile&) = delete;
  int fd() const noexcept { return fd_; }
  void finish() {
    if (fsync(fd_) != 0) fail_system("cannot write " + path_, errno);
    if (close(std::exchange(fd_, -1)) != 0) fail_system("cannot write " + path_, errno);
    whole_ = true;
  }

 private:
  std::string path_;
  int fd_ = -1;
  bool whole_ = false;
};

void report_backup(const BackupOptions& options, const hf_backup_result& result) {
  const bool to_stdout = options.destination == "-";
  if (options.common.json && !to_stdout) {
    Json object;
    object["csn"] = result.csn;
    object["committed_at_ms"] = result.committed_at_ms;
    object["bytes"] = result.bytes;
    out().json(object);
    return;
  }
  std::string text = "backup of csn " + format_count(result.csn);
  if (result.committed_at_ms != 0) text += ", committed at " + format_time(result.committed_at_ms);
  text += ", " + format_size(result.bytes);
  if (!to_stdout) {
    out().line(text);
  } else if (options.common.verbose) {
    say(text);
  }
}

int run_backup(const BackupOptions& options) {
  const bool to_stdout = options.destination == "-";
  if (to_stdout && out().is_terminal()) fail_usage("bytes are not for a terminal: redirect the output");
  holdfast::Database database = open_database(options.common, "backup", OpenMode::kGuest);
  ProgressBar bar("backup");
  hf_backup_options backup = HF_BACKUP_OPTIONS_INIT;
  backup.progress = ProgressBar::on_progress;
  backup.progress_context = &bar;
  hf_backup_result result = {};
  result.size = sizeof result;
  hf_db* const db = database.c_db();
  if (to_stdout) {
    const int code = hf_backup_fd(db, STDOUT_FILENO, &backup, &result);
    bar.clear();
    check(database, code, "backup");
  } else if (options.stream) {
    StreamFile file(options.destination);
    const int code = hf_backup_fd(db, file.fd(), &backup, &result);
    bar.clear();
    check(database, code, "backup to " + options.destination);
    file.finish();
  } else {
    const int code = hf_backup(db, options.destination.c_str(), &backup, &result);
    bar.clear();
    check(database, code, "backup to " + options.destination);
  }
  close_database(database);
  report_backup(options, result);
  return kDone;
}

// --- restore ------------------------------------------------------------------------------------------------------

struct RestoreOptions {
  Common common;
  std::string from;
  std::string log_of;
  std::uint64_t until_csn = 0;
  std::uint64_t until_ms = 0;
};

int run_restore(const RestoreOptions& options) {
  ProgressBar bar("restore");
  hf_restore_options restore = HF_RESTORE_OPTIONS_INIT;
  restore.log_of = options.log_of.empty() ? nullptr : options.log_of.c_str();
  restore.until_csn = options.until_csn;
  restore.until_ms = options.until_ms;
  restore.progress = ProgressBar::on_progress;
  restore.progress_context = &bar;
  hf_restore_result result = {};
  result.size = sizeof result;
  hf_error info = HF_ERROR_INIT;
  const char* const directory = options.common.directory.c_str();
  const int code = options.from == "-" ? hf_restore_fd(STDIN_FILENO, directory, &restore, &result, &info)
                                       : hf_restore(options.from.c_str(), directory, &restore, &result, &info);
  bar.clear();
  if (code != HF_OK) fail("cannot restore " + options.common.directory, to_error(code, info));
  if (options.common.json) {
    Json object;
    object["csn"] = result.csn;
    object["committed_at_ms"] = result.committed_at_ms;
    object["records"] = result.records;
    out().json(object);
    return kDone;
  }
  std::string text = "restored to csn " + format_count(result.csn);
  if (result.committed_at_ms != 0) text += ", committed at " + format_time(result.committed_at_ms);
  out().line(text + ", " + format_count(result.records) + " commits from the log");
  return kDone;
}

}  // namespace

void add_backup_commands(Commands& commands) {
  {
    auto options = std::make_shared<BackupOptions>();
    CLI::App& app = commands.add({"backup", kKeepGroup, "Copy the database as of one commit, while others go on",
                                  "  holdfast backup shop /backup/shop-monday\n"
                                  "  holdfast backup shop /backup/shop.hfb --stream\n"
                                  "  holdfast backup shop - | zstd | ssh vault 'cat > shop.hfb.zst'"},
                                 [options] { return run_backup(*options); });
    add_common(app, options->common);
    app.add_option("DESTINATION", options->destination, "Directory to make; '-': a stream to stdout")->required();
    app.add_flag("--stream", options->stream, "DESTINATION is a file, and gets the stream");
    add_open_options(app, options->common);
  }
  auto options = std::make_shared<RestoreOptions>();
  CLI::App& app = commands.add({"restore", kKeepGroup, "Make a database from a backup, and from a log",
                                "  holdfast restore shop --from /backup/shop-monday\n"
                                "  ssh vault 'zstdcat shop.hfb.zst' | holdfast restore shop --from -\n"
                                "  holdfast restore shop2 --from shop.hfb --log-of shop --until-time "
                                "2026-05-17T08:30:00Z"},
                               [options] { return run_restore(*options); });
  add_common(app, options->common, "Directory to make");
  app.add_option("--from", options->from, "Backup: a directory, a file with a stream, or '-': a stream on stdin")
      ->required()
      ->type_name("PATH");
  app.add_option("--log-of", options->log_of, "Database whose log has the commits since the backup")->type_name("PATH");
  app.add_option("--until-csn", options->until_csn, "The last commit to take from the log")
      ->check(CLI::NonNegativeNumber)
      ->type_name("CSN");
  add_time(app, "--until-time", options->until_ms,
           "Takes commits made until then from the log: RFC 3339, or ms since 1970");
}

}  // namespace tool
