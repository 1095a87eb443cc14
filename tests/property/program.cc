// SPDX-License-Identifier: Apache-2.0
#include "property/program.h"

namespace hf::property {
namespace {

const char* const kOpNames[] = {
    "get",       "get_more", "put",     "insert", "update", "remove", "erase", "put_if_version", "check_version",
    "savepoint", "rollback", "release", "cursor", "seek",   "next",   "scan",  "commit",         "abort",
    "merge",     "reopen",   "create",  "drop",   "rename", "list",   "burst"};

// Keys that are hard to keep apart: prefixes of each other, zeros and 0xff at the end, the longest there may be.
const std::vector<std::string>& keys() {
  static const std::vector<std::string> all = {
      "a", std::string("a\0", 2),         "ab", "abc",  "b",       "b\xff", "b\xff\xff", "c", "m",
      "n", std::string(kKeySizeMax, 'n'), "z",  "\xff", "\xff\xff"};
  return all;
}
}  // namespace

const char* name_of(Op op) { return kOpNames[static_cast<int>(op)]; }

const std::string& key_at(std::uint8_t choice) { return keys()[choice % (choice < 128 ? 4 : keys().size())]; }
std::string bound_at(std::uint8_t choice) {
  if (choice % 3 == 0) return {};
  std::string bound = key_at(choice);
  if (choice % 7 == 1 && bound.size() < kKeySizeMax) bound += '0';
  return bound;
}

Life life_of(std::uint8_t flags) { return flags < 8 ? Life::kShort : flags < 60 ? Life::kLong : Life::kUnlimited; }

ModelRange range_of(const Step& step) {
  ModelRange range;
  range.low = bound_at(step.key);
  range.high = bound_at(step.other_key);
  if (step.choice % 4 == 0) range.prefix = key_at(step.choice / 4).substr(0, 2);
  range.low_exclusive = (step.flags & 1) != 0;
  range.high_inclusive = (step.flags & 2) != 0;
  range.reverse = (step.flags & 4) != 0;
  range.skip = (step.flags & 8) != 0 ? step.choice % 4 : 0;
  range.limit = (step.flags & 16) != 0 ? step.choice % 5 : 0;
  return range;
}

std::ostream& operator<<(std::ostream& out, const Step& step) {
  return out << kOpNames[static_cast<int>(step.op)] << "{actor " << step.actor % 4 << ", table " << +step.table
             << ", key " << +step.key << ", other " << +step.other_key << ", flags " << +step.flags << ", choice "
             << +step.choice << "}";
}

rc::Gen<std::vector<Step>> programs(const Mix& mix, int length) {
  const auto share = [](int part) { return static_cast<std::size_t>(part); };
  const auto op = rc::gen::weightedOneOf<Op>({
      {share(mix.rows), rc::gen::element(Op::kGet, Op::kGet, Op::kGet, Op::kGetMore, Op::kPut, Op::kPut, Op::kInsert,
                                         Op::kUpdate, Op::kRemove, Op::kErase)},
      {share(mix.versions), rc::gen::element(Op::kPutIfVersion, Op::kPutIfVersion, Op::kCheckVersion)},
      {share(mix.savepoints), rc::gen::element(Op::kSavepoint, Op::kSavepoint, Op::kRollback, Op::kRelease)},
      {share(mix.cursors), rc::gen::element(Op::kCursor, Op::kNext, Op::kNext, Op::kSeek, Op::kScan, Op::kScan)},
      {share(mix.ends), rc::gen::element(Op::kCommit, Op::kCommit, Op::kCommit, Op::kCommit, Op::kAbort)},
      {share(mix.merges), rc::gen::just(Op::kMerge)},
      {share(mix.reopens), rc::gen::just(Op::kReopen)},
      {share(mix.tables), rc::gen::element(Op::kCreate, Op::kCreate, Op::kDrop, Op::kRename, Op::kList)},
      {share(mix.bursts), rc::gen::just(Op::kBurst)},
  });
  const auto byte = rc::gen::noShrink(rc::gen::arbitrary<std::uint8_t>());
  const auto step = rc::gen::build<Step>(rc::gen::set(&Step::op, op), rc::gen::set(&Step::actor, byte),
                                         rc::gen::set(&Step::table, byte), rc::gen::set(&Step::key, byte),
                                         rc::gen::set(&Step::other_key, byte), rc::gen::set(&Step::flags, byte),
                                         rc::gen::set(&Step::choice, byte));
  return rc::gen::resize(length, rc::gen::container<std::vector<Step>>(step));
}

}  // namespace hf::property
