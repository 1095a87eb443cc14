// SPDX-License-Identifier: Apache-2.0
// Views: what a transaction of this process can read. A view is one base snapshot and the overlay segments that hold
// everything newer. Transactions that begin at about the same time share one, so that begin is two atomic additions.
//
// Pins. While a view of base csn B exists, this process's PinRow says so in shared memory, and no segment with a commit
// newer than B is freed. Opening one: the pin is stored as "everything" first, then the LMDB snapshot is opened, then
// the pin is lowered to what the snapshot holds. Who frees segments commits the merge first and reads the pins after:
// one of the two always sees the other (sequentially consistent fences on both sides).
//
// Slots are type-stable: a reader that raced with a retirement touches valid memory and sees refs < 0.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/status.h"
#include "overlay/overlay.h"
#include "platform/liveness.h"
#include "store/store.h"
#include "txn/shared.h"

namespace hf::txn {

// A base snapshot and the pin that announces it.
class PinnedBase {
 public:
  PinnedBase(Pin& pin, std::shared_ptr<const store::Snapshot> snapshot) noexcept
      : pin_(&pin), snapshot_(std::move(snapshot)) {}
  ~PinnedBase();
  PinnedBase(const PinnedBase&) = delete;
  const store::Snapshot& snapshot() const noexcept { return *snapshot_; }
  std::uint64_t generation = 0;  // TxnShared::base_generation it was opened at

  // For processes without a thread that lets go of idle views: a pin that no transaction uses may be revoked by others.
  // Requires: Views::mutex_. use() is false when that has happened; the memory it protected may be gone.
  bool use() noexcept;
  void leave() noexcept;

 private:
  Pin* pin_;
  std::uint64_t users_ = 0;
  std::shared_ptr<const store::Snapshot> snapshot_;
};

class View {
 public:
  const store::Snapshot& base() const noexcept { return *snapshot_; }
  Csn base_csn() const noexcept { return base_csn_; }
  // Newest first.
  const std::vector<overlay::SegmentRef>& segments() const noexcept { return segments_; }
  std::uint64_t version() const noexcept { return version_; }

 private:
  friend class Views;
  // Users; kRetired added while it holds nothing. On a line of its own: every begin and end writes it.
  alignas(64) std::atomic<std::int64_t> refs_{0};
  alignas(64) std::uint64_t version_ = 0;
  Csn base_csn_ = 0;
  const store::Snapshot* snapshot_ = nullptr;
  std::shared_ptr<PinnedBase> pinned_;
  std::vector<overlay::SegmentRef> segments_;
};

class Views {
 public:
  // `lend_idle`: pins without a transaction may be revoked by other processes, at the price of a mutex in each begin
  // and end. For processes that have no background thread.
  Views(SharedRegion shared, const platform::Liveness& liveness, overlay::Overlay& overlay, store::Store& store,
        bool lend_idle);
  ~Views();  // Requires: no view in use.

  // The best view there is and, in *snapshot, the newest published csn, all of which the view can see. Give it back by
  // release(). Nanoseconds unless the view has to be renewed, then some microseconds; never blocks on the disk.
  Result<View*> acquire(Csn* snapshot);
  void release(View* view) noexcept {
    if (lend_idle_) {
      release_lent(view);
    } else {
      view->refs_.fetch_sub(1, std::memory_order_release);
    }
  }

  // Retires views that nobody uses and that are not the best any more, or with `current_too` the best one as well.
  void drop_idle(bool current_too);
  // Whether the current view is not the best any more. Two loads.
  bool outdated() const noexcept {
    const std::uint64_t version = shared_.txn().view_version.load(std::memory_order_relaxed);
    return current_version_.load(std::memory_order_relaxed) != version;
  }
  std::uint64_t in_use() const noexcept;

  // Oldest pin in use by any live process; *slot gets its row when not null. kCsnMax when there is none. Idle pins do
  // not count; those older than `revoke_below` are revoked.
  Csn oldest_pin(Csn revoke_below, std::uint32_t* slot, std::uint64_t* since_ns) const noexcept;

 private:
  static constexpr std::int64_t kRetired = -(std::int64_t{1} << 40);
  static constexpr std::size_t kViewsMax = 64;

  Result<View*> acquire_lent(Csn* snapshot);
  void release_lent(View* view) noexcept;
  Status renew();  // builds the best view and makes it current
  Status renew_locked();
  Result<std::shared_ptr<PinnedBase>> pin_base();
  bool try_retire(View& view) noexcept;

  SharedRegion shared_;
  const platform::Liveness* liveness_;
  overlay::Overlay* overlay_;
  store::Store* store_;
  const bool lend_idle_;
  std::atomic<View*> current_{nullptr};
  std::atomic<std::uint64_t> current_version_{0};
  std::mutex mutex_;  // leaf but for the overlay's and the store's own; guards retirement and renewal
  std::unique_ptr<View[]> views_;
};

}  // namespace hf::txn
