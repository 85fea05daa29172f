-- What a backup and a restore must know of a database. Only gateway/backup.py runs these.

-- name: snapshot
-- The dump sees what this transaction sees.
select pg_export_snapshot()

-- name: tables
-- Bytes of each table that holds rows, without indexes.
select c.relname, pg_table_size(c.oid)::bigint from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
order by c.relname

-- name: other_schemas
select nspname from pg_namespace
where nspname !~ '^pg_' and nspname <> 'information_schema' and nspname <> current_schema()

-- name: migrations
select name from migrations order by name

-- name: sites
select name from sites order by name

-- name: sealed
-- Any secret that ATTUNE_SECRET_KEY must open.
select secrets_sealed from sources order by created_at limit 1

-- name: beating
select role, host, pid from heartbeats where beat_at > now() - interval '60 seconds' order by role

-- name: is_empty
-- Nothing of anybody's: views, tables and sequences that belong to no extension.
select not exists (
  select from pg_class c
  where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
    and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass
                    and d.objid = c.oid and d.deptype = 'e'))

-- name: locks
-- How many locks one transaction may take, about.
select current_setting('max_locks_per_transaction')::int
  * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int)

-- name: building
-- What is made into an index now (by the statement, for its tables are nobody else's to see yet),
-- and how many rows of it.
select a.query, p.tuples_done
from pg_stat_progress_create_index p join pg_stat_activity a using (pid)
where p.datname = current_database() limit 1

-- name: analyze
vacuum (analyze) {table}

-- name: index_memory
-- An index of vectors that does not fit is built many times slower.
set local maintenance_work_mem = '512MB'; set local max_parallel_maintenance_workers = {helpers}

-- name: wipe
-- Sent in the restore's own transaction: whatever was there comes back if that fails.
do $$
declare
  one record;
begin
  for one in
    select format('%I', c.relname) as name, c.relkind as kind from pg_class c
    where c.relnamespace = current_schema()::regnamespace
      and c.relkind in ('r', 'p', 'v', 'm', 'S') and not c.relispartition
      and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass
                      and d.objid = c.oid
                      and (d.deptype = 'e' or c.relkind = 'S' and d.deptype in ('a', 'i')))
  loop
    execute format('drop %s if exists %s cascade', case one.kind
      when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
      else 'table' end, one.name);
  end loop;
  for one in
    select p.oid::regprocedure as name from pg_proc p
    where p.pronamespace = current_schema()::regnamespace
      and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass
                      and d.objid = p.oid and d.deptype = 'e')
  loop
    execute format('drop routine if exists %s cascade', one.name);
  end loop;
  for one in
    select format('%I', t.typname) as name from pg_type t
    where t.typnamespace = current_schema()::regnamespace and t.typtype in ('e', 'd')
      and not exists (select from pg_depend d where d.classid = 'pg_type'::regclass
                      and d.objid = t.oid and d.deptype = 'e')
  loop
    execute format('drop type if exists %s cascade', one.name);
  end loop;
end $$;
