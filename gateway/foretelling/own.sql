-- What gateway/foretelling/own.py reads of a site. Reads only, but for its own temporary tables.

-- name: scratch_first
-- What this connection creates from now on is its alone, comes before all others of its name, and
-- ends with it.
select set_config('search_path', 'pg_temp, ' || current_setting('search_path'), false)

-- name: scratch_popularity
create temporary table popularity (like popularity including all)

-- name: scratch_popularity_sites
create temporary table popularity_sites (like popularity_sites including all)

-- name: scratch_neighbours
create temporary table neighbours (like neighbours including all)

-- name: scratch_checkpoints
create temporary table training_checkpoints (like training_checkpoints including all)

-- name: scratch_known
create temporary table known_models (like models including all)

-- name: know_models
-- The one that texts are served by. What is learned here has numbers, and tables named by them, that
-- no other will ever have.
insert into known_models
select * from models where site_id = %(site_id)s and name = %(name)s and state = 'live'
union all
select made.* from models m
cross join lateral jsonb_populate_record(
  m, '{"model_id": 1000000000, "state": "failed", "vectors_table": "none"}') as made
where m.site_id = %(site_id)s and m.name = %(name)s and m.state = 'live'

-- name: scratch_models
create temporary table models (like known_models including all)

-- name: copy_models
insert into models select * from known_models

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
