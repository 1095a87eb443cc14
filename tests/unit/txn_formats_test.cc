// SPDX-License-Identifier: Apache-2.0
// Goal: docs/formats.md says what the code does, byte for byte, and goes on doing so.
// Method: every table behind a line `<!-- layout: Name -->` is parsed. Its rows have to tile the structure without gap
// or overlap, and each field has to have the offset and size that the compiler gives it. A structure without a table, a
// table without a structure, a field without a row and a row without a field fail. What has no structure that a test
// can name (the identity file, rows, keys) is written by the engine and compared at the documented offsets. At last a
// database is opened, and its files and its control region are looked at through the document's numbers alone.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "admin/backup_stream.h"
#include "base/clock.h"
#include "base/hash.h"
#include "lock/heat.h"
#include "lock/lock.h"
#include "log/format.h"
#include "overlay/format.h"
#include "schema/log_generated.h"
#include "store/format.h"
#include "txn/database.h"
#include "txn/identity.h"
#include "txn/shared.h"

namespace {

// --- the document ------------------------------------------------------------------------------------------------

struct Row {
  std::uint64_t offset;
  std::uint64_t size;
  std::string name;
  int line;
};
using Tables = std::map<std::string, std::vector<Row>>;

std::filesystem::path document_path() {
#ifdef HOLDFAST_SOURCE_DIR
  return std::filesystem::path(HOLDFAST_SOURCE_DIR) / "docs" / "formats.md";
#else
  return std::filesystem::path(__FILE__).parent_path().parent_path().parent_path() / "docs" / "formats.md";
#endif
}

std::string trimmed(std::string text) {
  const auto first = text.find_first_not_of(" `");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" `") - first + 1);
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream stream(line.substr(1));
  for (std::string cell; std::getline(stream, cell, '|');) cells.push_back(trimmed(cell));
  return cells;
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// Parses every marked table; what is malformed is a failure of the test that asked.
Tables parse_document() {
  static constexpr char kMarker[] = "<!-- layout: ";
  Tables tables;
  std::ifstream file(document_path());
  EXPECT_TRUE(file.is_open()) << document_path() << " cannot be read";
  std::string name;
  int line_number = 0;
  int head_lines_left = 0;  // the title row and the ruler
  for (std::string line; std::getline(file, line);) {
    ++line_number;
    if (line.rfind(kMarker, 0) == 0) {
      name = line.substr(sizeof kMarker - 1, line.find(" -->") - (sizeof kMarker - 1));
      EXPECT_TRUE(tables.emplace(name, std::vector<Row>()).second) << "two tables for " << name;
      head_lines_left = 2;
      continue;
    }
    if (name.empty()) continue;
    if (line.empty() || line[0] != '|') {
      EXPECT_EQ(head_lines_left, 0) << "line " << line_number << ": the table of " << name << " has to follow its mark";
      name.clear();
      continue;
    }
    const std::vector<std::string> cells = cells_of(line);
    if (head_lines_left-- > 0) {
      if (head_lines_left == 1) {
        EXPECT_EQ(cells, (std::vector<std::string>{"offset", "size", "name", "meaning"})) << "line " << line_number;
      }
      continue;
    }
    head_lines_left = 0;
    if (cells.size() != 4 || !is_number(cells[0]) || !is_number(cells[1]) || cells[2].empty() || cells[3].empty()) {
      ADD_FAILURE() << "line " << line_number << ": not `| offset | size | name | meaning |` with numbers";
      continue;
    }
    tables[name].push_back({std::stoull(cells[0]), std::stoull(cells[1]), cells[2], line_number});
  }
  return tables;
}

const Tables& document() {
  static const Tables tables = parse_document();
  return tables;
}

// The row of a field; a test that needs one that is missing fails and goes on with the start of the structure.
Row row_of(const std::string& structure, const std::string& field) {
  const auto table = document().find(structure);
  if (table != document().end()) {
    for (const Row& row : table->second) {
      if (row.name == field) return row;
    }
  }
  ADD_FAILURE() << "docs/formats.md has no " << structure << "." << field;
  return {};
}

// --- the code ----------------------------------------------------------------------------------------------------

struct Field {
  std::string name;
  std::uint64_t offset;
  std::uint64_t size;
};
struct Layout {
  std::string name;
  std::uint64_t size;
  std::vector<Field> fields;
};

