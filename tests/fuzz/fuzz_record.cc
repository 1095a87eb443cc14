// SPDX-License-Identifier: Apache-2.0
// Hostile: bodies of log records, and values of the catalog's rows. Recovery checks a body's checksum and runs the
// FlatBuffers verifier; what passes both goes to decode_record, and from there into the overlay and the base.
//
// Must hold: no crash. What decode_record lets through are changes that a commit could have made (legal kinds, sizes
// and numbers), their bytes lie in the body, and coding them again gives a record that says the same. What it refuses
// is kCORRUPT, before the first change was handed out: half a record in the overlay would be half a commit.
//
// Made right by the harness: by the first byte, the input is a body as it is, or is read as a list of ops that a
// builder makes a well-formed body of, with sizes that need not add up.
#include "fuzz/fuzz.h"
#include "schema/catalog_generated.h"
#include "schema/log_generated.h"
#include "txn/record.h"

namespace {

using hf::Bytes;
using hf::fuzz::demand;
using hf::fuzz::Input;
using hf::overlay::Change;
using hf::overlay::VersionKind;

std::string build_body(Input& in) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<hf::schema::Op> ops;
  for (std::uint32_t count = in.below(20); count > 0; --count) {
    const bool is_wild = in.one_in(4);
    const std::uint32_t table = is_wild ? in.u32() : in.below(3) + 1;
    const std::uint32_t value_size = is_wild ? in.u32() : in.below(16);
    const std::uint16_t key_size = is_wild ? in.u16() : static_cast<std::uint16_t>(in.below(8));
    const std::uint8_t kind = in.below(is_wild ? 256 : 4) & 0xff;
    ops.emplace_back(in.one_in(4) ? in.u64() : 0, table, value_size, key_size, static_cast<hf::schema::OpKind>(kind),
                     in.u8());
  }
  const std::string bytes = in.rest();
  const auto bytes_vector = builder.CreateVector(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  builder.Finish(hf::schema::CreateRecord(builder, 1, builder.CreateVectorOfStructs(ops), bytes_vector));
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

void check_change(const Change& change, Bytes body) {
  const auto lies_inside = [body](Bytes bytes) {
    return bytes.empty() || (bytes.data() >= body.data() && bytes.data() + bytes.size() <= body.data() + body.size());
  };
  demand(lies_inside(change.key) && lies_inside(change.value), "a change outside of its record");
  demand(change.table != 0, "a change of table 0");
  switch (change.kind) {
    case VersionKind::kPut:
      demand(!change.key.empty() && change.key.size() <= hf::kKeySizeMax, "a put key of an illegal size");
      demand(change.value.size() <= hf::kValueSizeMax, "a put value of an illegal size");
      return;
    case VersionKind::kDelete:
      demand(!change.key.empty() && change.key.size() <= hf::kKeySizeMax, "a deleted key of an illegal size");
      demand(change.value.empty(), "a deletion with a value");
      return;
    case VersionKind::kDropTable:
      demand(change.key.empty() && change.value.empty(), "a drop with a key or value");
      return;
  }
  hf::fuzz::fail("a change of no kind");
}

bool same(const Change& a, const Change& b) {
  return a.table == b.table && a.key == b.key && a.hash == b.hash && a.kind == b.kind && a.flags == b.flags &&
         a.expires_ms == b.expires_ms && a.value == b.value;
}

void decode(const std::string& body) {
  // As recovery gives it: aligned, in memory of exactly its size.
  const std::unique_ptr<char[]> copy(new char[body.size()]);
  std::memcpy(copy.get(), body.data(), body.size());
  const Bytes bytes(copy.get(), body.size());
  flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (!hf::schema::VerifyRecordBuffer(verifier)) return;
  (void)hf::txn::space_of_record(bytes);
  std::vector<Change> changes;
  const hf::Status status = hf::txn::decode_record(bytes, [&](const Change& change) {
    check_change(change, bytes);
    changes.push_back(change);
  });
  if (!status.ok()) {
    demand(status.code() == hf::Code::kCORRUPT, "a refused record is not corrupt");
    demand(changes.empty(), "half of a refused record was handed out");
    return;
  }
  const std::string again(hf::txn::encode_record(changes, 1));
  std::size_t index = 0;
  const hf::Status second = hf::txn::decode_record(again, [&](const Change& change) {
    demand(index < changes.size() && same(change, changes[index]), "coded again, a record says something else");
    ++index;
  });
  demand(second.ok() && index == changes.size(), "coded again, a record is refused");
}

// As the catalog does it: a copy, for rows have no alignment.
void decode_table_info(const std::string& value) {
  alignas(8) std::uint8_t aligned[256];
  if (value.size() > sizeof aligned) return;
  std::memcpy(aligned, value.data(), value.size());
  flatbuffers::Verifier verifier(aligned, value.size());
  if (!hf::schema::VerifyTableInfoBuffer(verifier)) return;
  (void)hf::schema::GetTableInfo(aligned)->id();
  (void)hf::schema::GetTableInfo(aligned)->created_at_ms();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  switch (in.below(3)) {
    case 0:
      decode(build_body(in));
      break;
    case 1:
      decode(in.rest());
      break;
    default:
      decode_table_info(in.rest());
  }
  return 0;
}
