-- name: write
-- source_hash: of what `missing` compares, as it lies in products now. Nothing is written where
-- nothing changed.
insert into product_facets as f (site_id, product_no, recipe, source_hash, pairs)
select p.site_id, p.product_no, %(recipe)s,
  hash_record_extended((p.original_price, p.sale_price, p.rating, p.terms, p.ranges), 0),
  decode(r.pairs, 'base64')
from jsonb_to_recordset(%(rows)s) as r(product_no int, pairs text)
join products p on p.site_id = %(site_id)s and p.product_no = r.product_no
order by p.product_no
on conflict (site_id, product_no) do update set
  recipe = excluded.recipe, source_hash = excluded.source_hash, pairs = excluded.pairs
where (f.recipe, f.source_hash, f.pairs)
  is distinct from (excluded.recipe, excluded.source_hash, excluded.pairs)

-- name: name_values
insert into facet_values (site_id, term, value)
select %(site_id)s, r.term, r.value
from jsonb_to_recordset(%(rows)s) as r(term bigint, value jsonb)
where not exists (
  select from facet_values v where v.site_id = %(site_id)s and v.term = r.term
)

-- name: forget
delete from product_facets
where site_id = %(site_id)s and product_no = any(%(product_nos)s::int[])

-- name: missing
-- Without values, or with those of another recipe or of columns that somebody else changed.
select p.product_no from products p
left join product_facets f on f.site_id = p.site_id and f.product_no = p.product_no
where p.site_id = %(site_id)s and p.product_no > %(after)s
  and not p.deleted
  and (f.product_no is null or f.recipe <> %(recipe)s
    or f.source_hash is distinct from
      hash_record_extended((p.original_price, p.sale_price, p.rating, p.terms, p.ranges), 0))
order by p.product_no
limit %(limit)s

-- name: read_locked
-- An upload of one of these comes wholly before or wholly after.
select product_no, record from products
where site_id = %(site_id)s and product_no = any(%(product_nos)s::int[])
  and not deleted
order by product_id
for share

-- name: gone
-- By sets: a join of tables that nobody has analyzed yet compares each row with each.
select product_no from products where site_id = %(site_id)s and deleted
intersect
select product_no from product_facets where site_id = %(site_id)s

-- name: values
select term, value from facet_values
where site_id = %(site_id)s and term = any(%(terms)s::bigint[])
