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
  if (record->ops() == nullptr || record->bytes() == nullptr) return Status(Code::kCORRUPT, "log record without ops");
  const char* next = reinterpret_cast<const char*>(record->bytes()->data());
  std::size_t left = record->bytes()->size();
  for (const schema::Op* op : *record->ops()) {
    const std::size_t size = std::size_t{op->key_size()} + op->value_size();
    if (size > left) return Status(Code::kCORRUPT, "log record whose ops are longer than its bytes");
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
    next += size;
    left -= size;
  }
  return left == 0 ? Status() : Status(Code::kCORRUPT, "log record whose ops are shorter than its bytes");
}

std::uint64_t space_of_record(Bytes body) {
  const schema::Record* record = schema::GetRecord(body.data());
  std::uint64_t space = 0;
  if (record->ops() == nullptr) return 0;
  for (const schema::Op* op : *record->ops()) space += overlay::Overlay::space_of(op->key_size(), op->value_size());
  return space;
}

}  // namespace hf::txn
