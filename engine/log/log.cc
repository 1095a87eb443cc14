// SPDX-License-Identifier: Apache-2.0
// The public face: hands every call to the inside. recover() and salvage() have files of their own.
#include "log/log.h"

#include "log/impl.h"

namespace hf::log {

Log::Log(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Log::~Log() = default;

Result<std::unique_ptr<Log>> Log::attach(LogShared& shared, char* ring, const platform::Liveness& liveness,
                                         LogOptions options) {
  return std::unique_ptr<Log>(new Log(std::make_unique<Impl>(shared, ring, liveness, std::move(options))));
}

bool Log::has_room(std::size_t body_size) const noexcept { return impl_->has_room(body_size); }
Status Log::make_room(std::size_t body_size, Deadline deadline) { return impl_->make_room(body_size, deadline); }
void Log::append(Csn csn, Bytes body) noexcept { impl_->append(csn, body); }
Status Log::lock_direct(std::size_t body_size, Deadline deadline) { return impl_->lock_direct(body_size, deadline); }
Status Log::append_direct(Csn csn, Bytes body) { return impl_->append_direct(csn, body); }
void Log::unlock_direct() noexcept { impl_->unlock_direct(); }
Status Log::last(Csn* csn, std::string* body) const { return impl_->last(csn, body); }

// Acquire: whoever sees the number also sees the record, or the device state, that it stands for.
Csn Log::appended_csn() const noexcept { return impl_->shared().appended_csn.load(std::memory_order_acquire); }
Csn Log::durable_csn() const noexcept { return impl_->shared().durable_csn.load(std::memory_order_acquire); }
const platform::FutexWord& Log::durable_word() const noexcept { return impl_->shared().durable_word; }

Status Log::wait_durable(Csn csn, Deadline deadline) { return impl_->wait_durable(csn, deadline); }
Status Log::failure() const { return impl_->failure(); }
void Log::fail(const Status& why) noexcept { impl_->fail(why); }
Status Log::prepare_ahead() { return impl_->prepare_ahead(); }
Status Log::recycle(Csn applied) { return impl_->recycle(applied); }
LogStats Log::stats() const noexcept { return impl_->stats(); }

}  // namespace hf::log
