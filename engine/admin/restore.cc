// SPDX-License-Identifier: Apache-2.0
#include "admin/restore.h"

#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "admin/backup_stream.h"
#include "admin/destination.h"
#include "admin/log_reader.h"
#include "admin/manifest.h"
#include "admin/replay.h"
#include "base/hash.h"
#include "platform/file.h"
#include "platform/test_point.h"
#include "store/store.h"
#include "txn/identity.h"

namespace hf::admin {
namespace {

using platform::File;

constexpr std::uint64_t kGateWaitMs = 30'000;
constexpr std::size_t kPieceSize = 256u << 10;
constexpr std::size_t kHoleSize = 4096;    // runs of zeros of this size are not written
constexpr std::uint64_t kTellEvery = 256;  // commits of the log

// What is restored from.
class Source {
 public:
  virtual ~Source() = default;
  // The next piece of data.mdb, valid until the next call; empty at the end, once all of it was found right.
  virtual Status next(std::uint64_t* offset, Bytes* piece) = 0;
  Manifest manifest;
};

class DirectorySource : public Source {
 public:
  static Result<std::unique_ptr<Source>> open(const std::string& path) {
    Result<Manifest> manifest = read_manifest(path);
    if (!manifest.ok()) return std::move(manifest).status();
    Result<File> file = File::open(path + "/base/data.mdb", File::Mode::kReadOnly);
    if (file.code() == Code::kNOT_FOUND) return Status(Code::kCORRUPT, file.status().message());
    if (!file.ok()) return std::move(file).status();
    auto source = std::make_unique<DirectorySource>(std::move(file).value());
    source->manifest = manifest.value();
    return std::unique_ptr<Source>(std::move(source));
  }
  explicit DirectorySource(File file) : file_(std::move(file)), buffer_(kPieceSize) {}

  Status next(std::uint64_t* offset, Bytes* piece) override {
    Result<std::size_t> got = file_.read_at(buffer_.data(), buffer_.size(), at_);
    if (!got.ok()) return std::move(got).status();
    sum_.add(buffer_.data(), got.value());
    *offset = at_;
    *piece = Bytes(buffer_.data(), got.value());
    at_ += got.value();
    if (!piece->empty() && at_ <= manifest.base_bytes) return {};
    if (at_ == manifest.base_bytes && sum_.value() == manifest.base_checksum) return {};
    return Status(Code::kCORRUPT, file_.path() + " is not what the manifest of the backup says (" +
                                      std::to_string(manifest.base_bytes) +
                                      " bytes, and a checksum): it is damaged, or was opened as a database since");
  }

 private:
  File file_;
  std::vector<char> buffer_;
  std::uint64_t at_ = 0;
  RunningChecksum sum_;
};

class StreamSource : public Source {
 public:
  static Result<std::unique_ptr<Source>> open(int fd, File file) {
    auto source = std::make_unique<StreamSource>(fd, std::move(file));
    Result<Manifest> manifest = source->stream_.begin();
    if (!manifest.ok()) return std::move(manifest).status();
    source->manifest = manifest.value();
    return std::unique_ptr<Source>(std::move(source));
  }
  StreamSource(int fd, File file) : file_(std::move(file)), stream_(fd) {}

  Status next(std::uint64_t* offset, Bytes* piece) override {
    std::uint64_t wanted = 0;
    if (Status status = stream_.next(offset, piece, &wanted); !status.ok()) return status;
    sum_.add_zeros((piece->empty() ? manifest.base_bytes : *offset) - at_);
    at_ = *offset + piece->size();
    sum_.add(piece->data(), piece->size());
    if (!piece->empty() || sum_.value() == wanted) return {};
    return Status(Code::kCORRUPT, "the backup stream: its bytes together do not have the checksum that its end says");
  }

 private:
  File file_;  // that `fd` belongs to, if it is ours
  StreamReader stream_;
  std::uint64_t at_ = 0;
  RunningChecksum sum_;
};

Result<std::unique_ptr<Source>> open_source(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && !S_ISDIR(info.st_mode)) {
    Result<File> file = File::open(path, File::Mode::kReadOnly);
    if (!file.ok()) return std::move(file).status();
    const int fd = file->fd();
    return StreamSource::open(fd, std::move(file).value());
  }
  return DirectorySource::open(path);
}

class Restoring {
 public:
  Restoring(Source& source, const RestoreOptions& options, RestoreResult* result)
      : source_(source), options_(options), result_(result) {}

  Status run(const std::string& destination) {
    if (Status status = check(); !status.ok()) return status;
    if (Status status = open_log(); !status.ok()) return status;
    Result<Destination> made = Destination::make(destination);
    if (!made.ok()) return std::move(made).status();
    const std::uint64_t id = txn::random_database_id();
    if (Status status = copy(made->base_path()); !status.ok()) return status;
    if (Status status = fill(made->base_path(), id); !status.ok()) return status;
    return made->finish(id);
  }

 private:
  const Manifest& manifest() const { return source_.manifest; }

  Status check() const {
    if (options_.until_csn != 0 && options_.until_csn < manifest().csn) {
      return Status(Code::kINVALID_ARGUMENT, "until_csn " + std::to_string(options_.until_csn) +
                                                 " lies before the backup, which is of commit " +
                                                 std::to_string(manifest().csn));
    }
    if (options_.until_ms != 0 && options_.until_ms < manifest().committed_at_ms) {
      return Status(Code::kINVALID_ARGUMENT, "until_ms " + std::to_string(options_.until_ms) +
                                                 " lies before the backup, whose last commit was made at " +
                                                 std::to_string(manifest().committed_at_ms));
    }
    return {};
  }

