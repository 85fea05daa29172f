-- What visitors took in the same sessions as a product, rebuilt by the clock's task from events.
-- Locks: only a new table, nothing existing is touched.

-- One row a product, so that a list reads as many rows as a visitor has last products.
create table neighbours (
  site_id int not null,
  product_no int not null,
  other_nos int[] not null,                 -- the nearest first
  shares real[] not null,                   -- of each, see ranking.catalog.neighbours; their sum is at most 1
  primary key (site_id, product_no)
) with (fillfactor = 80);
