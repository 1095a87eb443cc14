// SPDX-License-Identifier: Apache-2.0
#include "admin/metrics.h"

#include <cstring>
#include <string>

#include "capi/call.h"
#include "holdfast/admin.h"

using namespace hf::capi;

int hf_metrics(hf_db* db, char* buffer, size_t capacity, size_t* size) {
  return db_call(db, {}, [&](hf_db& d) -> hf::Status {
    if (size == nullptr) return null_argument("size");
    *size = 0;
    if (buffer == nullptr && capacity != 0) return null_argument("buffer");
    hf::Result<hf::txn::DatabaseStats> figures = d.database->stats();
    if (!figures.ok()) return std::move(figures).status();
    const std::string text = hf::admin::metrics_text(figures.value());
    *size = text.size();
    if (text.size() >= capacity) {
      return {hf::Code::kTOO_LARGE, "the text has " + std::to_string(text.size()) +
                                        " bytes and a NUL, there is room for " + std::to_string(capacity)};
    }
    std::memcpy(buffer, text.c_str(), text.size() + 1);
    return {};
  });
}
