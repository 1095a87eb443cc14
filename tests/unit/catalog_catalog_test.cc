// SPDX-License-Identifier: Apache-2.0
// Tables: make, find, rename, drop, list; old snapshots go on reading; bulk loads appear at once or never.
#include "catalog/catalog.h"

#include "txn_testing.h"

namespace hf::txn {
namespace {

class CatalogTest : public TxnTest {};

TEST_F(CatalogTest, CreateOpenListRenameDrop) {
  open();
  bool existed = true;
  ASSERT_TRUE(catalog_->create("b", &existed).ok());
  EXPECT_FALSE(existed);
  ASSERT_TRUE(catalog_->create("a", &existed).ok());
  ASSERT_TRUE(catalog_->create("a", &existed).ok());
  EXPECT_TRUE(existed);
  std::string names;
  ASSERT_TRUE(catalog_
                  ->list([&](const std::string& name) {
                    names += name + " ";
                    return true;
                  })
                  .ok());
  EXPECT_EQ(names, "a b ");
  EXPECT_EQ(catalog_->rename("a", "b").code(), Code::kEXISTS);
  ASSERT_TRUE(catalog_->rename("a", "c").ok());
  EXPECT_EQ(catalog_->open("a").code(), Code::kNO_TABLE);
  EXPECT_TRUE(catalog_->open("c").ok());
  ASSERT_TRUE(catalog_->drop("c").ok());
  EXPECT_EQ(catalog_->drop("c").code(), Code::kNO_TABLE);
}

TEST_F(CatalogTest, ADroppedTableIsReadByOldSnapshotsAndWrittenByNobody) {
  open();
  Table& items = table("items");
  put(items, "a", "1");
  ASSERT_TRUE(db_->maintain(true).ok());
  put(items, "b", "2");
  auto old = begin();
  auto writer = begin();
  ASSERT_TRUE(writer->put(items, "c", "3", 0).ok());
  EXPECT_EQ(scan(*old, items), "a=1 b=2");
  ASSERT_TRUE(catalog_->drop("items").ok());
  EXPECT_EQ(scan(*old, items), "a=1 b=2");
  EXPECT_EQ(writer->commit(true).code(), Code::kNO_TABLE);
  auto fresh = begin();
  RowView row;
  EXPECT_EQ(fresh->get(items, "a", &row).code(), Code::kNO_TABLE);
  ASSERT_TRUE(db_->maintain(true).ok());
  EXPECT_EQ(scan(*old, items), "a=1 b=2");
  Table& again = table("items");
  auto empty = begin();
  EXPECT_EQ(scan(*empty, again), "");
}

TEST_F(CatalogTest, BulkLoadAppearsAtOnce) {
  open();
  Table& items = table("items");
  auto old = begin();
  EXPECT_EQ(scan(*old, items), "");
  BulkLoad load(db_);
  ASSERT_TRUE(catalog_->begin_load(items, &load, Deadline::after_ms(5000)).ok());
  for (int i = 0; i < 1000; ++i) {
    char key[8];
    std::snprintf(key, sizeof key, "%04d", i);
    ASSERT_TRUE(load.add(key, "v", 0).ok());
  }
  EXPECT_EQ(load.add("0000", "v", 0).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(get(items, "0001"), "(none)");
  const Status finished = catalog_->finish_load(items, &load);
  ASSERT_TRUE(finished.ok()) << finished.message();
  EXPECT_EQ(get(items, "0001"), "v");
  EXPECT_EQ(scan(*old, items), "");
  Result<catalog::TableStats> stats = catalog_->stats(items);
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats.value().rows_approximate, 1000u);
  ASSERT_TRUE(old->put(items, "x", "late", 0).ok());
  EXPECT_EQ(old->commit(true).code(), Code::kCONFLICT);
  close();
  open();
  Result<Table*> again = catalog_->open("items");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(get(*again.value(), "0999"), "v");
}

TEST_F(CatalogTest, ALoadIntoATableThatGotRowsMeanwhileIsRefused) {
  open();
  Table& items = table("items");
  BulkLoad load(db_);
  ASSERT_TRUE(catalog_->begin_load(items, &load, Deadline::after_ms(5000)).ok());
  ASSERT_TRUE(load.add("a", "loaded", 0).ok());
  put(items, "b", "written");
  EXPECT_EQ(catalog_->finish_load(items, &load).code(), Code::kEXISTS);
  auto txn = begin();
  EXPECT_EQ(scan(*txn, items), "b=written");
}

TEST_F(CatalogTest, ApproximateCountIsExactForSmallTables) {
  open();
  Table& items = table("items");
  put(items, "a", "1");
  put(items, "b", "1");
  ASSERT_TRUE(db_->maintain(true).ok());
  put(items, "b", "2");
  put(items, "c", "2");
  auto txn = begin();
  ASSERT_TRUE(txn->remove(items, "a").ok());
  ASSERT_TRUE(txn->commit(true).ok());
  Result<catalog::TableStats> stats = catalog_->stats(items);
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats.value().rows_approximate, 2u);
}

}  // namespace
}  // namespace hf::txn
