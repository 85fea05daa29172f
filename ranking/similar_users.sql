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
