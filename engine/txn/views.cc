// SPDX-License-Identifier: Apache-2.0
#include "txn/views.h"

#include "base/clock.h"

namespace hf::txn {

PinnedBase::~PinnedBase() {
  snapshot_.reset();
  // Release: our last read of anything the pin protected comes before its end.
  pin_->base_plus_one.store(0, std::memory_order_release);
}

bool PinnedBase::use() noexcept {
  if (users_ == 0) {
    std::uint64_t idle = pin_->base_plus_one.load(std::memory_order_relaxed);
    if ((idle & kPinRevoked) != 0) return false;
    if ((idle & kPinIdle) != 0 &&
        !pin_->base_plus_one.compare_exchange_strong(idle, idle & ~kPinIdle, std::memory_order_seq_cst)) {
      return false;
    }
  }
  ++users_;
  return true;
}

void PinnedBase::leave() noexcept {
  if (--users_ > 0) return;
  // Release: our reads of what the pin protects come before anybody may revoke it.
  pin_->base_plus_one.store((snapshot_->applied_csn() + 1) | kPinIdle, std::memory_order_release);
}

Views::Views(SharedRegion shared, const platform::Liveness& liveness, overlay::Overlay& overlay, store::Store& store,
             bool lend_idle)
    : shared_(shared),
      liveness_(&liveness),
      overlay_(&overlay),
      store_(&store),
      lend_idle_(lend_idle),
      views_(new View[kViewsMax]) {
  for (std::size_t i = 0; i < kViewsMax; ++i) views_[i].refs_.store(kRetired, std::memory_order_relaxed);
  PinRow& row = shared_.pins()[platform::owner_slot(liveness.me())];
  for (Pin& pin : row.pins) pin.base_plus_one.store(0, std::memory_order_relaxed);
  row.owner.store(liveness.me(), std::memory_order_seq_cst);
}

Views::~Views() { drop_idle(true); }

Result<View*> Views::acquire_lent(Csn* snapshot) {
  const TxnShared& txn = shared_.txn();
  const std::lock_guard lock(mutex_);
  for (;;) {
    View* view = current_.load(std::memory_order_relaxed);
    if (view != nullptr && view->pinned_->use()) {
      const Csn csn = txn.published_csn.load(std::memory_order_acquire);
      if (txn.view_version.load(std::memory_order_acquire) == view->version_) {
        view->refs_.fetch_add(1, std::memory_order_relaxed);
        *snapshot = csn;
        return view;
      }
      view->pinned_->leave();
    } else if (view != nullptr) {  // revoked: as good as gone
      current_.store(nullptr, std::memory_order_relaxed);
      try_retire(*view);
    }
    if (Status status = renew_locked(); !status.ok()) return status;
  }
}

void Views::release_lent(View* view) noexcept {
  const std::lock_guard lock(mutex_);
  view->pinned_->leave();
  view->refs_.fetch_sub(1, std::memory_order_release);
}

Result<View*> Views::acquire(Csn* snapshot) {
  if (lend_idle_) return acquire_lent(snapshot);
  const TxnShared& txn = shared_.txn();
  for (;;) {
    View* view = current_.load(std::memory_order_acquire);
    if (view != nullptr) {
      if (view->refs_.fetch_add(1, std::memory_order_acquire) >= 0) {
        // The csn first: a rotation raises view_version before it publishes anything in the new segment, so an
        // unchanged version proves that every commit <= csn is in a segment of this view.
        const Csn csn = txn.published_csn.load(std::memory_order_acquire);
        if (txn.view_version.load(std::memory_order_acquire) == view->version_) {
          *snapshot = csn;
          return view;
        }
      }
      view->refs_.fetch_sub(1, std::memory_order_release);
    }
    if (Status status = renew(); !status.ok()) return status;
  }
}

Status Views::renew() {
  const std::lock_guard lock(mutex_);
  return renew_locked();
}

Status Views::renew_locked() {
  TxnShared& txn = shared_.txn();
  const std::uint64_t version = txn.view_version.load(std::memory_order_acquire);
  View* current = current_.load(std::memory_order_acquire);
  if (current != nullptr && current->version_ == version) return Code::kOK;

  std::shared_ptr<PinnedBase> pinned;
  // Segments are looked up under the pin, so an idle one is in use until the view stands.
  const auto leave = [this](PinnedBase* base) {
    if (lend_idle_) base->leave();
  };
  const auto usable = [this](PinnedBase& base) { return !lend_idle_ || base.use(); };
  const std::uint64_t generation = txn.base_generation.load(std::memory_order_acquire);
  if (current != nullptr && current->pinned_->generation == generation && usable(*current->pinned_)) {
    pinned = current->pinned_;
  } else {
    Result<std::shared_ptr<PinnedBase>> fresh = pin_base();
    if (fresh.ok()) {
      pinned = std::move(fresh).value();
      pinned->generation = generation;
      if (!usable(*pinned)) return Code::kINTERNAL;  // it was never idle
    } else if (fresh.code() == Code::kLIMIT && current != nullptr && usable(*current->pinned_)) {
      pinned = current->pinned_;  // every pin is in use by old transactions: an older base is still right
    } else {
      return std::move(fresh).status();
    }
  }
  const std::unique_ptr<PinnedBase, decltype(leave)> in_use(pinned.get(), leave);
  const Csn base_csn = pinned->snapshot().applied_csn();
  Result<std::vector<overlay::SegmentRef>> segments = overlay_->segments_after(base_csn);
  if (!segments.ok()) return std::move(segments).status();

  for (std::size_t i = 0; i < kViewsMax; ++i) {
    View& view = views_[i];
    if (&view == current) continue;
    if (view.refs_.load(std::memory_order_acquire) >= 0 && !try_retire(view)) continue;
    view.version_ = version;
    view.base_csn_ = base_csn;
    view.snapshot_ = &pinned->snapshot();
    view.pinned_ = std::move(pinned);
    view.segments_ = std::move(segments).value();
    view.refs_.fetch_sub(kRetired, std::memory_order_release);
    current_.store(&view, std::memory_order_release);
    current_version_.store(version, std::memory_order_relaxed);
    if (current != nullptr) try_retire(*current);
    return Code::kOK;
  }
  return Status(Code::kLIMIT, "transactions of this process hold all " + std::to_string(kViewsMax) + " views");
}

Result<std::shared_ptr<PinnedBase>> Views::pin_base() {
  PinRow& row = shared_.pins()[platform::owner_slot(liveness_->me())];
  for (Pin& pin : row.pins) {
    if (pin.base_plus_one.load(std::memory_order_relaxed) != 0) continue;
    pin.since_ns.store(monotonic_ns(), std::memory_order_relaxed);
    pin.base_plus_one.store(1, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in oldest_pin()
    Result<std::shared_ptr<const store::Snapshot>> snapshot = store_->snapshot();
    if (!snapshot.ok()) {
      pin.base_plus_one.store(0, std::memory_order_release);
      return std::move(snapshot).status();
    }
    const Csn base = snapshot.value()->applied_csn();
    pin.base_plus_one.store(base + 1, std::memory_order_release);
    return std::make_shared<PinnedBase>(pin, std::move(snapshot).value());
  }
  return Code::kLIMIT;
}

bool Views::try_retire(View& view) noexcept {
  std::int64_t expected = 0;
  if (!view.refs_.compare_exchange_strong(expected, kRetired, std::memory_order_acq_rel, std::memory_order_relaxed)) {
    return false;
  }
  view.segments_.clear();
  view.snapshot_ = nullptr;
  view.pinned_.reset();
  return true;
}

void Views::drop_idle(bool current_too) {
  const std::lock_guard lock(mutex_);
  View* current = current_.load(std::memory_order_relaxed);
  const bool stale =
      current != nullptr && current->version_ != shared_.txn().view_version.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < kViewsMax; ++i) {
    View& view = views_[i];
    if (&view == current && !stale && !current_too) continue;
    if (view.refs_.load(std::memory_order_relaxed) != 0) continue;
    if (&view == current) current_.store(nullptr, std::memory_order_release);
    if (!try_retire(view) && &view == current) current_.store(current, std::memory_order_release);
  }
}

std::uint64_t Views::in_use() const noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kViewsMax; ++i) {
    const std::int64_t refs = views_[i].refs_.load(std::memory_order_relaxed);
    if (refs > 0) sum += static_cast<std::uint64_t>(refs);
  }
  return sum;
}

