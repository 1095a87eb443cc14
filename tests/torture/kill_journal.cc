// SPDX-License-Identifier: Apache-2.0
#include "torture/kill_journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/hash.h"
#include "torture/kill_board.h"

namespace torture::kill {
namespace {

constexpr std::uint32_t kMagic = 0x4c4c494b;

std::string path_of(const std::string& directory, std::uint32_t lane) {
  return directory + "/lane" + std::to_string(lane);
}

std::uint32_t checksum_of(const Record& record) {
  return static_cast<std::uint32_t>(hf::checksum(&record, offsetof(Record, checksum), 0));
}

[[noreturn]] void die(const std::string& what) {
  std::perror(what.c_str());
  _exit(5);
}

}  // namespace

Journal::Journal(const std::string& directory, std::uint32_t lane) : lane_(static_cast<std::uint16_t>(lane)) {
  const std::string path = path_of(directory, lane);
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  struct stat found {};
  if (fd_ < 0 || fstat(fd_, &found) != 0) die(path);
  // A kill may have cut the last record off: it is written over.
  end_ = static_cast<std::uint64_t>(found.st_size) / sizeof(Record) * sizeof(Record);
  if (end_ == 0) return;
  // The newest number need not be in the last record: tickets are waited for later, and what was lost is noted later.
  constexpr std::uint64_t kLookBack = 4'096;
  std::vector<Record> last(std::min<std::uint64_t>(kLookBack, end_ / sizeof(Record)));
  const std::uint64_t size = last.size() * sizeof(Record);
  if (pread(fd_, last.data(), size, static_cast<off_t>(end_ - size)) != static_cast<ssize_t>(size)) die(path);
  for (const Record& record : last) next_number_ = std::max(next_number_, record.number + 1);
}

Journal::~Journal() { close(fd_); }

void Journal::append(Event event, std::uint8_t kind, std::uint64_t number, std::uint64_t csn, int code) {
  Record record{kMagic, lane_, event, kind, number, csn, now_ns(), code, 0};
  record.checksum = checksum_of(record);
  if (pwrite(fd_, &record, sizeof record, static_cast<off_t>(end_)) != static_cast<ssize_t>(sizeof record)) {
    die("journal");
  }
  end_ += sizeof record;
}

std::string read_journal(const std::string& directory, std::uint32_t lane, std::vector<Record>* records) {
  records->clear();
  const int fd = open(path_of(directory, lane).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";  // nobody has worked this lane yet
  struct stat found {};
  if (fstat(fd, &found) != 0) die("journal");
  records->resize(static_cast<std::uint64_t>(found.st_size) / sizeof(Record));
  std::size_t size = records->size() * sizeof(Record);
  char* at = reinterpret_cast<char*>(records->data());
  for (off_t offset = 0; size != 0;) {
    const ssize_t got = pread(fd, at, size, offset);
    if (got <= 0) die("journal");
    at += got;
    offset += got;
    size -= static_cast<std::size_t>(got);
  }
  close(fd);
  for (const Record& record : *records) {
    if (record.magic != kMagic || record.lane != lane || record.checksum != checksum_of(record)) {
      return "the journal of lane " + std::to_string(lane) + " is damaged: the campaign's own fault";
    }
  }
  return "";
}

}  // namespace torture::kill
