// SPDX-License-Identifier: Apache-2.0
// Copies of the base: as it lies there (Image), and without its free pages (Store::compacted).
//
// An image is made of LMDB's own pages, because mdb_env_copy would wait for LMDB's writer mutex, which nobody but the
// maintainer may take (see docs/architecture.md, "Assumptions"), and cannot be slowed down or ended. It rests on these
// facts of LMDB's data version 1, and checks those that it can:
//  - Pages 0 and 1 are meta pages; the one of transaction T is page T & 1. A meta page says how many pages there are.
//  - As long as a reader of transaction T lives, no page that T can reach is written. All others are in T's list of
//    free pages, the database with handle 0, or behind its last page.
//  - An environment opens with the newer of its two meta pages; it is sound that both are the same.
#include <algorithm>
#include <cstring>
#include <thread>

#include "platform/stream.h"
#include "platform/test_point.h"
#include "store/impl.h"

namespace hf::store {
namespace {

using platform::File;

constexpr MDB_dbi kFreeListDatabase = 0;
constexpr std::size_t kMetaPages = 2;

// As LMDB 0.9 has them in a file on 64-bit machines.
struct PageHead {
  std::uint64_t number;
  std::uint16_t pad;
  std::uint16_t flags;
  std::uint32_t rest;
};
constexpr std::uint16_t kMetaFlag = 0x08;
struct MetaPage {
  PageHead head;
  std::uint32_t magic;
  std::uint32_t version;
  std::uint64_t address;
  std::uint64_t map_size;
  char databases[2][48];
  std::uint64_t last_page;
  std::uint64_t txn_id;
};
static_assert(sizeof(PageHead) == 16 && offsetof(MetaPage, last_page) == 136 && sizeof(MetaPage) == 152);
constexpr std::uint32_t kMetaMagic = 0xBEEFC0DE;
constexpr std::uint32_t kDataVersion = 1;

struct Patch {
  std::uint64_t offset;
  std::string bytes;
};

}  // namespace

class Image::Impl {
 public:
  explicit Impl(std::shared_ptr<Store::Impl> base) noexcept : store(std::move(base)) {}
  ~Impl() {
    if (txn != nullptr) store->end_read(txn);
  }

  Status begin(const std::vector<Store::MetaChange>& changes);
  Status next(char* out, std::size_t capacity, std::uint64_t* offset, std::size_t* size);

  const std::shared_ptr<Store::Impl> store;
  MDB_txn* txn = nullptr;
  Csn applied = 0;
  std::uint64_t page_size = 0;
  std::uint64_t pages = 0;
  std::uint64_t free_pages = 0;

 private:
  Status read_meta();
  Status read_free_list();
  Status find(const Store::MetaChange& change);
  void change(char* out, std::uint64_t offset, std::size_t size) const;
  bool is_free(std::uint64_t page) const noexcept { return is_free_[page]; }

