-- name: lock
-- The site's identity lock, taken last in a transaction and held to its end.
select pg_advisory_xact_lock(%(site)s, hashtext('identity'))

-- name: neighbourhood
-- Every actor whose visitor may change with the visitor it has now, and the effective joins among
-- them as they stand now: the old components of the touched actors, and those of the present owners
-- of touched anonymous ids. One person may own thousands of ids: each step looks up the distinct
-- results of the one before, and `offset 0` keeps the planner from joining them in another order.
with touched as (
  select unnest(%(actors)s::uuid[]) as actor_id
  union
  select e.from_actor from identity_edges e
  where e.site_id = %(site)s and e.unless_actor = any(%(actors)s::uuid[])
),
seeds as materialized (
  select actor_id from touched
  union
  select o.to_actor from touched t cross join lateral ({owner}) o
  union
  select o.to_actor from touched t cross join lateral (
    select e.to_actor from identity_edges e
    where e.site_id = %(site)s and e.kind = 'same' and e.from_actor = t.actor_id
      and e.undone_at is null
    offset 0) o
  union
  select o.from_actor from touched t cross join lateral (
    select e.from_actor from identity_edges e
    where e.site_id = %(site)s and e.kind = 'same' and e.to_actor = t.actor_id
      and e.undone_at is null
    offset 0) o
),
visitors as materialized (
  select distinct m.visitor_id
  from seeds s cross join lateral (
    select m.visitor_id from members m
    where m.site_id = %(site)s and m.actor_id = s.actor_id
    offset 0) m
),
affected as materialized (
  select actor_id from seeds
  union
  select m.actor_id
  from visitors v cross join lateral (
    select m.actor_id from members m
    where m.site_id = %(site)s and m.visitor_id = v.visitor_id
    offset 0) m
)
select t.actor_id, o.to_actor, null::uuid as visitor_id
from affected t cross join lateral (
  select e.to_actor from identity_edges e
  where e.site_id = %(site)s and e.kind = 'same' and e.from_actor = t.actor_id
    and e.undone_at is null
  offset 0) o
-- an alias names ids that nobody ever was: those join nobody
where 2 = (select count(*) from actors s where s.site_id = %(site)s and s.sent_id is not null
           and s.actor_id in (t.actor_id, o.to_actor))
union all
select t.actor_id, o.to_actor, null from affected t cross join lateral ({owner}) o
union all
select a.actor_id, null, (select m.visitor_id from members m
                          where m.site_id = %(site)s and m.actor_id = a.actor_id)
from affected a

-- name: owner
-- The one owner of anonymous id t.actor_id: the user of its earliest fact, unless it has too many.
select (array_agg(e.to_actor order by e.occurred_at, e.to_actor))[1] as to_actor
from identity_edges e
where e.site_id = %(site)s and e.kind in ('owned', 'alias') and e.from_actor = t.actor_id
  and e.undone_at is null {until}
  and (select a.sent_id from actors a
       where a.site_id = %(site)s and a.actor_id = e.unless_actor) is null
having count(distinct e.to_actor) between 1 and %(most_owners)s

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
