-- name: counted
select count(*), count(distinct w.group_key)
from product_words w
where w.site_id = %(site_id)s and w.words @@ %(anywhere)s::tsquery
  and w.product_no <> all(%(excluded)s::int[])
  and {filter}

-- name: counted_all
select count(*), count(distinct w.group_key)
from product_words w
where w.site_id = %(site_id)s
  and w.product_no <> all(%(excluded)s::int[])
  and {filter}
