-- Lists given out page by page.
-- Locks: only new tables, nothing existing is touched.

-- What a visitor was given under a pagination_id, in order; dropped after half an hour without a
-- request. touched_at is in no index, so that a request for a page changes the row alone.
create table paged_lists (
  site_id int not null,
  list_hash uuid not null,                  -- of the pagination_id, whose it is and which list
  actor_id uuid,                            -- whose: for erasure
  asked uuid not null,                      -- hash of what decides which products may be in it
  version int not null,                     -- raised by every change: of two at once one starts again
  touched_at timestamptz not null,
  served jsonb not null,                    -- [[product_no, group_key, parts, rules that lifted it, source], …]
  variants int[] not null,                  -- the other products of their groups, where one stands for all
  primary key (site_id, list_hash)
);
create index paged_lists_actor on paged_lists (site_id, actor_id) where actor_id is not null;

-- What was bought together with a product, rebuilt by the clock's task from purchases.
create table bought_together (
  site_id int not null,
  product_no int not null,
  other_no int not null,
  score real not null,                      -- from 0 to 1, see ranking.catalog.together
  primary key (site_id, product_no, other_no)
);
