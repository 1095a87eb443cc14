// SPDX-License-Identifier: Apache-2.0
// Planted bugs: each is one line in the engine that breaks one promise on purpose, so that a test can demand that the
// checkers of histories see it (holdfast_torture histories --planted). Compiled to nothing unless HOLDFAST_PLANTED_BUGS
// is defined to 1, which the build of the tests does and CMake refuses to do without test points.
//
//   if (platform::planted(platform::Plant::kValidation)) return {};
//
// At most one is switched on in a process: by the environment, HOLDFAST_PLANT=<name>, or by code before the database is
// opened (plant). A name that does not exist aborts: a test with a misspelled bug must not pass.
#pragma once

#include <string>

#ifndef HOLDFAST_PLANTED_BUGS
#define HOLDFAST_PLANTED_BUGS 0
#endif

namespace hf::platform {

inline constexpr bool kPlantedBugs = HOLDFAST_PLANTED_BUGS != 0;

enum class Plant : int {
  kNone,
  kValidation,          // nothing that was read is validated
  kRangeValidation,     // ranges are not: phantoms
  kAbsence,             // a row looked for and not there is not noted as read
  kFirstCommitter,      // snapshot level overwrites what was committed since
  kNamedVersion,        // a version that the caller named is checked at the call and not at the commit
  kCounterBounds,       // an add is carried out in the latch without a look at its bounds
  kLockReleasedEarly,   // locks go before the commit is visible
  kLockShared,          // shared and exclusive locks go together
  kLockRunsAhead,       // who locks a row does not wait for the commit that is writing it without a lock
  kPublishedEarly,      // a commit is visible before its rows are there
  kStaleSnapshot,       // a transaction begins a few commits in the past
  kMergeLosesNewest,    // a merge leaves out the newest commit
  kAbortPublishes,      // what is aborted becomes visible
  kRollbackKeepsWrites  // what is rolled back to a savepoint is written all the same
};

struct PlantName {
  Plant plant;
  const char* name;
};
inline constexpr PlantName kPlants[] = {
    {Plant::kValidation, "validation.skipped"},
    {Plant::kRangeValidation, "validation.ranges"},
    {Plant::kAbsence, "validation.absence"},
    {Plant::kFirstCommitter, "validation.first_committer"},
    {Plant::kNamedVersion, "validation.named_version"},
    {Plant::kCounterBounds, "counter.bounds"},
    {Plant::kLockReleasedEarly, "lock.released_early"},
    {Plant::kLockShared, "lock.shared"},
    {Plant::kLockRunsAhead, "lock.runs_ahead"},
    {Plant::kPublishedEarly, "publish.before_insert"},
    {Plant::kStaleSnapshot, "snapshot.stale"},
    {Plant::kMergeLosesNewest, "merge.loses_newest"},
    {Plant::kAbortPublishes, "abort.publishes"},
    {Plant::kRollbackKeepsWrites, "rollback.keeps_writes"},
};

namespace detail {
Plant planted_now() noexcept;
void widen_planted() noexcept;
}  // namespace detail

inline bool planted([[maybe_unused]] Plant plant) noexcept {
  if constexpr (kPlantedBugs) return detail::planted_now() == plant;
  return false;
}

// As `planted`, after a short sleep when it is: for a bug whose moment is too short for two processors to meet in.
inline bool planted_widely(Plant plant) noexcept {
  if (!planted(plant)) return false;
  detail::widen_planted();
  return true;
}

// For tests: switches a bug on by name, or all off with an empty one.
void plant(const std::string& name);

}  // namespace hf::platform
