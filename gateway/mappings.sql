-- Versions of the mapping of a source, and the deliveries that a proposed one is tried on.

-- name: current
select version, document, created_at from source_mappings
where site_id = %(site)s and source_id = %(source)s
order by version desc limit 1

-- name: version
select version, document, created_at from source_mappings
where site_id = %(site)s and source_id = %(source)s and version = %(version)s

-- name: versions
select version, created_at, jsonb_array_length(document->'rules') as rules
from source_mappings
where site_id = %(site)s and source_id = %(source)s
order by version desc

-- name: documents
select distinct document from source_mappings
where site_id = %(site)s and source_id = %(source)s

-- name: add
-- Nothing where the newest version says the same; an empty one is no change where there is none.
with newest as (
  select version, document from source_mappings
  where site_id = %(site)s and source_id = %(source)s
  order by version desc limit 1
)
insert into source_mappings (site_id, source_id, version, document)
select %(site)s, %(source)s, coalesce((select version from newest), 0) + 1, %(document)s
where coalesce((select document from newest), '{"rules": []}') <> %(document)s::jsonb
returning version

-- name: deliveries
-- The newest of a source, as many as so many bytes hold, the newest of all in any case.
select delivery_id, received_at, topic, headers, body
from (
  select d.*, sum(octet_length(body)) over (order by received_at desc, delivery_id desc) as bytes,
         row_number() over (order by received_at desc, delivery_id desc) as number
  from (select delivery_id, received_at, topic, headers, body from deliveries
        where site_id = %(site)s and source_id = %(source)s and body is not null
        order by received_at desc, delivery_id desc limit %(last)s) d
) d
where bytes <= %(bytes)s or number = 1
order by received_at desc, delivery_id desc
