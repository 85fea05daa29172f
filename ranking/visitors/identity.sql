-- name: lock
-- The site's identity lock, taken last in a transaction and held to its end.
select pg_advisory_xact_lock(%(site)s, hashtext('identity'))

-- name: neighbourhood
-- Every actor whose visitor may change with the visitor it has now, and the effective joins among
-- them as they stand now: the old components of the touched actors, and those of the present owners
-- of touched anonymous ids. One person may own thousands of ids: each step is materialized, so that
-- no two members are paired, and a plain join, so that it is hashed where an index serves badly.
with touched as materialized (
  select unnest(%(actors)s::uuid[]) as actor_id
  union
  select e.from_actor from identity_edges e
  where e.site_id = %(site)s and e.unless_actor = any(%(actors)s::uuid[])
),
seeds as materialized (
  select actor_id from touched
  union
  select o.to_actor from ({touched_owners}) o
  union
  select e.to_actor from touched t
  join identity_edges e on e.site_id = %(site)s and e.kind = 'same' and e.from_actor = t.actor_id
  where e.undone_at is null
  union
  select e.from_actor from touched t
  join identity_edges e on e.site_id = %(site)s and e.kind = 'same' and e.to_actor = t.actor_id
  where e.undone_at is null
),
visitors as materialized (
  select distinct m.visitor_id
  from seeds s join members m on m.site_id = %(site)s and m.actor_id = s.actor_id
),
affected as materialized (
  select actor_id from seeds
  union
  select m.actor_id
  from visitors v join members m on m.site_id = %(site)s and m.visitor_id = v.visitor_id
)
select a.actor_id, e.to_actor, null::uuid as visitor_id
from affected a
join identity_edges e on e.site_id = %(site)s and e.kind = 'same' and e.from_actor = a.actor_id
where e.undone_at is null
  -- an alias names ids that nobody ever was: those join nobody
  and 2 = (select count(*) from actors s where s.site_id = %(site)s and s.sent_id is not null
           and s.actor_id in (a.actor_id, e.to_actor))
union all
select o.from_actor, o.to_actor, null from ({affected_owners}) o
union all
select a.actor_id, null, m.visitor_id
from affected a left join members m on m.site_id = %(site)s and m.actor_id = a.actor_id

-- name: owners
-- The one owner of each anonymous id among these: the user of its earliest fact, unless it has too
-- many.
select e.from_actor, (array_agg(e.to_actor order by e.occurred_at, e.to_actor))[1] as to_actor
from {ids} t
join identity_edges e on e.site_id = %(site)s and e.from_actor = t.actor_id
where e.kind in ('owned', 'alias') and e.undone_at is null {until}
  and (select a.sent_id from actors a
       where a.site_id = %(site)s and a.actor_id = e.unless_actor) is null
group by e.from_actor
having count(distinct e.to_actor) <= %(most_owners)s

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

-- name: undo
update identity_edges set undone_at = clock_timestamp()
where site_id = %(site)s and kind = %(kind)s and from_actor = %(from)s and to_actor = %(to)s
  and undone_at is null
returning 1

-- name: members_of
select other.actor_id
from members mine
join members other on other.site_id = mine.site_id and other.visitor_id = mine.visitor_id
where mine.site_id = %(site)s and mine.actor_id = %(actor)s

-- name: edges_of
select e.kind, f.kind as from_kind, f.sent_id as from_id, t.kind as to_kind, t.sent_id as to_id,
       e.occurred_at, e.delivery_id, e.undone_at
from identity_edges e
left join actors f on f.site_id = e.site_id and f.actor_id = e.from_actor
left join actors t on t.site_id = e.site_id and t.actor_id = e.to_actor
where e.site_id = %(site)s
  and (e.from_actor = any(%(actors)s) or e.to_actor = any(%(actors)s))
order by e.occurred_at, e.kind, e.from_actor, e.to_actor
