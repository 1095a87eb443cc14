// SPDX-License-Identifier: Apache-2.0
#include "admin/manifest.h"

#include <cinttypes>
#include <cstdio>

#include "admin/destination.h"
#include "base/hash.h"
#include "platform/file.h"

namespace hf::admin {
namespace {

using platform::File;

constexpr std::size_t kTextSizeMax = 4096;
constexpr const char* kFirstWords = "holdfast-backup ";

std::string checksum_line(const std::string& body) {
  char line[32];
  std::snprintf(line, sizeof line, "checksum %016" PRIx64 "\n", checksum(body.data(), body.size(), 0));
  return line;
}

}  // namespace

std::string to_text(const Manifest& manifest) {
  char body[512];
  std::snprintf(body, sizeof body,
                "%s%" PRIu32 "\nsource %016" PRIx64 "\ncsn %" PRIu64 "\ncommitted_at_ms %" PRIu64
                "\nmade_at_ms %" PRIu64 "\nfile base/data.mdb %" PRIu64 " %016" PRIx64 "\n",
                kFirstWords, kBackupVersion, manifest.source_id, manifest.csn, manifest.committed_at_ms,
                manifest.made_at_ms, manifest.base_bytes, manifest.base_checksum);
  return body + checksum_line(body);
}

Result<Manifest> from_text(const std::string& text, const std::string& path) {
  std::uint32_t version = 0;
  if (std::sscanf(text.c_str(), "holdfast-backup %" SCNu32, &version) != 1) {
    return Status(Code::kCORRUPT, path + ": not the manifest of a backup");
  }
  if (version != kBackupVersion) {
    return Status(Code::kWRONG_FORMAT, path + ": backup format " + std::to_string(version) + "; this library knows " +
                                           std::to_string(kBackupVersion));
  }
  const std::size_t last = text.rfind("checksum ");
  const Status damaged(Code::kCORRUPT, path + ": its checksum does not match");
  if (last == std::string::npos || text.substr(last) != checksum_line(text.substr(0, last))) return damaged;
  Manifest manifest;
  const int fields = std::sscanf(text.c_str(),
                                 "holdfast-backup %*u source %" SCNx64 " csn %" SCNu64 " committed_at_ms %" SCNu64
                                 " made_at_ms %" SCNu64 " file base/data.mdb %" SCNu64 " %" SCNx64,
                                 &manifest.source_id, &manifest.csn, &manifest.committed_at_ms, &manifest.made_at_ms,
                                 &manifest.base_bytes, &manifest.base_checksum);
  if (fields != 6) return damaged;
  return manifest;
}

Status write_manifest(const std::string& directory, const Manifest& manifest) {
  Result<File> file = File::open(directory + "/" + kManifestName, File::Mode::kCreateNew);
  if (!file.ok()) return std::move(file).status();
  const std::string text = to_text(manifest);
  Status status = file->write_at(text.data(), text.size(), 0);
  return status.ok() ? file->sync_data() : status;
}

Result<Manifest> read_manifest(const std::string& directory) {
  const std::string path = directory + "/" + kManifestName;
  if (!platform::file_exists(directory)) return Status(Code::kNOT_FOUND, "no backup " + directory);
  if (platform::file_exists(directory + "/" + kUnfinishedName)) {
    return Status(Code::kCORRUPT, directory + ": this backup was never finished");
  }
  Result<File> file = File::open(path, File::Mode::kReadOnly);
  if (file.code() == Code::kNOT_FOUND) return Status(Code::kCORRUPT, path + " is missing: this is no backup");
  if (!file.ok()) return std::move(file).status();
  std::string text(kTextSizeMax, '\0');
  Result<std::size_t> got = file->read_at(text.data(), text.size(), 0);
  if (!got.ok()) return std::move(got).status();
  text.resize(got.value());
  return from_text(text, path);
}

}  // namespace hf::admin
