-- name: sold_out
select w.product_no, p.product_id, w.group_key
from product_words w
join products p on p.site_id = w.site_id and p.product_no = w.product_no
where w.site_id = %(site_id)s and not w.available
  and w.product_no <> all(%(excluded)s::int[])
  and {filter}
order by w.product_no desc
limit %(limit)s
