-- Read only: what was received.

-- name: silences
-- Of each source: the hours of the history in which something came, the longest pause between two of
-- them, and how long it has been silent. One pass over the index deliveries_ledger: 2 s for 400,000
-- deliveries, where a probe for each hour took 17.
with hours as (
  select site_id, source_id, date_trunc('hour', received_at) as hour, max(received_at) as last_at
  from deliveries
  where received_at > %(since)s and received_at <= %(at)s
  group by 1, 2, 3
),
pauses as (
  select *, hour - lag(hour) over (partition by site_id, source_id order by hour) as pause
  from hours
)
select si.name as site, s.public_id, s.connector, count(*)::int as hours,
  coalesce(extract(epoch from max(p.pause)), 0)::float8 as longest_s,
  extract(epoch from %(at)s::timestamptz - max(p.last_at))::float8 as silence_s
from pauses p
join sources s using (site_id, source_id)
join sites si using (site_id)
group by si.name, s.public_id, s.connector
order by si.name, s.public_id

-- name: deliveries_of_orders
-- Of the newest bodies of each source those in which the word order stands, in sites with two sources.
select si.name as site, s.site_id, s.connector, s.public_id, s.settings, d.topic, d.headers,
       d.received_at, d.body
from sources s
join sites si using (site_id)
cross join lateral (
  select topic, headers, received_at, body from deliveries d
  where d.site_id = s.site_id and d.source_id = s.source_id and d.received_at > %(since)s
  order by d.received_at desc
  limit %(limit)s
) d
where (position('rder'::bytea in d.body) > 0 or position('checkout'::bytea in d.body) > 0)
  and (select count(*) from sources o where o.site_id = s.site_id) > 1

-- name: known_before
-- Sources whose deliveries held only what was known, and were no repeats of their own bodies, in sites
-- where another source tells of purchases. Of the newest deliveries of each.
with newest as materialized (
  select s.site_id, s.source_id, d.duplicate,
    d.outcome = 'duplicate' and d.body is null
      and count(*) over (partition by s.site_id, s.source_id, d.body_hash) = 1 as knew_all
  from sources s
  cross join lateral (
    select body_hash, duplicate, outcome, body from deliveries d
    where d.site_id = s.site_id and d.source_id = s.source_id and d.received_at > %(since)s
    order by d.received_at desc
    limit %(limit)s
  ) d
),
found as materialized (
  select site_id, source_id, sum(duplicate)::int as duplicates
  from newest where knew_all group by site_id, source_id
),
buyers as materialized (
  select site_id, source_id from events
  where type = 'purchase' and occurred_at > %(since)s
  group by site_id, source_id
)
select si.name as site, s.connector, s.public_id, f.duplicates
from found f
join sources s using (site_id, source_id)
join sites si using (site_id)
where exists (select from buyers y where y.site_id = f.site_id and y.source_id <> f.source_id)
order by si.name, s.public_id

-- name: orders_twice
-- Newest purchases of a site that another source tells too, under another order id.
with newest as materialized (
  select e.site_id, e.source_id, e.occurred_at, e.product_ids, e.revenue, e.data->>'order_id' as id
  from sites s
  cross join lateral (
    select * from events e
    where e.site_id = s.site_id and e.type = 'purchase' and e.occurred_at > %(since)s
      and e.revenue is not null and e.product_ids <> '{}'
    order by e.occurred_at desc
    limit %(limit)s
  ) e
)
select si.name as site, x.connector || ' ' || x.public_id as one,
  y.connector || ' ' || y.public_id as other, count(*)::int as count,
  min(a.id) as one_id, min(b.id) as other_id
from newest a
join newest b on b.site_id = a.site_id and b.product_ids = a.product_ids and b.revenue = a.revenue
  and b.source_id > a.source_id and b.id <> a.id
  and b.occurred_at between a.occurred_at - %(within)s::interval and a.occurred_at + %(within)s::interval
join sources x on x.site_id = a.site_id and x.source_id = a.source_id
join sources y on y.site_id = b.site_id and y.source_id = b.source_id
join sites si on si.site_id = a.site_id
group by 1, 2, 3
order by 1, 2, 3

-- name: wrong_members
-- The rule of identity as one recursive query over the facts, from a sample of ids: those whose
-- visitor is not the smallest id that the facts join them with.
with recursive sample as (
  (select from_actor as actor from identity_edges
   where site_id = %(site)s and from_actor >= %(start)s::uuid
   order by site_id, from_actor limit %(sample)s)
  union
  (select from_actor from identity_edges where site_id = %(site)s
   order by site_id, from_actor limit %(sample)s)
  union
  (select actor_id from members
   where site_id = %(site)s and actor_id >= %(start)s::uuid
   order by site_id, actor_id limit %(sample)s)
),
looked_at as (select actor from sample limit %(sample)s),
reach (actor, other) as (
  select actor, actor from looked_at
  union
  select r.actor, n.next
  from reach r
  cross join lateral (
    -- same facts, both ways, between ids that somebody sent
    select case when e.from_actor = r.other then e.to_actor else e.from_actor end as next
    from identity_edges e
    where e.site_id = %(site)s and e.kind = 'same' and e.undone_at is null
      and (e.from_actor = r.other or e.to_actor = r.other)
      and 2 = (select count(*) from actors a where a.site_id = %(site)s and a.sent_id is not null
               and a.actor_id in (e.from_actor, e.to_actor))
    union all
    -- the owner of this id
    select o.owner from (
      select (array_agg(e.to_actor order by e.occurred_at, e.to_actor))[1] as owner
      from identity_edges e
      where e.site_id = %(site)s and e.from_actor = r.other and e.kind in ('owned', 'alias')
        and e.undone_at is null
        and (select a.sent_id from actors a
             where a.site_id = %(site)s and a.actor_id = e.unless_actor) is null
      having count(distinct e.to_actor) between 1 and %(most_owners)s
    ) o
    union all
    -- the ids that this one owns
    select d.device from (
      select e.from_actor as device from identity_edges e
      where e.site_id = %(site)s and e.to_actor = r.other and e.kind in ('owned', 'alias')
        and e.undone_at is null
    ) d
    where r.other = (
      select (array_agg(e.to_actor order by e.occurred_at, e.to_actor))[1]
      from identity_edges e
      where e.site_id = %(site)s and e.from_actor = d.device and e.kind in ('owned', 'alias')
        and e.undone_at is null
        and (select a.sent_id from actors a
             where a.site_id = %(site)s and a.actor_id = e.unless_actor) is null
      having count(distinct e.to_actor) between 1 and %(most_owners)s
    )
  ) n
),
truth as (select actor, min(other::text)::uuid as visitor from reach group by actor)
select t.actor
from truth t
left join members m on m.site_id = %(site)s and m.actor_id = t.actor
where t.visitor <> coalesce(m.visitor_id, t.actor)
order by t.actor

-- name: unchecked_ledgers
-- deliveries or a partition of it without the constraint, or with one that was never validated.
select c.relname
from pg_class c
where c.relkind in ('r', 'p')
  and (c.oid = to_regclass('deliveries')
       or c.oid in (select inhrelid from pg_inherits where inhparent = to_regclass('deliveries')))
  and not exists (
    select from pg_constraint k
    where k.conrelid = c.oid and k.conname = 'ledger_balances' and k.convalidated
  )
order by c.relname

-- name: sealed
(select secrets_sealed from sources limit %(limit)s)
union all
(select sealed from keys where sealed is not null limit %(limit)s)
