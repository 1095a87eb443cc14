// SPDX-License-Identifier: Apache-2.0
// Torture: campaigns that provoke each row of the failure matrix by machine. One program, one subcommand per campaign.
// Each is deterministic by its seed as far as threads and processes allow, prints the seed first, and ends with one
// line of JSON: its figures. Exit code 0: everything that must hold held.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>

namespace torture {

// What every campaign takes. `--short` is the form that runs with the tests, the default is a middling one, `--long` is
// the one whose figures stand in docs/reliability.md.
struct Common {
  std::uint64_t seed = 0;  // 0: from the clock, printed
  bool is_short = false;
  bool is_long = false;
  std::string directory;  // where databases are made; default: $TEST_TMPDIR, or the system's

  template <typename T>
  T pick(T short_form, T middle, T long_form) const {
    return is_short ? short_form : is_long ? long_form : middle;
  }
};
// Adds --seed, --short, --long, --directory to a subcommand.
std::shared_ptr<Common> add_common(CLI::App& command);
// The seed to use, printed to standard output.
std::uint64_t settle_seed(Common& common);
// A fresh empty directory below common.directory. Its owner removes it.
std::string make_directory(const Common& common, const std::string& name);

// Each adds its subcommand; the callback sets `*exit_code`.
void add_power(CLI::App& app, int* exit_code);      // states a disk can show after a power failure
void add_histories(CLI::App& app, int* exit_code);  // recorded histories, checked for isolation
void add_kill(CLI::App& app, int* exit_code);       // processes killed at random and at named points
void add_flips(CLI::App& app, int* exit_code);      // flipped bits

}  // namespace torture
