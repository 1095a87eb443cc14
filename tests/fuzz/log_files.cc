// SPDX-License-Identifier: Apache-2.0
#include "fuzz/log_files.h"

#include "log/frame.h"
#include "schema/log_generated.h"

namespace hf::fuzz {
namespace {

constexpr std::size_t kSegmentSizeMax = 32 << 10;

// The fields as they would be in a right log, and then as the input wants them.
class LogBuilder {
 public:
  explicit LogBuilder(Input& in) : in_(in) {}

  Files build() {
    lsn_ = in_.one_in(16) ? in_.u64() : 0;
    csn_ = in_.one_in(16) ? in_.u64() : 1;
    sequence_ = in_.one_in(16) ? in_.u64() : 1;
    Files files;
    const std::uint32_t count = in_.below(4) + 1;
    for (std::uint32_t i = 0; i < count; ++i) {
      std::uint32_t number = i + 1;
      if (in_.one_in(16)) number = in_.below(300);
      files[log::segment_name(number)] = segment(i + 1 < count);
    }
    if (in_.one_in(32)) files["log-07.hfl"] = in_.bytes(in_.below(64));  // no segment's name
    return files;
  }

 private:
  std::string segment(bool has_successor) {
    const std::uint64_t base_lsn = lsn_, sequence = sequence_++;
    const Csn first_csn = csn_;
    std::string payload;
    for (std::uint32_t frames = in_.below(6); frames > 0; --frames) payload += frame(sequence);
    // A recovery that cut a tail leaves a segment without a roll.
    if (has_successor && !in_.one_in(8)) payload += roll(sequence);
    lsn_ = base_lsn + payload.size();
    if (in_.one_in(8)) lsn_ += in_.u16() * 8u;
    payload.append(log::kRollSize + in_.below(4) * 1000, '\0');
    payload.resize(align_up(payload.size(), 8));
    std::string file = header(base_lsn, sequence, first_csn, payload.size());
    file += payload;
    patch(&file);
    return file;
  }

  std::string header(std::uint64_t base_lsn, std::uint64_t sequence, Csn first_csn, std::size_t payload_size) {
    log::SegmentHeader header =
        log::make_segment_header(kDatabaseId, sequence, base_lsn, first_csn, log::kSegmentHeaderSize + payload_size);
    if (in_.one_in(8)) {
      const std::uint64_t wild = in_.u64();
      switch (in_.below(6)) {
        case 0:
          header.sequence = wild;
          break;
        case 1:
          header.base_lsn = wild;
          break;
        case 2:
          header.first_csn = wild;
          break;
        case 3:
          header.size = wild;
          break;
        case 4:
          header.version = static_cast<std::uint32_t>(wild);
          break;
        default:
          header.database_id = wild;
      }
      if (!in_.one_in(4)) header.checksum = checksum(&header, offsetof(log::SegmentHeader, checksum), kDatabaseId);
    }
    std::string bytes;
    append(&bytes, header);
    bytes.resize(log::kSegmentHeaderSize);
    return bytes;
  }

  std::string body() {
    switch (in_.below(8)) {
      case 7:
        return in_.bytes(in_.below(80));  // verifies as a frame, and is no record
      case 6:
        return make_body(csn_, in_.u16() % 6000);
      default:
        return make_body(csn_, in_.below(64));
    }
  }

  std::string frame(std::uint64_t sequence) {
    const std::string content = body();
    Csn csn = csn_++, durable = csn > 2 ? csn - 2 : 0;
    if (in_.one_in(16)) csn = in_.u64();
    if (in_.one_in(8)) durable = in_.one_in(2) ? in_.u64() : csn_;
    if (in_.one_in(32)) sequence = in_.u64();
    return make_frame(csn, durable, content, sequence);
  }

  std::string roll(std::uint64_t sequence) {
    const std::uint32_t next = in_.one_in(8) ? in_.u32() : static_cast<std::uint32_t>(sequence_);
    std::string bytes;
    append(&bytes,
           log::make_roll_header(in_.one_in(16) ? in_.u64() : csn_ - 1, next, log::frame_seed(kDatabaseId, sequence)));
    return bytes;
  }

