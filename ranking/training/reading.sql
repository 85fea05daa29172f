-- What training reads. Nothing here is written.

-- name: memory
select set_config('work_mem', '128MB', true), set_config('jit', 'off', true)

-- name: events
-- Visitor by visitor, each in the order of time; read by a cursor of the server's.
select coalesce(m.visitor_id, e.actor_id) as visitor_id,
  extract(epoch from e.occurred_at)::float8 as at, e.type::text as type, e.product_ids,
  e.data->'context'->'custom_context'->>'session' as session, a.first_place, a.product_nos
from events e
left join members m on m.site_id = e.site_id and m.actor_id = e.actor_id
-- Of which of our lists it came: the id of an answer begins with its time in milliseconds. Not
-- joined at once, for most events came of none.
left join lateral (
  select o.first_place, o.product_nos from answers o
  cross join lateral (
    select to_timestamp(
      ('x' || left(replace(e.data->>'miso_id', '-', ''), 12))::bit(48)::bigint / 1000.0) as at) t
  where e.data ? 'miso_id' and o.site_id = %(site_id)s and o.first_place is not null
    and o.answered_at >= t.at - interval '2 milliseconds'
    and o.answered_at <= t.at + interval '2 milliseconds'
    and o.miso_id = (e.data->>'miso_id')::uuid
  offset 0
) a on true
where e.site_id = %(site_id)s and e.occurred_at >= %(since)s and e.occurred_at < %(at)s
  and e.type = any(%(types)s::event_type[]) and cardinality(e.product_ids) > 0
  and coalesce((e.data->>'rating')::float8, %(good)s) > %(bad)s
  and coalesce(e.data->>'custom_action_name', '') not in ('heartbeat', 'generic_click')
order by 1, 2, e.event_id

-- name: products
select product_id, product_no, available from products
where site_id = %(site_id)s and not deleted
order by product_no

-- name: texts
select product_no, vector from {texts}
where site_id = %(site_id)s and product_no > %(after)s
order by product_no
limit %(limit)s
