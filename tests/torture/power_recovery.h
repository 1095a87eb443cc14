// SPDX-License-Identifier: Apache-2.0
// Recovery: makes a state that a disk could show, opens the database in it, compares; then cuts the power again, during
// that recovery or after a few more commits.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "torture/power_disk.h"
#include "torture/power_history.h"
#include "torture/power_recording.h"

namespace torture::power {

// What the commits and answers in a recording say.
class Promises {
 public:
  // Adds the recording's commits to the history.
  Promises(const std::vector<const Event*>& events, History* history);
  // Newest commit that was answered durable up to that number.
  Csn required_at(std::uint64_t number) const;
  const std::string& wrong() const noexcept { return wrong_; }

 private:
  void place_table_changes(const std::vector<const Event*>& events, History* history);

  std::map<std::uint64_t, Csn> required_;  // number -> csn, both ascending
  std::string wrong_;
};

inline constexpr int kDepthMax = 4;  // cuts in a row
inline constexpr int kKinds = 16;

// What was done; lies in memory that the parent and its children share.
struct Tally {
  std::atomic<std::uint64_t> by_kind[kKinds];  // first cuts, by what had happened last
  std::atomic<std::uint64_t> states[kDepthMax];
  std::atomic<std::uint64_t> in_recovery;  // later cuts, before hf_open had returned
  std::atomic<std::uint64_t> after_recovery;
  std::atomic<std::uint64_t> opens;
  std::atomic<std::uint64_t> commits_required, commits_found;  // sums over the states of the csns
  std::atomic<std::uint64_t> rows_compared;
  std::atomic<std::uint64_t> commits_made;  // after recoveries
};
// The kind of a cut right after that had begun or ended, an index below kKinds, and its name.
int kind_of(const Event* event, bool ended) noexcept;
const char* name_of_kind(int kind) noexcept;

class Recovery {
 public:
  // States are made in `root`, an existing directory that is this object's alone.
  // `region_copy`: shared memory of the time of the recording, if that file is there.
  Recovery(std::string root, const std::string& region_copy, Tally& tally);

  // Empty: all held. Else what did not; the state is then in root/kept. `image` is a state of the disk, `history` tells
  // what each csn means, `required` is the newest commit that has to be there.
  std::string check(const Image& image, const std::shared_ptr<const History>& history, Csn required, Random& random,
                    int depth);

 private:
  void materialize(const Image& image, const std::string& to, Random* random) const;
  std::string open_and_look(const std::shared_ptr<const History>& history, Csn required, hf_db** db, Csn* found,
                            bool background);
  std::string live(const std::shared_ptr<const History>& history, Csn required, Random& random, Recorder* recorder,
                   std::uint64_t* opened_at, Arena* arena, std::shared_ptr<History>* next);
  std::string open_once_more(const std::shared_ptr<const History>& history);
  std::string cut_again(const Image& image, const Arena& arena, const std::shared_ptr<History>& history, Csn required,
                        std::uint64_t opened_at, Random& random, int depth);

  const std::string root_;
  std::string region_;  // as a later boot sees it; empty: none
  Tally& tally_;
};

}  // namespace torture::power
