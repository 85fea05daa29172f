-- name: upsert
-- candidates: reads only, so that the hundredth event of a product locks nothing. known: locked in
-- the order of ids and as it is now, so that "the text changed" is true of what is replaced.
with sent as (
  select * from jsonb_to_recordset(%(rows)s) as r(
    product_id text, group_key bigint, as_of timestamptz, record_hash uuid, written_at timestamptz,
    deleted boolean,
    provisional boolean, text_hash uuid, available boolean, original_price float8,
    sale_price float8, rating float8, terms bigint[], ranges jsonb, record jsonb)
),
candidates as (
  select s.* from sent s
  left join products p on p.site_id = %(site_id)s and p.product_id = s.product_id
  where p.product_id is null
     or (not s.provisional, s.as_of, s.record_hash) > (not p.provisional, p.as_of, p.record_hash)
),
known as materialized (
  select product_id, product_no, text_hash, deleted,
    (group_key, available, original_price, sale_price, rating, terms) as columns
  from products
  where site_id = %(site_id)s and product_id in (select product_id from candidates)
  order by product_id
  for no key update
),
stored as (
  insert into products as p (site_id, product_id, product_no, group_key, as_of, record_hash,
    written_at, deleted, provisional, text_hash, available, original_price, sale_price, rating, terms, ranges,
    record)
  select %(site_id)s, c.product_id, coalesce(k.product_no, nextval('product_numbers')::int),
    c.group_key, c.as_of, c.record_hash, c.written_at, c.deleted, c.provisional, c.text_hash, c.available,
    c.original_price, c.sale_price, c.rating, c.terms, c.ranges, c.record
  from candidates c left join known k using (product_id)
  order by c.product_id
  on conflict (site_id, product_id) do update set
    group_key = excluded.group_key, as_of = excluded.as_of, record_hash = excluded.record_hash,
    written_at = excluded.written_at, deleted = excluded.deleted, provisional = excluded.provisional,
    text_hash = excluded.text_hash, available = excluded.available,
    original_price = excluded.original_price, sale_price = excluded.sale_price,
    rating = excluded.rating, terms = excluded.terms, ranges = excluded.ranges,
    record = excluded.record
  where (not excluded.provisional, excluded.as_of, excluded.record_hash)
      > (not p.provisional, p.as_of, p.record_hash)
  returning product_id, product_no, text_hash, deleted,
    (group_key, available, original_price, sale_price, rating, terms) as columns
)
select s.product_no, k.product_no is not null and not k.deleted,
  s.text_hash is distinct from k.text_hash, s.text_hash is not null, s.columns is distinct from k.columns, s.deleted,
  s.product_id
from stored s left join known k using (product_id)
order by s.product_no

-- name: lock
-- In the order in which upserts lock, each row as it is once its lock is held.
select product_id, record, as_of, written_at, provisional
from products
where site_id = %(site_id)s and product_id = any(%(ids)s) and not deleted
order by product_id
for no key update

-- name: patch
-- The rows are locked, so what this reads is what it replaces.
with sent as (
  select * from jsonb_to_recordset(%(rows)s) as r(
    product_id text, group_key bigint, as_of timestamptz, record_hash uuid, written_at timestamptz,
    provisional boolean, text_hash uuid, available boolean, original_price float8,
    sale_price float8, rating float8, terms bigint[], ranges jsonb, record jsonb)
),
known as materialized (
  select product_id, text_hash,
    (group_key, available, original_price, sale_price, rating, terms) as columns
  from products
  where site_id = %(site_id)s and product_id in (select product_id from sent)
),
stored as (
  update products p set
    group_key = s.group_key, as_of = s.as_of, record_hash = s.record_hash,
    written_at = s.written_at, provisional = s.provisional, text_hash = s.text_hash,
    available = s.available, original_price = s.original_price, sale_price = s.sale_price,
    rating = s.rating, terms = s.terms, ranges = s.ranges, record = s.record
  from sent s
  where p.site_id = %(site_id)s and p.product_id = s.product_id
  returning p.product_id, p.product_no, p.text_hash,
    (p.group_key, p.available, p.original_price, p.sale_price, p.rating, p.terms) as columns
)
select s.product_no, true, s.text_hash is distinct from k.text_hash, s.text_hash is not null,
  s.columns is distinct from k.columns, false, s.product_id
from stored s join known k using (product_id)
order by s.product_no

-- name: regroup
-- An older list changes nothing, but its group is held all the same.
insert into product_groups (site_id, group_id, as_of, product_ids)
select distinct on (r.group_id) %(site_id)s, r.group_id, r.as_of, r.product_ids
from jsonb_to_recordset(%(rows)s) as r(group_id text, as_of timestamptz, product_ids text[])
order by r.group_id, r.as_of desc, r.product_ids desc
on conflict (site_id, group_id) do update set
  as_of = greatest(product_groups.as_of, excluded.as_of),
  product_ids = case
    when (excluded.as_of, excluded.product_ids) > (product_groups.as_of, product_groups.product_ids)
    then excluded.product_ids else product_groups.product_ids end

-- name: stray
select p.product_id, g.as_of
from unnest(%(groups)s::text[], %(keys)s::bigint[]) as asked(group_id, group_key)
join product_groups g on g.site_id = %(site_id)s and g.group_id = asked.group_id
join products p on p.site_id = g.site_id and p.group_key = asked.group_key
where not p.deleted and not p.provisional
  and p.as_of <= g.as_of and p.product_id <> all(g.product_ids)
order by p.product_id

-- name: delete
with gone as (
  select product_id from products
  where site_id = %(site_id)s and product_id = any(%(ids)s) and not deleted
    and written_at <= %(received_at)s
  order by product_id
  for no key update
)
update products p set deleted = true, available = false, provisional = false, text_hash = null,
  as_of = least(p.as_of, %(received_at)s), record_hash = %(hash)s, terms = '{}', ranges = '{}', record = '{}'
from gone where p.site_id = %(site_id)s and p.product_id = gone.product_id
returning p.product_no

-- name: get
select record from products
where site_id = %(site_id)s and product_id = %(product_id)s and not deleted

-- name: ids
select product_id from products
where site_id = %(site_id)s and not deleted and not provisional
  and (%(type)s::text is null or record->>'type' = %(type)s)
order by product_id

-- name: without_paths
-- What an older version stored with a category, but without the terms of its paths. Locked, so that
-- an upload comes wholly before or wholly after.
select product_no, record from products
where site_id = %(site_id)s and product_no > %(after)s and not deleted
  and terms @> array[%(has_categories)s::bigint] and not terms @> array[%(in_categories)s::bigint]
order by product_no
limit %(limit)s
for no key update

-- name: set_terms
update products p set terms = r.terms
from jsonb_to_recordset(%(rows)s) as r(product_no int, terms bigint[])
where p.site_id = %(site_id)s and p.product_no = r.product_no
