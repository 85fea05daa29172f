-- name: exact
-- `+ 0` makes the HNSW index unusable: left to choose, the planner takes it (measured recall .90).
with near as materialized (
  select v.product_no, v.group_key, v.vector <#> %(vector)s::vector::halfvec as distance
  from {vectors} v
  where v.site_id = %(site_id)s and v.available
    and v.product_no <> all(%(excluded)s::int[])
    and {filter}
  order by (v.vector <#> %(vector)s::vector::halfvec) + 0, v.product_no
  limit %(limit)s
)
select n.product_no, p.product_id, n.group_key, -n.distance
from near n join products p on p.site_id = %(site_id)s and p.product_no = n.product_no
order by n.distance, n.product_no

-- name: indexed
-- ORDER BY the bare operator, else the index cannot be used; its order is relaxed, hence the
-- second one.
with near as materialized (
  select v.product_no, v.group_key, v.vector <#> %(vector)s::vector::halfvec as distance
  from {vectors} v
  where v.site_id = %(site_id)s and v.available
    and v.product_no <> all(%(excluded)s::int[])
    and {filter}
  order by v.vector <#> %(vector)s::vector::halfvec
  limit %(limit)s
)
select n.product_no, p.product_id, n.group_key, -n.distance
from near n join products p on p.site_id = %(site_id)s and p.product_no = n.product_no
order by n.distance, n.product_no

-- name: matches
-- Only planned, never run: how many products the filter alone lets through.
explain (format json)
select 1 from {vectors} v
where v.site_id = %(site_id)s and v.available and {filter}

-- name: ef_search
select set_config('hnsw.ef_search', %(ef_search)s::text, true)

-- name: vectors
select v.product_no, v.vector::vector as vector
from {vectors} v
where v.site_id = %(site_id)s and v.product_no = any(%(product_nos)s::int[])