  // After the checksums.
  void patch(std::string* file) {
    for (std::uint32_t count = in_.below(16) >= 12 ? in_.below(8) : 0; count > 0; --count) {
      const std::size_t at = in_.u16();
      const std::uint8_t byte = in_.u8();
      if (at < file->size()) (*file)[at] = static_cast<char>((*file)[at] ^ byte);
    }
    if (in_.one_in(16)) file->resize(std::min<std::size_t>(in_.u16(), kSegmentSizeMax));
  }

  Input& in_;
  std::uint64_t lsn_ = 0, sequence_ = 1;
  Csn csn_ = 1;
};

}  // namespace

std::string make_frame(Csn csn, Csn durable_csn, const std::string& body, std::uint64_t sequence) {
  std::string bytes;
  append(&bytes, log::make_record_header(csn, durable_csn, body, log::frame_seed(kDatabaseId, sequence)));
  bytes += body;
  bytes.resize(align_up(bytes.size(), 8));
  return bytes;
}

std::string make_body(Csn csn, std::size_t payload_size) {
  flatbuffers::FlatBufferBuilder builder;
  const std::string payload(payload_size, static_cast<char>('a' + csn % 26));
  const auto bytes = builder.CreateVector(reinterpret_cast<const std::uint8_t*>(payload.data()), payload.size());
  builder.Finish(schema::CreateRecord(builder, csn, 0, bytes));
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

Files build_log(Input& in) { return LogBuilder(in).build(); }

LogDirectory::LogDirectory()
    : log_path_(scratch_.path("log")),
      slots_(new platform::ProcessSlot[platform::kProcessSlotsMax]()),
      shared_(new log::LogShared()),
      ring_(new char[log::kRingSize]()) {
  std::filesystem::create_directory(log_path_);
  Result<platform::Liveness> liveness = platform::Liveness::open(scratch_.path("liveness"));
  demand(liveness.ok(), "no liveness file");
  liveness_ = std::move(liveness).value();
  demand(liveness_.lock_gate(Deadline::after_ms(1000)).ok(), "the gate is taken");
  demand(liveness_.take_slot(slots_.get(), "fuzz").ok(), "no slot");
  liveness_.unlock_gate();
}

LogDirectory::~LogDirectory() { liveness_.release_slot(); }

log::LogOptions LogDirectory::options() const {
  log::LogOptions options;
  options.directory = log_path_;
  options.database_id = kDatabaseId;
  options.segment_size_min = options.segment_size_max = 2 * log::kSegmentHeaderSize;
  return options;
}

void LogDirectory::clear_shared() {
  shared_->~LogShared();
  new (shared_.get()) log::LogShared();
}

Recovery LogDirectory::recover(Csn applied, bool clean, int appends) {
  Recovery result;
  clear_shared();
  const auto apply = [&](Csn csn, Bytes body) {
    demand(csn == applied + 1 + result.records.size(), "records out of order");
    flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(body.data()), body.size());
    demand(schema::VerifyRecordBuffer(verifier), "a body that is no record");
    result.records.emplace_back(body);
    return Status();
  };
  log::Recovered recovered;
  Result<std::unique_ptr<log::Log>> log =
      log::Log::recover(*shared_, ring_.get(), liveness_, options(), applied, clean, apply, &recovered);
  if (!log.ok()) {
    result.status = std::move(log).status();
    return result;
  }
  result.last_csn = recovered.last_csn;
  demand(recovered.records == result.records.size(), "the number of records is wrong");
  append(**log, appends);
  return result;
}

void LogDirectory::with_log(const std::function<void(log::Log&)>& body) {
  clear_shared();
  const auto apply = [](Csn, Bytes) { return Status(); };
  Result<std::unique_ptr<log::Log>> log =
      log::Log::recover(*shared_, ring_.get(), liveness_, options(), 0, false, apply, nullptr);
  demand(log.ok(), "a right log is refused: " + std::string(log.status().message()));
  body(**log);
}

void LogDirectory::append(log::Log& log, int count) {
  for (; count > 0; --count) {
    const Csn csn = log.appended_csn() + 1;
    const std::string body = make_body(csn, 100);
    const Status room = log.make_room(body.size(), Deadline::after_ms(10'000));
    demand(room.ok(), "no room in a recovered log: " + std::string(room.message()));
    demand(log.has_room(body.size()), "no room after room was made");
    log.append(csn, body);
    const Status durable = log.wait_durable(csn, Deadline::after_ms(10'000));
    demand(durable.ok(), "a recovered log cannot be flushed: " + std::string(durable.message()));
  }
}

}  // namespace hf::fuzz
