-- name: told
-- The pool is chosen before products are looked up one by one.
told as materialized (
  select u.product_no, least(1, sum(w.weight * u.share))::float8 as share
  from unnest(%(ids)s::text[], %(weights)s::float8[]) as w(product_id, weight)
  join products a on a.site_id = %(site_id)s and a.product_id = w.product_id
  join neighbours n on n.site_id = %(site_id)s and n.product_no = a.product_no
  cross join lateral unnest(n.other_nos, n.shares) as u(product_no, share)
  where u.product_no <> all(%(excluded)s::int[])
  group by u.product_no
  order by 2 desc, 1
  limit %(pool)s
)

-- name: beside
with {told}
select p.product_no, p.product_id, p.group_key, t.share,
  -(v.vector <#> %(vector)b::vector::halfvec) as similarity,
  ln(1 + r.popular::float8) / coalesce(s.norm, 3) as popular, s.new_share
from told t
join products p on p.site_id = %(site_id)s and p.product_no = t.product_no
left join {vectors} v on v.site_id = %(site_id)s and v.product_no = t.product_no
left join popularity r on r.site_id = %(site_id)s and r.product_no = t.product_no
left join popularity_sites s on s.site_id = %(site_id)s
where p.available and not p.deleted and {filter}
order by t.share desc, p.product_no

-- name: beside_alone
-- For somebody whose products have no vectors.
with {told}
select p.product_no, p.product_id, p.group_key, t.share, null::float8 as similarity,
  ln(1 + r.popular::float8) / coalesce(s.norm, 3) as popular, s.new_share
from told t
join products p on p.site_id = %(site_id)s and p.product_no = t.product_no
left join popularity r on r.site_id = %(site_id)s and r.product_no = t.product_no
left join popularity_sites s on s.site_id = %(site_id)s
where p.available and not p.deleted and {filter}
order by t.share desc, p.product_no

-- name: reasons
-- Which of the visitor's products have these among their neighbours, and with which share.
select u.product_no, a.product_id, u.share::float8
from products a
join neighbours n on n.site_id = %(site_id)s and n.product_no = a.product_no
cross join lateral unnest(n.other_nos, n.shares) as u(product_no, share)
where a.site_id = %(site_id)s and a.product_id = any(%(ids)s::text[])
  and u.product_no = any(%(product_nos)s::int[])
