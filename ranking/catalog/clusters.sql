-- name: site
select version, model_id, fitted_on, last_id from cluster_sites where site_id = %(site_id)s

-- name: count
select count(*) from {vectors} where site_id = %(site_id)s

-- name: sample
-- Always the same ones of the same catalog, with the cluster that each is in.
select v.vector, coalesce(c.cluster_id, 0) as cluster_id from {vectors} v
left join product_clusters c on c.site_id = v.site_id and c.product_no = v.product_no
where v.site_id = %(site_id)s
order by hashint4extended(v.product_no, %(seed)s::bigint), v.product_no
limit %(limit)s

-- name: read
select v.product_no, v.vector from {vectors} v
where v.site_id = %(site_id)s and v.product_no > %(after)s
order by v.product_no
limit %(limit)s

-- name: read_missing
-- Encoded while the site was fitted, or by a process that knew older centres.
select v.product_no, v.vector from {vectors} v
where v.site_id = %(site_id)s and v.product_no > %(after)s and not exists (
  select from product_clusters c
  join clusters k on k.site_id = c.site_id and k.cluster_id = c.cluster_id
  where c.site_id = v.site_id and c.product_no = v.product_no)
order by v.product_no
limit %(limit)s

-- name: members
select product_no, cluster_id from product_clusters where site_id = %(site_id)s order by product_no

-- name: named
select cluster_id, words from clusters where site_id = %(site_id)s and cluster_id > 0

-- name: centres
select cluster_id, centre from clusters
where site_id = %(site_id)s and centre is not null
order by cluster_id

-- name: records
select product_no, record from products
where site_id = %(site_id)s and product_no = any(%(product_nos)s::int[]) and not deleted

-- name: lock
select pg_try_advisory_lock(hashtext('ranking.catalog.clusters ' || current_schema()), %(site_id)s)

-- name: unlock
select pg_advisory_unlock(hashtext('ranking.catalog.clusters ' || current_schema()), %(site_id)s)

-- name: write
insert into clusters as o (site_id, cluster_id, label, words, centre)
select %(site_id)s, r.cluster_id, r.label, r.words, e.centre
from jsonb_to_recordset(%(rows)s::jsonb) as r(cluster_id int, label text, words text[])
join unnest(%(cluster_ids)s::int[], %(centres)b::halfvec[]) as e(cluster_id, centre) using (cluster_id)
order by r.cluster_id
on conflict (site_id, cluster_id) do update set
  label = excluded.label, words = excluded.words, centre = excluded.centre

-- name: write_members
insert into product_clusters as o (site_id, product_no, cluster_id, likeness)
select %(site_id)s, e.n, e.c, e.l
from unnest(%(product_nos)s::int[], %(cluster_ids)s::int[], %(likeness)s::real[]) as e(n, c, l)
order by e.n
on conflict (site_id, product_no) do update set
  cluster_id = excluded.cluster_id, likeness = excluded.likeness
where (o.cluster_id, o.likeness) is distinct from (excluded.cluster_id, excluded.likeness)

-- name: write_site
insert into cluster_sites as o (site_id, version, model_id, fitted_on, last_id)
values (%(site_id)s, 1, %(model_id)s, %(fitted_on)s, %(last_id)s)
on conflict (site_id) do update set version = o.version + 1, model_id = excluded.model_id,
  fitted_on = excluded.fitted_on, last_id = greatest(o.last_id, excluded.last_id)
returning version

-- name: drop_others
delete from clusters
where site_id = %(site_id)s and cluster_id > 0 and cluster_id <> all(%(kept)s::int[])

-- name: drop_gone
-- Products that have no vector any more.
delete from product_clusters c
where c.site_id = %(site_id)s and not exists (
  select from {vectors} v where v.site_id = c.site_id and v.product_no = c.product_no)

-- name: drop_members
delete from product_clusters where site_id = %(site_id)s

-- name: describe
-- How many products each cluster has, and what they cost: the whole catalog is number 0.
with product as materialized (
  select c.cluster_id, coalesce(p.sale_price, p.original_price) as price,
    coalesce(upper(p.record->'custom_attributes'->>'currency'), '') as currency
  from products p
  left join product_clusters c on c.site_id = p.site_id and c.product_no = p.product_no
  where p.site_id = %(site_id)s and not p.deleted
),
counted as (
  select g.cluster_id, count(*)::int as products
  from product p cross join lateral (values (p.cluster_id), (0)) as g(cluster_id)
  where g.cluster_id is not null
  group by g.cluster_id
),
spread as (
  select g.cluster_id, p.currency, percentile_cont(%(quantiles)s::float8[])
    within group (order by p.price) as prices
  from product p cross join lateral (values (p.cluster_id), (0)) as g(cluster_id)
  where g.cluster_id is not null and p.price > 0
  group by g.cluster_id, p.currency
),
gathered as (
  select cluster_id, jsonb_object_agg(currency, to_jsonb(prices)) as prices
  from spread group by cluster_id
),
whole as (
  insert into clusters as o (site_id, cluster_id, label, products, prices)
  select %(site_id)s, 0, '', c.products, coalesce(g.prices, '{}')
  from counted c left join gathered g using (cluster_id)
  where c.cluster_id = 0
  on conflict (site_id, cluster_id) do update set
    products = excluded.products, prices = excluded.prices
)
update clusters o set products = coalesce(n.products, 0), prices = coalesce(n.prices, '{}')
from (
  select k.cluster_id, c.products, g.prices
  from clusters k left join counted c using (cluster_id) left join gathered g using (cluster_id)
  where k.site_id = %(site_id)s and k.cluster_id > 0) n
where o.site_id = %(site_id)s and o.cluster_id = n.cluster_id

-- name: prices
-- What the products of these clusters cost, and those of the whole catalog.
select cluster_id, prices from clusters
where site_id = %(site_id)s and (cluster_id = 0 or cluster_id = any(%(cluster_ids)s::int[]))

