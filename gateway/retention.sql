-- What is older than it is kept for goes by whole partitions. Only gateway/retention.py runs these,
-- one run at a time, each statement in the order of this file.

-- name: lock
select pg_try_advisory_lock(%(lock)s)

-- name: unlock
select pg_advisory_unlock(%(lock)s)

-- name: partitions
-- Every partition of a parent, and what a killed run left detached; sizes with indexes.
select c.relname as name, i.inhrelid is not null as attached,
       coalesce(i.inhdetachpending, false) as pending, l.name is not null as leaving,
       greatest(c.reltuples, 0)::bigint as rows, pg_total_relation_size(c.oid) as bytes
from pg_class c
left join pg_inherits i on i.inhrelid = c.oid and i.inhparent = to_regclass(%(parent)s)
left join partitions_leaving l on l.name = c.relname and l.parent = %(parent)s
where c.relnamespace = current_schema()::regnamespace
  and (i.inhrelid is not null or l.name is not null)
order by c.relname

-- name: forget_missing
-- Whoever drops a table by hand leaves its row.
delete from partitions_leaving where to_regclass(name) is null

-- name: has_failed
-- Index-only: the partial index of failed deliveries holds nothing else.
select exists (select from {partition} where failed > 0)

-- name: close
-- Waits for replays under way and holds back new ones, which then see that it is leaving: not for
-- readers, and not for what comes in, which goes to another partition.
lock table {partition} in exclusive mode

-- name: sum_up
-- In the transaction that marks it: each delivery is in the one or the other half of the ledger.
insert into ledger_minutes as m (site_id, source_id, minute, deliveries,
                                 received, applied, duplicate, ignored, refused, failed)
select site_id, source_id, date_trunc('minute', received_at), count(*)::int,
       sum(received)::int, sum(applied)::int, sum(duplicate)::int, sum(ignored)::int,
       sum(refused)::int, sum(failed)::int
from {partition}
group by 1, 2, 3
on conflict (site_id, source_id, minute) do update set
  deliveries = m.deliveries + excluded.deliveries, received = m.received + excluded.received,
  applied = m.applied + excluded.applied, duplicate = m.duplicate + excluded.duplicate,
  ignored = m.ignored + excluded.ignored, refused = m.refused + excluded.refused,
  failed = m.failed + excluded.failed

-- name: give_up
insert into partitions_leaving (name, parent, since, until)
values (%(name)s, %(parent)s, %(since)s, %(until)s)
on conflict do nothing
returning name

-- name: detach
-- SHARE UPDATE EXCLUSIVE on the parent; waits for those who read it, outside any transaction.
alter table {parent} detach partition {partition} concurrently

-- name: finalize
-- The second half of a detach that was interrupted.
alter table {parent} detach partition {partition} finalize

-- name: drop
drop table if exists {partition}

-- name: gone
delete from partitions_leaving where name = %(name)s
