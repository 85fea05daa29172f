-- Sites, sources and keys. Only gateway/access.py runs and changes them.

-- name: insert_site
insert into sites (name, pepper) values (%(name)s, %(pepper)s)
on conflict (name) do nothing
returning site_id

-- name: site_by_name
select site_id, name, pepper, settings from sites where name = %(name)s

-- name: site_by_id
select site_id, name, pepper, settings from sites where site_id = %(site_id)s

-- name: change_site_settings
-- Null takes one away.
update sites set settings = (settings || %(changes)s)
  - array(select key from jsonb_each(%(changes)s::jsonb) where value = 'null')
where site_id = %(site_id)s

-- name: site_names
select name from sites order by name

-- name: insert_source
-- A source is its own scope of deduplication unless it brings the archive of another one.
with number as (select nextval(pg_get_serial_sequence('sources', 'source_id'))::int as source_id)
insert into sources
  (site_id, source_id, public_id, connector, dedupe_scope, secrets_sealed, settings)
select %(site_id)s, source_id, %(public_id)s, %(connector)s,
       coalesce(%(dedupe_scope)s::int, source_id), %(secrets_sealed)s, %(settings)s
from number
returning source_id, dedupe_scope

-- name: source_by_public_id
select site_id, source_id, public_id, connector, dedupe_scope, secrets_sealed, s.settings, pepper
from sources s join sites using (site_id)
where public_id = %(public_id)s

-- name: sources_of
select site_id, source_id, public_id, connector, dedupe_scope, secrets_sealed, s.settings, pepper
from sources s join sites using (site_id)
where connector = %(connector)s and s.settings->>'shop' = %(shop)s
order by s.created_at desc, source_id desc

-- name: source_by_id
select site_id, source_id, public_id, connector, dedupe_scope, secrets_sealed, s.settings, pepper
from sources s join sites using (site_id)
where site_id = %(site_id)s and source_id = %(source_id)s

-- name: api_source
-- The first one of the connector: every site is made with it.
select site_id, source_id, public_id, connector, dedupe_scope, secrets_sealed, s.settings, pepper
from sources s join sites using (site_id)
where site_id = %(site_id)s and connector = 'api'
order by source_id limit 1

-- name: sources
select source_id, public_id as source, connector, dedupe_scope, settings, created_at
from sources where site_id = %(site_id)s order by source_id

-- name: change_settings
-- Null takes one away; a null inside another one stays.
update sources set settings = (settings || %(changes)s)
  - array(select key from jsonb_each(%(changes)s::jsonb) where value = 'null')
where site_id = %(site_id)s and source_id = %(source_id)s

-- name: lock_source
select from sources where site_id = %(site_id)s and source_id = %(source_id)s for update

-- name: set_mapping
update sources set settings = settings || jsonb_build_object(
  'mapping', jsonb_build_object('version', %(version)s::int) || %(document)s::jsonb)
where site_id = %(site_id)s and source_id = %(source_id)s

-- name: lock_source_secrets
select secrets_sealed from sources
where site_id = %(site_id)s and source_id = %(source_id)s for update

-- name: update_source_secrets
update sources set secrets_sealed = %(secrets_sealed)s
where site_id = %(site_id)s and source_id = %(source_id)s

-- name: insert_key
insert into keys
  (key_hash, site_id, kind, scopes, source_id, sealed, plain, requests_per_second)
values (%(key_hash)s, %(site_id)s, %(kind)s, %(scopes)s, %(source_id)s, %(sealed)s, %(plain)s,
        %(requests_per_second)s)
returning key_id

-- name: key
select site_id, key_id, kind, scopes, source_id, sealed,
       coalesce(requests_per_second, (settings ->> 'requests_per_second')::int)
from keys join sites using (site_id)
where key_hash = %(key_hash)s and (expires_at is null or expires_at > now())

-- name: live_secret_keys
select sealed from keys
where site_id = %(site_id)s and kind = 'secret' and (expires_at is null or expires_at > now())

-- name: keys
select key_id, kind, scopes, source_id, sealed, plain, requests_per_second, created_at, expires_at,
       coalesce(expires_at <= now(), false) as expired
from keys where site_id = %(site_id)s order by key_id

-- name: retire_keys
-- Rotation: what is already to expire sooner stays so.
update keys set expires_at = now() + %(overlap)s
where site_id = %(site_id)s and key_id = any(%(key_ids)s)
  and (expires_at is null or expires_at > now() + %(overlap)s)

-- name: limit_key
update keys set requests_per_second = %(requests_per_second)s
where site_id = %(site_id)s and key_id = %(key_id)s
returning key_id

-- name: revoke_key
update keys set expires_at = least(expires_at, now())
where site_id = %(site_id)s and key_id = %(key_id)s
returning key_id