#define FIELD(type, field) \
  Field { #field, offsetof(type, field), sizeof(type::field) }

// Every structure whose fields this test can name. Those of the last group have no C++ structure of their own.
std::vector<Layout> layouts() {
  namespace admin = hf::admin;
  namespace lock = hf::lock;
  namespace log = hf::log;
  namespace overlay = hf::overlay;
  namespace platform = hf::platform;
  namespace store = hf::store;
  namespace txn = hf::txn;
  using LogHeader = log::SegmentHeader;
  using LogRow = log::SegmentRow;
  using OverlayHeader = overlay::SegmentHeader;
  using OverlayRow = overlay::SegmentRow;
  return {
      {"txn::RegionHeader",
       sizeof(txn::RegionHeader),
       {FIELD(txn::RegionHeader, magic), FIELD(txn::RegionHeader, fingerprint), FIELD(txn::RegionHeader, ready),
        FIELD(txn::RegionHeader, database_id), FIELD(txn::RegionHeader, boot_id),
        FIELD(txn::RegionHeader, overlay_bytes_max), FIELD(txn::RegionHeader, log_segment_size_max),
        FIELD(txn::RegionHeader, txn_bytes_max), FIELD(txn::RegionHeader, reserved)}},
      {"platform::ProcessSlot",
       sizeof(platform::ProcessSlot),
       {FIELD(platform::ProcessSlot, generation), FIELD(platform::ProcessSlot, pid),
        FIELD(platform::ProcessSlot, opened_at_ms), FIELD(platform::ProcessSlot, label)}},
      {"txn::Pin", sizeof(txn::Pin), {FIELD(txn::Pin, base_plus_one), FIELD(txn::Pin, since_ns)}},
      {"txn::PinRow",
       sizeof(txn::PinRow),
       {FIELD(txn::PinRow, owner), FIELD(txn::PinRow, pad0), FIELD(txn::PinRow, pad1), FIELD(txn::PinRow, pins)}},
      {"txn::TxnShared",
       sizeof(txn::TxnShared),
       {FIELD(txn::TxnShared, commit_latch), FIELD(txn::TxnShared, maintainer_latch),
        FIELD(txn::TxnShared, published_csn), FIELD(txn::TxnShared, system_csn), FIELD(txn::TxnShared, commits),
        FIELD(txn::TxnShared, view_version), FIELD(txn::TxnShared, too_old_below),
        FIELD(txn::TxnShared, base_generation), FIELD(txn::TxnShared, conflicts), FIELD(txn::TxnShared, merges),
        FIELD(txn::TxnShared, rows_swept), FIELD(txn::TxnShared, applied_csn), FIELD(txn::TxnShared, maintained_at_ns),
        FIELD(txn::TxnShared, maintain_word), FIELD(txn::TxnShared, room_word), FIELD(txn::TxnShared, durable_waits),
        FIELD(txn::TxnShared, merge_times)}},
      {"TimeHistogram",
       sizeof(hf::TimeHistogram),
       {FIELD(hf::TimeHistogram, counts), FIELD(hf::TimeHistogram, sum_ns), FIELD(hf::TimeHistogram, pad)}},
      {"txn::CommitterRow",
       sizeof(txn::CommitterRow),
       {FIELD(txn::CommitterRow, csn), FIELD(txn::CommitterRow, at_ms), FIELD(txn::CommitterRow, process),
        FIELD(txn::CommitterRow, pad0), FIELD(txn::CommitterRow, label)}},
      {"platform::LatchWord",
       sizeof(platform::LatchWord),
       {FIELD(platform::LatchWord, word), FIELD(platform::LatchWord, pad0), FIELD(platform::LatchWord, takeovers),
        FIELD(platform::LatchWord, pad1)}},
      {"log::SegmentHeader",
       sizeof(LogHeader),
       {FIELD(LogHeader, magic), FIELD(LogHeader, version), FIELD(LogHeader, byte_order), FIELD(LogHeader, database_id),
        FIELD(LogHeader, sequence), FIELD(LogHeader, base_lsn), FIELD(LogHeader, first_csn), FIELD(LogHeader, size),
        FIELD(LogHeader, checksum)}},
      {"log::FrameHeader",
       sizeof(log::FrameHeader),
       {FIELD(log::FrameHeader, magic), FIELD(log::FrameHeader, body_size), FIELD(log::FrameHeader, csn),
        FIELD(log::FrameHeader, durable_csn), FIELD(log::FrameHeader, checksum)}},
      {"log::LogShared",
       sizeof(log::LogShared),
       {FIELD(log::LogShared, appended_csn),
        FIELD(log::LogShared, tail),
        FIELD(log::LogShared, direct_csn),
        FIELD(log::LogShared, written_lsn),
        FIELD(log::LogShared, durable_csn),
        FIELD(log::LogShared, flush_state),
        FIELD(log::LogShared, header_sequence),
        FIELD(log::LogShared, durable_sequence),
        FIELD(log::LogShared, direct_lsn),
        FIELD(log::LogShared, direct_end),
        FIELD(log::LogShared, syncs),
        FIELD(log::LogShared, durable_word),
        FIELD(log::LogShared, batch_word),
        FIELD(log::LogShared, next_file_no),
        FIELD(log::LogShared, failed),
        FIELD(log::LogShared, failed_text_ready),
        FIELD(log::LogShared, pad0),
        FIELD(log::LogShared, failed_text),
        FIELD(log::LogShared, flush_latch),
        FIELD(log::LogShared, prepare_latch),
        FIELD(log::LogShared, sync_times),
        FIELD(log::LogShared, segments)}},
      {"log::TailSlot",
       sizeof(log::TailSlot),
       {FIELD(log::TailSlot, record_lsn), FIELD(log::TailSlot, end_lsn), FIELD(log::TailSlot, row),
        FIELD(log::TailSlot, in_file)}},
      {"log::SegmentRow",
       sizeof(LogRow),
       {FIELD(LogRow, state), FIELD(LogRow, file_no), FIELD(LogRow, sequence), FIELD(LogRow, size),
        FIELD(LogRow, base_lsn), FIELD(LogRow, first_csn), FIELD(LogRow, last_csn), FIELD(LogRow, pad)}},
      {"overlay::OverlayShared",
       sizeof(overlay::OverlayShared),
       {FIELD(overlay::OverlayShared, layout_version), FIELD(overlay::OverlayShared, active),
        FIELD(overlay::OverlayShared, ready), FIELD(overlay::OverlayShared, rotating_csn),
        FIELD(overlay::OverlayShared, bytes_max), FIELD(overlay::OverlayShared, segment_size_min),
        FIELD(overlay::OverlayShared, files_made), FIELD(overlay::OverlayShared, pad0),
        FIELD(overlay::OverlayShared, pad1), FIELD(overlay::OverlayShared, segments)}},
      {"overlay::SegmentRow",
       sizeof(OverlayRow),
       {FIELD(OverlayRow, state), FIELD(OverlayRow, generation), FIELD(OverlayRow, size), FIELD(OverlayRow, first_csn),
        FIELD(OverlayRow, last_csn), FIELD(OverlayRow, file_no), FIELD(OverlayRow, pad0), FIELD(OverlayRow, used),
        FIELD(OverlayRow, pending), FIELD(OverlayRow, rows), FIELD(OverlayRow, pad1)}},
      {"overlay::SegmentHeader",
       sizeof(OverlayHeader),
       {FIELD(OverlayHeader, magic), FIELD(OverlayHeader, fingerprint), FIELD(OverlayHeader, size),
        FIELD(OverlayHeader, generation), FIELD(OverlayHeader, bucket_mask), FIELD(OverlayHeader, pad),
        FIELD(OverlayHeader, tables), FIELD(OverlayHeader, head)}},
      {"overlay::Node",
       sizeof(overlay::Node),
       {FIELD(overlay::Node, prefix), FIELD(overlay::Node, table), FIELD(overlay::Node, key_size),
        FIELD(overlay::Node, height), FIELD(overlay::Node, pad), FIELD(overlay::Node, newest),
        FIELD(overlay::Node, chain), FIELD(overlay::Node, prev), FIELD(overlay::Node, next)}},
      {"overlay::VersionRecord",
       sizeof(overlay::VersionRecord),
       {FIELD(overlay::VersionRecord, csn), FIELD(overlay::VersionRecord, prev),
        FIELD(overlay::VersionRecord, value_size), FIELD(overlay::VersionRecord, kind),
        FIELD(overlay::VersionRecord, flags), FIELD(overlay::VersionRecord, value_offset),
        FIELD(overlay::VersionRecord, prev_check), FIELD(overlay::VersionRecord, checksum)}},
      {"lock::LockShared",
       sizeof(lock::LockShared),
       {FIELD(lock::LockShared, magic), FIELD(lock::LockShared, locks_max), FIELD(lock::LockShared, pad0),
        FIELD(lock::LockShared, reaper_latch), FIELD(lock::LockShared, hot), FIELD(lock::LockShared, cooled_at_ns),
        FIELD(lock::LockShared, waits), FIELD(lock::LockShared, timeouts), FIELD(lock::LockShared, deadlocks),
        FIELD(lock::LockShared, handovers), FIELD(lock::LockShared, expiries), FIELD(lock::LockShared, takeovers),
        FIELD(lock::LockShared, longest_wait_ns), FIELD(lock::LockShared, waited_ns),
        FIELD(lock::LockShared, owner_chunks), FIELD(lock::LockShared, wait_times), FIELD(lock::LockShared, pad1)}},
      {"lock::Bucket",
       sizeof(lock::Bucket),
       {FIELD(lock::Bucket, latch), FIELD(lock::Bucket, first), FIELD(lock::Bucket, last), FIELD(lock::Bucket, pad0),
        FIELD(lock::Bucket, handed_ns), FIELD(lock::Bucket, pad1)}},
      {"lock::Unit",
       sizeof(lock::Unit),
       {FIELD(lock::Unit, word), FIELD(lock::Unit, next), FIELD(lock::Unit, hash), FIELD(lock::Unit, life),
        FIELD(lock::Unit, since_ns), FIELD(lock::Unit, owner), FIELD(lock::Unit, table), FIELD(lock::Unit, more),
        FIELD(lock::Unit, key_size), FIELD(lock::Unit, pad), FIELD(lock::Unit, key)}},
      {"lock::RequestWord",
       sizeof(lock::RequestWord),
       {FIELD(lock::RequestWord, state), FIELD(lock::RequestWord, held), FIELD(lock::RequestWord, wanted),
        FIELD(lock::RequestWord, flags)}},
      {"lock::UnitMore",
       sizeof(lock::UnitMore),
       {FIELD(lock::UnitMore, word), FIELD(lock::UnitMore, more), FIELD(lock::UnitMore, key)}},
      {"lock::OwnerRow",
       sizeof(lock::OwnerRow),
       {FIELD(lock::OwnerRow, status), FIELD(lock::OwnerRow, expires_at_ns), FIELD(lock::OwnerRow, began_ns),
        FIELD(lock::OwnerRow, process), FIELD(lock::OwnerRow, wake), FIELD(lock::OwnerRow, waiting),
        FIELD(lock::OwnerRow, session), FIELD(lock::OwnerRow, expired_by), FIELD(lock::OwnerRow, thread),
        FIELD(lock::OwnerRow, label), FIELD(lock::OwnerRow, pad)}},
      {"LockFile",
       lock::kUnitsOffset,
       {{"shared", 0, sizeof(lock::LockShared)},
        {"unit_chunks", lock::kUnitChunksOffset, lock::kUnitChunksMax * sizeof(std::uint32_t)},
        {"heat", lock::kHeatOffset, lock::kBuckets * sizeof(lock::HeatCell)},
        {"buckets", lock::kBucketsOffset, lock::kBuckets * sizeof(lock::Bucket)},
        {"owners", lock::kOwnersOffset, lock::kOwnersMax * sizeof(lock::OwnerRow)}}},
      {"store::FormatRecord",
       sizeof(store::FormatRecord),
       {FIELD(store::FormatRecord, magic), FIELD(store::FormatRecord, version),
        FIELD(store::FormatRecord, byte_order)}},
      {"admin::StreamHead",
       sizeof(hf::admin::StreamHead),
       {FIELD(hf::admin::StreamHead, magic), FIELD(hf::admin::StreamHead, byte_order),
        FIELD(hf::admin::StreamHead, version), FIELD(hf::admin::StreamHead, stream_id),
        FIELD(hf::admin::StreamHead, source_id), FIELD(hf::admin::StreamHead, csn),
        FIELD(hf::admin::StreamHead, committed_at_ms), FIELD(hf::admin::StreamHead, made_at_ms),
        FIELD(hf::admin::StreamHead, base_bytes), FIELD(hf::admin::StreamHead, checksum)}},
      {"admin::Block",
       sizeof(hf::admin::Block),
       {FIELD(hf::admin::Block, magic), FIELD(hf::admin::Block, size), FIELD(hf::admin::Block, offset),
        FIELD(hf::admin::Block, checksum)}},
      {"admin::StreamEnd",
       sizeof(hf::admin::StreamEnd),
       {FIELD(hf::admin::StreamEnd, blocks), FIELD(hf::admin::StreamEnd, base_checksum)}},
      {"store::DirectoryRecord",
       sizeof(store::DirectoryRecord),
       {FIELD(store::DirectoryRecord, generation), FIELD(store::DirectoryRecord, slots),
        FIELD(store::DirectoryRecord, zero)}},
      {"ControlRegion",
       txn::kRegionSize,
       {{"header", 0, sizeof(txn::RegionHeader)},
        {"slots", txn::kSlotsOffset, platform::kProcessSlotsMax * sizeof(platform::ProcessSlot)},
        {"pins", txn::kPinsOffset, platform::kProcessSlotsMax * sizeof(txn::PinRow)},
        {"txn", txn::kTxnOffset, sizeof(txn::TxnShared)},
        {"committers", txn::kCommittersOffset, txn::kCommittersMax * sizeof(txn::CommitterRow)},
        {"overlay", txn::kOverlayOffset, sizeof(overlay::OverlayShared)},
        {"log", txn::kLogOffset, sizeof(log::LogShared)},
        {"ring", txn::kRingOffset, log::kRingSize}}},
  };
}

// Tables whose bytes are written by code that keeps its structure to itself: compared below with what it writes.
const std::set<std::string> kWrittenByTheEngine = {"IdentityBytes", "schema::Op", "RowHead", "ExpiryKey",
                                                   "lock::HeatCell"};

// --- tables against structures -----------------------------------------------------------------------------------

TEST(Formats, EveryTableHasAStructureAndEveryStructureATable) {
  std::set<std::string> known = kWrittenByTheEngine;
  for (const Layout& layout : layouts()) known.insert(layout.name);
  for (const std::string& name : known) EXPECT_EQ(document().count(name), 1u) << "docs/formats.md lacks " << name;
  for (const auto& [name, rows] : document()) {
    EXPECT_EQ(known.count(name), 1u) << "docs/formats.md describes " << name << ", which this test does not know";
    EXPECT_FALSE(rows.empty()) << name;
  }
}

TEST(Formats, EveryFieldLiesWhereItsRowSays) {
  for (const Layout& layout : layouts()) {
    std::map<std::string, Row> rows;
    const auto table = document().find(layout.name);
    if (table == document().end()) continue;  // reported above
    for (const Row& row : table->second) {
      if (row.name == "(padding)") continue;
      EXPECT_TRUE(rows.emplace(row.name, row).second) << layout.name << "." << row.name << " has two rows";
    }
    for (const Field& field : layout.fields) {
      const auto row = rows.find(field.name);
      if (row == rows.end()) {
        ADD_FAILURE() << "docs/formats.md has no row for " << layout.name << "." << field.name;
        continue;
      }
      EXPECT_EQ(row->second.offset, field.offset) << layout.name << "." << field.name << ", line " << row->second.line;
      EXPECT_EQ(row->second.size, field.size) << layout.name << "." << field.name << ", line " << row->second.line;
      rows.erase(row);
    }
    for (const auto& [name, row] : rows) {
      ADD_FAILURE() << "line " << row.line << ": " << layout.name << " has no field " << name;
    }
  }
}

TEST(Formats, RowsTileTheirStructures) {
  std::map<std::string, std::uint64_t> sizes = {{"IdentityBytes", 40},
                                                {"schema::Op", sizeof(hf::schema::Op)},
                                                {"RowHead", hf::store::kHeadSizeExpires},
                                                {"ExpiryKey", hf::store::kExpiryKeySize},
                                                {"lock::HeatCell", sizeof(hf::lock::HeatCell)}};
  for (const Layout& layout : layouts()) sizes[layout.name] = layout.size;
  for (const auto& [name, rows] : document()) {
    if (sizes.count(name) == 0) continue;
    std::uint64_t end = 0;
    for (const Row& row : rows) {
      EXPECT_EQ(row.offset, end) << "line " << row.line << ": a gap or an overlap before " << name << "." << row.name;
      EXPECT_GT(row.size, 0u) << "line " << row.line;
      end = row.offset + row.size;
    }
    EXPECT_EQ(end, sizes[name]) << "the rows of " << name << " end elsewhere than it does";
  }
}

// --- bytes that the engine writes --------------------------------------------------------------------------------

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = testing::TempDir() + "/formats.XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The little-endian number at a documented place, `base` bytes into `bytes`.
std::uint64_t number_at(const std::string& bytes, std::uint64_t base, const Row& row) {
  std::uint64_t value = 0;
  if (row.size == 0 || row.size > sizeof value || base + row.offset + row.size > bytes.size()) {
    ADD_FAILURE() << row.name << " does not lie in these " << bytes.size() << " bytes";
    return 0;
  }
  std::memcpy(&value, bytes.data() + base + row.offset, row.size);
  return value;
}
std::uint64_t number_at(const std::string& bytes, std::uint64_t base, const std::string& structure,
                        const std::string& field) {
  return number_at(bytes, base, row_of(structure, field));
}
std::string text_at(const std::string& bytes, std::uint64_t base, const std::string& structure,
                    const std::string& field) {
  const Row row = row_of(structure, field);
  if (base + row.offset + row.size > bytes.size()) {
    ADD_FAILURE() << structure << "." << field << " does not lie in these " << bytes.size() << " bytes";
    return {};
  }
  return bytes.substr(base + row.offset, row.size);
}

TEST(Formats, IdentityFile) {
  const TemporaryDirectory directory;
  constexpr std::uint64_t kId = 0x1122334455667788u;
  ASSERT_TRUE(hf::txn::write_identity(directory.path(), {kId, true}).ok());
  const std::string bytes = read_file(directory.path() + "/HOLDFAST");
  EXPECT_EQ(bytes.size(), 40u);
  EXPECT_EQ(text_at(bytes, 0, "IdentityBytes", "magic"), "HOLDFAST");
  EXPECT_EQ(number_at(bytes, 0, "IdentityBytes", "byte_order"), 0x01020304u);
  EXPECT_EQ(number_at(bytes, 0, "IdentityBytes", "version"), hf::txn::kFormatVersion);
  EXPECT_EQ(number_at(bytes, 0, "IdentityBytes", "database_id"), kId);
  EXPECT_EQ(number_at(bytes, 0, "IdentityBytes", "complete"), 1u);
  EXPECT_EQ(number_at(bytes, 0, "IdentityBytes", "pad"), 0u);
  const Row checksum = row_of("IdentityBytes", "checksum");
  EXPECT_EQ(number_at(bytes, 0, checksum), hf::checksum(bytes.data(), checksum.offset, 0));
}

TEST(Formats, SessionFile) {
  const TemporaryDirectory directory;
  ASSERT_TRUE(hf::txn::write_session(directory.path(), "/somewhere/memory").ok());
  EXPECT_EQ(read_file(directory.path() + "/session"), "/somewhere/memory");
  EXPECT_EQ(hf::txn::read_session(directory.path()).value(), "/somewhere/memory");
  // A copy of the directory has its own memory.
  ASSERT_TRUE(hf::txn::write_session(directory.path(), directory.path() + "/memory").ok());
  EXPECT_EQ(read_file(directory.path() + "/session"), "memory");
  EXPECT_EQ(hf::txn::read_session(directory.path()).value(), directory.path() + "/memory");
}

TEST(Formats, OperationOfALogRecord) {
  const hf::schema::Op op(0x0102030405060708u, 0x11121314u, 0x21222324u, 0x3132, hf::schema::OpKind::Delete, 0x51);
  const std::string bytes(reinterpret_cast<const char*>(&op), sizeof op);
  EXPECT_EQ(number_at(bytes, 0, "schema::Op", "expires_ms"), 0x0102030405060708u);
  EXPECT_EQ(number_at(bytes, 0, "schema::Op", "table"), 0x11121314u);
  EXPECT_EQ(number_at(bytes, 0, "schema::Op", "value_size"), 0x21222324u);
  EXPECT_EQ(number_at(bytes, 0, "schema::Op", "key_size"), 0x3132u);
  EXPECT_EQ(number_at(bytes, 0, "schema::Op", "kind"), static_cast<std::uint64_t>(hf::schema::OpKind::Delete));
  EXPECT_EQ(number_at(bytes, 0, "schema::Op", "flags"), 0x51u);
  EXPECT_EQ(number_at(bytes, 0, "schema::Op", "(padding)"), 0u);
}

TEST(Formats, HeadOfARow) {
  char bytes[hf::store::kHeadSizeExpires];
  const char* const end = hf::store::encode_head(bytes, 0x00123456789abcdeu, 0x05, 0x1122334455667788u, 0x99aabbccu);
  EXPECT_EQ(end - bytes, static_cast<std::ptrdiff_t>(hf::store::kHeadSizeExpires));
  const std::string head(bytes, sizeof bytes);
  EXPECT_EQ(number_at(head, 0, "RowHead", "version"), 0x123456789abcdeu);
  EXPECT_EQ(number_at(head, 0, "RowHead", "flags"), 0x05u | hf::store::kFlagExpires | hf::store::kFlagChecked);
  EXPECT_EQ(number_at(head, 0, "RowHead", "expires_ms"), 0x1122334455667788u);
  EXPECT_EQ(number_at(head, 0, "RowHead", "checksum"), 0x99aabbccu);
}

TEST(Formats, WordsOfTheLockTable) {
  using hf::lock::Mode;
  using hf::lock::State;
  const std::uint32_t request = hf::lock::pack(
      {State::kUpgrading, Mode::kShared, Mode::kExclusive, hf::lock::kFlagStrict | hf::lock::kFlagWoken});
  std::string bytes(reinterpret_cast<const char*>(&request), sizeof request);
  EXPECT_EQ(number_at(bytes, 0, "lock::RequestWord", "state"), 3u);
  EXPECT_EQ(number_at(bytes, 0, "lock::RequestWord", "held"), 1u);
  EXPECT_EQ(number_at(bytes, 0, "lock::RequestWord", "wanted"), 2u);
  EXPECT_EQ(number_at(bytes, 0, "lock::RequestWord", "flags"), 3u);
  const std::uint16_t heat = hf::lock::make_heat(0x12, 0x34);
  bytes.assign(reinterpret_cast<const char*>(&heat), sizeof heat);
  EXPECT_EQ(number_at(bytes, 0, "lock::HeatCell", "read"), 0x12u);
  EXPECT_EQ(number_at(bytes, 0, "lock::HeatCell", "written"), 0x34u);
}

// --- a live database ---------------------------------------------------------------------------------------------

class LiveDatabase : public testing::Test {
 protected:
  void SetUp() override {
    hf::txn::DatabaseOptions options;
    options.label = "formats";
    options.background_thread = false;
    options.map_size = std::uint64_t{1} << 30;
    auto opened = hf::txn::Database::open(directory_.path() + "/db", options);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    database_ = opened.value();
    identity_ = read_file(directory_.path() + "/db/HOLDFAST");
    region_ = read_file(directory_.path() + "/db/memory/control");
  }
  std::uint64_t part(const std::string& name) { return row_of("ControlRegion", name).offset; }
  std::uint64_t database_id() { return number_at(identity_, 0, "IdentityBytes", "database_id"); }

  TemporaryDirectory directory_;
  std::shared_ptr<hf::txn::Database> database_;
  std::string identity_;
  std::string region_;
};

TEST_F(LiveDatabase, ControlRegion) {
  const Row ring = row_of("ControlRegion", "ring");
  EXPECT_EQ(region_.size(), ring.offset + ring.size);

  const std::uint64_t header = part("header");
  EXPECT_EQ(text_at(region_, header, "txn::RegionHeader", "magic"), "HFSHM001");
  EXPECT_EQ(number_at(region_, header, "txn::RegionHeader", "fingerprint"), hf::txn::layout_fingerprint());
  EXPECT_EQ(number_at(region_, header, "txn::RegionHeader", "ready"), 1u);
  EXPECT_EQ(number_at(region_, header, "txn::RegionHeader", "database_id"), database_id());
  const std::string boot = hf::txn::boot_id();
  EXPECT_EQ(text_at(region_, header, "txn::RegionHeader", "boot_id").substr(0, boot.size()), boot);
  EXPECT_EQ(number_at(region_, header, "txn::RegionHeader", "overlay_bytes_max"),
            database_->options().overlay_bytes_max);

  const std::uint64_t slot = part("slots");  // the first opener takes the first slot
  EXPECT_EQ(number_at(region_, slot, "platform::ProcessSlot", "generation"), 1u);
  EXPECT_EQ(number_at(region_, slot, "platform::ProcessSlot", "pid"), static_cast<std::uint64_t>(getpid()));
  EXPECT_STREQ(text_at(region_, slot, "platform::ProcessSlot", "label").c_str(), "formats");
  const std::uint64_t me = 1u << 9 | 1u;  // generation 1, slot 0
  EXPECT_EQ(number_at(region_, part("pins"), "txn::PinRow", "owner"), me);

  const std::uint64_t latch = part("txn") + row_of("txn::TxnShared", "commit_latch").offset;
  EXPECT_EQ(number_at(region_, latch, "platform::LatchWord", "word"), 0u);
  EXPECT_EQ(number_at(region_, part("txn"), "txn::TxnShared", "published_csn"), 0u);
  EXPECT_EQ(number_at(region_, part("txn"), "txn::TxnShared", "view_version"), 1u);

  const std::uint64_t overlay_rows = part("overlay") + row_of("overlay::OverlayShared", "segments").offset;
  const std::uint64_t active = number_at(region_, part("overlay"), "overlay::OverlayShared", "active");
  EXPECT_EQ(number_at(region_, overlay_rows + active * sizeof(hf::overlay::SegmentRow), "overlay::SegmentRow", "state"),
            static_cast<std::uint64_t>(hf::overlay::SegmentState::kActive));
  const std::uint64_t log_rows = part("log") + row_of("log::LogShared", "segments").offset;
  EXPECT_EQ(number_at(region_, log_rows, "log::SegmentRow", "state"),
            static_cast<std::uint64_t>(hf::log::SegmentState::kLive));
  EXPECT_EQ(number_at(region_, log_rows, "log::SegmentRow", "file_no"), 1u);
}

TEST_F(LiveDatabase, SegmentFiles) {
  const std::string log = read_file(directory_.path() + "/db/log/log-1.hfl");
  EXPECT_EQ(text_at(log, 0, "log::SegmentHeader", "magic"), "HFLOG001");
  EXPECT_EQ(number_at(log, 0, "log::SegmentHeader", "byte_order"), 0x01020304u);
  EXPECT_EQ(number_at(log, 0, "log::SegmentHeader", "database_id"), database_id());
  EXPECT_EQ(number_at(log, 0, "log::SegmentHeader", "sequence"), 1u);
  EXPECT_EQ(number_at(log, 0, "log::SegmentHeader", "first_csn"), 1u);
  EXPECT_EQ(number_at(log, 0, "log::SegmentHeader", "size"), log.size());
  const Row checksum = row_of("log::SegmentHeader", "checksum");
  EXPECT_EQ(number_at(log, 0, checksum), hf::checksum(log.data(), checksum.offset, database_id()));

  const std::string overlay = read_file(directory_.path() + "/db/memory/overlay-1.hfo");
  EXPECT_EQ(text_at(overlay, 0, "overlay::SegmentHeader", "magic"), "HFOVL001");
  EXPECT_EQ(number_at(overlay, 0, "overlay::SegmentHeader", "fingerprint"), hf::overlay::layout_fingerprint());
  EXPECT_EQ(number_at(overlay, 0, "overlay::SegmentHeader", "size"), overlay.size());
}

TEST_F(LiveDatabase, LockFile) {
  // A key of two units: the second has what does not fit the first.
  std::string key(100, 'k');
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<char>('0' + i % 10);
  constexpr hf::TableId kTable = 17;
  const std::uint64_t hash = hf::row_hash(kTable, key);
  hf::lock::Owner owner(database_->locks());
  const std::uint64_t began = hf::monotonic_ns();
  ASSERT_TRUE(owner.begin("buyer", began, false, nullptr).ok());
  ASSERT_TRUE(database_->locks().acquire(owner, {{kTable, key, hash}, hf::lock::Mode::kExclusive}, {}, nullptr).ok());

  const std::string file = read_file(directory_.path() + "/db/memory/locks");
  const auto place = [](const char* name) { return row_of("LockFile", name).offset; };
  EXPECT_EQ(text_at(file, place("shared"), "lock::LockShared", "magic"), "HFLOCK01");
  EXPECT_EQ(number_at(file, place("shared"), "lock::LockShared", "locks_max"), database_->options().locks_max);
  EXPECT_EQ(number_at(file, place("shared"), "lock::LockShared", "pad0"), 0u);
  const Row owners = row_of("LockFile", "owners");
  const std::uint64_t units = owners.offset + owners.size;
  EXPECT_EQ(file.size(), units + database_->options().locks_max * sizeof(hf::lock::Unit));
  const std::uint64_t me = 1u << 9 | 1u;  // generation 1, slot 0
  EXPECT_EQ(number_at(file, place("unit_chunks"), {0, 4, "first", 0}), me);
  EXPECT_EQ(number_at(file, row_of("lock::LockShared", "owner_chunks").offset, {0, 4, "first", 0}), me);

  const std::uint64_t bucket = place("buckets") + hash % 8192 * sizeof(hf::lock::Bucket);
  EXPECT_EQ(number_at(file, bucket, "lock::Bucket", "latch"), 0u);
  const std::uint64_t unit_number = number_at(file, bucket, "lock::Bucket", "first");
  ASSERT_NE(unit_number, 0u);
  EXPECT_EQ(number_at(file, bucket, "lock::Bucket", "last"), unit_number);

  const std::uint64_t unit = units + (unit_number - 1) * sizeof(hf::lock::Unit);
  EXPECT_EQ(number_at(file, unit, "lock::Unit", "word"), 2u | 2u << 8);  // granted, exclusive
  EXPECT_EQ(number_at(file, unit, "lock::Unit", "next"), 0u);
  EXPECT_EQ(number_at(file, unit, "lock::Unit", "hash"), hash);
  EXPECT_EQ(number_at(file, unit, "lock::Unit", "table"), kTable);
  EXPECT_EQ(number_at(file, unit, "lock::Unit", "key_size"), key.size());
  EXPECT_EQ(text_at(file, unit, "lock::Unit", "key"), key.substr(0, 80));
  const std::uint64_t more_number = number_at(file, unit, "lock::Unit", "more");
  ASSERT_NE(more_number, 0u);
  const std::uint64_t more = units + (more_number - 1) * sizeof(hf::lock::Unit);
  EXPECT_EQ(number_at(file, more, "lock::UnitMore", "word"), 5u);
  EXPECT_EQ(number_at(file, more, "lock::UnitMore", "more"), 0u);
  EXPECT_EQ(text_at(file, more, "lock::UnitMore", "key").substr(0, 20), key.substr(80));

  const std::uint64_t owner_number = number_at(file, unit, "lock::Unit", "owner");
  ASSERT_NE(owner_number, 0u);
  const std::uint64_t row = owners.offset + (owner_number - 1) * sizeof(hf::lock::OwnerRow);
  const std::uint64_t life = number_at(file, unit, "lock::Unit", "life");
  EXPECT_EQ(number_at(file, row, "lock::OwnerRow", "status"), life << 2 | 1u);  // running
  EXPECT_EQ(owner.number(), owner_number << 32 | life);
  EXPECT_EQ(number_at(file, row, "lock::OwnerRow", "expires_at_ns"), UINT64_MAX);
  EXPECT_EQ(number_at(file, row, "lock::OwnerRow", "began_ns"), began);
  EXPECT_EQ(number_at(file, row, "lock::OwnerRow", "process"), me);
  EXPECT_EQ(number_at(file, row, "lock::OwnerRow", "waiting"), 0u);
  EXPECT_STREQ(text_at(file, row, "lock::OwnerRow", "label").c_str(), "buyer");
}

}  // namespace
