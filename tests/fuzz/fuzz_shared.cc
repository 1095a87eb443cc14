// SPDX-License-Identifier: Apache-2.0
// Hostile: the shared memory that a crashed session left, and that of a session which runs.
//
// The first opener (salvage). All of the old memory is untrusted: it may be of any age, overwritten, or half written.
//   1. No crash. Salvage answers OK, or refuses a log that recovery refuses.
//   2. Whatever the memory says, every record that the files held before is held after it, in the same place: memory in
//      doubt is ignored, never written over what is durable.
//   3. A record that comes with it was in the ring as a whole frame of this log. Memory that nobody touched gives all.
// Made right by the harness: a log with commits, some of them only in the ring, made by the log itself; then its shared
// fields are changed, whole frames with right checksums are put anywhere into the ring, and bytes are flipped.
//
// A joiner. In scope is what it checks before it believes anything: sizes of the files, magic, fingerprint, `ready`,
// database id, and the head of the lock table. Each mismatch is refused with WRONG_FORMAT (another build) or CORRUPT.
// With those right, attaching and leaving does not crash or hang, whatever else the memory holds: it may be refused.
// Out of scope is what a transaction then meets: inside live structures the processes of a session trust each other, as
// threads of one process do. `holdfast check` looks there.
// Made right by the harness: a child has a database open; the joiner is led to a copy of its memory, which is changed.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "fuzz/fuzz.h"
#include "fuzz/log_files.h"
#include "log/frame.h"
#include "txn/database.h"
#include "txn/identity.h"

namespace {

using namespace hf;
using fuzz::demand;
using fuzz::Files;
using fuzz::Input;
using fuzz::LogDirectory;

// --- the first opener ---------------------------------------------------------------------------------------------

class Salvage {
 public:
  explicit Salvage(Input& in) : in_(in) {}

  void run() {
    make_session();
    const Files files = fuzz::read_files(directory().log_path());
    const log::LogShared& shared = directory().shared();
    std::memcpy(memory_, &shared, sizeof memory_);
    const std::vector<std::string> before = directory().recover(0, false).records;
    fuzz::write_files(directory().log_path(), files);

    change_memory();
    const Status status =
        log::Log::salvage(*reinterpret_cast<log::LogShared*>(memory_), directory().ring(), directory().options());
    demand(status.ok(), "salvage: " + std::string(status.message()));
    const fuzz::Recovery after = directory().recover(0, false);
    clear_ring();
    demand(after.status.ok(), "salvaged, then refused: " + after.text());
    demand(after.records.size() >= before.size() && std::equal(before.begin(), before.end(), after.records.begin()),
           "salvage changed or lost records that were in the files");
    if (!is_changed_) demand(after.records == genuine_, "salvage left records of the ring behind");
    for (std::size_t i = before.size(); i < after.records.size(); ++i) {
      demand(i < genuine_.size() && genuine_[i] == after.records[i], "salvage made a record up");
    }
  }

 private:
  static constexpr std::size_t kUsed = 64 << 10;  // bytes of the ring at either end that an input may write

  static LogDirectory& directory() {
    static LogDirectory instance;
    return instance;
  }

