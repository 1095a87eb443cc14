// SPDX-License-Identifier: Apache-2.0
// holdfast_bench COMMAND [--name value]... measures one thing once and prints it as JSON. bench/run.py calls it for the
// whole table; bench/README.md says what each command measures.
#include <dlfcn.h>
#include <lmdb.h>

#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "workloads.h"

namespace hf::bench {
namespace {

constexpr const char* kUsage =
    "usage: holdfast_bench describe\n"
    "       holdfast_bench sync|load|put|open|recovery [--engine holdfast|lmdb] --dir DIRECTORY [--rows N]\n"
    "         [--processes N] [--threads N] [--seconds S] [--warmup S] [--relaxed] [--memory] [--log-mib N]\n"
    "       holdfast_bench hot-row|hot-counter|pairs|basket [--engine holdfast|lmdb] --dir DIRECTORY [--rows N]\n"
    "         [--processes N] [--threads N] [--seconds S] [--warmup S] [--relaxed] [--strict] [--optimistic]\n"
    "       holdfast_bench backup --dir DIRECTORY [--rows N] [--processes N] [--threads N] [--seconds S]\n"
    "       holdfast_bench killed-holder --dir DIRECTORY [--processes N] [--threads N] [--kills N]\n"
    "       holdfast_bench read --dir DIRECTORY [--rows N] [--overlay-rows N] [--benchmark_...]\n"
    "       holdfast_bench lock --dir DIRECTORY [--rows N] [--benchmark_...]\n";

struct Command {
  std::string_view name;
  int (*run)(const Options&);
};
constexpr Command kCommands[] = {
    {"sync", run_sync},
    {"load", run_load},
    {"put", run_put},
    {"open", run_open},
    {"recovery", run_recovery},
    {"hot-row", run_hot_row},
    {"hot-counter", run_hot_counter},
    {"pairs", run_pairs},
    {"basket", run_basket},
    {"killed-holder", run_killed_holder},
    {"backup", run_backup},
};
// What Google Benchmark runs; it takes options of its own.
struct TimedCommand {
  std::string_view name;
  int (*run)(const Options&, int argc, char** argv);
};
constexpr TimedCommand kTimedCommands[] = {{"read", run_read}, {"lock", run_lock}};

// Why the figures of this build would mean nothing; null when they do.
const char* why_not_to_measure() {
#if !defined(NDEBUG)
  return "asserts are on";
#elif !defined(__OPTIMIZE__)
  return "it is not optimized";
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return "a sanitizer is on";
#elif defined(HOLDFAST_TEST_POINTS) && HOLDFAST_TEST_POINTS
  return "test points are compiled in";
#else
  // gcc defines no macro for this sanitizer; its runtime is there or not.
  return dlsym(RTLD_DEFAULT, "__ubsan_handle_add_overflow") != nullptr ? "a sanitizer is on" : nullptr;
#endif
}

int describe() {
  Report report;
  report.text("compiler", "gcc " __VERSION__);
  report.text("build", "optimized, without asserts, sanitizers and test points");
  report.count("holdfast_version", static_cast<std::uint64_t>(hf_version()));
  report.text("lmdb_version", mdb_version(nullptr, nullptr, nullptr));
  report.print();
  return 0;
}

double to_number(const char* name, const char* text) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= 0)) fail("%s: '%s' is not a number", name, text);
  return value;
}

bool set_option(Options& options, std::string_view name, const char* value) {
  const auto number = [&] { return to_number(name.data(), value); };
  if (name == "--engine") {
    options.engine = value;
  } else if (name == "--dir") {
    options.directory = value;
  } else if (name == "--rows") {
    options.rows = static_cast<std::uint64_t>(number());
  } else if (name == "--overlay-rows") {
    options.overlay_rows = static_cast<std::uint64_t>(number());
  } else if (name == "--log-mib") {
    options.log_mib = static_cast<std::uint64_t>(number());
  } else if (name == "--processes") {
    options.processes = static_cast<unsigned>(number());
  } else if (name == "--threads") {
    options.threads = static_cast<unsigned>(number());
  } else if (name == "--kills") {
    options.kills = static_cast<unsigned>(number());
  } else if (name == "--seconds") {
    options.seconds = number();
  } else if (name == "--warmup") {
    options.warmup_seconds = number();
  } else {
    return false;
  }
  return true;
}

// Fills `options`; what begins with --benchmark_ is left in `rest` for Google Benchmark.
void parse(int argc, char** argv, Options& options, std::vector<char*>& rest) {
  for (int i = 2; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--relaxed") {
      options.relaxed = true;
    } else if (name == "--memory") {
      options.memory = true;
    } else if (name == "--strict") {
      options.strict = true;
    } else if (name == "--optimistic") {
      options.optimistic = true;
    } else if (name.starts_with("--benchmark_")) {
      rest.push_back(argv[i]);
    } else if (i + 1 < argc && set_option(options, name, argv[i + 1])) {
      ++i;
    } else {
      fail("unknown option, or its value is missing: %s\n%s", argv[i], kUsage);
    }
  }
  if (options.directory.empty()) fail("--dir is missing\n%s", kUsage);
  if (options.rows == 0) fail("--rows has to be at least 1");
}

int run(int argc, char** argv) {
  if (const char* reason = why_not_to_measure()) fail("this build is not for measuring: %s", reason);
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "describe") return describe();
  Options options;
  std::vector<char*> rest{argv[0]};
  if (command.empty() || command.starts_with("-")) fail("no command\n%s", kUsage);
  parse(argc, argv, options, rest);
  for (const TimedCommand& timed : kTimedCommands) {
    if (command == timed.name) return timed.run(options, static_cast<int>(rest.size()), rest.data());
  }
  if (rest.size() > 1) fail("%s is for the commands read and lock only", rest[1]);
  for (const Command& known : kCommands) {
    if (command == known.name) return known.run(options);
  }
  fail("unknown command: %s\n%s", argv[1], kUsage);
}

}  // namespace
}  // namespace hf::bench

int main(int argc, char** argv) { return hf::bench::run(argc, argv); }
