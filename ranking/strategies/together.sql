-- name: bought
-- Scores of several anchors add up: what goes with all of a cart comes first.
select p.product_no, p.product_id, p.group_key, least(1, t.score / %(count)s)::float8 as score
from (
  select other_no, sum(score) as score from bought_together
  where site_id = %(site_id)s and product_no = any(%(anchors)s::int[])
  group by other_no
) t
join products p on p.site_id = %(site_id)s and p.product_no = t.other_no
where p.available and not p.deleted
  and p.product_no <> all(%(excluded)s::int[])
  and {filter}
order by t.score desc, p.product_no
limit %(limit)s
