// SPDX-License-Identifier: Apache-2.0
#include "txn/record.h"

#include "base/hash.h"
#include "schema/log_generated.h"

namespace hf::txn {
namespace {

// The builder keeps its buffer between commits of a thread, up to this size.
constexpr std::size_t kBuilderKeepSize = 1u << 20;

schema::Op op_of(const overlay::Change& change) noexcept {
  return schema::Op(change.expires_ms, change.table, static_cast<std::uint32_t>(change.value.size()),
                    static_cast<std::uint16_t>(change.key.size()), static_cast<schema::OpKind>(change.kind),
                    change.flags);
}

// The buffer moves while it grows, so this is asked of the finished record.
void find_places(char* body, const std::vector<overlay::Change>& changes, std::vector<RecordPlace>* places) {
  schema::Record* record = flatbuffers::GetMutableRoot<schema::Record>(body);
  // The generated accessors are for reading; the buffer is ours.
  auto* next = reinterpret_cast<char*>(const_cast<std::uint8_t*>(record->bytes()->data()));
  places->clear();
  places->reserve(changes.size());
  for (std::size_t i = 0; i < changes.size(); ++i) {
    next += changes[i].key.size();
    const schema::Op* op = record->ops()->Get(static_cast<flatbuffers::uoffset_t>(i));
    places->push_back({next, const_cast<schema::Op*>(op)});
    next += changes[i].value.size();
  }
}

// Null when there are none. The verifier does not look at the alignment of structs in a vector.
const flatbuffers::Vector<const schema::Op*>* ops_of(const schema::Record& record) noexcept {
  const auto* ops = record.ops();
  if (ops == nullptr || reinterpret_cast<std::uintptr_t>(ops->Data()) % alignof(schema::Op) != 0) return nullptr;
  return ops;
}

// Whether a commit can have made this change. The overlay and the base take that for granted.
bool is_legal(const schema::Op& op) noexcept {
  const std::size_t key_size = op.key_size(), value_size = op.value_size();
  if (op.table() == 0) return false;
  switch (op.kind()) {
    case schema::OpKind::Put:
      return key_size > 0 && key_size <= kKeySizeMax && value_size <= kValueSizeMax;
    case schema::OpKind::Delete:
      return key_size > 0 && key_size <= kKeySizeMax && value_size == 0;
    case schema::OpKind::DropTable:
      return key_size == 0 && value_size == 0;
    default:
      return false;
  }
}

// All of them before the first is handed out: half a record in the overlay would be half a commit.
Status check_ops(const schema::Record& record) {
  const auto* ops = ops_of(record);
  if (ops == nullptr || record.bytes() == nullptr) return Status(Code::kCORRUPT, "log record without ops");
  std::size_t size = 0;
  for (const schema::Op* op : *ops) {
    if (!is_legal(*op)) return Status(Code::kCORRUPT, "log record with an op that no commit makes");
    size += std::size_t{op->key_size()} + op->value_size();
  }
  return size == record.bytes()->size() ? Status()
                                        : Status(Code::kCORRUPT, "log record whose ops are not as long as its bytes");
}

}  // namespace

Bytes encode_record(const std::vector<overlay::Change>& changes, std::uint64_t committed_at_ms,
                    std::vector<RecordPlace>* places) {
  thread_local flatbuffers::FlatBufferBuilder builder(4096);
  if (builder.GetSize() > kBuilderKeepSize) {
    builder = flatbuffers::FlatBufferBuilder(4096);
  } else {
    builder.Clear();
  }
  std::size_t total = 0;
  for (const overlay::Change& change : changes) total += change.key.size() + change.value.size();
  std::uint8_t* out = nullptr;
  const auto bytes = builder.CreateUninitializedVector<std::uint8_t>(total, &out);
  for (const overlay::Change& change : changes) {
    if (!change.key.empty()) std::memcpy(out, change.key.data(), change.key.size());
    out += change.key.size();
    if (!change.value.empty()) std::memcpy(out, change.value.data(), change.value.size());
    out += change.value.size();
  }
  schema::Op* op = nullptr;
  const auto ops = builder.CreateUninitializedVectorOfStructs<schema::Op>(changes.size(), &op);
  for (const overlay::Change& change : changes) *op++ = op_of(change);
  builder.Finish(schema::CreateRecord(builder, committed_at_ms, ops, bytes));
  char* body = reinterpret_cast<char*>(builder.GetBufferPointer());
  if (places != nullptr) find_places(body, changes, places);
  return {body, builder.GetSize()};
}

void recode_expiry(const RecordPlace& place, const overlay::Change& change) noexcept {
  const schema::Op op = op_of(change);
  std::memcpy(place.op, &op, sizeof op);
}

Status decode_record(Bytes body, const std::function<void(const overlay::Change&)>& visit) {
  const schema::Record* record = schema::GetRecord(body.data());
  if (Status status = check_ops(*record); !status.ok()) return status;
  const char* next = reinterpret_cast<const char*>(record->bytes()->data());
  for (const schema::Op* op : *record->ops()) {
    overlay::Change change{};
    change.table = op->table();
    change.key = Bytes(next, op->key_size());
    change.hash = row_hash(change.table, change.key);
    change.kind = static_cast<overlay::VersionKind>(op->kind());
    change.flags = op->flags();
    change.expires_ms = op->expires_ms();
    change.value = Bytes(next + op->key_size(), op->value_size());
    change.content = content_of(change);
    visit(change);
    next += change.key.size() + change.value.size();
  }
  return {};
}

std::uint64_t space_of_record(Bytes body) {
  const schema::Record* record = schema::GetRecord(body.data());
  const auto* ops = ops_of(*record);
  std::uint64_t space = 0;
  if (ops == nullptr) return 0;
  for (const schema::Op* op : *ops) space += overlay::Overlay::space_of(op->key_size(), op->value_size());
  return space;
}

}  // namespace hf::txn
