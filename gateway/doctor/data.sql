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

-- name: orders_shared
with told as materialized (
  select site_id, order_id, source_id from order_tellings
  where told = 'placed' and received_at > %(since)s
)
select si.name as site, x.connector || ' ' || x.public_id as one,
  y.connector || ' ' || y.public_id as other, count(*)::int as count, min(a.order_id) as id
from told a
join told b on b.site_id = a.site_id and b.order_id = a.order_id and b.source_id > a.source_id
join sources x on x.site_id = a.site_id and x.source_id = a.source_id
join sources y on y.site_id = b.site_id and y.source_id = b.source_id
join sites si on si.site_id = a.site_id
group by 1, 2, 3
order by 1, 2, 3

-- name: requests
select si.name as site, coalesce(s.connector, '?') as connector, r.kind, count(*)::int as count,
       min(r.asked_at) as since
from platform_requests r
join sites si using (site_id)
left join sources s on s.site_id = r.site_id and s.source_id = r.source_id
where r.done_at is null
group by 1, 2, 3
order by 1, 2, 3

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
    -- the other ids of this one's device
    select device_of(%(site)s, r.other, 'infinity')
    union all
    -- its owner
    select device_owner(%(site)s, r.other, %(most_owners)s)
    union all
    -- the ids that this one owns
    select e.from_actor from identity_edges e
    where e.site_id = %(site)s and e.to_actor = r.other and e.kind in ('owned', 'alias')
      and e.undone_at is null
      and device_owner(%(site)s, e.from_actor, %(most_owners)s) = r.other
  ) n
),
truth as (
  select actor, min(other::text)::uuid as visitor from reach where other is not null group by actor
)
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
