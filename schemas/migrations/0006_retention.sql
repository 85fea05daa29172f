-- What lasts when deliveries go, and which partitions are on their way out.
-- Locks: only new tables and a view, nothing existing is touched.

-- Written once for each partition of deliveries, before it is dropped. int, not bigint, of which
-- sums would be numeric and slow; no minute counts two billion.
create table ledger_minutes (
  site_id int not null,
  source_id int not null,
  minute timestamptz not null,
  deliveries int not null,
  received int not null,
  applied int not null,
  duplicate int not null,
  ignored int not null,
  refused int not null,
  failed int not null,
  primary key (site_id, source_id, minute),
  constraint ledger_balances check (received = applied + duplicate + ignored + refused + failed)
);

-- A row from the moment a partition is given up until it is dropped, so that a killed run goes on
-- where it was. Deliveries of such a partition are summed already: the row and the sums are one
-- commit.
create table partitions_leaving (
  name text primary key,
  parent text not null,
  since timestamptz not null,
  until timestamptz not null
);

-- The ledger: each delivery that is kept, and the minutes of those that were.
create view ledger as
select site_id, source_id, received_at as at, 1 as deliveries,
       received, applied, duplicate, ignored, refused, failed
from deliveries
where coalesce(
  not (select range_agg(tstzrange(since, until)) from partitions_leaving
       where parent = 'deliveries') @> received_at, true)
union all
select site_id, source_id, minute, deliveries,
       received, applied, duplicate, ignored, refused, failed
from ledger_minutes;
