// SPDX-License-Identifier: Apache-2.0
// completion: what a shell has to know to complete the command line, read off the commands themselves.
#include <algorithm>
#include <memory>

#include "commands.h"
#include "failure.h"

namespace tool {
namespace {

struct Flag {
  std::string name;  // with its dashes
  std::string text;
  bool takes_value = false;
  std::string values;  // to choose from, separated by spaces
};

std::vector<Flag> flags_of(const CLI::App& app) {
  std::vector<Flag> flags;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) continue;
    const bool takes_value = option->get_items_expected_max() > 0;
    std::string values;
    const std::string type = option->get_type_name();
    // Alternatives are written into the type: full|relaxed.
    if (const std::string list = type.substr(0, type.find(':')); list.find('|') != std::string::npos) {
      values = list;
      std::replace(values.begin(), values.end(), '|', ' ');
    }
    for (const std::string& name : option->get_snames())
      flags.push_back({"-" + name, option->get_description(), takes_value, values});
    for (const std::string& name : option->get_lnames())
      flags.push_back({"--" + name, option->get_description(), takes_value, values});
  }
  return flags;
}

std::vector<const CLI::App*> commands_of(const CLI::App& root) {
  return root.get_subcommands([](const CLI::App*) { return true; });
}

std::string joined(const std::vector<Flag>& flags) {
  std::string text;
  for (const Flag& flag : flags) text += (text.empty() ? "" : " ") + flag.name;
  return text;
}

// For a shell's single quotes.
std::string quoted(std::string text) {
  for (std::size_t place = 0; (place = text.find('\'', place)) != std::string::npos; place += 4) {
    text.replace(place, 1, "'\\''");
  }
  return "'" + text + "'";
}

std::string bash_script(const CLI::App& root) {
  std::string names;
  std::string cases;
  std::string values;
  for (const CLI::App* command : commands_of(root)) {
    names += command->get_name() + " ";
    cases += "    " + command->get_name() + ") words='" + joined(flags_of(*command)) + "' ;;\n";
    for (const Flag& flag : flags_of(*command)) {
      if (flag.values.empty()) continue;
      values += "    " + command->get_name() + ":" + flag.name + ") words='" + flag.values + "' ;;\n";
    }
  }
  return "# bash completion of holdfast; made by: holdfast completion bash\n"
         "_holdfast() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} "
         "words=\n"
         "  COMPREPLY=()\n"
         "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -W '" +
         names + joined(flags_of(root)) +
         "' -- \"$current\")\n"
         "    return\n"
         "  fi\n"
         "  case \"$command:$before\" in\n" +
         values +
         "    completion:completion) words='bash zsh fish' ;;\n"
         "  esac\n"
         "  if [ -n \"$words\" ]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
         "    return\n"
         "  fi\n"
         "  case \"$current\" in -*) ;; *)\n"
         "    compopt -o filenames 2>/dev/null\n"
         "    mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
         "    return ;;\n"
         "  esac\n"
         "  case \"$command\" in\n" +
         cases +
         "  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
         "}\n"
         "complete -F _holdfast holdfast\n";
}

// What _arguments wants escaped inside of a description.
std::string zsh_text(std::string text) {
  for (const char c : {'[', ']', ':'}) {
    for (std::size_t place = 0; (place = text.find(c, place)) != std::string::npos; place += 2)
      text.insert(place, 1, '\\');
  }
  return text;
}

std::string zsh_script(const CLI::App& root) {
  std::string list;
  std::string cases;
  for (const CLI::App* command : commands_of(root)) {
    list += "    " + quoted(command->get_name() + ":" + zsh_text(command->get_description())) + "\n";
    cases += "    " + command->get_name() + ")\n      _arguments -s \\\n";
    for (const Flag& flag : flags_of(*command)) {
      std::string spec = flag.name + "[" + zsh_text(flag.text) + "]";
      if (!flag.values.empty()) {
        spec += ":value:(" + flag.values + ")";
      } else if (flag.takes_value) {
        spec += ":value:_files";
      }
      cases += "        " + quoted(spec) + " \\\n";
    }
    cases +=
        command->get_name() == "completion" ? "        ':shell:(bash zsh fish)' ;;\n" : "        '*:file:_files' ;;\n";
  }
  return "#compdef holdfast\n"
         "# zsh completion of holdfast; made by: holdfast completion zsh\n"
         "_holdfast() {\n"
         "  local -a commands\n"
         "  commands=(\n" +
         list +
         "  )\n"
         "  if (( CURRENT == 2 )); then\n"
         "    _describe 'command' commands\n"
         "    return\n"
         "  fi\n"
         "  local command=${words[2]}\n"
         "  shift words\n"
         "  (( CURRENT-- ))\n"
         "  case \"$command\" in\n" +
         cases +
         "  esac\n"
         "}\n"
         "if [ \"$funcstack[1]\" = _holdfast ]; then _holdfast \"$@\"; else compdef _holdfast holdfast; fi\n";
}

std::string fish_script(const CLI::App& root) {
  std::string text = "# fish completion of holdfast; made by: holdfast completion fish\n";
  for (const CLI::App* command : commands_of(root)) {
    text += "complete -c holdfast -f -n __fish_use_subcommand -a " + command->get_name() + " -d " +
            quoted(command->get_description()) + "\n";
  }
  for (const CLI::App* command : commands_of(root)) {
    const std::string when = "complete -c holdfast -n '__fish_seen_subcommand_from " + command->get_name() + "'";
    for (const Flag& flag : flags_of(*command)) {
      const bool is_long = flag.name.compare(0, 2, "--") == 0;
      text += when + (is_long ? " -l " + flag.name.substr(2) : " -s " + flag.name.substr(1));
      if (!flag.values.empty())
        text += " -x -a " + quoted(flag.values);
      else if (flag.takes_value)
        text += " -r";
      text += " -d " + quoted(flag.text) + "\n";
    }
    if (command->get_name() == "completion") text += when + " -f -a 'bash zsh fish'\n";
  }
  return text;
}

}  // namespace

void add_completion_command(Commands& commands) {
  auto shell = std::make_shared<std::string>();
  const CLI::App* root = &commands.root();
  CLI::App& app = commands.add(
      {"completion", kOtherGroup, "Print what a shell needs to complete the command line",
       "  holdfast completion bash > /etc/bash_completion.d/holdfast\n"
       "  source <(holdfast completion zsh)\n"
       "  holdfast completion fish > ~/.config/fish/completions/holdfast.fish"},
      [shell, root] {
        out().write(*shell == "bash" ? bash_script(*root) : *shell == "zsh" ? zsh_script(*root) : fish_script(*root));
        return static_cast<int>(kDone);
      });
  app.add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(one_of({"bash", "zsh", "fish"}));
}

}  // namespace tool
