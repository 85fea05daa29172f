-- name: named
-- The nearest to the visitor, found before, and what others took beside the same products: with
-- all that speaks for each.
with {told},
named as (
  select product_no from told
  union
  select unnest(%(near)s::int[])
)
select p.product_no, p.product_id, p.group_key, t.share,
  -(l.vector <#> %(visitor)b::vector::halfvec) as logit,
  -(l.vector <#> %(axis)b::vector::halfvec) as bias,
  -(v.vector <#> %(vector)b::vector::halfvec) as cosine
from named n
join products p on p.site_id = %(site_id)s and p.product_no = n.product_no
left join told t on t.product_no = n.product_no
left join {learned} l on l.site_id = %(site_id)s and l.product_no = n.product_no
left join {vectors} v on v.site_id = %(site_id)s and v.product_no = n.product_no
where p.available and not p.deleted and {filter}
