-- name: lock
-- The site's identity lock, taken last in a transaction and held to its end.
select pg_advisory_xact_lock(%(site)s, hashtext('identity'))

-- name: neighbourhood
-- Every actor whose visitor may change, and the effective joins among them as they stand now: the
-- old components of the touched actors, and those of the present owners of touched anonymous ids.
with touched as (
  select unnest(%(actors)s::uuid[]) as actor_id
  union
  select e.from_actor from identity_edges e
  where e.site_id = %(site)s and e.unless_actor = any(%(actors)s::uuid[])
),
seeds as (
  select actor_id from touched
  union
  select o.to_actor from touched t cross join lateral ({owner}) o
  union
  select e.to_actor from touched t
  join identity_edges e on e.site_id = %(site)s and e.kind = 'same' and e.from_actor = t.actor_id
  where e.undone_at is null
  union
  select e.from_actor from touched t
  join identity_edges e on e.site_id = %(site)s and e.kind = 'same' and e.to_actor = t.actor_id
  where e.undone_at is null
),
affected as (
  select actor_id from seeds
  union
  select other.actor_id
  from seeds s
  join members mine on mine.site_id = %(site)s and mine.actor_id = s.actor_id
  join members other on other.site_id = %(site)s and other.visitor_id = mine.visitor_id
)
select a.actor_id, e.to_actor
from affected a
join identity_edges e on e.site_id = %(site)s and e.kind = 'same' and e.from_actor = a.actor_id
where e.undone_at is null
  -- an alias names ids that nobody ever was: those join nobody
  and 2 = (select count(*) from actors s where s.site_id = %(site)s and s.sent_id is not null
           and s.actor_id in (e.from_actor, e.to_actor))
union all
select t.actor_id, o.to_actor from affected t cross join lateral ({owner}) o
union all
select a.actor_id, null from affected a

-- name: owner
-- The one owner of anonymous id t.actor_id: the user of its earliest fact, unless it has too many.
select (array_agg(e.to_actor order by e.occurred_at, e.to_actor))[1] as to_actor
from identity_edges e
where e.site_id = %(site)s and e.kind in ('owned', 'alias') and e.from_actor = t.actor_id
  and e.undone_at is null
  and not exists (select from actors a where a.site_id = %(site)s
                  and a.actor_id = e.unless_actor and a.sent_id is not null)
having count(distinct e.to_actor) between 1 and %(most_owners)s

-- name: replace_members
-- A visitor of one actor needs no row.
with wanted as (
  select actor_id, visitor_id, count(*) over (partition by visitor_id) as size
  from jsonb_to_recordset(%(members)s) as r(actor_id uuid, visitor_id uuid)
),
alone as (
  delete from members m using wanted w
  where m.site_id = %(site)s and m.actor_id = w.actor_id and w.size = 1
)
insert into members (site_id, actor_id, visitor_id)
select %(site)s, actor_id, visitor_id from wanted where size > 1 order by actor_id
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
