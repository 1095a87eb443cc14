// SPDX-License-Identifier: Apache-2.0
// Hostile: the segment files of a log, as recovery finds them: their number, names, headers, frames, bodies, and any
// bytes between.
//
// Must hold:
//  1. No crash, and an end within the fuzzer's time limit.
//  2. Refused: with a code for that (damage, wrong format, no memory); and no file was changed, made or removed.
//  3. Recovered: records came in csn order from applied + 1 on without a gap, and each is a record. A second recovery
//     of what is on disk then finds the same ones. The log works: two commits can be appended and made durable, and a
//     third recovery finds all.
//
// Made right by the harness: the input is a list of small files, each a list of pieces: headers and frames whose fields
// are mostly those of a right log (so the sequence of files is one), whose checksums are computed last, unless the
// input says otherwise; and patches of single bytes after that.
#include "fuzz/fuzz.h"
#include "fuzz/log_files.h"

namespace {

using namespace hf;
using fuzz::demand;
using fuzz::Files;
using fuzz::Input;
using fuzz::LogDirectory;

void check_legal(const Status& status) {
  switch (status.code()) {
    case Code::kCORRUPT:
    case Code::kWRONG_FORMAT:
    case Code::kNO_MEMORY:
      return;
    default:
      fuzz::fail(std::string("recovery answers ") + code_name(static_cast<int>(status.code())) + ": " +
                 std::string(status.message()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static LogDirectory directory;
  Input in(data, size);
  const Csn applied = in.one_in(16) ? in.u64() % kCsnMax : in.below(4);
  const bool clean = in.one_in(4);
  const Files files = fuzz::build_log(in);
  fuzz::write_files(directory.log_path(), files);

  const fuzz::Recovery first = directory.recover(applied, clean);
  if (!first.status.ok()) {
    check_legal(first.status);
    demand(fuzz::read_files(directory.log_path()) == files, "a refused log was changed: " + first.text());
    return 0;
  }
  demand(first.last_csn == applied + first.records.size(), "the last commit is not that of the last record");

  if (first.last_csn > kCsnMax - 3) return 0;  // no commit comes after the last number

  // "Clean" only says that the base has it all; what is there after the first recovery is right without.
  const fuzz::Recovery second = directory.recover(applied, false, 2);
  demand(second.status.ok(), "recovered once, refused later: " + second.text());
  demand(second.records == first.records, "a second recovery finds other records");
  const fuzz::Recovery third = directory.recover(applied, false);
  demand(third.status.ok(), "appended to, then refused: " + third.text());
  demand(third.records.size() == first.records.size() + 2, "what was appended is not there");
  demand(std::equal(first.records.begin(), first.records.end(), third.records.begin()), "appending changed records");
  return 0;
}
