-- name: told
-- What products have in a field by number, lists flattened by the path. In one value: to read a
-- hundred small ones takes as long as to find them.
select json_object_agg(p.product_no, jsonb_path_query_array(p.record, %(path)s::jsonpath))
from products p
where p.site_id = %(site_id)s and p.product_no = any(%(product_nos)s::int[]) and not p.deleted

-- name: some
-- Of the popular and of the newest that may be in a list, in this order: what values there are
-- beside those of the products that suit the visitor.
with popular as (
  select p.product_no, p.record, r.popular
  from popularity r join products p on p.site_id = r.site_id and p.product_no = r.product_no
  where r.site_id = %(site_id)s and r.popular > 0 and p.available and not p.deleted and {filter}
  order by r.popular desc, r.product_no
  limit %(limit)s
),
newest as (
  select p.product_no, p.record, null::real as popular from products p
  where p.site_id = %(site_id)s and p.available and not p.deleted and {filter}
  order by p.product_no desc
  limit %(limit)s
)
select s.product_no, jsonb_path_query_array(s.record, %(path)s::jsonpath) as values
from (select * from popular union all select * from newest) s
order by s.popular desc nulls last, s.product_no desc

-- name: count
select count(*) from products p
where p.site_id = %(site_id)s and p.available and not p.deleted and {filter}
  and (%(exactly)s::jsonpath is null or p.record @? %(exactly)s::jsonpath)
