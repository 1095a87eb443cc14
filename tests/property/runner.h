// SPDX-License-Identifier: Apache-2.0
// The runner: a database and the model take the steps of a program side by side, and every answer is compared.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "isolation/fixture.h"
#include "property/model.h"
#include "property/program.h"

namespace hf::property {

// Runs steps; fails the running property where database and model differ.
class Runner {
 public:
  explicit Runner(const txn::DatabaseOptions& options);
  ~Runner();
  void run(const std::vector<Step>& steps);

 private:
  static constexpr int kActors = 4;
  static constexpr int kNames = 3;
  struct Actor;

  void take(const Step& step);
  void take_one(Actor& actor, const Step& step);
  void told_to_leave(Actor& actor);
  bool take_alone(const Step& step);  // those that are not a transaction's
  void take_row(Actor& actor, const Step& step);
  void take_savepoint(Actor& actor, const Step& step);
  void take_cursor(Actor& actor, const Step& step);
  void next(Actor& actor, int rows);
  void begin(Actor& actor, const Step& step);
  void commit(Actor& actor);
  void reopen();
  void burst(const Step& step);
  void change_tables(const Step& step);
  void end_all();
  void relieve(std::size_t bytes);
  void compare_everything();
  std::string new_value(const Step& step);
  std::size_t table_of(const Step& step) const;

  isolation::World world_;
  std::uint64_t overlay_bytes_max_;
  Model model_;
  std::vector<txn::Table*> handles_;  // of Model::tables
  std::array<std::unique_ptr<Actor>, kActors> actors_;
  std::uint64_t values_ = 0;
  std::size_t pressure_ = 0;  // bytes committed or written since nobody held a snapshot
  bool short_lived_ = false;  // a row was written that has to expire before anybody may see it
};

}  // namespace hf::property