  // Also says up to where it will be read: a log that grows faster than it is read would have no end.
  Status open_log() {
    if (options_.log_of.empty()) return {};
    Result<txn::Identity> identity = txn::read_identity(options_.log_of);
    if (!identity.ok()) return std::move(identity).status();
    if (identity->database_id != manifest().source_id) {
      return Status(Code::kINVALID_ARGUMENT, options_.log_of + " is not the database that the backup was made of");
    }
    const Deadline deadline = Deadline::after_ms(kGateWaitMs);
    Result<std::unique_ptr<LogReader>> log = LogReader::open(options_.log_of, manifest().csn + 1, deadline);
    if (!log.ok()) return std::move(log).status();
    log_ = std::move(log).value();
    Result<Csn> newest = log_->newest(deadline);
    if (!newest.ok()) return std::move(newest).status();
    newest_ = newest.value();
    if (options_.until_csn != 0) newest_ = std::min(newest_, options_.until_csn);
    return {};
  }

  Status copy(const std::string& directory) {
    Result<BaseFile> file = BaseFile::create(directory);
    if (!file.ok()) return std::move(file).status();
    for (;;) {
      std::uint64_t offset = 0;
      Bytes piece;
      if (Status status = source_.next(&offset, &piece); !status.ok()) return status;
      if (piece.empty()) break;
      if (Status status = write(*file, offset, piece); !status.ok()) return status;
      platform::reach("restore.piece");
      if (Status status = tell(options_.progress, offset + piece.size(), manifest().base_bytes); !status.ok()) {
        return status;
      }
    }
    return file->finish(manifest().base_bytes);
  }

  static Status write(BaseFile& file, std::uint64_t offset, Bytes piece) {
    static constexpr char kZeros[kHoleSize] = {};
    const auto is_hole = [&](std::size_t at) { return piece.substr(at, kHoleSize) == Bytes(kZeros, kHoleSize); };
    for (std::size_t at = 0; at < piece.size();) {
      if (is_hole(at)) {
        at += kHoleSize;
        continue;
      }
      std::size_t end = at;
      while (end < piece.size() && !is_hole(end)) end = std::min(end + kHoleSize, piece.size());
      if (Status status = file.write(piece.data() + at, end - at, offset + at); !status.ok()) return status;
      at = end;
    }
    return {};
  }

  // The commits of the log, and whose base it is now. Not marked clean meanwhile: it is nobody's database anyway.
  Status fill(const std::string& directory, std::uint64_t id) {
    {
      Result<std::unique_ptr<store::Store>> base = store::Store::open_any(directory);
      if (!base.ok()) return std::move(base).status();
      if (Status status = check_base(*base.value()); !status.ok()) return status;
      result_->csn = manifest().csn;
      result_->committed_at_ms = manifest().committed_at_ms;
      if (log_ != nullptr) {
        if (Status status = replay(*base.value()); !status.ok()) return status;
      }
      Status status = base.value()->set_meta(txn::kDatabaseIdKey, txn::hex(id));
      if (status.ok()) status = base.value()->set_meta(txn::kCleanKey, "1");
      if (!status.ok()) return status;
    }
    return platform::remove_file(directory + "/lock.mdb");
  }

  Status check_base(store::Store& base) const {
    Result<std::shared_ptr<const store::Snapshot>> snapshot = base.snapshot();
    if (!snapshot.ok()) return std::move(snapshot).status();
    if (snapshot.value()->applied_csn() == manifest().csn) return {};
    return Status(Code::kCORRUPT, "the backup says it is of commit " + std::to_string(manifest().csn) +
                                      ", but its base is of commit " + std::to_string(snapshot.value()->applied_csn()));
  }

  Status replay(store::Store& base) {
    Replay replay(base);
    Commit commit;
    while (result_->csn < newest_) {
      Status status = log_->next(Deadline::after_ms(0), &commit);
      if (status.code() == Code::kNOT_FOUND) break;  // the end of a log that nobody writes
      if (!status.ok()) return status;
      if (options_.until_ms != 0 && commit.committed_at_ms > options_.until_ms) break;
      if (status = replay.add(commit); !status.ok()) return status;
      result_->csn = commit.record.csn;
      result_->committed_at_ms = commit.committed_at_ms;
      if (++result_->records % kTellEvery != 0) continue;
      log_bytes_ += commit.record.size * kTellEvery;  // about
      const std::uint64_t done = manifest().base_bytes + log_bytes_;
      if (status = tell(options_.progress, done, done); !status.ok()) return status;
    }
    return replay.finish();
  }

  Source& source_;
  const RestoreOptions& options_;
  RestoreResult* const result_;
  std::unique_ptr<LogReader> log_;
  Csn newest_ = 0;
  std::uint64_t log_bytes_ = 0;
};

Status run(Result<std::unique_ptr<Source>> source, const std::string& destination, const RestoreOptions& options,
           RestoreResult* result) {
  if (!source.ok()) return std::move(source).status();
  return Restoring(*source.value(), options, result).run(destination);
}

}  // namespace

Status restore(const std::string& backup, const std::string& destination, const RestoreOptions& options,
               RestoreResult* result) {
  return run(open_source(backup), destination, options, result);
}

Status restore_stream(int fd, const std::string& destination, const RestoreOptions& options, RestoreResult* result) {
  return run(StreamSource::open(fd, File()), destination, options, result);
}

}  // namespace hf::admin
