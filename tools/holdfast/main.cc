// SPDX-License-Identifier: Apache-2.0
// `holdfast`: the operator's command. It knows the public headers only, so it can do nothing that a program could not.
#include "commands.h"
#include "output.h"
#include "signals.h"

int main(int argc, char** argv) {
  tool::guard_standard_streams();
  tool::install_signal_handlers();
  tool::Commands commands;
  tool::add_table_commands(commands);
  tool::add_row_commands(commands);
  tool::add_scan_command(commands);
  tool::add_load_command(commands);
  tool::add_dump_command(commands);
  tool::add_stat_command(commands);
  tool::add_locks_command(commands);
  tool::add_top_command(commands);
  tool::add_processes_command(commands);
  tool::add_check_command(commands);
  tool::add_backup_commands(commands);
  tool::add_compact_command(commands);
  tool::add_log_command(commands);
  tool::add_bench_command(commands);
  tool::add_completion_command(commands);
  return commands.run(argc, argv);
}
