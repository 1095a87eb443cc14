// SPDX-License-Identifier: Apache-2.0
// Goal: what decode_record hands out is what a commit can have made; anything else is refused before the first change.
// Method: bodies that pass the FlatBuffers verifier, one thing wrong with each.
#include "txn/record.h"

#include <gtest/gtest.h>

#include "schema/log_generated.h"

namespace hf::txn {
namespace {

using schema::Op;
using schema::OpKind;

std::string finish(flatbuffers::FlatBufferBuilder& builder, flatbuffers::Offset<flatbuffers::Vector<const Op*>> ops,
                   std::size_t bytes_size) {
  const std::vector<std::uint8_t> bytes(bytes_size, 'x');
  builder.Finish(schema::CreateRecord(builder, 1, ops, builder.CreateVector(bytes)));
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

std::string body_of(const std::vector<Op>& ops, std::size_t bytes_size) {
  flatbuffers::FlatBufferBuilder builder;
  return finish(builder, builder.CreateVectorOfStructs(ops), bytes_size);
}

// What decode_record answers, and how often it calls.
Code decode(const std::string& body, int* changes) {
  flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(body.data()), body.size());
  EXPECT_TRUE(schema::VerifyRecordBuffer(verifier));
  *changes = 0;
  (void)space_of_record(body);
  return decode_record(body, [changes](const overlay::Change&) { ++*changes; }).code();
}

const Op kGood(0, 16, 3, 2, OpKind::Put, 0);

TEST(TxnRecord, GoodOps) {
  const Op removal(0, 16, 0, 511, OpKind::Delete, 0), drop(0, 17, 0, 0, OpKind::DropTable, 0);
  int changes = 0;
  EXPECT_EQ(decode(body_of({kGood, removal, drop}, 5 + 511), &changes), Code::kOK);
  EXPECT_EQ(changes, 3);
}

TEST(TxnRecord, OpsThatNoCommitMakes) {
  const struct {
    const char* what;
    Op op;
  } cases[] = {
      {"no kind", Op(0, 16, 0, 1, OpKind::None, 0)},
      {"an unknown kind", Op(0, 16, 0, 1, static_cast<OpKind>(4), 0)},
      {"table 0", Op(0, 0, 0, 1, OpKind::Put, 0)},
      {"a put without a key", Op(0, 16, 0, 0, OpKind::Put, 0)},
      {"a key too long", Op(0, 16, 0, 512, OpKind::Put, 0)},
      {"a value too long", Op(0, 16, kValueSizeMax + 1, 1, OpKind::Put, 0)},
      {"a deletion without a key", Op(0, 16, 0, 0, OpKind::Delete, 0)},
      {"a deletion with a value", Op(0, 16, 1, 1, OpKind::Delete, 0)},
      {"a drop with a key", Op(0, 16, 0, 1, OpKind::DropTable, 0)},
  };
  for (const auto& one : cases) {
    int changes = 0;
    const std::size_t size = 5 + std::size_t{one.op.key_size()} + one.op.value_size();
    EXPECT_EQ(decode(body_of({kGood, one.op}, size), &changes), Code::kCORRUPT) << one.what;
    EXPECT_EQ(changes, 0) << one.what;
  }
}

TEST(TxnRecord, SizesThatDoNotAddUp) {
  int changes = 0;
  for (const std::size_t size : {0, 4, 6}) {
    EXPECT_EQ(decode(body_of({kGood}, size), &changes), Code::kCORRUPT) << size;
    EXPECT_EQ(changes, 0) << size;
  }
}

// The verifier lets structs pass that are not aligned: to read them would be undefined.
TEST(TxnRecord, OpsOutOfAlignment) {
  std::string body;
  for (std::size_t shift = 0; shift < 8; shift += 4) {
    flatbuffers::FlatBufferBuilder builder;
    builder.CreateString(std::string(shift, 's'));
    builder.StartVector(sizeof(Op), 1);  // aligned to 4 bytes
    builder.PushBytes(reinterpret_cast<const std::uint8_t*>(&kGood), sizeof kGood);
    body = finish(builder, flatbuffers::Offset<flatbuffers::Vector<const Op*>>(builder.EndVector(1)), 5);
    const auto* ops = schema::GetRecord(body.data())->ops();
    if (reinterpret_cast<std::uintptr_t>(ops->Data()) % alignof(Op) == 0) continue;
    int changes = 0;
    EXPECT_EQ(decode(body, &changes), Code::kCORRUPT);
    EXPECT_EQ(changes, 0);
    return;
  }
  FAIL() << "no body out of alignment was made";
}

}  // namespace
}  // namespace hf::txn
