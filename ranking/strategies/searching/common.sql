-- name: counted
select count(*), count(distinct w.group_key)
from product_words w
where w.site_id = %(site_id)s and {matches}
  and w.product_no <> all(%(excluded)s::int[])
  and {filter}
