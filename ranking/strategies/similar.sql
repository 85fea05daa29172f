-- name: anchors
-- variants: the other products of each anchor's group.
select p.product_no, v.vector::vector as vector, p.record->>'title' as title,
       array(select o.product_no from products o
             where o.site_id = p.site_id and o.group_key = p.group_key) as variants
from products p
left join {vectors} v on v.site_id = p.site_id and v.product_no = p.product_no
where p.site_id = %(site_id)s and not p.deleted
  and (p.product_id = any(%(ids)s::text[]) or p.group_key = any(%(groups)s::bigint[]))
order by p.product_no
limit %(limit)s
