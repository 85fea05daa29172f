-- name: find
select query_hash, vector from queries
where site_id = %(site_id)s and query_hash = any(%(keys)s)

-- name: keep
insert into queries (site_id, query_hash, text, vector, made_at)
values (%(site_id)s, %(key)s, %(text)s, %(vector)s, %(at)s)
on conflict (site_id, query_hash) do nothing

-- name: purge
delete from queries where made_at < %(before)s
