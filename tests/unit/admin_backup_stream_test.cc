// SPDX-License-Identifier: Apache-2.0
// Goal: a stream and a manifest give back what was put in, and every other sequence of bytes is refused. Method: bits
// flipped one after the other, blocks left out, doubled and exchanged, the end cut off at every byte.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "admin/backup_stream.h"
#include "admin/manifest.h"

namespace hf::admin {
namespace {

Manifest some_manifest() { return {0x1234567890abcdef, 77, 1'700'000'000'000, 1'700'000'000'001, 40'960, 0xfeed}; }

class TemporaryFile {
 public:
  TemporaryFile() {
    std::string pattern = testing::TempDir() + "hf-stream-XXXXXX";
    fd = mkstemp(pattern.data());
    unlink(pattern.c_str());
  }
  ~TemporaryFile() { close(fd); }
  std::string read_all() const {
    std::string bytes(1 << 20, '\0');
    bytes.resize(static_cast<std::size_t>(pread(fd, bytes.data(), bytes.size(), 0)));
    return bytes;
  }
  void set(const std::string& bytes) {
    ASSERT_EQ(ftruncate(fd, 0), 0);
    ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    lseek(fd, 0, SEEK_SET);
  }
  int fd = -1;
};

struct Part {
  std::size_t begin, end;
};

// A stream of three blocks; `parts` gets where head, blocks and end lie.
std::string make_stream(std::vector<Part>* parts) {
  TemporaryFile file;
  StreamWriter writer(file.fd);
  std::size_t at = 0;
  const auto note = [&] {
    if (parts != nullptr) parts->push_back({at, writer.bytes()});
    at = writer.bytes();
  };
  EXPECT_TRUE(writer.begin(some_manifest()).ok());
  note();
  for (const std::uint64_t offset : {0, 8'192, 36'864}) {
    EXPECT_TRUE(writer.add(offset, std::string(4'096, static_cast<char>('a' + offset % 23))).ok());
    note();
  }
  EXPECT_TRUE(writer.end(0xabcd).ok());
  note();
  return file.read_all();
}

// kOK when all of it reads to its end.
Status read(const std::string& bytes, std::map<std::uint64_t, std::string>* blocks = nullptr) {
  TemporaryFile file;
  file.set(bytes);
  StreamReader reader(file.fd);
  Result<Manifest> manifest = reader.begin();
  if (!manifest.ok()) return manifest.status();
  EXPECT_EQ(manifest->csn, 77u);
  for (;;) {
    std::uint64_t offset = 0, sum = 0;
    Bytes piece;
    if (Status status = reader.next(&offset, &piece, &sum); !status.ok()) return status;
    if (piece.empty()) {
      EXPECT_EQ(sum, 0xabcdu);
      return {};
    }
    if (blocks != nullptr) (*blocks)[offset] = std::string(piece);
  }
}

TEST(AdminBackupStream, GivesBackWhatWasPutIn) {
  std::map<std::uint64_t, std::string> blocks;
  const Status status = read(make_stream(nullptr), &blocks);
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(blocks.size(), 3u);
  for (const auto& [offset, bytes] : blocks) EXPECT_EQ(bytes, std::string(4'096, static_cast<char>('a' + offset % 23)));
}

TEST(AdminBackupStream, EveryBitCounts) {
  const std::string whole = make_stream(nullptr);
  for (std::size_t at = 0; at < whole.size(); at += at < 200 || at + 200 > whole.size() ? 1 : 37) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    const Status status = read(bytes);
    EXPECT_TRUE(status.code() == Code::kCORRUPT || status.code() == Code::kWRONG_FORMAT) << at << status.message();
  }
}

TEST(AdminBackupStream, TornAnywhereItIsRefused) {
  const std::string whole = make_stream(nullptr);
  for (std::size_t size = 0; size < whole.size(); size += size < 200 || size + 200 > whole.size() ? 1 : 101) {
    EXPECT_EQ(read(whole.substr(0, size)).code(), Code::kCORRUPT) << size;
  }
}

TEST(AdminBackupStream, BlocksHaveTheirPlace) {
  std::vector<Part> parts;
  const std::string whole = make_stream(&parts);
  const auto with = [&](const std::vector<int>& order) {
    std::string bytes;
    for (const int part : order) bytes += whole.substr(parts[part].begin, parts[part].end - parts[part].begin);
    return bytes;
  };
  EXPECT_TRUE(read(with({0, 1, 2, 3, 4})).ok());
  for (const std::vector<int>& order : std::vector<std::vector<int>>{
           {0, 1, 3, 4}, {0, 2, 3, 4}, {0, 1, 2, 4}, {0, 4}, {0, 1, 1, 2, 3, 4}, {0, 2, 1, 3, 4}, {1, 2, 3, 4}}) {
    EXPECT_EQ(read(with(order)).code(), Code::kCORRUPT);
  }
  const std::string other = make_stream(nullptr);  // another stream of the same bytes
  std::string mixed = with({0, 1}) + other.substr(parts[2].begin);
  EXPECT_EQ(read(mixed).code(), Code::kCORRUPT);
}

TEST(AdminManifest, GivesBackWhatWasPutIn) {
  const Manifest given = some_manifest();
  const std::string text = to_text(given);
  Result<Manifest> read = from_text(text, "BACKUP");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(to_text(read.value()), text);
  EXPECT_EQ(read->source_id, given.source_id);
  EXPECT_EQ(read->base_bytes, given.base_bytes);
  EXPECT_EQ(read->base_checksum, given.base_checksum);
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string damaged = text;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    EXPECT_FALSE(from_text(damaged, "BACKUP").ok()) << damaged;
    EXPECT_FALSE(from_text(text.substr(0, at), "BACKUP").ok()) << at;
  }
}

}  // namespace
}  // namespace hf::admin