  // Some commits on the device, some only in the ring, wherever that begins.
  void make_session() {
    base_lsn_ = in_.one_in(4) ? log::kRingSize - 8 * in_.below(600) : 0;
    const std::size_t size = log::kSegmentHeaderSize * (2 + in_.below(3));
    std::string file;
    fuzz::append(&file, log::make_segment_header(fuzz::kDatabaseId, 1, base_lsn_, 1, size));
    file.resize(size);
    fuzz::write_files(directory().log_path(), {{"log-1.hfl", file}});
    durable_ = in_.below(8);
    const std::uint32_t relaxed = in_.below(8);
    const auto size_of = [&] { return in_.one_in(8) ? in_.u16() % 3000u : in_.below(200); };
    directory().with_log([&](log::Log& log) {
      for (std::uint32_t i = 0; i < durable_; ++i) append(log, size_of());
      if (durable_ > 0) demand(log.wait_durable(durable_, Deadline::after_ms(10'000)).ok(), "no flush");
      for (std::uint32_t i = 0; i < relaxed; ++i) append(log, size_of());
    });
  }

  void append(log::Log& log, std::size_t size) {
    const Csn csn = log.appended_csn() + 1;
    const std::string body = fuzz::make_body(csn, size);
    demand(log.make_room(body.size(), Deadline::after_ms(10'000)).ok() && log.has_room(body.size()), "no room");
    log.append(csn, body);
    genuine_.push_back(body);
  }

  void change_memory() {
    for (std::uint32_t changes = in_.below(6); changes > 0; --changes) {
      is_changed_ = true;
      switch (in_.below(4)) {
        case 0:
          plant_frame();
          break;
        case 1:
          in_ring(in_.u16()) ^= static_cast<char>(in_.u8() | 1);
          break;
        case 2:
          set_field();
          break;
        default:
          memory_[in_.below(sizeof(log::LogShared))] ^= static_cast<char>(in_.u8() | 1);
      }
    }
  }

  // One of the commits, with right checksums, in a place of the input's choice.
  void plant_frame() {
    if (genuine_.empty()) return;
    const std::uint32_t index = in_.below(static_cast<std::uint32_t>(genuine_.size()));
    const std::string frame = fuzz::make_frame(index + 1, index, genuine_[index], 1 + in_.below(3));
    const std::uint64_t lsn = base_lsn_ + 8 * in_.u16() % (kUsed - frame.size());
    log::ring_put(directory().ring(), lsn, frame.data(), frame.size());
  }

  void set_field() {
    log::LogShared& shared = *reinterpret_cast<log::LogShared*>(memory_);
    std::atomic<std::uint64_t>* const fields[] = {
        &shared.appended_csn, &shared.written_lsn, &shared.header_sequence,  &shared.direct_csn,
        &shared.direct_lsn,   &shared.direct_end,  &shared.durable_sequence, &shared.durable_csn};
    std::atomic<std::uint64_t>& field = *fields[in_.below(std::size(fields))];
    switch (in_.below(4)) {
      case 0:
        field.store(in_.u8());
        break;
      case 1:
        field.store(base_lsn_ + 8 * in_.u16());
        break;
      case 2:
        field.fetch_add(static_cast<std::uint64_t>(std::int64_t{static_cast<std::int8_t>(in_.u8())} * 8));
        break;
      default:
        field.store(in_.u64());
    }
  }

  char& in_ring(std::uint64_t offset) { return directory().ring()[(base_lsn_ + offset) % log::kRingSize]; }
  void clear_ring() {
    std::memset(directory().ring(), 0, 2 * kUsed);
    std::memset(directory().ring() + log::kRingSize - kUsed, 0, kUsed);
  }

  Input& in_;
  std::uint64_t base_lsn_ = 0;
  std::uint32_t durable_ = 0;
  std::vector<std::string> genuine_;  // bodies of all commits
  bool is_changed_ = false;
  alignas(log::LogShared) char memory_[sizeof(log::LogShared)];
};

// --- a joiner -----------------------------------------------------------------------------------------------------

// A database that a child has open, and the copy of its memory.
class Session {
 public:
  Session() {
    std::filesystem::create_directory(copy_path());
    int ready[2];
    demand(pipe(ready) == 0, "no pipe");
    holder_ = fork();
    if (holder_ == 0) hold(ready[1]);
    char byte = 0;
    demand(read(ready[0], &byte, 1) == 1, "the child did not open");
    close(ready[0]);
    close(ready[1]);
    for (const char* name : {"control", "locks"}) {
      const std::string path = scratch_.path("db/memory/") + name;
      std::string data = fuzz::read_file(path);
      fuzz::write_file(copy_path() + "/" + name, data);
      originals_[name] = std::move(data);
    }
    demand(txn::write_session(path(), copy_path()).ok(), "no session file");
  }
  ~Session() {
    kill(holder_, SIGKILL);
    waitpid(holder_, nullptr, 0);
  }
  Session(const Session&) = delete;

  std::string path() const { return scratch_.path("db"); }
  static txn::DatabaseOptions options() {
    txn::DatabaseOptions options;
    options.background_thread = false;
    options.map_size = 64u << 20;
    options.overlay_bytes_max = 4u << 20;
    options.locks_max = 64;
    options.open_timeout_ms = 2'000;
    options.overload_timeout_ms = 100;
    return options;
  }

  void patch(const std::string& name, std::uint64_t offset, const std::string& bytes) {
    const int fd = open_copy(name);
    demand(pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes.size()),
           "no write");
    close(fd);
  }
  void cut(const std::string& name, std::uint64_t size) {
    const int fd = open_copy(name);
    demand(ftruncate(fd, static_cast<off_t>(size)) == 0, "no truncate");
    close(fd);
  }
  std::string head() {
    std::string bytes(sizeof(txn::RegionHeader), '\0');
    const int fd = open_copy("control");
    const ssize_t got = pread(fd, bytes.data(), bytes.size(), 0);
    close(fd);
    bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return bytes;
  }
  std::uint64_t size_of(const std::string& name) const { return originals_.at(name).size(); }

  // All but the ring, which no joiner reads.
  void restore() {
    for (const auto& [name, data] : originals_) {
      cut(name, data.size());
      patch(name, 0, data.substr(0, txn::kRingOffset));
    }
  }

 private:
  std::string copy_path() const { return scratch_.path("copy"); }
  int open_copy(const std::string& name) {
    const int fd = ::open((copy_path() + "/" + name).c_str(), O_RDWR | O_CLOEXEC);
    demand(fd >= 0, "no copy");
    return fd;
  }
  [[noreturn]] void hold(int ready) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto database = txn::Database::open(path(), options());
    if (!database.ok() || write(ready, "r", 1) != 1) _exit(1);
    for (;;) pause();
  }

  fuzz::Scratch scratch_;
  pid_t holder_ = -1;
  std::map<std::string, std::string> originals_;
};

void join(Input& in) {
  static Session session;
  bool is_wrong_build = false, is_wrong_memory = false, is_wrong_locks = false;
  for (std::uint32_t changes = in.below(4); changes > 0; --changes) {
    const bool is_control = in.below(2) == 0;
    const std::string name = is_control ? "control" : "locks";
    if (in.one_in(16)) {
      const std::uint64_t size = in.u32() % session.size_of(name);
      session.cut(name, size);
      (is_control ? is_wrong_memory : is_wrong_locks) = true;
      continue;
    }
    const std::uint64_t offset =
        in.below(2) == 0 ? in.below(64) : in.u32() % (is_control ? txn::kRingOffset : lock::kUnitsOffset);
    const std::string bytes = in.bytes(in.below(8) + 1);
    session.patch(name, offset, bytes);
  }
  const std::string head = session.head();
  if (head.size() == sizeof(txn::RegionHeader)) {
    const auto& header = *reinterpret_cast<const txn::RegionHeader*>(head.data());
    is_wrong_build = std::memcmp(header.magic, txn::kRegionMagic, sizeof header.magic) != 0 ||
                     header.fingerprint != txn::layout_fingerprint();
    is_wrong_memory |=
        header.ready.load() != 1 || header.database_id != txn::read_identity(session.path()).value().database_id;
  }
  {
    const Result<std::shared_ptr<txn::Database>> joined = txn::Database::open(session.path(), Session::options());
    const Code code = joined.code();
    const std::string got = code_name(static_cast<int>(code));
    demand(code == Code::kOK || code == Code::kWRONG_FORMAT || code == Code::kCORRUPT || code == Code::kLIMIT,
           "joining answers " + got);
    if (is_wrong_memory || is_wrong_build) {
      demand(code == Code::kCORRUPT || code == Code::kWRONG_FORMAT, "wrong memory is not refused: " + got);
    }
    if (is_wrong_build && !is_wrong_memory) demand(code == Code::kWRONG_FORMAT, "another build's memory: " + got);
    if (is_wrong_locks) demand(code != Code::kOK, "a lock table that was cut is not refused");
  }
  session.restore();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  if (in.one_in(4)) {
    join(in);
  } else {
    Salvage(in).run();
  }
  return 0;
}
