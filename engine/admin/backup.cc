// SPDX-License-Identifier: Apache-2.0
#include "admin/backup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <vector>

#include "admin/backup_stream.h"
#include "admin/destination.h"
#include "admin/manifest.h"
#include "base/clock.h"
#include "base/hash.h"
#include "log/reader.h"
#include "platform/test_point.h"
#include "schema/log_generated.h"
#include "txn/identity.h"

namespace hf::admin {
namespace {

constexpr std::size_t kPieceSize = 256u << 10;  // read and written at once
constexpr int kMergeAttempts = 10;
static_assert(kPieceSize <= kBlockSizeMax);

using MetaChanges = std::vector<store::Store::MetaChange>;
using TakePiece = std::function<Status(std::uint64_t offset, Bytes piece)>;

// An image of the base that has at least everything that is durable now.
Result<std::unique_ptr<store::Image>> take_image(txn::Database& database, const MetaChanges& changes) {
  const Csn wanted = database.log().durable_csn();
  for (int attempt = 1;; ++attempt) {
    // A pass may fail for something else after it has merged.
    Status status = database.maintain(true);
    if (status.code() == Code::kBUSY) return status;
    Status role = database.take_role(Deadline::after_ms(database.options().overload_timeout_ms));
    if (!role.ok()) return role;
    Result<std::unique_ptr<store::Image>> image = database.store().image(changes);
    database.leave_role();
    if (!image.ok() || image.value()->applied_csn() >= wanted) return image;
    if (!status.ok()) return status;
    if (attempt == kMergeAttempts) {
      return Status(Code::kBUSY, "commit " + std::to_string(wanted) + " could not be merged into the base");
    }
  }
}

// When that commit was made: from who made the last commits, else from the log. 0: not known any more.
std::uint64_t time_of(txn::Database& database, Csn csn) {
  const txn::CommitterRow& row = database.shared().committer(csn);
  if (row.csn.load(std::memory_order_acquire) == csn) {
    const std::uint64_t at_ms = row.at_ms.load(std::memory_order_acquire);
    if (row.csn.load(std::memory_order_relaxed) == csn) return at_ms;
  }
  log::Reader log(database.path() + "/log", database.shared().header().database_id);
  log::FoundRecord record;
  if (csn == 0 || !log.seek(csn).ok()) return 0;
  while (log.peek(csn, &record).ok()) {
    if (record.csn == csn) return schema::GetRecord(record.body.data())->committed_at_ms();
    log.advance();
  }
  return 0;
}

Manifest describe(txn::Database& database, const store::Image& image) {
  Manifest manifest;
  manifest.source_id = database.shared().header().database_id;
  manifest.csn = image.applied_csn();
  manifest.committed_at_ms = time_of(database, manifest.csn);
  manifest.made_at_ms = wall_ms();
  manifest.base_bytes = image.file_bytes();
  return manifest;
}

// Hands all of the image on; *sum becomes the checksum of the whole file.
Status copy(store::Image& image, const TakePiece& take, const Progress& progress, std::uint64_t* sum) {
  std::vector<char> piece(kPieceSize);
  RunningChecksum running;
  std::uint64_t end = 0, done = 0;
  for (;;) {
    if (Status status = tell(progress, done, image.data_bytes()); !status.ok()) return status;
    std::uint64_t offset = 0;
    std::size_t size = 0;
    if (Status status = image.next(piece.data(), piece.size(), &offset, &size); !status.ok()) return status;
    running.add_zeros((size == 0 ? image.file_bytes() : offset) - end);
    if (size == 0) break;
    running.add(piece.data(), size);
    if (Status status = take(offset, Bytes(piece.data(), size)); !status.ok()) return status;
    platform::reach("backup.piece");
    end = offset + size;
    done += size;
  }
  *sum = running.value();
  return {};
}

}  // namespace

Status backup(txn::Database& database, const std::string& destination, const Progress& progress, BackupResult* result) {
  Result<Destination> made = Destination::make(destination);
  if (!made.ok()) return std::move(made).status();
  const std::uint64_t id = txn::random_database_id();
  // The copy is a database that ended in order, and not the one that it was made of: their logs never mix.
  Result<std::unique_ptr<store::Image>> image =
      take_image(database, {{txn::kCleanKey, "1"}, {txn::kDatabaseIdKey, txn::hex(id)}});
  if (!image.ok()) return std::move(image).status();
  Manifest manifest = describe(database, *image.value());
  Result<BaseFile> file = BaseFile::create(made->base_path());
  if (!file.ok()) return std::move(file).status();
  const TakePiece write = [&](std::uint64_t offset, Bytes piece) {
    return file->write(piece.data(), piece.size(), offset);
  };
  if (Status status = copy(*image.value(), write, progress, &manifest.base_checksum); !status.ok()) return status;
  result->bytes = image.value()->data_bytes();
  image.value().reset();  // merges may use its pages again while we wait for the disk
  if (Status status = file->finish(manifest.base_bytes); !status.ok()) return status;
  platform::reach("backup.copied");
  if (Status status = write_manifest(made->path(), manifest); !status.ok()) return status;
  if (Status status = made->finish(id); !status.ok()) return status;
  result->csn = manifest.csn;
  result->committed_at_ms = manifest.committed_at_ms;
  return {};
}

Status backup_stream(txn::Database& database, int fd, const Progress& progress, BackupResult* result) {
  Result<std::unique_ptr<store::Image>> image = take_image(database, {{txn::kCleanKey, "1"}});
  if (!image.ok()) return std::move(image).status();
  Manifest manifest = describe(database, *image.value());
  StreamWriter stream(fd);
  if (Status status = stream.begin(manifest); !status.ok()) return status;
  const TakePiece add = [&](std::uint64_t offset, Bytes piece) { return stream.add(offset, piece); };
  if (Status status = copy(*image.value(), add, progress, &manifest.base_checksum); !status.ok()) return status;
  if (Status status = stream.end(manifest.base_checksum); !status.ok()) return status;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && ::fdatasync(fd) != 0) {
    return Status::from_errno(errno, "fdatasync", "the stream");
  }
  *result = {manifest.csn, manifest.committed_at_ms, stream.bytes()};
  return {};
}

}  // namespace hf::admin
