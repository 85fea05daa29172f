-- name: listed
-- share: of what was asked for lately, by the same count that trending lists are made of.
with asked as (
  select c.cluster_id, sum(t.trending) as trending
  from popularity t
  join product_clusters c on c.site_id = t.site_id and c.product_no = t.product_no
  where t.site_id = %(site_id)s
  group by c.cluster_id
)
select k.cluster_id as id, k.label, k.words, k.products, k.prices,
  coalesce(a.trending / nullif(sum(a.trending) over (), 0), 0)::float8 as share
from clusters k
left join asked a using (cluster_id)
where k.site_id = %(site_id)s and k.cluster_id > 0 and k.products > 0
order by share desc, k.products desc, k.cluster_id

-- name: examples
-- The products nearest to each centre.
select k.cluster_id, p.product_id, p.record->'title' as title, n.likeness
from unnest(%(cluster_ids)s::int[]) as k(cluster_id)
cross join lateral (
  select c.product_no, c.likeness from product_clusters c
  join products p on p.site_id = c.site_id and p.product_no = c.product_no and not p.deleted
  where c.site_id = %(site_id)s and c.cluster_id = k.cluster_id
  order by c.likeness desc, c.product_no
  limit %(limit)s
) n
join products p on p.site_id = %(site_id)s and p.product_no = n.product_no
order by k.cluster_id, n.likeness desc, n.product_no

-- name: visitors
-- Who did most with its products among the newest events of the site, by an id they were sent under:
-- a user's before an anonymous one.
with lately as (
  select e.actor_id, e.product_ids from events e
  where e.site_id = %(site_id)s and e.occurred_at <= %(at)s
    and e.type not in ('impression', 'viewable_impression') and cardinality(e.product_ids) > 0
  order by e.occurred_at desc
  limit %(looked_at)s
),
styled as (
  select p.product_id, c.cluster_id from product_clusters c
  join products p on p.site_id = c.site_id and p.product_no = c.product_no
  where c.site_id = %(site_id)s and c.cluster_id = %(cluster_id)s
),
fan as (
  select coalesce(m.visitor_id, l.actor_id) as visitor_id, count(*)::int as events
  from lately l
  cross join lateral unnest(l.product_ids) as u(product_id)
  join styled n on n.product_id = u.product_id
  left join members m on m.site_id = %(site_id)s and m.actor_id = l.actor_id
  group by 1
  order by count(*) desc, 1
  limit %(limit)s
)
select named.kind, named.sent_id as id, v.events
from fan v
{named}
order by v.events desc, v.visitor_id
