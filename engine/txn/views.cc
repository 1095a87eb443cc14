// SPDX-License-Identifier: Apache-2.0
#include "txn/views.h"

#include "base/clock.h"

namespace hf::txn {

PinnedBase::~PinnedBase() {
  snapshot_.reset();
  // Release: our last read of anything the pin protected comes before its end.
  pin_->base_plus_one.store(0, std::memory_order_release);
}

Views::Views(SharedRegion shared, const platform::Liveness& liveness, overlay::Overlay& overlay, store::Store& store)
    : shared_(shared), liveness_(&liveness), overlay_(&overlay), store_(&store), views_(new View[kViewsMax]) {
  for (std::size_t i = 0; i < kViewsMax; ++i) views_[i].refs_.store(kRetired, std::memory_order_relaxed);
  PinRow& row = shared_.pins()[platform::owner_slot(liveness.me())];
  for (Pin& pin : row.pins) pin.base_plus_one.store(0, std::memory_order_relaxed);
  row.owner.store(liveness.me(), std::memory_order_seq_cst);
}

Views::~Views() { drop_idle(true); }

Result<View*> Views::acquire(Csn* snapshot) {
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
  TxnShared& txn = shared_.txn();
  const std::uint64_t version = txn.view_version.load(std::memory_order_acquire);
  View* current = current_.load(std::memory_order_acquire);
  if (current != nullptr && current->version_ == version) return Code::kOK;

  std::shared_ptr<PinnedBase> pinned;
  const std::uint64_t generation = txn.base_generation.load(std::memory_order_acquire);
  if (current != nullptr && current->pinned_->generation == generation) {
    pinned = current->pinned_;
  } else {
    Result<std::shared_ptr<PinnedBase>> fresh = pin_base();
    if (fresh.ok()) {
      pinned = std::move(fresh).value();
      pinned->generation = generation;
    } else if (fresh.code() == Code::kLIMIT && current != nullptr) {
      pinned = current->pinned_;  // every pin is in use by old transactions: an older base is still right
    } else {
      return std::move(fresh).status();
    }
  }
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

Csn Views::oldest_pin(std::uint32_t* slot, std::uint64_t* since_ns) const noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in pin_base()
  Csn oldest = kCsnMax;
  for (std::uint32_t i = 0; i < platform::kProcessSlotsMax; ++i) {
    const PinRow& row = shared_.pins()[i];
    const platform::OwnerId owner = row.owner.load(std::memory_order_seq_cst);
    if (owner == 0) continue;
    bool known_alive = false;
    for (const Pin& pin : row.pins) {
      const std::uint64_t base_plus_one = pin.base_plus_one.load(std::memory_order_acquire);
      if (base_plus_one == 0 || base_plus_one - 1 >= oldest) continue;
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
