// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "failure.h"
#include "holdfast/holdfast.hpp"
#include "output.h"
#include "signals.h"
#include "units.h"

namespace tool {
namespace {

constexpr const char* kRootText =
    "Looks into, fills, checks, backs up and restores Holdfast databases: directories that any number of processes may "
    "have open meanwhile.";
constexpr const char* kRootFooter =
    "Exit codes:\n"
    "  0  done\n"
    "  1  nothing: no such row, table or database, or a condition on the row was not met\n"
    "  2  wrong arguments or input\n"
    "  3  refused: busy, locked, in conflict or over a limit; trying again may help\n"
    "  4  damage was found, or it is no database of this version\n"
    "  5  the system: disk full, no permission, read or write error\n"
    "  6  a mistake inside Holdfast\n"
    "  130, 143  interrupted by SIGINT, SIGTERM; 141: the reader of the output has gone\n"
    "\n"
    "Examples:\n"
    "  holdfast create shop\n"
    "  holdfast tables shop --create stock\n"
    "  holdfast put shop stock pear 12\n"
    "  holdfast top shop\n"
    "\n"
    "'holdfast COMMAND --help' explains a command, 'man holdfast' all of them.";

std::string version_text() {
  const int version = hf_version();
  return "holdfast " + std::to_string(version / 10'000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

// The stock formatter, without what crowds a line: which options exclude each other is said when they meet.
class Help : public CLI::Formatter {
 public:
  Help() {
    column_width(28);
    label("REQUIRED", "");
    label("TEXT", "");
    label("UINT", "");
    label("SUBCOMMAND", "COMMAND DIR ...");
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    // Behind a colon stands what it is checked for.
    const std::string full_type = option->get_type_name();
    const std::string type = full_type.substr(0, full_type.find(':'));
    const bool is_flag = option->get_items_expected_max() == 0;
    if (is_flag || option->get_positional() || type.empty()) return "";
    return " " + (type == "UINT" || type == "TEXT" ? "N" : type);
  }
};

// An option whose text is read by `parse` into `target`.
CLI::Option* add_parsed(CLI::App& app, const std::string& name, std::uint64_t& target, const std::string& text,
                        const char* type, bool (*parse)(std::string_view, std::uint64_t*)) {
  const auto read = [&target, parse, name, type](const std::string& given) {
    if (!parse(given, &target)) throw CLI::ValidationError(name, "'" + escape(given) + "' is not a " + type);
  };
  return app.add_option_function<std::string>(name, read, text)->type_name(type);
}

// To the parser "[a,b]" is a list of two where several values are legal. To us it is a key: marked so that it is not
// taken for a list, and freed from the mark when each option gets its value.
constexpr char kMark = '\x01';

std::vector<std::string> marked_arguments(int argc, char** argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  for (std::string& argument : arguments) {
    if (argument.size() > 1 && argument.front() == '[' && argument.back() == ']') argument += kMark;
  }
  std::reverse(arguments.begin(), arguments.end());  // as the parser wants them
  return arguments;
}

std::string without_mark(std::string text) {
  if (text.size() > 2 && text.back() == kMark && text[text.size() - 2] == ']') text.pop_back();
  return text;
}

}  // namespace

Commands::Commands() : root_(kRootText, "holdfast") {
  root_.formatter(std::make_shared<Help>());
  root_.require_subcommand(1);
  root_.set_version_flag("--version", version_text(), "Print the version of the library and exit");
  root_.footer(kRootFooter);
  root_.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  root_.failure_message([](const CLI::App*, const CLI::Error& error) {
    std::string text = error.what();
    std::erase(text, kMark);
    return "holdfast: " + text + "\n'holdfast --help' and 'holdfast COMMAND --help' tell more.\n";
  });
}

CLI::App& Commands::add(const CommandText& text, std::function<int()> run) {
  CLI::App& app = *root_.add_subcommand(text.name, text.summary);
  app.group(text.group);
  app.footer("Examples:\n" + std::string(text.examples));
  app.callback([this, run = std::move(run)] { chosen_ = run; });
  return app;
}

int Commands::run(int argc, char** argv) {
  try {
    for (CLI::App* command : root_.get_subcommands([](CLI::App*) { return true; })) {
      for (CLI::Option* option : command->get_options()) option->transform(without_mark, "", "mark");
    }
    root_.parse(marked_arguments(argc, argv));
  } catch (const CLI::ParseError& error) {
    return root_.exit(error) == 0 ? kDone : kUsage;
  }
  try {
    const int exit_code = chosen_();
    out().flush();
    return exit_code;
  } catch (const Failure& failure) {
    try {
      out().flush();  // what is true stays true
    } catch (const Failure&) {
      out().discard();
    }
    if (!failure.message().empty()) say(failure.message());
    return failure.exit_code();
  } catch (const std::bad_alloc&) {
    say("out of memory");
    return kTrouble;
  }
}

void add_common(CLI::App& app, Common& common, const char* directory_text) {
  app.add_option("DIR", common.directory, directory_text)->required();
  app.add_flag("--json", common.json, "Print JSON, one object per line");
  app.add_flag("-v,--verbose", common.verbose, "Say on stderr what the library reports and what was done");
}

void add_open_options(CLI::App& app, Common& common) {
  add_duration(app, "--timeout", common.timeout_ms,
               "How long to wait for locks (default 5s) and for a process that opens or closes (default 30s)");
  app.add_option("--memory-directory", common.memory_directory, "Where the shop keeps its shared memory, if not in DIR")
      ->type_name("PATH");
  add_size(app, "--map-size", common.map_size,
           "Address space for the data file (default 1T); lower it under ulimit -v");
}

void add_encoding(CLI::App& app, Encoding& encoding, bool with_raw) {
  const auto choose = [&encoding](Encoding chosen) { return [&encoding, chosen] { encoding = chosen; }; };
  auto* hex = app.add_flag_callback("--hex", choose(Encoding::kHex), "Keys and values are hexadecimal");
  auto* base64 = app.add_flag_callback("--base64", choose(Encoding::kBase64), "Keys and values are base64");
  auto* escaped = app.add_flag_callback("--escaped", choose(Encoding::kEscaped),
                                        "Arguments have the escapes of the output: \\n \\t \\r \\\\ \\xHH");
  hex->excludes(base64)->excludes(escaped);
  base64->excludes(escaped);
  if (!with_raw) return;
  app.add_flag_callback("--raw", choose(Encoding::kRaw), "Print bytes as they are")
      ->excludes(hex)
      ->excludes(base64)
      ->excludes(escaped);
}

void add_durability(CLI::App& app, std::uint32_t& durability) {
  const auto read = [&durability](const std::string& given) {
    durability = given == "relaxed" ? HF_RELAXED : HF_DURABLE;
  };
  app.add_option_function<std::string>("--durability", read,
                                       "full: done when it is on the disk (default); relaxed: when it is visible")
      ->check(one_of({"full", "relaxed"}))
      ->type_name("full|relaxed");
}

CLI::Validator one_of(std::vector<std::string> words) {
  const auto check = [words = std::move(words)](const std::string& given) -> std::string {
    std::string list;
    for (const std::string& word : words) {
      if (word == given) return {};
      list += (list.empty() ? "" : ", ") + word;
    }
    return "'" + escape(given) + "' is none of " + list;
  };
  return CLI::Validator(check, "");
}

CLI::Option* add_duration(CLI::App& app, const std::string& name, std::uint64_t& duration_ms, const std::string& text) {
  return add_parsed(app, name, duration_ms, text, "DURATION", parse_duration_ms);
}

CLI::Option* add_time(CLI::App& app, const std::string& name, std::uint64_t& time_ms, const std::string& text) {
  return add_parsed(app, name, time_ms, text, "TIME", parse_time_ms);
}

CLI::Option* add_size(CLI::App& app, const std::string& name, std::uint64_t& size, const std::string& text) {
  return add_parsed(app, name, size, text, "SIZE", parse_size);
}

}  // namespace tool
