// SPDX-License-Identifier: Apache-2.0
// The check of a database that others have open: what they share, then the base as of a snapshot, then the log up to
// what is durable, and whether the overlay says what the log does. Everything goes on meanwhile; each part is read at a
// moment of its own, in an order in which nothing that is right can look wrong.
#include <algorithm>

#include "admin/check_impl.h"
#include "catalog/catalog.h"
#include "txn/identity.h"
#include "txn/record.h"

namespace hf::admin {
namespace {

class Live {
 public:
  Live(txn::Database& database, std::uint64_t database_id, Told& told)
      : database_(database), id_(database_id), told_(told), shared_(database.shared()) {}

  Status run() {
    check_header();
    check_numbers();
    check_overlay_rows();
    const std::string memory = database_.memory_path();
    database_.locks().check([&](std::uint64_t offset, const std::string& text) {
      return told_.tell({Code::kCORRUPT, memory + "/locks", offset, {}, {}, 0, text});
    });
    if (Status status = check_base_and_rest(); !status.ok()) return status;
    return told_.answer();
  }

 private:
  void wrong(std::uint64_t offset, std::string text) {
    told_.tell({Code::kCORRUPT, database_.memory_path() + "/control", offset, {}, {}, 0, std::move(text)});
  }

  // --- the control region ------------------------------------------------------------------------------------------

  void check_header() {
    const txn::RegionHeader& header = shared_.header();
    const std::string boot(header.boot_id, strnlen(header.boot_id, sizeof header.boot_id));
    if (std::memcmp(header.magic, txn::kRegionMagic, sizeof header.magic) != 0 ||
        header.fingerprint != txn::layout_fingerprint() || header.ready.load() != 1 || header.database_id != id_) {
      wrong(0, "the header is damaged");
    }
    if (boot != txn::boot_id()) wrong(offsetof(txn::RegionHeader, boot_id), "the boot id is not this machine's");
    if (header.overlay_bytes_max != shared_.overlay().bytes_max ||
        header.txn_bytes_max > header.overlay_bytes_max / 4) {
      wrong(offsetof(txn::RegionHeader, overlay_bytes_max), "limits that contradict each other");
    }
  }

  // Each is loaded after what it cannot be below.
  void check_numbers() {
    const txn::TxnShared& txn = shared_.txn();
    const log::LogShared& log = shared_.log();
    const Csn applied = txn.applied_csn.load(std::memory_order_acquire);
    const Csn durable = log.durable_csn.load(std::memory_order_acquire);
    const Csn too_old = txn.too_old_below.load(std::memory_order_acquire);
    const Csn published = txn.published_csn.load(std::memory_order_acquire);
    const Csn system = txn.system_csn.load(std::memory_order_acquire);
    const Csn appended = log.appended_csn.load(std::memory_order_acquire);
    const Csn published_later = txn.published_csn.load(std::memory_order_acquire);
    if (applied > published) wrong(txn::kTxnOffset, "applied_csn is above published_csn");
    if (published > appended || appended > published_later + 1) {
      wrong(txn::kTxnOffset,
            "commit " + std::to_string(published) + " is published, but the log ends with " + std::to_string(appended));
    }
    if (too_old > published) wrong(txn::kTxnOffset, "too_old_below is above published_csn: no transaction could go on");
    if (durable > appended) wrong(txn::kLogOffset, "durable_csn is above appended_csn");
    if (system > appended) wrong(txn::kTxnOffset, "system_csn is above appended_csn");
    if (log.failed.load(std::memory_order_acquire) != 0) {
      told_.tell({Code::kIO_ERROR,
                  {},
                  UINT64_MAX,
                  {},
                  {},
                  0,
                  "the database has failed: " + database_.log().failure().message()});
    }
  }

  void check_overlay_rows() {
    const overlay::OverlayShared& overlay = shared_.overlay();
    for (std::uint32_t i = 0; i < overlay::kSegmentsMax; ++i) {
      const overlay::SegmentRow& row = overlay.segments[i];
      const std::uint64_t used = row.used.load(std::memory_order_acquire);
      const std::uint64_t size = row.size.load(std::memory_order_acquire);
      const std::uint32_t state = row.state.load(std::memory_order_acquire);
      const std::uint64_t offset = txn::kOverlayOffset + offsetof(overlay::OverlayShared, segments) + i * sizeof row;
      if (state > static_cast<std::uint32_t>(overlay::SegmentState::kMerged)) {
        wrong(offset, "overlay segment row " + std::to_string(i) + " is of no known state");
      } else if (state >= static_cast<std::uint32_t>(overlay::SegmentState::kActive) && used > size &&
                 row.state.load() == state && row.size.load() == size) {
        wrong(offset, "overlay segment row " + std::to_string(i) + " has more in use than it has");
      }
    }
    if (overlay.active.load(std::memory_order_acquire) >= overlay::kSegmentsMax) {
      wrong(txn::kOverlayOffset, "the active overlay segment is none");
    }
  }

