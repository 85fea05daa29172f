-- name: upsert
-- The newer instant wins, at equal instants the larger hash: whatever came first, one state.
insert into users (site_id, user_id, as_of, record_hash, deleted, record, written_at)
select distinct on (r.user_id) %(site)s, r.user_id, r.as_of, r.record_hash, false, r.record,
       %(received_at)s
from jsonb_to_recordset(%(rows)s)
  as r(user_id text, as_of timestamptz, record_hash uuid, record jsonb, actor_id uuid)
where not exists (select from actors a where a.site_id = %(site)s and a.actor_id = r.actor_id
                  and a.erased_at >= r.as_of)
order by r.user_id, r.as_of desc, r.record_hash desc
on conflict (site_id, user_id) do update set
  as_of = excluded.as_of, record_hash = excluded.record_hash,
  deleted = false, record = excluded.record, written_at = excluded.written_at
where (excluded.as_of, excluded.record_hash) > (users.as_of, users.record_hash)

-- name: note_traits
insert into user_traits (site_id, user_id, name, as_of, value)
select distinct on (r.user_id, r.name) %(site)s, r.user_id, r.name, r.as_of, r.value
from jsonb_to_recordset(%(rows)s)
  as r(user_id text, name text, as_of timestamptz, value jsonb, actor_id uuid)
where not exists (select from actors a where a.site_id = %(site)s and a.actor_id = r.actor_id
                  and a.erased_at >= r.as_of)
order by r.user_id, r.name, r.as_of desc, r.value desc nulls last
on conflict (site_id, user_id, name) do update set as_of = excluded.as_of, value = excluded.value
where excluded.as_of > user_traits.as_of
   or (excluded.as_of = user_traits.as_of and excluded.value > user_traits.value)

-- name: remove
insert into users (site_id, user_id, as_of, record_hash, deleted, record)
values (%(site)s, %(user)s, %(at)s, %(hash)s, true, '{}')
on conflict (site_id, user_id) do update set
  as_of = excluded.as_of, record_hash = excluded.record_hash, deleted = true, record = '{}'
where excluded.as_of >= users.as_of

-- name: delete
update users set deleted = true, record_hash = %(hash)s, record = '{}'
where site_id = %(site)s and user_id = %(user)s and written_at <= %(received_at)s

-- name: delete_traits
delete from user_traits
where site_id = %(site)s and user_id = %(user)s and as_of <= %(received_at)s

-- name: get
-- The record, and the traits that are newer than it (a removed record hides older ones too).
select u.record, t.traits
from (select 1) one
left join users u on u.site_id = %(site)s and u.user_id = %(user)s
left join lateral (
  select jsonb_object_agg(name, value order by name) as traits
  from user_traits where site_id = %(site)s and user_id = %(user)s
    and (u.as_of is null or as_of > u.as_of)
) t on true
where (u.user_id is not null and not u.deleted) or t.traits is not null

-- name: ids
select user_id from users where site_id = %(site)s and not deleted
union
select t.user_id from user_traits t
left join users u on u.site_id = t.site_id and u.user_id = t.user_id
where t.site_id = %(site)s and (u.as_of is null or t.as_of > u.as_of)
order by 1
