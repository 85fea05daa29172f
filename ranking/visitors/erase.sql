-- name: lock_alone
select pg_advisory_xact_lock(%(site)s, hashtext('erasure'))

-- name: lock_shared
-- Not two locks one after the other: of two that hold the first neither would get the second.
select known.erased, case when known.erased
  then pg_advisory_xact_lock(%(site)s, hashtext('erasure'))
  else pg_advisory_xact_lock_shared(%(site)s, hashtext('erasure')) end
from (select exists (select from actors where site_id = %(site)s
                     and actor_id = any(%(joined)s::uuid[]) and erased_at is not null)) known(erased)

-- name: joined
-- Facts up to that instant that may join actors, among those one fact away from these, and of all
-- their devices, walked once together. Who may own an anonymous id is looked up once, however many
-- facts name it. An alias that names a user, void as an alias, has left that user's id behind.
with recursive ids as materialized (
  select unnest(%(actors)s::uuid[]) as actor_id
),
facts as materialized (
  select e.kind, e.from_actor, e.to_actor, e.unless_actor
  from ids i join identity_edges e on e.site_id = %(site)s and e.from_actor = i.actor_id
  where e.occurred_at <= %(at)s and e.undone_at is null
  union
  select e.kind, e.from_actor, e.to_actor, e.unless_actor
  from ids i join identity_edges e on e.site_id = %(site)s and e.to_actor = i.actor_id
  where e.occurred_at <= %(at)s and e.undone_at is null
),
walked (actor_id) as (
  (select from_actor from facts where kind in ('owned', 'alias') union
   select actor_id from ids)
  union
  select n.actor_id
  from walked w
  cross join lateral (
    select e.to_actor from identity_edges e
    where e.site_id = %(site)s and e.from_actor = w.actor_id and e.kind = 'device'
      and e.occurred_at <= %(at)s and e.undone_at is null
    union all
    select e.from_actor from identity_edges e
    where e.site_id = %(site)s and e.to_actor = w.actor_id and e.kind = 'device'
      and e.occurred_at <= %(at)s and e.undone_at is null
  ) n (actor_id)
),
devices as materialized (
  select actor_id from walked
)
select kind, from_actor, to_actor, null::timestamptz as since from facts where kind = 'same'
union all
select 'same', f.from_actor, f.to_actor, null
from facts f
join actors a on a.site_id = %(site)s and a.actor_id = f.unless_actor and a.sent_id is not null
where f.kind = 'alias'
union all
select e.kind, e.from_actor, e.to_actor, null
from devices d join identity_edges e on e.site_id = %(site)s and e.from_actor = d.actor_id
where e.kind = 'device' and e.occurred_at <= %(at)s and e.undone_at is null
union all
select 'owned', o.from_actor, o.to_actor, o.since from ({owners}) o

-- name: of_orders
-- Anybody can claim that a user placed an order: only an anonymous id, which is a device's secret.
select distinct actor_id from order_people
where site_id = %(site)s and order_id = any(%(orders)s)
  and (trust > %(claimed)s or not is_user)

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

-- name: answers
update answers set actor_id = null
where site_id = %(site)s and actor_id = any(%(actors)s) and answered_at <= %(at)s

-- name: paged_lists
delete from paged_lists where site_id = %(site)s and actor_id = any(%(actors)s)

-- name: forget_ids
-- The plain id stays only where a new person has begun under it since.
update actors a set sent_id = null
where site_id = %(site)s and actor_id = any(%(actors)s)
  and not exists (select from events e where e.site_id = a.site_id and e.actor_id = a.actor_id)
  and not exists (select from identity_edges e where e.site_id = a.site_id
                  and e.from_actor = a.actor_id)
  and not exists (select from identity_edges e where e.site_id = a.site_id
                  and e.to_actor = a.actor_id)
