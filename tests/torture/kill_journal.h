// SPDX-License-Identifier: Apache-2.0
// What the database answered, written down outside of it: one append-only file per lane, records of fixed size, each
// written by one pwrite after the answer; and before the question, what is about to be asked. So an operation is known
// as answered, or as in doubt, whenever its process dies.
//
// Thread contract: a file has one writer. Readers take what is whole.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace torture::kill {

enum class Event : std::uint8_t {
  kIntent = 1,  // about to be tried
  kDurable,     // answered OK, on the device
  kRelaxed,     // answered OK, visible; survives the death of every process
  kTicket,      // the same, and a ticket to wait with
  kWaited,      // that ticket's wait was answered OK
  kRefused,     // answered that nothing of it happened
  kAbsent,      // by an audit while nobody lived: was in doubt, and is not there
  kLost,        // likewise: was visible, not yet on the device, and went with the shared memory
};

struct Record {
  std::uint32_t magic;
  std::uint16_t lane;
  Event event;
  std::uint8_t kind;  // of operation
  std::uint64_t number;
  std::uint64_t csn;
  std::uint64_t ns;
  std::int32_t code;
  std::uint32_t checksum;
};
static_assert(sizeof(Record) == 40);

class Journal {
 public:
  // Goes on behind the last whole record.
  Journal(const std::string& directory, std::uint32_t lane);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // The first number that no record has.
  std::uint64_t next_number() const noexcept { return next_number_; }
  void append(Event event, std::uint8_t kind, std::uint64_t number, std::uint64_t csn, int code);

 private:
  int fd_ = -1;
  std::uint16_t lane_;
  std::uint64_t end_ = 0;
  std::uint64_t next_number_ = 1;
};

// The whole records of a lane, in order; "" or what is wrong with the file.
std::string read_journal(const std::string& directory, std::uint32_t lane, std::vector<Record>* records);

}  // namespace torture::kill
