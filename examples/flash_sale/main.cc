// SPDX-License-Identifier: Apache-2.0
// A flash sale: P processes of T threads sell a small stock to a large crowd, on one directory of files.
//
// Four steps, each in processes of its own: set up the shop, hold the sale, audit the books, print.
// Exit status: 0 as it has to be; 1 the audit failed (with --naive: nothing was oversold); 2 it could not run.
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "audit.h"
#include "board.h"
#include "crowd.h"
#include "die.h"
#include "options.h"
#include "report.h"
#include "shop.h"

namespace flash_sale {
namespace {

// The directory of this run; one that it made up itself is removed at the end, however the run ended.
class RunDirectory {
 public:
  explicit RunDirectory(const std::string& wanted) : path_(wanted) {
    if (wanted.empty()) {
      path_ = "flash_sale.XXXXXX";
      if (mkdtemp(path_.data()) == nullptr) die("cannot make a directory here: " + std::string(std::strerror(errno)));
      temporary_ = true;
    } else if (mkdir(path_.c_str(), 0777) != 0 && errno != EEXIST) {
      die("cannot make " + path_ + ": " + std::strerror(errno));
    }
    if (std::filesystem::exists(database())) die(database() + " is there already: a sale wants a new database");
  }
  ~RunDirectory() {
    std::error_code ignored;
    if (temporary_) std::filesystem::remove_all(path_, ignored);
  }
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  std::string database() const { return path_ + "/database"; }

 private:
  std::string path_;
  bool temporary_ = false;
};

int run(const Options& options) {
  const RunDirectory directory(options.directory);
  const std::string path = directory.database();
  Board board(options);
  std::fprintf(options.json ? stderr : stdout,
               "%u processes x %u threads, %u buyers in %u visits, %u coupons, %u items, %s\n", options.processes,
               options.threads, options.buyers, board.visit_count(), options.coupons, options.stock,
               options.naive ? "naive: read committed, unprotected read-modify-write"
                             : "serializable, durable, locks and counters");

  const bool ready = run_in_child([&] {
    holdfast::Database database = open_database(path, "set-up", /*create=*/true);
    set_up_shop(database, options);
  });
  if (!ready) return 2;
  const CrowdResult crowd = run_crowd(path, options, board);
  if (!crowd.ended_well) return 2;
  const bool audited = run_in_child([&] { run_audit(path, options, board); });
  if (!audited || board.figures().audit.finished == 0) return 2;
  return print_report(options, board, crowd) ? 0 : 1;
}

}  // namespace
}  // namespace flash_sale

int main(int argc, char** argv) { return flash_sale::run(flash_sale::parse_options(argc, argv)); }
