// SPDX-License-Identifier: Apache-2.0
// Holdfast for C++20: a thin, header-only face of holdfast/holdfast.h, which is the manual. Everything here is inline
// and calls the C interface only; a program built with it needs no C++ symbol of the library.
//
//   auto db = holdfast::Database::open("shop");                     // result<Database>
//   auto stock = db->ensure_table("stock");                         // result<Table>
//   auto sold = db->transact([&](holdfast::Transaction& txn) -> holdfast::status {
//     auto row = txn.get(*stock, "pear");
//     if (!row) return row.error();
//     return txn.put(*stock, "pear", one_less(row->value));
//   });
//   if (!sold) std::cerr << sold.error().message() << '\n';
//
// Errors   Functions answer result<T> or status (a result without value). Nothing throws but value() of a result that
//          has none, in programs built with exceptions; and std::bad_alloc, where the standard library meets it.
// Handles  Database, Transaction, Cursor, Rows, Session and Load own theirs, move, and end them in their destructors; a
//          destructor rolls back what was not committed. Table is a plain value, good for as long as its Database. End
//          what belongs to a database before it: one whose transactions are still there does not close.
// Bytes    What goes in is a bytes_view, made from strings, literals and spans. What comes out is a std::string_view
//          into the engine's memory, valid until the transaction ends.
// Threads  As in C: Database and Table for any number of threads, everything else for one at a time.
#ifndef HOLDFAST_HOLDFAST_HPP
#define HOLDFAST_HOLDFAST_HPP

#include "holdfast/holdfast.h"
#include "holdfast/hpp/bytes.hpp"
#include "holdfast/hpp/database.hpp"
#include "holdfast/hpp/error.hpp"
#include "holdfast/hpp/load.hpp"
#include "holdfast/hpp/locks.hpp"
#include "holdfast/hpp/operations.hpp"
#include "holdfast/hpp/options.hpp"
#include "holdfast/hpp/rows.hpp"
#include "holdfast/hpp/time.hpp"
#include "holdfast/hpp/transaction.hpp"

#endif  // HOLDFAST_HOLDFAST_HPP
