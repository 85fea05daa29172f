-- name: lock
-- The site's identity lock, taken last in a transaction and held to its end.
select pg_advisory_xact_lock(%(site)s, hashtext('identity'))

-- name: neighbourhood
-- Every actor whose visitor may change with the visitor it has now, and the facts among them as they
-- stand now: the old components of the touched actors and of those one fact away, and those of
-- whoever may own one of these. One person may own thousands of ids: each step is materialized, so
-- that no two members are paired, and a plain join, so that it is hashed where an index serves badly.
with touched as materialized (
  select unnest(%(actors)s::uuid[]) as actor_id
  union
  select e.from_actor from identity_edges e
  where e.site_id = %(site)s and e.unless_actor = any(%(actors)s::uuid[])
),
near as materialized (
  select actor_id from touched
  union
  select e.to_actor from touched t
  join identity_edges e on e.site_id = %(site)s and e.from_actor = t.actor_id
  where e.kind in ('same', 'device') and e.undone_at is null
  union
  select e.from_actor from touched t
  join identity_edges e on e.site_id = %(site)s and e.to_actor = t.actor_id
  where e.kind in ('same', 'device') and e.undone_at is null
),
near_visitors as materialized (
  select distinct m.visitor_id
  from near n join members m on m.site_id = %(site)s and m.actor_id = n.actor_id
),
reached as materialized (
  select actor_id from near
  union
  select m.actor_id
  from near_visitors v join members m on m.site_id = %(site)s and m.visitor_id = v.visitor_id
),
owners as materialized (
  select o.from_actor, o.to_actor, o.since from ({reached_owners}) o
),
owner_visitors as materialized (
  select distinct m.visitor_id
  from owners o join members m on m.site_id = %(site)s and m.actor_id = o.to_actor
),
affected as materialized (
  select actor_id from reached
  union
  select to_actor from owners
  union
  select m.actor_id
  from owner_visitors v join members m on m.site_id = %(site)s and m.visitor_id = v.visitor_id
)
select e.kind, a.actor_id, e.to_actor, e.occurred_at, null::uuid as visitor_id
from affected a
join identity_edges e on e.site_id = %(site)s and e.from_actor = a.actor_id
where e.kind in ('same', 'device') and e.undone_at is null
  -- an alias names ids that nobody ever was: those join nobody
  and (e.kind = 'device'
       or 2 = (select count(*) from actors s where s.site_id = %(site)s and s.sent_id is not null
               and s.actor_id in (a.actor_id, e.to_actor)))
union all
select 'owned', o.from_actor, o.to_actor, o.since, null from ({affected_owners}) o
union all
select 'is', a.actor_id, null, null, m.visitor_id
from affected a left join members m on m.site_id = %(site)s and m.actor_id = a.actor_id

-- name: owners
-- Who may own each anonymous id among these, since when: the users of its facts, the earliest
-- first, and no more of them than tell that there are too many.
select f.from_actor, f.to_actor, f.since from (
  select e.from_actor, e.to_actor, min(e.occurred_at) as since,
         row_number() over (partition by e.from_actor order by min(e.occurred_at), e.to_actor) as n
  from {ids} t
  join identity_edges e on e.site_id = %(site)s and e.from_actor = t.actor_id
  where e.kind in ('owned', 'alias') and e.undone_at is null {until}
    and (select a.sent_id from actors a
         where a.site_id = %(site)s and a.actor_id = e.unless_actor) is null
  group by e.from_actor, e.to_actor
) f
where f.n <= %(most_owners)s + 1

-- name: replace_members
-- Only what changes; null: a visitor of one actor needs no row.
with changed as materialized (
  select actor_id, visitor_id
  from jsonb_to_recordset(%(members)s) as r(actor_id uuid, visitor_id uuid)
),
alone as (
  delete from members m
  where m.site_id = %(site)s
    and m.actor_id = any(array(select actor_id from changed where visitor_id is null))
)
insert into members (site_id, actor_id, visitor_id)
select %(site)s, actor_id, visitor_id from changed where visitor_id is not null order by actor_id
on conflict (site_id, actor_id) do update set visitor_id = excluded.visitor_id
where members.visitor_id <> excluded.visitor_id

-- name: undo_all
-- Locked in the order in which whatever tells facts locks them.
with held as materialized (
  select e.kind, e.from_actor, e.to_actor
  from unnest(%(from)s::uuid[], %(to)s::uuid[]) as p(from_actor, to_actor)
  join identity_edges e on e.site_id = %(site)s
    and e.from_actor = p.from_actor and e.to_actor = p.to_actor
  where e.undone_at is null
  order by e.from_actor, e.to_actor, e.kind
  for update of e
),
undone as (
  update identity_edges e set undone_at = clock_timestamp()
  from held h
  where e.site_id = %(site)s and e.from_actor = h.from_actor and e.to_actor = h.to_actor
    and e.kind = h.kind and e.undone_at is null
  returning e.kind, e.from_actor, e.to_actor, e.occurred_at, e.delivery_id
)
select u.kind, f.sent_id as from_id, t.sent_id as to_id, u.occurred_at, u.delivery_id
from undone u
left join actors f on f.site_id = %(site)s and f.actor_id = u.from_actor
left join actors t on t.site_id = %(site)s and t.actor_id = u.to_actor
order by u.kind

-- name: redo
with held as materialized (
  select e.kind, e.from_actor, e.to_actor
  from unnest(%(from)s::uuid[], %(to)s::uuid[]) as p(from_actor, to_actor)
  join identity_edges e on e.site_id = %(site)s
    and e.from_actor = p.from_actor and e.to_actor = p.to_actor
  where e.undone_at is not null
  order by e.from_actor, e.to_actor, e.kind
  for update of e
)
update identity_edges e set undone_at = null
from held h
where e.site_id = %(site)s and e.from_actor = h.from_actor and e.to_actor = h.to_actor
  and e.kind = h.kind and e.undone_at is not null

-- name: named
select actor_id, kind, sent_id from actors
where site_id = %(site)s and actor_id = any(%(actors)s)

-- name: members_of
select other.actor_id
from members mine
join members other on other.site_id = mine.site_id and other.visitor_id = mine.visitor_id
where mine.site_id = %(site)s and mine.actor_id = any(%(actors)s)

-- name: edges_of
select e.kind, f.kind as from_kind, f.sent_id as from_id, t.kind as to_kind, t.sent_id as to_id,
       e.occurred_at, e.delivery_id, e.undone_at
from identity_edges e
left join actors f on f.site_id = e.site_id and f.actor_id = e.from_actor
left join actors t on t.site_id = e.site_id and t.actor_id = e.to_actor
where e.site_id = %(site)s
  and (e.from_actor = any(%(actors)s) or e.to_actor = any(%(actors)s))
order by e.occurred_at, e.kind, e.from_actor, e.to_actor
