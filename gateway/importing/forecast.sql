-- What gateway/importing/forecast.py reads of a site's own events. Reads only, but for its own temporary tables.

-- name: scratch_popularity
-- Temporary tables come before all others of their name: popularity as it was at the cut is this
-- connection's alone, and ends with it.
create temporary table popularity (like popularity including all)

-- name: scratch_popularity_sites
create temporary table popularity_sites (like popularity_sites including all)

-- name: scratch_neighbours
create temporary table neighbours (like neighbours including all)

-- name: newest
select max(occurred_at) from events
where site_id = %(site_id)s and occurred_at <= %(at)s and cardinality(product_ids) > 0
  and type <> all(%(not_clicks)s::event_type[])

-- name: clicks
-- Each product of each event since then, under its visitor and, where an archive told it, session.
select coalesce(m.visitor_id, e.actor_id)::text as visitor,
       coalesce(e.data #>> '{context,custom_context,session}', '') as session,
       extract(epoch from e.occurred_at)::float8 as ts, e.type::text as type, p.product_id
from events e
left join members m on m.site_id = e.site_id and m.actor_id = e.actor_id
cross join lateral unnest(e.product_ids) with ordinality as p(product_id, place)
where e.site_id = %(site_id)s and e.occurred_at > %(since)s and e.occurred_at <= %(until)s
  and e.type <> all(%(not_clicks)s::event_type[])
order by e.occurred_at, e.event_id, p.place
limit %(limit)s

-- name: popular
-- The bestsellers of the seven days before the cut that can be had.
select p.product_id from events e
cross join lateral unnest(e.product_ids) as u(product_id)
join products p on p.site_id = e.site_id and p.product_id = u.product_id
where e.site_id = %(site_id)s and e.occurred_at > %(cut)s::timestamptz - %(window)s::interval
  and e.occurred_at <= %(cut)s and e.type <> all(%(not_clicks)s::event_type[])
  and p.available and not p.deleted
group by p.product_id order by count(*) desc, p.product_id
limit %(limit)s

-- name: titled
-- How many products have something to encode, and how many of those have a vector.
select count(*), count(v.product_no) from products p
left join {vectors} v on v.site_id = p.site_id and v.product_no = p.product_no
  and v.text_hash = p.text_hash
where p.site_id = %(site_id)s and not p.deleted and p.text_hash is not null
