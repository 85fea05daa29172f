-- Mappings of senders' own names, and what brought an event.
-- Locks: SHARE on each partition of events and on order_tellings while their index is made: reads go
-- on, writes wait for one pass over the table (BRIN sorts nothing).

-- Every version; the one in use lies in the source's settings too.
create table source_mappings (
  site_id int not null,
  source_id int not null,
  version int not null,
  document jsonb not null,                  -- {"rules": [...]}
  created_at timestamptz not null default now(),
  primary key (site_id, source_id, version)
);

-- What a delivery brought, for a replay that makes it anew. Deliveries' ids begin with their time,
-- and rows lie as they came: a few ranges of pages are read, and writing costs next to nothing.
create index events_delivery on events
  using brin (site_id, delivery_id uuid_minmax_multi_ops) with (autosummarize = on);
create index order_tellings_delivery on order_tellings (site_id, delivery_id);
