-- name: ranked
-- share: of the most popular product of the site.
select p.product_no, p.product_id, p.group_key, r.{measure} / top.value as share
from popularity r
join products p on p.site_id = r.site_id and p.product_no = r.product_no
cross join (select max({measure}) as value from popularity where site_id = %(site_id)s) as top
where r.site_id = %(site_id)s and r.{measure} > 0 and p.available and not p.deleted
  and r.product_no <> all(%(excluded)s::int[])
  and {filter}
order by r.{measure} desc, r.product_no
limit %(limit)s

-- name: others
-- Whatever else there is, newest first: a list is never short while products match.
select p.product_no, p.product_id, p.group_key, 0.0::float8 as share
from products p
where p.site_id = %(site_id)s and p.available and not p.deleted
  and p.product_no <> all(%(excluded)s::int[])
  and {filter}
order by p.product_no desc
limit %(limit)s
