-- What gateway/foretelling/own.py reads of a site. Reads only, but for its own temporary tables.

-- name: scratch_popularity
-- Temporary tables come before all others of their name: what is known at the cut is this
-- connection's alone, and ends with it.
create temporary table popularity (like popularity including all)

-- name: scratch_popularity_sites
create temporary table popularity_sites (like popularity_sites including all)

-- name: scratch_neighbours
create temporary table neighbours (like neighbours including all)

-- name: span
-- When the first and the last event that names a product happened.
select min(occurred_at), max(occurred_at) from events
where site_id = %(site_id)s and occurred_at <= %(at)s and cardinality(product_ids) > 0
  and type <> all(%(not_clicks)s::event_type[])

-- name: clicks
-- Each product of the newest events, under its visitor and, where an archive told it, session.
select coalesce(m.visitor_id, e.actor_id)::text as visitor,
       coalesce(e.data #>> '{context,custom_context,session}', '') as session,
       extract(epoch from e.occurred_at)::float8 as ts, e.type::text as type, p.product_id
from (
  select actor_id, occurred_at, event_id, type, product_ids, data from events
  where site_id = %(site_id)s and occurred_at <= %(at)s and cardinality(product_ids) > 0
    and type <> all(%(not_clicks)s::event_type[])
  order by occurred_at desc, event_id
  limit %(limit)s
) e
left join members m on m.site_id = %(site_id)s and m.actor_id = e.actor_id
cross join lateral unnest(e.product_ids) with ordinality as p(product_id, place)
order by e.occurred_at, e.event_id, p.place

-- name: catalog
-- What can be had now: nothing else is in a list.
select product_id, coalesce(record->>'title', '') as title from products
where site_id = %(site_id)s and available and not deleted
order by product_no
