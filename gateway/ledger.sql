-- The ledger is the deliveries, and the minutes of those dropped by retention: no counters of its
-- own, so it is true after any crash. Only gateway/retention.sql writes the minutes.

-- name: totals
-- Index-only over deliveries_ledger.
select s.name as site, source_id::text as source, connector,
       sum(received)::bigint as received, sum(applied)::bigint as applied,
       sum(duplicate)::bigint as duplicate, sum(ignored)::bigint as ignored,
       sum(refused)::bigint as refused, sum(failed)::bigint as failed
from (
  select site_id, source_id, sum(received) as received, sum(applied) as applied,
         sum(duplicate) as duplicate, sum(ignored) as ignored, sum(refused) as refused,
         sum(failed) as failed
  from ledger group by site_id, source_id
) d
join sources using (site_id, source_id)
join sites s using (site_id)
group by s.name, source_id, connector
order by s.name, source_id

-- name: backlog
select s.name, count(*) from products_to_encode join sites s using (site_id) group by s.name

-- name: by_source
select source_id, public_id, connector, sum(deliveries)::bigint as deliveries,
       sum(received)::bigint as received, sum(applied)::bigint as applied,
       sum(duplicate)::bigint as duplicate, sum(ignored)::bigint as ignored,
       sum(refused)::bigint as refused, sum(failed)::bigint as failed
from ledger join sources using (site_id, source_id)
where site_id = %(site_id)s
  and (%(source_id)s::int is null or source_id = %(source_id)s)
  and at >= coalesce(%(since)s::timestamptz, '-infinity')
  and at < coalesce(%(until)s::timestamptz, 'infinity')
group by source_id, public_id, connector
order by source_id

-- name: without_product
-- The newest events by their primary key, so that the traffic of a week does not matter.
with newest as materialized (
  select site_id, source_id, occurred_at,
         case when type = 'custom' and product_ids = '{}' then data->>'custom_action_name' end
           as action
  from events
  where site_id = %(site_id)s and occurred_at > %(since)s and occurred_at <= %(at)s
  order by occurred_at desc
  limit %(limit)s
)
select source_id, public_id, action, count(*) as events, max(occurred_at) as newest_at
from newest join sources using (site_id, source_id)
where (connector, action) in (select * from unnest(%(connectors)s::text[], %(actions)s::text[]))
group by source_id, public_id, action
order by source_id, events desc, action

-- name: by_minute
select date_trunc('minute', at) as minute, source_id, sum(deliveries)::bigint as deliveries,
       sum(received)::bigint as received, sum(applied)::bigint as applied,
       sum(duplicate)::bigint as duplicate, sum(ignored)::bigint as ignored,
       sum(refused)::bigint as refused, sum(failed)::bigint as failed
from ledger
where site_id = %(site_id)s
  and (%(source_id)s::int is null or source_id = %(source_id)s)
  and at >= coalesce(%(since)s::timestamptz, '-infinity')
  and at < coalesce(%(until)s::timestamptz, 'infinity')
group by 1, 2
order by 1 desc, 2
limit %(limit)s