Csn Views::oldest_pin(Csn revoke_below, std::uint32_t* slot, std::uint64_t* since_ns) const noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in pin_base()
  Csn oldest = kCsnMax;
  for (std::uint32_t i = 0; i < platform::kProcessSlotsMax; ++i) {
    PinRow& row = shared_.pins()[i];
    const platform::OwnerId owner = row.owner.load(std::memory_order_seq_cst);
    if (owner == 0) continue;
    bool known_alive = false;
    for (Pin& pin : row.pins) {
      std::uint64_t base_plus_one = pin.base_plus_one.load(std::memory_order_acquire);
      if ((base_plus_one & kPinIdle) != 0) {
        const Csn base = (base_plus_one & ~kPinIdle) - 1;
        if (base >= revoke_below ||
            pin.base_plus_one.compare_exchange_strong(base_plus_one, kPinRevoked, std::memory_order_seq_cst)) {
          continue;
        }
        base_plus_one &= ~kPinIdle;  // taken into use at this very moment
      }
      if (base_plus_one == 0 || base_plus_one == kPinRevoked || base_plus_one - 1 >= oldest) continue;
      if (!known_alive && !liveness_->alive(owner)) break;
      known_alive = true;
      oldest = base_plus_one - 1;
      if (slot != nullptr) *slot = i;
      if (since_ns != nullptr) *since_ns = pin.since_ns.load(std::memory_order_relaxed);
    }
  }
  return oldest;
}

}  // namespace hf::txn
