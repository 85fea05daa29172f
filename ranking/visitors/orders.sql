-- Orders, what was told of them, and the one purchase in `events` that each comes to.

-- name: lock
-- Before what was told is taken back, also of orders of which nothing more is told.
insert into orders (site_id, order_id)
select %(site)s, order_id from unnest(%(ids)s::text[]) as o(order_id) order by order_id
on conflict (site_id, order_id) do update set version = orders.version + 1

-- name: told_by
select distinct order_id from order_tellings
where site_id = %(site)s and delivery_id = %(delivery_id)s
  and position <> all(%(erased)s::int[])

-- name: tellings_of
-- What each record of a delivery tells of orders, but for who read it.
select position, md5(row(order_id, told, reference, as_of, occurred_at, user_actor_id,
                         anonymous_actor_id, content #- array['data', 'mapping'])::text)
from order_tellings where site_id = %(site)s and delivery_id = %(delivery)s

-- name: take_back
delete from order_tellings
where site_id = %(site)s and delivery_id = %(delivery_id)s
  and position <> all(%(erased)s::int[])

-- name: forget_untold
delete from orders o
where o.site_id = %(site)s and o.order_id = any(%(ids)s)
  and not exists (select from order_tellings t
                  where t.site_id = o.site_id and t.order_id = o.order_id)

-- name: forget_people
delete from order_people p
where p.site_id = %(site)s and p.order_id = any(%(ids)s)
  and not exists (select from orders o
                  where o.site_id = p.site_id and o.order_id = p.order_id)

-- name: tell
-- Whoever tells of an order holds it to the end, so that the next one reads all that was told. Ids of
-- somebody who was erased since are not stored, nor what else may tell of them.
with sent as materialized (
  select r.*, gone.id is null as is_known
  from jsonb_to_recordset(%(rows)s) as r(
    order_id text, source_id int, told text, reference text, trust smallint, as_of timestamptz,
    told_hash uuid, occurred_at timestamptz, user_actor_id uuid, anonymous_actor_id uuid,
    content jsonb, delivery_id uuid, position int, received_at timestamptz)
  left join lateral (
    select a.actor_id as id from actors a
    where a.site_id = %(site)s and a.actor_id in (r.user_actor_id, r.anonymous_actor_id)
      and a.erased_at >= r.occurred_at
    limit 1
  ) gone on true
),
held as (
  insert into orders (site_id, order_id)
  select distinct %(site)s, order_id from sent order by order_id
  on conflict (site_id, order_id) do update set version = orders.version + 1
  returning order_id
),
people as (
  insert into order_people (site_id, order_id, actor_id, is_user, trust, since)
  select %(site)s, order_id, coalesce(user_actor_id, anonymous_actor_id),
         bool_or(user_actor_id is not null), max(trust), min(occurred_at)
  from sent
  where is_known and coalesce(user_actor_id, anonymous_actor_id) is not null
    and (select count(*) from held) > 0
  group by 2, 3
  order by 2, 3
  on conflict (site_id, order_id, actor_id) do update set
    since = least(excluded.since, order_people.since),
    trust = greatest(excluded.trust, order_people.trust)
  where excluded.since < order_people.since or excluded.trust > order_people.trust
)
insert into order_tellings
  (site_id, order_id, source_id, told, reference, trust, as_of, told_hash, occurred_at,
   user_actor_id, anonymous_actor_id, content, delivery_id, position, received_at)
select distinct on (order_id, source_id, trust, told, reference)
  %(site)s, order_id, source_id, told, reference, trust, as_of, told_hash, occurred_at,
  case when is_known then user_actor_id end, case when is_known then anonymous_actor_id end,
  case when is_known then content else content - 'data' end, delivery_id, position, received_at
from sent
where (select count(*) from held) > 0
order by order_id, source_id, trust, told, reference, as_of desc, told_hash desc
on conflict (site_id, order_id, source_id, trust, told, reference) do update set
  as_of = excluded.as_of, told_hash = excluded.told_hash,
  occurred_at = excluded.occurred_at, user_actor_id = excluded.user_actor_id,
  anonymous_actor_id = excluded.anonymous_actor_id, content = excluded.content,
  delivery_id = excluded.delivery_id, position = excluded.position,
  received_at = excluded.received_at
where (excluded.as_of, excluded.told_hash) > (order_tellings.as_of, order_tellings.told_hash)

-- name: forget
delete from order_people
where site_id = %(site)s and actor_id = any(%(actors)s) and since <= %(at)s

-- name: tellings
select order_id, source_id, told, reference, trust, as_of, told_hash, occurred_at, user_actor_id,
       anonymous_actor_id, content, delivery_id, position, received_at
from order_tellings
where site_id = %(site)s and order_id = any(%(ids)s)

-- name: settle
-- Returns whose events changed, whoever the purchase was of and whoever it is of now, with kind and
-- id; and the anonymous ids and users that sources told of one order, since when. A user whom only
-- a claim names gets nobody's id by it.
with sent as materialized (
  select r.*, o.actor_id as actor_before, o.event_at as event_before,
         case when r.counts and r.placed_at >= %(horizon)s then r.placed_at end as event_at
  from jsonb_to_recordset(%(rows)s) as r(
    order_id text, event_id uuid, status text, placed_at timestamptz, revenue numeric,
    refunded numeric, currency text, lines jsonb, actor_id uuid, counts boolean,
    anonymous_actor_id uuid, product_ids text[], quantities real[], left_revenue numeric,
    data jsonb, message_id text, source_id int, delivery_id uuid, position int,
    received_at timestamptz)
  join orders o on o.site_id = %(site)s and o.order_id = r.order_id
),
moved as (
  delete from events e using sent s
  where e.site_id = %(site)s and e.occurred_at = s.event_before and e.event_id = s.event_id
    and s.event_at is distinct from s.event_before
),
purchases as (
  insert into events (site_id, occurred_at, event_id, actor_id, anonymous_actor_id, type,
                      product_ids, quantities, revenue, data, message_id,
                      source_id, delivery_id, position, received_at)
  select %(site)s, event_at, event_id, actor_id, anonymous_actor_id, 'purchase',
         product_ids, quantities, left_revenue, data, message_id,
         source_id, delivery_id, position, received_at
  from sent where event_at is not null
  on conflict (site_id, occurred_at, event_id) do update set
    actor_id = excluded.actor_id, anonymous_actor_id = excluded.anonymous_actor_id,
    product_ids = excluded.product_ids, quantities = excluded.quantities,
    revenue = excluded.revenue, data = excluded.data, message_id = excluded.message_id,
    source_id = excluded.source_id, delivery_id = excluded.delivery_id,
    position = excluded.position, received_at = excluded.received_at
),
stored as (
  update orders o set
    status = s.status, placed_at = s.placed_at, revenue = s.revenue, refunded = s.refunded,
    currency = s.currency, lines = s.lines, actor_id = s.actor_id, event_at = s.event_at
  from sent s where o.site_id = %(site)s and o.order_id = s.order_id
)
select a.actor_id, a.kind, a.sent_id, null::uuid as user_id, null::timestamptz as since
from (select actor_before as actor_id from sent where event_before is not null
      union select actor_id from sent where event_at is not null) changed
join actors a on a.site_id = %(site)s and a.actor_id = changed.actor_id
union all
select p.actor_id, null, null, u.actor_id, p.since
from order_people p
join order_people u on u.site_id = p.site_id and u.order_id = p.order_id and u.is_user
  and u.trust > %(claimed)s
where p.site_id = %(site)s and p.order_id = any(%(ids)s) and not p.is_user

-- name: placed_by
select distinct order_id from order_people
where site_id = %(site)s and actor_id = any(%(actors)s) and since <= %(at)s

-- name: unname
update order_tellings set
  user_actor_id = null, anonymous_actor_id = null, content = content - 'data'
where site_id = %(site)s and occurred_at <= %(at)s
  and (user_actor_id = any(%(actors)s) or anonymous_actor_id = any(%(actors)s))

-- name: disown
update orders set actor_id = null, event_at = null
where site_id = %(site)s and placed_at <= %(at)s and actor_id = any(%(actors)s)

-- name: get
-- count: whether it is a purchase that counts. revenue: what is left of it.
select o.order_id, o.status, o.placed_at, o.currency,
       case when o.status in ('placed', 'partly_refunded') then 1 else 0 end as count,
       case when o.status in ('placed', 'partly_refunded')
            then greatest(o.revenue - coalesce(o.refunded, 0), 0) else 0 end as revenue,
       o.revenue as placed_revenue, coalesce(o.refunded, 0) as refunded_revenue, o.lines,
       case when a.kind = 'user' then a.sent_id end as user_id,
       case when a.kind = 'anonymous' then a.sent_id end as anonymous_id,
       (select json_agg(json_build_object(
                 'source', s.public_id, 'connector', s.connector, 'told', t.told, 'as_of', t.as_of,
                 'delivery', t.delivery_id) order by t.as_of, t.source_id, t.told, t.reference)
        from order_tellings t
        left join sources s on s.site_id = t.site_id and s.source_id = t.source_id
        where t.site_id = o.site_id and t.order_id = o.order_id) as tellings
from orders o
left join actors a on a.site_id = o.site_id and a.actor_id = o.actor_id
where o.site_id = %(site)s and o.order_id = %(order)s

-- name: newest
select o.order_id, o.status, o.placed_at, o.currency,
       case when o.status in ('placed', 'partly_refunded') then 1 else 0 end as count,
       case when o.status in ('placed', 'partly_refunded')
            then greatest(o.revenue - coalesce(o.refunded, 0), 0) else 0 end as revenue,
       jsonb_array_length(o.lines) as products,
       (select count(distinct t.source_id) from order_tellings t
        where t.site_id = o.site_id and t.order_id = o.order_id) as sources
from orders o
where o.site_id = %(site)s
order by o.placed_at desc nulls last, o.order_id
limit %(limit)s