  // --- base, overlay, log ------------------------------------------------------------------------------------------

  Status check_base_and_rest() {
    // The view first: its pin keeps what the base does not have yet.
    Csn published = 0;
    Result<txn::View*> view = database_.views().acquire(&published);
    if (!view.ok()) {
      if (view.code() != Code::kCORRUPT) return std::move(view).status();
      told_.tell({view.code(), {}, UINT64_MAX, {}, {}, 0, view.status().message()});
      return {};
    }
    Status status = check_all(*view.value(), published);
    database_.views().release(view.value());
    return status;
  }

  Status check_all(const txn::View& view, Csn published) {
    const Csn durable = std::min(database_.log().durable_csn(), published);
    const bool sound = check_overlay(view);
    if (told_.stopped()) return Code::kCANCELLED;
    if (Status status = check_snapshot(); !status.ok()) return status;
    log::LogCheckOptions log;
    log.directory = database_.path() + "/log";
    log.database_id = id_;
    log.applied = told_.result().csn_applied;
    log.durable = durable;
    log.online = true;
    log.is_live = [this](std::uint32_t file_no) { return is_live(file_no); };
    // A damaged segment was told already, and following its links is no use.
    if (sound) log.record = [&](Csn csn, Bytes body) { compare(view, csn, body); };
    return check_log(std::move(log), 0, told_);
  }

  bool is_live(std::uint32_t file_no) const {
    for (const log::SegmentRow& row : shared_.log().segments) {
      if (row.file_no.load(std::memory_order_acquire) == file_no &&
          row.state.load(std::memory_order_acquire) == static_cast<std::uint32_t>(log::SegmentState::kLive)) {
        return true;
      }
    }
    return false;
  }

  bool check_overlay(const txn::View& view) {
    const std::uint64_t before = told_.result().findings;
    for (const overlay::SegmentRef& segment : view.segments()) {
      const std::string file = database_.memory_path() + "/" + segment->file();
      told_.result().overlay_versions += segment->check([&](const overlay::SegmentFinding& finding) {
        return told_.tell(
            {Code::kCORRUPT, file, finding.offset, name_of(finding.table), finding.key, finding.csn, finding.text});
      });
    }
    return told_.result().findings == before;
  }

  std::string name_of(TableId table) const { return table == 0 ? "" : "#" + std::to_string(table); }

  // A snapshot keeps the pages of its state, but the meta page that leads to them is written over two commits later.
  Status check_snapshot() {
    constexpr int kTriesMax = 100;
    for (int attempt = 0; attempt < kTriesMax; ++attempt) {
      const Result<std::shared_ptr<const store::Snapshot>> snapshot = database_.store().snapshot();
      if (!snapshot.ok()) {
        told_.tell(
            {Code::kCORRUPT, database_.path() + "/base/data.mdb", UINT64_MAX, {}, {}, 0, snapshot.status().message()});
        return {};
      }
      CatalogRows catalog;
      store::BaseSummary summary;
      Status status = check_base(database_.path(), snapshot.value()->transaction(), told_, &catalog, &summary);
      if (status.code() == Code::kNOT_FOUND) continue;
      told_.result().csn_applied = summary.applied_csn;
      return status;
    }
    return Status(Code::kBUSY, "the base changed faster than it could be looked at");
  }

  // What the log says of commits that the overlay holds has to be there.
  void compare(const txn::View& view, Csn csn, Bytes body) {
    if (csn <= view.base_csn() || told_.stopped()) return;
    for (const overlay::SegmentRef& segment : view.segments()) {
      if (csn < segment->first_csn() || csn > segment->last_csn()) continue;
      const Status decoded = txn::decode_record(body, [&](const overlay::Change& change) {
        overlay::Version version;
        const Result<bool> found = segment->find_verified(change.table, change.key, change.hash, csn, &version);
        if (found.ok() && found.value() && version.csn == csn &&
            version.checksum == row_checksum(change.content, csn)) {
          return;
        }
        told_.tell({Code::kCORRUPT, database_.memory_path() + "/" + segment->file(), UINT64_MAX, name_of(change.table),
                    std::string(change.key), csn, "the overlay lacks what the log says of the row"});
      });
      if (!decoded.ok()) told_.tell({Code::kCORRUPT, {}, UINT64_MAX, {}, {}, csn, decoded.message()});
    }
  }

  txn::Database& database_;
  const std::uint64_t id_;
  Told& told_;
  const txn::SharedRegion shared_;
};

}  // namespace

Status check_live(txn::Database& database, std::uint64_t database_id, Told& told) {
  return Live(database, database_id, told).run();
}

}  // namespace hf::admin
