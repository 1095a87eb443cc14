// SPDX-License-Identifier: Apache-2.0
// Layer `capi`: the C functions of holdfast/holdfast.h. Checks arguments, calls, translates; no logic of the engine.
// May include everything below and the public C headers; nobody includes it.
//
//   pool.h     memory of handles                 failure.h   why a call failed, until somebody asks
//   handles.h  what stands behind a handle       options.h   option structs, checked and translated
//   call.h     the frame of every exported function           db, table, txn, ... .cc: one file per kind of handle
//
// Pool: type-stable memory. What a handle points to stays a handle of the same type for as long as the process lives,
// so that a call on an ended handle reads its state word, and not somebody else's bytes.
//
// Thread contract: lock-free, any thread. No lock also means that a child made by fork finds it usable: at worst the
// object that another thread was about to take or give is lost to the child.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>

namespace hf::capi {

// First part of every handle.
struct Handle {
  std::atomic<std::uint32_t> word{0};        // kMagic: live; kMagic | kInUse: in a call (hf_db: closing); 0: ended
  std::uint32_t index = 0;                   // in its pool; never changes
  std::atomic<std::uint32_t> next_free{0};   // index + 1 of the next free one; valid while free
  std::atomic<std::uint64_t> generation{0};  // txn::fork_generation() of the process that made it
};

// T derives from Handle, is default constructible and names kFirstChunk, the number of objects in the first chunk of
// memory; each further chunk holds twice as many. Objects are made once and never destroyed.
template <typename T>
class Pool {
 public:
  constexpr Pool() noexcept = default;

  // An object as it was given back, or a new one. Throws std::bad_alloc.
  T* take() {
    std::uint64_t head = free_.load(std::memory_order_acquire);
    while (index_of(head) != 0) {
      T* const object = at(index_of(head) - 1);
      const std::uint64_t next = next_tag(head) | object->next_free.load(std::memory_order_relaxed);
      if (free_.compare_exchange_weak(head, next, std::memory_order_acquire)) return object;
    }
    return grow();
  }

  void give(T* object) noexcept {
    std::uint64_t head = free_.load(std::memory_order_relaxed);
    std::uint64_t next;
    do {
      object->next_free.store(index_of(head), std::memory_order_relaxed);
      next = next_tag(head) | (object->index + 1);
    } while (!free_.compare_exchange_weak(head, next, std::memory_order_release));
  }

 private:
  static constexpr std::uint32_t kChunksMax = 24;

  // free_ is a counter in the upper half, which makes a head that left and came back differ, and an index + 1 below.
  static std::uint32_t index_of(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head); }
  static std::uint64_t next_tag(std::uint64_t head) noexcept { return ((head >> 32) + 1) << 32; }

  static std::uint32_t chunk_of(std::uint32_t index) noexcept {
    return 31u - static_cast<std::uint32_t>(__builtin_clz(index / T::kFirstChunk + 1));
  }
  static std::uint32_t chunk_begin(std::uint32_t chunk) noexcept { return T::kFirstChunk * ((1u << chunk) - 1); }

  T* at(std::uint32_t index) const noexcept {
    const std::uint32_t chunk = chunk_of(index);
    return chunks_[chunk].load(std::memory_order_acquire) + (index - chunk_begin(chunk));
  }

  T* grow() {
    std::uint32_t index = used_.load(std::memory_order_relaxed);
    do {
      const std::uint32_t chunk = chunk_of(index);
      if (chunk >= kChunksMax) throw std::bad_alloc();
      if (chunks_[chunk].load(std::memory_order_acquire) == nullptr) add_chunk(chunk);
    } while (!used_.compare_exchange_weak(index, index + 1, std::memory_order_relaxed));
    return at(index);
  }

  // Several threads may try; one chunk stays.
  void add_chunk(std::uint32_t chunk) {
    const std::uint32_t count = T::kFirstChunk << chunk;
    std::unique_ptr<T[]> fresh(new T[count]);
    for (std::uint32_t i = 0; i < count; ++i) fresh[i].index = chunk_begin(chunk) + i;
    T* expected = nullptr;
    if (chunks_[chunk].compare_exchange_strong(expected, fresh.get(), std::memory_order_acq_rel)) fresh.release();
  }

  std::atomic<T*> chunks_[kChunksMax] = {};
  std::atomic<std::uint32_t> used_{0};  // objects that were handed out at least once
  std::atomic<std::uint64_t> free_{0};
};

}  // namespace hf::capi
