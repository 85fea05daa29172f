-- name: touched
-- ordinality is the visitor's order, newest first.
select p.product_no, p.product_id, p.group_key
from unnest(%(touched)s::int[]) with ordinality as t(product_no, position)
join products p on p.site_id = %(site_id)s and p.product_no = t.product_no
where p.available and not p.deleted
  and p.product_no <> all(%(excluded)s::int[])
  and {filter}
order by t.position
limit %(limit)s
