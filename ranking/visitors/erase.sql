-- name: person
-- All actors joined to these by facts up to that instant, in key order.
with recursive person as (
  select unnest(%(actors)s::uuid[]) as actor_id
  union
  select joined.actor_id
  from person p cross join lateral (
    select e.to_actor as actor_id, e.* from identity_edges e
    where e.site_id = %(site)s and e.from_actor = p.actor_id
    union all
    select e.from_actor, e.* from identity_edges e
    where e.site_id = %(site)s and e.to_actor = p.actor_id
  ) joined
  where joined.occurred_at <= %(at)s and joined.undone_at is null
    and (joined.kind = 'same' or joined.to_actor = (
      select (array_agg(o.to_actor order by o.occurred_at, o.to_actor))[1]
      from identity_edges o
      where o.site_id = %(site)s and o.kind in ('owned', 'alias')
        and o.from_actor = joined.from_actor
        and o.occurred_at <= %(at)s and o.undone_at is null
        and not exists (select from actors a where a.site_id = %(site)s
                        and a.actor_id = o.unless_actor and a.sent_id is not null)
      having count(distinct o.to_actor) <= %(most_owners)s))
)
select actor_id from person order by actor_id

-- name: tombstones
-- In key order, like every writer of actors. An id never seen gets its tombstone too: its events
-- may still be on their way.
insert into actors (site_id, actor_id, kind, erased_at)
select %(site)s, actor_id, 'user', %(at)s from unnest(%(actors)s::uuid[]) as a(actor_id)
order by actor_id
on conflict (site_id, actor_id) do update set
  erased_at = greatest(actors.erased_at, excluded.erased_at), version = actors.version + 1

-- name: events
delete from events
where site_id = %(site)s and actor_id = any(%(actors)s) and occurred_at <= %(at)s

-- name: identity_edges
delete from identity_edges
where site_id = %(site)s and occurred_at <= %(at)s
  and (from_actor = any(%(actors)s) or to_actor = any(%(actors)s))

-- name: user_traits
delete from user_traits
where site_id = %(site)s and as_of <= %(at)s
  and user_id in (select sent_id from actors where site_id = %(site)s and kind = 'user'
                  and actor_id = any(%(actors)s))

-- name: users
delete from users
where site_id = %(site)s and as_of <= %(at)s
  and user_id in (select sent_id from actors where site_id = %(site)s and kind = 'user'
                  and actor_id = any(%(actors)s))

-- name: profiles
delete from profiles
where site_id = %(site)s
  and visitor_id in (select actor_id from actors where site_id = %(site)s
                     and actor_id = any(%(actors)s)
                     union select visitor_id from members where site_id = %(site)s
                     and actor_id = any(%(actors)s))

-- name: forget_ids
-- The plain id stays only where a new person has begun under it since.
update actors a set sent_id = null
where site_id = %(site)s and actor_id = any(%(actors)s)
  and not exists (select from events e where e.site_id = a.site_id and e.actor_id = a.actor_id)
  and not exists (select from identity_edges e where e.site_id = a.site_id
                  and a.actor_id in (e.from_actor, e.to_actor))
