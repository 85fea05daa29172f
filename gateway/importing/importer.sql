-- How far the import of each file has come. Only gateway/importing/importer.py runs and changes this.

-- name: lock
-- Ends with the connection, however that ends.
select pg_try_advisory_lock(hashtextextended(%(key)s, 0))

-- name: unlock
select pg_advisory_unlock(hashtextextended(%(key)s, 0))

-- name: find
-- One that is finished, is part of another snapshot, or lies too long is not gone on with.
select records, counts, problems from imports
where site_id = %(site_id)s and source_id = %(source_id)s and kind = %(kind)s
  and file_hash = %(file_hash)s and run is not distinct from %(run)s
  and finished_at is null and updated_at > %(since)s

-- name: begin
insert into imports (site_id, source_id, kind, file_hash, name, run, started_at, updated_at)
values (%(site_id)s, %(source_id)s, %(kind)s, %(file_hash)s, %(name)s, %(run)s, %(at)s, %(at)s)
on conflict (site_id, source_id, kind, file_hash) do update set
  name = excluded.name, run = excluded.run, records = 0, counts = '{}', problems = '[]',
  started_at = excluded.started_at, updated_at = excluded.updated_at, finished_at = null

-- name: advance
update imports set
  records = %(records)s, counts = %(counts)s, problems = %(problems)s, updated_at = %(at)s,
  finished_at = case when %(finished)s then %(at)s else finished_at end
where site_id = %(site_id)s and source_id = %(source_id)s and kind = %(kind)s
  and file_hash = %(file_hash)s

-- name: purge
delete from imports where updated_at < %(before)s
