// SPDX-License-Identifier: Apache-2.0
#include "admin/check.h"

#include <sys/stat.h>

#include <cstring>
#include <thread>

#include "admin/check_impl.h"
#include "platform/region.h"
#include "txn/identity.h"
#include "txn/shared.h"

namespace hf::admin {
namespace {

constexpr std::uint64_t kGateTimeoutMs = 30'000;

std::uint64_t size_of(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

std::uint64_t parse_hex(const std::string& text) {
  return text.size() == 16 ? std::strtoull(text.c_str(), nullptr, 16) : 0;
}

// What the shared memory of a session whose processes all died knows to be on the device; 0: nothing.
Csn durable_of_dead_session(const std::string& path, std::uint64_t database_id) {
  const Result<std::string> memory = txn::read_session(path);
  if (!memory.ok()) return 0;
  Result<platform::Region> region = platform::Region::open(memory.value() + "/control", txn::kRegionSize);
  if (!region.ok()) return 0;
  const txn::SharedRegion shared{region->data()};
  const txn::RegionHeader& header = shared.header();
  const std::string boot = txn::boot_id();
  const bool ours = std::memcmp(header.magic, txn::kRegionMagic, sizeof header.magic) == 0 &&
                    header.fingerprint == txn::layout_fingerprint() && header.database_id == database_id &&
                    header.ready.load(std::memory_order_acquire) == 1 &&
                    boot == std::string(header.boot_id, strnlen(header.boot_id, sizeof header.boot_id));
  const Csn durable = shared.log().durable_csn.load(std::memory_order_acquire);
  // Nothing protects this number but the one that it cannot be above.
  return ours && durable <= shared.log().appended_csn.load(std::memory_order_acquire) ? durable : 0;
}

// Requires: the gate is held and nobody has the database open, or nobody could.
class Offline {
 public:
  Offline(const std::string& path, Told& told) : path_(path), told_(told) {}

  Status run() {
    if (Status status = identify(); !status.ok()) return status;
    const std::string base = path_ + "/base/data.mdb";
    store::BaseSummary summary;
    CatalogRows catalog;
    if (!platform::file_exists(base)) {
      if (!complete_ && !platform::file_exists(path_ + "/log")) return told_.answer();
      told_.tell({complete_ ? Code::kCORRUPT : Code::kOK, base, UINT64_MAX, {}, {}, 0, "the file is missing"});
    } else if (Status status = check_base(path_, 0, told_, &catalog, &summary); !status.ok()) {
      return status;
    }
    if (told_.stopped()) return Code::kCANCELLED;
    check_identity(base, summary);
    told_.result().csn_applied = summary.applied_csn;
    if (platform::file_exists(path_ + "/session")) {
      told_.tell({Code::kOK,
                  path_ + "/session",
                  UINT64_MAX,
                  {},
                  {},
                  0,
                  "the last session ended by the death of all its processes: the next open recovers"});
    }
    if (id_ == 0) return told_.answer();
    log::LogCheckOptions log;
    log.directory = path_ + "/log";
    log.database_id = id_;
    log.applied = summary.applied_csn;
    log.clean = summary.clean || !complete_ || !summary.has_applied;
    log.durable = durable_of_dead_session(path_, id_);
    if (Status status = check_log(std::move(log), size_of(base), told_); !status.ok()) return status;
    return told_.answer();
  }

 private:
  Status identify() {
    const Result<txn::Identity> identity = txn::read_identity(path_);
    const std::string file = path_ + "/HOLDFAST";
    if (identity.ok()) {
      id_ = identity.value().database_id;
      complete_ = identity.value().complete;
      return {};
    }
    const Code code = identity.code();
    if (code == Code::kNOT_FOUND && !platform::file_exists(path_ + "/base/data.mdb")) {
      return Status(Code::kNOT_FOUND, "no database in " + path_);
    }
    if (code == Code::kNOT_FOUND) {
      told_.tell({Code::kCORRUPT, file, UINT64_MAX, {}, {}, 0, "the file is missing"});
      return {};
    }
    told_.tell({code, file, 0, {}, {}, 0, identity.status().message()});
    // What follows may still be told, unless it is somebody else's directory.
    return platform::file_exists(path_ + "/base/data.mdb") ? Status() : told_.answer();
  }

  // The number of the database stands in the base too.
  void check_identity(const std::string& base, const store::BaseSummary& summary) {
    const std::uint64_t in_base = parse_hex(summary.database_id);
    if (id_ == 0) {
      id_ = in_base;
    } else if (in_base != id_ && (complete_ || in_base != 0) && summary.has_applied) {
      told_.tell({in_base == 0 ? Code::kCORRUPT : Code::kWRONG_FORMAT,
                  base,
                  UINT64_MAX,
                  {},
                  {},
                  0,
                  in_base == 0 ? "the file holds no database id" : "the file belongs to another database"});
    }
  }

  const std::string& path_;
  Told& told_;
  std::uint64_t id_ = 0;
  bool complete_ = true;
};

// Joins those who have it open; kBUSY when they have left meanwhile.
Status check_online(const std::string& path, Told& told) {
  const Result<txn::Identity> identity = txn::read_identity(path);
  if (!identity.ok()) {
    told.tell({identity.code(), path + "/HOLDFAST", 0, {}, {}, 0, identity.status().message()});
    return told.answer();
  }
  txn::DatabaseOptions options;
  options.label = "check";
  options.create = false;
  options.join_only = true;
  options.background_thread = false;
  Result<std::shared_ptr<txn::Database>> database = txn::Database::open(path, options);
  if (!database.ok()) {
    if (database.code() != Code::kCORRUPT && database.code() != Code::kWRONG_FORMAT) {
      return std::move(database).status();
    }
    told.tell({database.code(), path, UINT64_MAX, {}, {}, 0, database.status().message()});
    return told.answer();
  }
  told.result().online = true;
  return check_live(*database.value(), identity.value().database_id, told);
}

}  // namespace

bool Told::tell(Finding finding) {
  if (stopped_) return false;
  if (finding.code != Code::kOK) {
    if (++result_->findings == 1) {
      first_ = Status(finding.code == Code::kWRONG_FORMAT ? Code::kWRONG_FORMAT : Code::kCORRUPT,
                      finding.file + ": " + finding.text);
    }
  }
  if (options_.found && !options_.found(finding)) stopped_ = true;
  return !stopped_;
}

bool Told::progress(std::uint64_t done, std::uint64_t total) {
  if (!stopped_ && options_.progress && !options_.progress(done, total)) stopped_ = true;
  return !stopped_;
}

Status Told::answer() const { return stopped_ ? Status(Code::kCANCELLED) : first_; }

Status check_base(const std::string& path, std::uint64_t transaction, Told& told, CatalogRows* catalog,
                  store::BaseSummary* summary) {
  std::vector<store::BaseFinding> of_rows;
  store::InspectOptions options;
  options.file = path + "/base/data.mdb";
  options.transaction = transaction;
  const auto pass_on = [&](const store::BaseFinding& finding) {
    return told.tell({finding.code, options.file, finding.offset, catalog->name_of(finding.table), finding.key,
                      finding.csn, finding.text});
  };
  constexpr std::size_t kHeldBackMax = 1000;  // the catalog is walked first where its slot is; then names are known
  options.found = [&](const store::BaseFinding& finding) {
    if (finding.table != 0 && of_rows.size() < kHeldBackMax) {
      of_rows.push_back(finding);
      return !told.stopped();
    }
    return pass_on(finding);
  };
  options.row = [&](const store::BaseRow& row) {
    if (row.table == txn::kSystemTable) catalog->take(row);
  };
  options.progress = [&](std::uint64_t done, std::uint64_t total) { return told.progress(done, total); };
  Result<store::BaseSummary> found = store::inspect_base(options);
  for (const store::BaseFinding& finding : of_rows) pass_on(finding);
  if (!found.ok()) {
    if (found.code() == Code::kCANCELLED || found.code() == Code::kNOT_FOUND) return std::move(found).status();
    told.tell({found.code(), options.file, UINT64_MAX, {}, {}, 0, found.status().message()});
    return {};
  }
  catalog->check([&](const std::string& key, std::uint64_t offset, std::string text) {
    told.tell({Code::kCORRUPT, options.file, offset, "(catalog)", key, 0, std::move(text)});
  });
  *summary = std::move(found).value();
  CheckResult& result = told.result();
  result.pages = summary->pages;
  result.rows = summary->rows;
  result.rows_unchecked = summary->rows_unchecked;
  return {};
}

Status check_log(log::LogCheckOptions options, std::uint64_t bytes_before, Told& told) {
  options.found = [&](const log::LogFinding& finding) {
    return told.tell({finding.code, finding.file, finding.offset, {}, {}, finding.csn, finding.text});
  };
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    return told.progress(bytes_before + done, bytes_before + total);
  };
  const Result<log::LogSummary> found = log::check_log(options);
  if (!found.ok()) return found.status();
  told.result().log_records = found.value().records;
  told.result().log_bytes = found.value().bytes;
  told.result().csn_log = found.value().last_csn;
  return {};
}

Status check(const std::string& path, const CheckOptions& options, CheckResult* result) {
  constexpr int kTriesMax = 10;  // others leave and come while we look
  for (int attempt = 0; attempt < kTriesMax; ++attempt) {
    *result = {};
    Told told(options, result);
    platform::Liveness liveness;
    if (platform::file_exists(path + "/liveness")) {  // opening would make it
      Result<platform::Liveness> opened = platform::Liveness::open(path + "/liveness");
      if (!opened.ok()) return std::move(opened).status();
      liveness = std::move(opened).value();
      if (Status status = liveness.lock_gate(Deadline::after_ms(kGateTimeoutMs)); !status.ok()) return status;
      const Result<bool> others = liveness.others_alive();
      if (!others.ok()) return others.status();
      if (others.value()) {
        liveness.unlock_gate();
        if (Status status = check_online(path, told); status.code() != Code::kBUSY) return status;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        continue;
      }
    }
    return Offline(path, told).run();  // the gate opens when `liveness` goes
  }
  return Status(Code::kBUSY, "others kept opening and closing " + path);
}

}  // namespace hf::admin
