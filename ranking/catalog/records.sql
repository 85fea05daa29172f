-- name: numbers
select p.product_id, p.product_no, p.group_key
from jsonb_array_elements_text(%(ids)s) as wanted(product_id)
join products p on p.site_id = %(site_id)s and p.product_id = wanted.product_id

-- name: of_their_groups
select o.product_no
from products p
join products o on o.site_id = p.site_id and o.group_key = p.group_key
where p.site_id = %(site_id)s and p.product_no = any(%(product_nos)s::int[])
limit %(limit)s

-- name: variants
select p.product_id, p.product_no, p.group_key
from products p
where p.site_id = %(site_id)s and not p.deleted and p.group_key = any(%(groups)s::bigint[])
order by p.product_no
limit %(limit)s

-- name: fields
select p.product_no, p.record
from products p
where p.site_id = %(site_id)s and p.product_no = any(%(product_nos)s::int[]) and not p.deleted

-- name: ids
select product_no, product_id from products
where site_id = %(site_id)s and product_no = any(%(product_nos)s::int[])
