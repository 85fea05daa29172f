-- name: catalog
-- Every product with the vector that lists are made with, in the order of its number.
select p.product_no, p.product_id, p.record ->> 'title', p.record -> 'tags', v.vector::vector
from products p
join {vectors} v on v.site_id = p.site_id and v.product_no = p.product_no
where p.site_id = %(site_id)s and v.available
order by p.product_no
