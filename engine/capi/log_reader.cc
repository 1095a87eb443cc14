// SPDX-License-Identifier: Apache-2.0
// Readers of a database's log.
#include "admin/log_reader.h"

#include <optional>
#include <vector>

#include "capi/path_call.h"

struct alignas(64) hf_log_reader : hf::capi::Handle {
  static constexpr std::uint32_t kMagic = 0x48664c72;
  static constexpr std::uint32_t kFirstChunk = 2;

  std::unique_ptr<hf::admin::LogReader> inner;
  hf::admin::Commit commit;  // what the caller was given points into it
  std::vector<hf_log_operation> operations;
  hf::capi::Failure failure;
};

namespace hf::capi {
namespace {

constexpr std::uint64_t kOpenWaitMs = 30'000;  // for who opens or leaves the database

static_assert(static_cast<int>(overlay::VersionKind::kPut) == HF_LOG_PUT);
static_assert(static_cast<int>(overlay::VersionKind::kDelete) == HF_LOG_DELETE);
static_assert(static_cast<int>(overlay::VersionKind::kDropTable) == HF_LOG_DROP_TABLE);

constexpr std::uint8_t kCounterFlag = 1;  // schema/log.fbs, Op.flags

hf_log_operation translate(const hf_log_reader& reader, const overlay::Change& change) noexcept {
  hf_log_operation to{};
  to.kind = static_cast<std::uint32_t>(change.kind);
  to.table_id = change.table;
  to.table = reader.inner->name_of(change.table).c_str();
  to.key = from_bytes(change.key);
  to.value = from_bytes(change.value);
  to.expires_ms = change.expires_ms;
  to.is_counter = change.kind == overlay::VersionKind::kPut && change.flags == kCounterFlag ? 1 : 0;
  return to;
}

Status next(hf_log_reader& reader, std::uint64_t timeout_ms, hf_log_record* record) {
  if (record == nullptr) return null_argument("record");
  if (!output_is_legal(record)) return wrong_size("hf_log_record", record->size);
  Status status = reader.inner->next(Deadline::after_ms(timeout_ms), &reader.commit);
  if (status.code() == Code::kNOT_FOUND) return Status(Code::kNOT_FOUND, "no further commit");
  if (!status.ok()) return status;
  reader.operations.clear();
  for (const overlay::Change& change : reader.commit.changes) {
    reader.operations.push_back(translate(reader, change));
  }
  hf_log_record full{};
  full.operation_count = static_cast<std::uint32_t>(reader.operations.size());
  full.operations = reader.operations.data();
  full.csn = reader.commit.record.csn;
  full.committed_at_ms = reader.commit.committed_at_ms;
  full.file = reader.commit.record.path.c_str();
  full.offset = reader.commit.record.offset;
  full.bytes = reader.commit.record.size;
  write_sized(full, record);
  return {};
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;
using hf::Status;

int hf_log_open(const char* path, uint64_t from_csn, hf_log_reader** reader, hf_error* error) {
  if (reader == nullptr) return HF_INVALID_ARGUMENT;
  *reader = nullptr;
  return path_call(error, [&]() -> Status {
    if (Status status = check_path(path, "path"); !status.ok()) return status;
    if (from_csn > hf::kCsnMax) {
      return {hf::Code::kINVALID_ARGUMENT, "from_csn " + std::to_string(from_csn) + " is not legal"};
    }
    auto opened = hf::admin::LogReader::open(path, from_csn, hf::Deadline::after_ms(kOpenWaitMs));
    if (!opened.ok()) return std::move(opened).status();
    hf_log_reader* const made = pool<hf_log_reader>().take();
    made->inner = std::move(opened).value();
    made->generation.store(hf::txn::fork_generation(), std::memory_order_relaxed);
    made->word.store(hf_log_reader::kMagic, std::memory_order_release);
    *reader = made;
    return {};
  });
}

int hf_log_next(hf_log_reader* reader, uint64_t timeout_ms, hf_log_record* record) {
  if (const int code = enter(reader); code != HF_OK) return code;
  int code;
  try {
    Status status = next(*reader, timeout_ms, record);
    code = status.ok() ? HF_OK : reader->failure.set(std::move(status));
  } catch (...) {
    code = reader->failure.set(thrown_code());
  }
  leave(reader);
  return code;
}

int hf_log_error(hf_log_reader* reader, hf_error* error) {
  if (!output_is_legal(error)) return HF_INVALID_ARGUMENT;
  if (const int code = enter(reader); code != HF_OK) return code;
  const int code = guarded([&] {
    hf_error full;
    reader->failure.describe(nullptr, &full);
    write_sized(full, error);
    return HF_OK;
  });
  leave(reader);
  return code;
}

int hf_log_close(hf_log_reader** reader) {
  if (reader == nullptr || *reader == nullptr) return HF_OK;
  const int code = enter(*reader);
  if (code != HF_OK) {
    if (!keeps_handle(*reader, code)) *reader = nullptr;
    return code;
  }
  hf_log_reader* const ended = *reader;
  *reader = nullptr;
  ended->inner.reset();
  ended->commit = {};
  ended->operations.clear();
  ended->failure.clear();
  ended->word.store(0, std::memory_order_release);
  pool<hf_log_reader>().give(ended);
  return HF_OK;
}
