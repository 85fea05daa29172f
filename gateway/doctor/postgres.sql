-- Read only: what the doctor asks of Postgres itself.

-- name: extensions
select e.extname, e.extversion, a.default_version
from pg_extension e join pg_available_extensions a on a.name = e.extname

-- name: parameters
select name, setting from pg_settings where name = any(%(names)s)

-- name: invalid_indexes
-- In this schema, those left out that are being built right now.
select c.relname
from pg_index i join pg_class c on c.oid = i.indexrelid
where not i.indisvalid and c.relnamespace = current_schema()::regnamespace
  and not exists (select from pg_stat_progress_create_index p where p.index_relid = c.oid)
order by c.relname

-- name: missing_hnsw
-- Live models that searches reach by an index, whose table has none that is valid.
select s.name, m.vectors_table
from models m join sites s using (site_id)
where m.state = 'live' and m.has_index and not exists (
  select from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_am a on a.oid = c.relam
  where i.indrelid = to_regclass(m.vectors_table) and i.indisvalid and a.amname = 'hnsw'
)
order by s.name
