// SPDX-License-Identifier: Apache-2.0
#include "admin/log_reader.h"

#include "platform/file.h"
#include "schema/log_generated.h"
#include "txn/database.h"
#include "txn/record.h"

namespace hf::admin {
namespace {

constexpr std::uint64_t kGateWaitMs = 1'000;  // at least: who opens or leaves mostly needs less

Deadline gate_deadline(Deadline deadline) noexcept {
  const Deadline least = Deadline::after_ms(kGateWaitMs);
  return deadline.ns() > least.ns() ? deadline : least;
}

}  // namespace

Result<std::unique_ptr<LogReader>> LogReader::open(const std::string& path, Csn from, Deadline deadline) {
  Result<LogBound> bound = LogBound::open(path);
  if (!bound.ok()) return std::move(bound).status();
  std::unique_ptr<LogReader> reader(new LogReader(path, std::move(bound).value(), from));
  if (Status status = reader->read_base(deadline); !status.ok()) return status;
  Status status = reader->start();
  if (status.code() == Code::kNOT_FOUND) {
    // No segment yet: a copy that was never opened, whose log will begin behind its base.
    if (reader->base_known_ && from != 0 && from <= reader->applied_) {
      return Status(Code::kSNAPSHOT_TOO_OLD, path + ": commit " + std::to_string(from) +
                                                 " is gone; the oldest that the log can have is " +
                                                 std::to_string(reader->applied_ + 1));
    }
  } else if (!status.ok()) {
    return status;
  }
  return reader;
}

// Names are worth having and not worth failing for: without the base there are those that the log tells.
Status LogReader::read_base(Deadline deadline) {
  Status status = txn::Database::with_base(path_, deadline, [this](store::Store& base) -> Status {
    Result<std::shared_ptr<const store::Snapshot>> snapshot = base.snapshot();
    if (!snapshot.ok()) return std::move(snapshot).status();
    if (Status read = names_.read(*snapshot.value()); !read.ok()) return read;
    applied_ = snapshot.value()->applied_csn();
    base_known_ = true;
    return {};
  });
  return status.code() == Code::kNO_MEMORY ? status : Status();
}

// Begins at the first commit that the base does not have, if that is earlier, for the names of tables made since.
Status LogReader::start() {
  Status status;
  if (base_known_ && from_ > applied_ + 1) {
    status = log_.seek(applied_ + 1);
    started_ = status.ok();
    if (started_ || status.code() != Code::kSNAPSHOT_TOO_OLD) return status;
  }
  status = log_.seek(from_);
  started_ = status.ok();
  return status;
}

Status LogReader::read(Deadline deadline, log::FoundRecord* out) {
  for (;;) {
    // What is known to be durable needs no question.
    const bool is_known = started_ && log_.next_csn() <= known_;
    Result<Csn> bound = is_known ? Result<Csn>(known_) : bound_.look(gate_deadline(deadline));
    if (!bound.ok()) return std::move(bound).status();
    const bool is_dead = bound.value() == log::Reader::kWholeLog;
    if (!is_dead) known_ = bound.value();
    Status status = started_ ? Status() : start();
    if (status.ok()) status = log_.peek(bound.value(), out);
    // What was read while somebody opened it may be of a commit that is not durable yet.
    if (is_dead && !bound_.still_dead()) continue;
    if (status.code() != Code::kNOT_FOUND) return status;
    if (deadline.passed()) return status;
    bound_.wait(bound.value(), deadline);
  }
}

Status LogReader::decode(Commit* out) {
  out->committed_at_ms = schema::GetRecord(out->record.body.data())->committed_at_ms();
  out->changes.clear();
  Status status = txn::decode_record(out->record.body, [&](const overlay::Change& change) {
    out->changes.push_back(change);
    names_.apply(change);
  });
  if (status.ok()) return {};
  return Status(status.code(),
                out->record.path + ": offset " + std::to_string(out->record.offset) + ": " + status.message());
}

Status LogReader::next(Deadline deadline, Commit* out) {
  for (;;) {
    if (Status status = read(deadline, &out->record); !status.ok()) return status;
    if (Status status = decode(out); !status.ok()) return status;
    log_.advance();
    if (out->record.csn >= from_) return {};
  }
}

}  // namespace hf::admin
