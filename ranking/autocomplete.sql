-- name: products
-- The product asked for most if it may be shown, else any that has the same value. The second look
-- costs only where the first finds nothing.
select f.number, b.product_no, p.product_id, b.group_key, {interest} as interest
from jsonb_to_recordset(%(rows)s) as f(number int, product_no int, term bigint)
cross join lateral (
  (select w.product_no, w.group_key from product_words w
   where w.site_id = %(site_id)s and w.product_no = f.product_no and w.available
     and (%(language)s::text = '' or w.language = %(language)s)
     and w.product_no <> all(%(excluded)s::int[])
     and {filter})
  union all
  (select w.product_no, w.group_key from product_words w
   where w.site_id = %(site_id)s and w.terms @> array[f.term] and w.available
     and (%(language)s::text = '' or w.language = %(language)s)
     and w.product_no <> all(%(excluded)s::int[])
     and {filter}
   limit 1)
  limit 1
) as b
join products p on p.site_id = %(site_id)s and p.product_no = b.product_no
{vectors}
order by f.number

-- name: near
left join {vectors} v on v.site_id = %(site_id)s and v.product_no = b.product_no

-- name: interest
-(v.vector <#> %(visitor)s::vector::halfvec)

-- name: matching
select w.product_no from product_words w
where w.site_id = %(site_id)s and w.product_no = any(%(product_nos)s::int[])
  and {filter}