  File file_;
  std::vector<char> meta_;     // of transaction `txn`
  std::vector<bool> is_free_;  // by page
  std::vector<Patch> patches_;
  std::uint64_t page_ = 0;  // the next one
};

Status Image::Impl::begin(const std::vector<Store::MetaChange>& changes) {
  auto file = File::open(store->options.directory + "/data.mdb", File::Mode::kReadOnly);
  if (!file.ok()) return std::move(file).status();
  file_ = std::move(file).value();
  {
    std::unique_lock lock(store->mutex);
    Result<MDB_txn*> begun = store->begin_read(lock);
    if (!begun.ok()) return std::move(begun).status();
    txn = *begun;
  }
  MDB_val key = to_val(kAppliedCsnKey), value;
  const int rc = mdb_get(txn, store->meta, &key, &value);
  if (rc != 0) return lmdb_status(rc, "mdb_get", store->env);
  if (value.mv_size != sizeof applied)
    return Status(Code::kCORRUPT, "the base's applied_csn record has the wrong size");
  std::memcpy(&applied, value.mv_data, sizeof applied);
  Status status = read_meta();
  if (status.ok()) status = read_free_list();
  for (std::size_t i = 0; status.ok() && i < changes.size(); ++i) status = find(changes[i]);
  return status;
}

// The meta page is written again by the second transaction from now, which cannot come while the caller has the role.
Status Image::Impl::read_meta() {
  MDB_stat stat;
  if (const int rc = mdb_stat(txn, kFreeListDatabase, &stat); rc != 0) return lmdb_status(rc, "mdb_stat", store->env);
  page_size = stat.ms_psize;
  meta_.resize(page_size);
  const std::uint64_t id = mdb_txn_id(txn);
  auto got = file_.read_at(meta_.data(), page_size, (id & 1) * page_size);
  if (!got.ok()) return std::move(got).status();
  MetaPage meta{};
  std::memcpy(&meta, meta_.data(), sizeof meta);
  if (*got != page_size || (meta.head.flags & kMetaFlag) == 0 || meta.magic != kMetaMagic ||
      meta.version != kDataVersion || meta.txn_id != id || meta.last_page < kMetaPages - 1) {
    return Status(Code::kCORRUPT, file_.path() + " at offset " + std::to_string((id & 1) * page_size) +
                                      ": not the meta page of transaction " + std::to_string(id));
  }
  pages = meta.last_page + 1;
  return {};
}

Status Image::Impl::read_free_list() {
  is_free_.assign(pages, false);
  MDB_cursor* cursor = nullptr;
  if (const int rc = mdb_cursor_open(txn, kFreeListDatabase, &cursor); rc != 0) {
    return lmdb_status(rc, "mdb_cursor_open", store->env);
  }
  const Status corrupt(Code::kCORRUPT, file_.path() + ": the list of free pages does not add up");
  Status status;
  MDB_val key, value;
  int rc = 0;
  while (status.ok() && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
    std::vector<std::uint64_t> numbers(value.mv_size / sizeof(std::uint64_t));  // a count, then the numbers
    std::memcpy(numbers.data(), value.mv_data, numbers.size() * sizeof(std::uint64_t));
    if (numbers.empty() || numbers[0] >= numbers.size()) {
      status = corrupt;
      break;
    }
    for (std::uint64_t i = 1; i <= numbers[0]; ++i) {
      if (numbers[i] < kMetaPages || numbers[i] >= pages || is_free_[numbers[i]]) {
        status = corrupt;
        break;
      }
      is_free_[numbers[i]] = true;
      ++free_pages;
    }
  }
  mdb_cursor_close(cursor);
  if (status.ok() && rc != MDB_NOTFOUND) status = lmdb_status(rc, "mdb_cursor_get", store->env);
  return status;
}

// Where in the file the record lies: values of this size are inside of a page, which says its number at its begin.
Status Image::Impl::find(const Store::MetaChange& change) {
  MDB_val key = to_val(change.name), value;
  if (const int rc = mdb_get(txn, store->meta, &key, &value); rc != 0) return lmdb_status(rc, "mdb_get", store->env);
  if (value.mv_size != change.value.size()) {
    return Status(Code::kCORRUPT, "the base's record '" + change.name + "' has the wrong size");
  }
  const std::uint64_t address = reinterpret_cast<std::uintptr_t>(value.mv_data);
  const std::uint64_t inside = address % page_size;
  PageHead head;
  std::memcpy(&head, reinterpret_cast<const void*>(address - inside), sizeof head);
  const std::uint64_t offset = head.number * page_size + inside;
  std::string there(value.mv_size, '\0');
  if (head.number >= kMetaPages && head.number < pages) {
    auto got = file_.read_at(there.data(), there.size(), offset);
    if (!got.ok()) return std::move(got).status();
  }
  if (Bytes(there) != to_bytes(value)) {
    return Status(Code::kINTERNAL, "the base's record '" + change.name + "' is not where it was looked for");
  }
  patches_.push_back({offset, change.value});
  return {};
}

// Puts what the copy has otherwise into the piece at `offset`.
void Image::Impl::change(char* out, std::uint64_t offset, std::size_t size) const {
  for (std::uint64_t page = offset / page_size; page < kMetaPages && page * page_size < offset + size; ++page) {
    char* const at = out + (page * page_size - offset);
    std::copy_n(meta_.begin(), page_size, at);
    std::memcpy(at, &page, sizeof page);
  }
  for (const Patch& patch : patches_) {  // inside of one page, and pieces are whole pages
    if (patch.offset < offset || patch.offset >= offset + size) continue;
    std::copy(patch.bytes.begin(), patch.bytes.end(), out + (patch.offset - offset));
  }
}

Status Image::Impl::next(char* out, std::size_t capacity, std::uint64_t* offset, std::size_t* size) {
  *size = 0;
  while (page_ < pages && is_free(page_)) ++page_;
  *offset = page_ * page_size;
  const std::uint64_t first = page_;
  while (page_ < pages && !is_free(page_) && (page_ - first + 1) * page_size <= capacity) ++page_;
  if (page_ == first) return {};
  *size = static_cast<std::size_t>((page_ - first) * page_size);
  auto got = file_.read_at(out, *size, *offset);
  if (!got.ok()) return std::move(got).status();
  if (*got < *size) {
    return Status(Code::kCORRUPT, file_.path() + " at offset " + std::to_string(*offset + *got) +
                                      ": the file ends before a page that is in use");
  }
  change(out, *offset, *size);
  return {};
}

Image::Image() noexcept = default;
Image::~Image() = default;
Csn Image::applied_csn() const noexcept { return impl_->applied; }
std::uint64_t Image::file_bytes() const noexcept { return impl_->pages * impl_->page_size; }
std::uint64_t Image::data_bytes() const noexcept { return (impl_->pages - impl_->free_pages) * impl_->page_size; }
Status Image::next(char* out, std::size_t capacity, std::uint64_t* offset, std::size_t* size) {
  return impl_->next(out, capacity, offset, size);
}

Result<std::unique_ptr<Image>> Store::image(const std::vector<MetaChange>& changes) {
  std::unique_ptr<Image> image(new Image());
  image->impl_ = std::make_unique<Image::Impl>(impl_);
  if (Status status = image->impl_->begin(changes); !status.ok()) return status;
  return image;
}

// --- compacted ---------------------------------------------------------------------------------------------------

// LMDB writes to a descriptor and knows no end before the end, so it writes to a pipe, in a thread of its own, and
// finds the pipe broken when we have had enough.
Status Store::compacted(const std::function<Status(Bytes piece)>& take) {
  Result<platform::Pipe> pipe = platform::Pipe::make();
  if (!pipe.ok()) return std::move(pipe).status();
  int rc = 0;
  std::thread copier([&] {
    const platform::PipeGuard guard;
    rc = mdb_env_copyfd2(impl_->env, pipe->write_end(), MDB_CP_COMPACT);
    pipe->close_write_end();
  });
  std::vector<char> piece(1u << 20);
  Status status;
  for (;;) {
    Result<std::size_t> got = platform::read_some(pipe->read_end(), piece.data(), piece.size());
    if (!got.ok()) {
      status = std::move(got).status();
      break;
    }
    if (*got == 0) break;
    if (status = take(Bytes(piece.data(), *got)); !status.ok()) break;
  }
  pipe->close_read_end();
  copier.join();
  if (!status.ok() || rc == 0) return status;
  if (rc == MDB_INCOMPATIBLE) {
    return Status(Code::kCORRUPT, impl_->options.directory + "/data.mdb: some pages are neither in use nor free");
  }
  return lmdb_status(rc, "mdb_env_copyfd2", impl_->env);
}

}  // namespace hf::store
