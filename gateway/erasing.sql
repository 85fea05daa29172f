-- Overwriting what kept bodies say of people who were erased.

-- name: sites
select distinct site_id from erasures where finished_at is null order by site_id

-- name: open_erasures
-- All open ones of a site at once, so that one reading of the bodies does for all.
select array(select distinct unnest(e.actors) from erasures e
             where e.site_id = %(site)s and e.finished_at is null),
       array(select distinct unnest(e.orders) from erasures e
             where e.site_id = %(site)s and e.finished_at is null),
       min(bodies_until), max(erased_at)
from erasures
where site_id = %(site)s and finished_at is null
having count(*) > 0

-- name: deliveries
select delivery_id, received_at, source_id, topic, headers, body
from deliveries
where site_id = %(site)s and received_at > %(since)s and received_at <= %(until)s
  and body is not null
order by received_at
fetch first %(limit)s rows with ties

-- name: overwrite
update deliveries set
  body = %(body)s, headers = %(headers)s, erased_records = erased_records + %(records)s
where site_id = %(site)s and delivery_id = %(delivery)s and received_at = %(received_at)s

-- name: note
update erasures set
  bodies_until = greatest(bodies_until, %(done_until)s), records = records + %(records)s,
  finished_at = case when %(done_until)s >= %(until)s then %(until)s end
where site_id = %(site)s and finished_at is null and erased_at <= %(until)s
