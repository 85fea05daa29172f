-- What a person's export holds, and the receipts of erasures.

-- name: events
select e.event_id, e.message_id, s.public_id as source, e.type::text as type, e.product_ids,
       e.quantities, e.revenue, e.data, e.occurred_at, e.received_at, e.delivery_id
from events e
left join sources s on s.site_id = e.site_id and s.source_id = e.source_id
where e.site_id = %(site)s
  and (e.actor_id = any(%(actors)s) or e.anonymous_actor_id = any(%(actors)s))
order by e.occurred_at desc, e.received_at desc, e.position, e.event_id

-- name: orders
select order_id from orders
where site_id = %(site)s and actor_id = any(%(actors)s)
order by placed_at desc, order_id

-- name: answers
-- The lists that this person was shown.
select a.answered_at, a.miso_id, a.endpoint,
       array(select p.product_id from unnest(a.product_nos) with ordinality as n(number, place)
             join products p on p.site_id = a.site_id and p.product_no = n.number
             order by n.place) as product_ids
from answers a
where a.site_id = %(site)s and a.actor_id = any(%(actors)s)
order by a.answered_at desc, a.miso_id

-- name: erasure
select delivery_id as delivery, erased_at, counts as rows, records as records_in_bodies,
       case when finished_at is null then 'waiting' else 'done' end as bodies, finished_at
from erasures
where site_id = %(site)s and delivery_id = %(delivery)s

-- name: erasures
select delivery_id as delivery, erased_at, counts as rows, records as records_in_bodies,
       case when finished_at is null then 'waiting' else 'done' end as bodies, finished_at
from erasures
where site_id = %(site)s
order by erased_at desc, delivery_id
limit %(limit)s

-- name: requests
-- What platforms asked a person to do, what is open first.
select r.delivery_id as delivery, r.kind, s.connector, s.public_id as source, r.request_id,
       r.person, r.asked_at, r.done_at
from platform_requests r
left join sources s on s.site_id = r.site_id and s.source_id = r.source_id
where r.site_id = %(site)s
order by r.done_at is not null, r.asked_at desc, r.delivery_id, r.position
limit %(limit)s

-- name: done
update platform_requests set done_at = %(at)s
where site_id = %(site)s and delivery_id = %(delivery)s and done_at is null
returning kind

-- name: known_ids
-- The next people by their keyed hashes, of those that are not erased.
select actor_id, kind, sent_id from actors
where site_id = %(site)s and sent_id is not null and actor_id > %(after)s
order by actor_id
limit %(limit)s
