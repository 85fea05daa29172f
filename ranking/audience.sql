-- name: seen
-- Who did something with these products since their profile was made, or has none of this model: those
-- who did most first. Without those who bought what is asked about, among the newest events of the site.
with lately as materialized (
  select e.actor_id, e.occurred_at, e.type, e.product_ids from events e
  where e.site_id = %(site_id)s and e.occurred_at > %(since)s and e.occurred_at <= %(at)s
  order by e.occurred_at desc
  limit %(looked_at)s
),
fan as (
  select coalesce(m.visitor_id, l.actor_id) as visitor_id, max(l.actor_id::text)::uuid as actor_id,
    count(*) as events, max(l.occurred_at) as seen_at
  from lately l
  cross join lateral unnest(l.product_ids) as u(product_id)
  join unnest(%(near)s::text[]) as near(product_id) on near.product_id = u.product_id
  left join members m on m.site_id = %(site_id)s and m.actor_id = l.actor_id
  where l.type not in ('impression', 'viewable_impression')
  group by 1
  having not bool_or(l.type = 'purchase' and u.product_id = any(%(bought)s::text[]))
)
select f.actor_id, f.seen_at from fan f
left join profiles p on p.site_id = %(site_id)s and p.visitor_id = f.visitor_id
where p.made_at is null or p.made_at < f.seen_at or p.model_id <> %(model_id)s
order by f.events desc, f.seen_at desc, f.visitor_id
limit %(limit)s

-- name: nearest
-- Compared exactly: no index lies on profiles, which change with every click.
select p.visitor_id, -(p.vector::vector <#> %(vector)s::vector) as similarity
from profiles p
where p.site_id = %(site_id)s and p.model_id = %(model_id)s and p.vector is not null
  and p.made_at > %(since)s
order by p.vector::vector <#> %(vector)s::vector, p.visitor_id
limit %(limit)s
