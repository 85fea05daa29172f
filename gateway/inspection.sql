-- What gateway/inspection.py shows of a site. Reads only.

-- name: events
-- Newest first. {visitor} and {type} are conditions or nothing.
select e.event_id, e.message_id, s.public_id as source, e.type::text as type, e.product_ids,
       e.quantities, e.revenue,
       case when a.kind = 'user' then a.sent_id end as user_id,
       case when a.kind = 'anonymous' then a.sent_id else b.sent_id end as anonymous_id,
       e.occurred_at, e.received_at, (e.data->>'mapping')::int as mapping_version,
       e.data->>'custom_action_name' as custom_action_name, e.data->'search' as search
from events e
left join sources s on s.site_id = e.site_id and s.source_id = e.source_id
left join actors a on a.site_id = e.site_id and a.actor_id = e.actor_id
left join actors b on b.site_id = e.site_id and b.actor_id = e.anonymous_actor_id
where e.site_id = %(site_id)s
  and e.occurred_at >= coalesce(%(since)s::timestamptz, '-infinity'){visitor}{type}
order by e.occurred_at desc, e.event_id
limit %(limit)s

-- name: of_actors
 and e.actor_id = any(%(actors)s)

-- name: of_type
 and e.type = %(type)s::event_type

-- name: event_types
select unnest(enum_range(null::event_type))::text

-- name: known_actors
select actor_id from actors where site_id = %(site_id)s and actor_id = any(%(actors)s)

-- name: ids
select kind, sent_id as id, version, erased_at
from actors where site_id = %(site_id)s and actor_id = any(%(actors)s)
order by kind desc, sent_id

-- name: product_ids
select product_no, product_id from products
where site_id = %(site_id)s and product_no = any(%(numbers)s)

-- name: deliveries
-- Newest first, each with the first reason that is still open, and how many different ones are.
select d.delivery_id, d.received_at, s.public_id as source, s.connector, d.topic, d.outcome,
       d.received, d.applied, d.duplicate, d.ignored, d.refused, d.failed, d.attempts, d.error,
       octet_length(d.body) as bytes, p.reason, p.reasons
from deliveries d
left join sources s on s.site_id = d.site_id and s.source_id = d.source_id
left join lateral (
  select (array_agg(reason order by position))[1] as reason, count(distinct reason)::int as reasons
  from (select position, reason from delivery_problems p
        where p.site_id = d.site_id and p.received_at = d.received_at
          and p.delivery_id = d.delivery_id and p.resolved_at is null
        order by position limit 1000) as first_ones
) p on true
where d.site_id = %(site_id)s
  and (%(outcome)s::text is null or d.outcome = %(outcome)s)
  and d.received_at >= coalesce(%(since)s::timestamptz, '-infinity')
  and (d.received_at, d.delivery_id)
    < (coalesce(%(before_time)s::timestamptz, 'infinity'),
       coalesce(%(before)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
order by d.received_at desc, d.delivery_id desc
limit %(limit)s

-- name: replayable
-- Deliveries to apply again, oldest first; {{which}} says which.
select source_id, delivery_id from deliveries
where site_id = %(site_id)s and {which} and body is not null
  and not exists (select from partitions_leaving p where p.parent = 'deliveries'
                  and received_at >= p.since and received_at < p.until)
  and received_at >= coalesce(%(since)s::timestamptz, '-infinity')
order by received_at, delivery_id

-- name: not_whole
refused + failed + ignored > 0

-- name: mapped
source_id in (select m.source_id from source_mappings m where m.site_id = %(site_id)s)

-- name: delivery
select d.delivery_id, d.received_at, d.source_id, s.public_id as source, s.connector, d.topic,
       d.outcome, d.received, d.applied, d.duplicate, d.ignored, d.refused, d.failed, d.attempts,
       d.error, octet_length(d.body) as bytes, d.headers, d.body, d.body_hash, d.erased_records
from deliveries d
left join sources s on s.site_id = d.site_id and s.source_id = d.source_id
where d.site_id = %(site_id)s and d.delivery_id = %(delivery_id)s
  and d.received_at >= %(since)s and d.received_at < %(until)s

-- name: problems
select position, outcome, pointer, reason, resolved_at
from delivery_problems
where site_id = %(site_id)s and delivery_id = %(delivery_id)s and received_at = %(received_at)s
order by position

-- name: stored_events
-- By primary key: where each event of a delivery lies, and whose delivery brought it.
select e.event_id, e.delivery_id, (e.data->>'mapping')::int as mapping_version
from jsonb_to_recordset(%(events)s) as r(event_id uuid, occurred_at timestamptz)
join events e on e.site_id = %(site_id)s and e.occurred_at = r.occurred_at
  and e.event_id = r.event_id

-- name: tellings_read_by
-- By which mapping each record was read by which a delivery tells of orders.
select position, (content->'data'->>'mapping')::int
from order_tellings where site_id = %(site_id)s and delivery_id = %(delivery_id)s
