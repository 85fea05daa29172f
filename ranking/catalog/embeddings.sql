-- name: create_texts
create table if not exists {texts} (like texts_template including all)

-- name: create_vectors
create table if not exists {vectors} (like vectors_template including all)

-- name: create_terms_index
create index if not exists {index} on {vectors} using gin (terms)

-- name: insert_first_model
insert into models (site_id, model_id, name, state, dimension, vectors_table, texts_table,
  exact_cost, promoted_at)
values (%(site_id)s, 1, %(name)s, 'live', %(dimension)s, %(vectors_table)s, %(texts_table)s,
  %(exact_cost)s, current_timestamp)
on conflict (site_id, model_id) do nothing

-- name: live
-- params (600 kB) only of a model that the caller does not know yet.
select model_id, vectors_table, texts_table, ef_search, exact_cost, has_index, fitted_on,
  case when model_id <> %(known)s then params end,
  coalesce((select reltuples::bigint from pg_class where oid = to_regclass(vectors_table)), 0)
from models
where site_id = %(site_id)s and name = 'text-1' and state = 'live'

-- name: count
select count(*) from {table}

-- name: queue
-- A product's text changed: whatever went wrong with the one before does not count any more.
insert into products_to_encode (site_id, product_no, text_hash)
select p.site_id, p.product_no, p.text_hash
from jsonb_array_elements_text(%(product_nos)s) as n
join products p on p.site_id = %(site_id)s and p.product_no = n::int
where p.text_hash is not null and not p.deleted
order by p.product_no
on conflict (site_id, product_no) do update set
  text_hash = excluded.text_hash, queued_at = excluded.queued_at, attempts = 0, error = null

-- name: unqueue
delete from products_to_encode
where site_id = %(site_id)s
  and product_no in (select n::int from jsonb_array_elements_text(%(product_nos)s) as n)

-- name: lock_models_shared
select pg_advisory_xact_lock_shared(hashtext('ranking.catalog.models'), %(site_id)s)

-- name: served_tables
select vectors_table from models where site_id = %(site_id)s and state = 'live' order by model_id

-- name: copy_columns
update {vectors} v set group_key = p.group_key, available = p.available,
  original_price = p.original_price, sale_price = p.sale_price, rating = p.rating, terms = p.terms
from jsonb_array_elements_text(%(product_nos)s) as n
join products p on p.site_id = %(site_id)s and p.product_no = n::int
where v.site_id = %(site_id)s and v.product_no = p.product_no

-- name: forget
delete from {table}
where site_id = %(site_id)s
  and product_no in (select n::int from jsonb_array_elements_text(%(product_nos)s) as n)
