-- name: exact
-- `+ 0` makes the HNSW index unusable: left to choose, the planner takes it (measured recall .90).
with near as materialized (
  select v.product_no, v.group_key, v.vector <#> %(vector)b::vector::halfvec as distance
  from {vectors} v
  where v.site_id = %(site_id)s and v.available
    and v.product_no <> all(%(excluded)s::int[])
    and {filter}
  order by (v.vector <#> %(vector)b::vector::halfvec) + 0, v.product_no
  limit %(pool)s
)
{told}

-- name: indexed
-- ORDER BY the bare operator, else the index cannot be used; its order is relaxed, hence the
-- second one. The pool is in the text: a plan made once must know how little it asks the index for.
with near as materialized (
  select v.product_no, v.group_key, v.vector <#> %(vector)b::vector::halfvec as distance
  from {vectors} v
  where v.site_id = %(site_id)s and v.available
    and v.product_no <> all(%(excluded)s::int[])
    and {filter}
  order by v.vector <#> %(vector)b::vector::halfvec
  limit {pool}
)
{told}

-- name: ranked
-- The best of the pool once popularity has its say: its share of the site's most popular product,
-- on a logarithmic scale; null for a product without history, which is given the site's new_share.
, weighed as (
  select n.product_no, n.group_key, -n.distance as similarity, s.new_share,
    ln(1 + r.popular::float8) / coalesce(s.norm, 3) as share
  from near n
  -- Looked up one by one: of a few hundred Postgres would rather read the whole table.
  left join lateral (
    select popular from popularity
    where site_id = %(site_id)s and product_no = n.product_no
    limit 1
  ) r on true
  left join popularity_sites s on s.site_id = %(site_id)s
),
best as (
  select * from weighed
  order by similarity + %(prior)s * coalesce(share, new_share, 0)
    + case when share is null and new_share > 0 then %(fresh)s else 0 end desc, product_no
  limit %(limit)s
)
select b.product_no, p.product_id, b.group_key, b.similarity, b.share, b.new_share
from best b join products p on p.site_id = %(site_id)s and p.product_no = b.product_no
order by b.similarity + %(prior)s * coalesce(b.share, b.new_share, 0)
  + case when b.share is null and b.new_share > 0 then %(fresh)s else 0 end desc, b.product_no

-- name: plain
-- Where popularity has no say nobody looks it up.
select n.product_no, p.product_id, n.group_key, -n.distance as similarity
from near n join products p on p.site_id = %(site_id)s and p.product_no = n.product_no
order by n.distance, n.product_no

-- name: matches
-- Only planned, never run: how many products the filter alone lets through.
explain (format json)
select 1 from {vectors} v
where v.site_id = %(site_id)s and v.available and {filter}

-- name: ef_search
select set_config('hnsw.ef_search', %(ef_search)s::text, false)

-- name: vectors
select v.product_no, v.vector::vector as vector
from {vectors} v
where v.site_id = %(site_id)s and v.product_no = any(%(product_nos)s::int[])
