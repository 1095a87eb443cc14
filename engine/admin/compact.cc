// SPDX-License-Identifier: Apache-2.0
#include "admin/compact.h"

#include <cerrno>
#include <cstdio>

#include "base/clock.h"
#include "platform/file.h"
#include "platform/liveness.h"
#include "platform/test_point.h"
#include "store/store.h"
#include "txn/database.h"
#include "txn/identity.h"

namespace hf::admin {
namespace {

using platform::File;

constexpr std::uint64_t kGateWaitMs = 5'000;  // for who is opening or leaving just now

// The gate, with nobody who has the database open. Gives it back when it ends.
Result<platform::Liveness> lock_out_all(const std::string& path) {
  Result<platform::Liveness> liveness = platform::Liveness::open(path + "/liveness");
  if (!liveness.ok()) return std::move(liveness).status();
  if (Status status = liveness->lock_gate(Deadline::after_ms(kGateWaitMs)); !status.ok()) return status;
  Result<bool> others = liveness->others_alive();
  if (!others.ok()) return std::move(others).status();
  if (others.value()) return Status(Code::kBUSY, "somebody has the database open: " + path);
  return liveness;
}

Result<bool> is_clean(store::Store& base) {
  Result<std::string> clean = base.get_meta(txn::kCleanKey);
  if (!clean.ok() && clean.code() != Code::kNOT_FOUND) return std::move(clean).status();
  return clean.ok() && clean.value() == "1";
}

// Opens and leaves: all of the log is in the base then. Keeps every segment of the log.
Status recover(const std::string& path) {
  txn::DatabaseOptions options;
  options.label = "compact";
  options.create = false;
  options.background_thread = false;
  options.log_keep_bytes = UINT64_MAX;
  Result<std::shared_ptr<txn::Database>> database = txn::Database::open(path, options);
  return database.ok() ? database.value()->maintain(true) : std::move(database).status();
}

class Compacting {
 public:
  Compacting(const std::string& path, const Progress& progress, CompactResult* result)
      : directory_(path + "/base"), fresh_(path + "/" + txn::kCompactName), progress_(progress), result_(result) {}

  // Requires: the gate. *clean false: it has to be recovered first, nothing was done.
  Status run(bool* clean) {
    {
      Result<std::unique_ptr<store::Store>> base = store::Store::open_any(directory_);
      if (!base.ok()) return std::move(base).status();
      Result<bool> is = is_clean(*base.value());
      if (!is.ok()) return std::move(is).status();
      *clean = is.value();
      if (!*clean) return {};
      Status status = write(*base.value());
      if (!status.ok()) {
        (void)platform::remove_file(fresh_);
        return status;
      }
    }
    return put_in_place();
  }

 private:
  Status write(store::Store& base) {
    Result<store::StoreStats> stats = base.stats();
    if (!stats.ok()) return std::move(stats).status();
    result_->bytes_before = stats->file_bytes;
    if (Status status = platform::remove_file(fresh_); !status.ok()) return status;
    Result<File> file = File::open(fresh_, File::Mode::kCreateNew);
    if (!file.ok()) return std::move(file).status();
    std::uint64_t size = 0;
    Status status = base.compacted([&](Bytes piece) -> Status {
      if (Status written = file->write_at(piece.data(), piece.size(), size); !written.ok()) return written;
      size += piece.size();
      platform::reach("compact.piece");
      return tell(progress_, size, std::max(size, stats->used_bytes));
    });
    result_->bytes_after = size;
    if (status.ok()) status = file->sync_data();
    platform::reach("compact.written");
    return status;
  }

  Status put_in_place() {
    const std::string old = directory_ + "/data.mdb";
    if (std::rename(fresh_.c_str(), old.c_str()) != 0) {
      Status status = Status::from_errno(errno, "rename", fresh_);
      (void)platform::remove_file(fresh_);
      return status;
    }
    platform::reach("compact.renamed");
    return platform::sync_directory(directory_);
  }

  const std::string directory_, fresh_;
  const Progress& progress_;
  CompactResult* const result_;
};

}  // namespace

Status compact(const std::string& path, const Progress& progress, CompactResult* result) {
  for (bool recovered = false;; recovered = true) {
    Result<txn::Identity> identity = txn::read_identity(path);
    if (!identity.ok() && identity.code() != Code::kNOT_FOUND) return std::move(identity).status();
    if (!identity.ok() || !identity->complete) return Status(Code::kNOT_FOUND, "no database in " + path);
    {
      Result<platform::Liveness> gate = lock_out_all(path);
      if (!gate.ok()) return std::move(gate).status();
      if (!platform::file_exists(path + "/base/data.mdb")) {
        return Status(Code::kCORRUPT, path + "/base/data.mdb is missing");
      }
      bool clean = false;
      Status status = Compacting(path, progress, result).run(&clean);
      if (!status.ok() || clean) return status;
    }
    if (recovered) return Status(Code::kBUSY, "somebody opened the database meanwhile: " + path);
    if (Status status = recover(path); !status.ok()) return status;
  }
}

}  // namespace hf::admin
