-- name: candidates
-- Who did something with the same products, among the newest events of the site; a product that few
-- did something with counts for more (Adamic and Adar, "Friends and neighbors on the Web", 2003).
with lately as (
  select * from (
    select e.actor_id, e.product_ids from events e
    where e.site_id = %(site_id)s and e.occurred_at <= %(at)s
      and e.type not in ('impression', 'viewable_impression')
    order by e.occurred_at desc
    limit %(looked_at)s) e
  where e.product_ids && %(product_ids)s::text[]
),
shared as materialized (
  select distinct coalesce(m.visitor_id, l.actor_id) as visitor_id, u.product_id
  from lately l
  cross join lateral unnest(l.product_ids) as u(product_id)
  join unnest(%(product_ids)s::text[]) as mine(product_id) on mine.product_id = u.product_id
  left join members m on m.site_id = %(site_id)s and m.actor_id = l.actor_id
),
product as (
  select product_id, 1 / ln(1 + count(*)) as says from shared group by product_id
)
select s.visitor_id, array_agg(s.product_id order by p.says desc, s.product_id) as product_ids
from shared s join product p using (product_id)
where s.visitor_id <> %(visitor_id)s
group by s.visitor_id
order by sum(p.says) desc, s.visitor_id
limit %(limit)s

-- name: kept
select visitor_id from profiles
where site_id = %(site_id)s and visitor_id = any(%(visitors)s::uuid[]) and model_id = %(model_id)s

-- name: people
-- What is kept of them, and the ids they were sent under: a user's before an anonymous one.
select p.visitor_id, p.data::text as data, p.vector::vector as vector, named.kind, named.sent_id
from profiles p
cross join lateral (
  select a.kind, a.sent_id
  from (select m.actor_id from members m
        where m.site_id = %(site_id)s and m.visitor_id = p.visitor_id
        union select p.visitor_id) ids
  join actors a on a.site_id = %(site_id)s and a.actor_id = ids.actor_id
  where a.sent_id is not null
  order by a.kind desc, a.sent_id
  limit 1
) named
where p.site_id = %(site_id)s and p.visitor_id = any(%(visitors)s::uuid[])
  and p.model_id = %(model_id)s and p.vector is not null
