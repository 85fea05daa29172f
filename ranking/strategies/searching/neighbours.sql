-- name: near_enough
-- In the encoder's own space, where a cosine means the same in every shop.
select t.product_no from {texts} t
where t.site_id = %(site_id)s and t.product_no = any(%(product_nos)s::int[])
  and -(t.vector <#> %(raw)s::vector) >= %(least_cosine)s
