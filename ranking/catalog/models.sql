-- name: create_texts
create table if not exists {texts} (like texts_template including all)

-- name: create_vectors
create table if not exists {vectors} (like vectors_template including all)

-- name: create_learned
create table if not exists {vectors} (like learned_template including all)

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
where site_id = %(site_id)s and name = %(name)s and state = 'live'

-- name: count
select count(*) from {table}

-- name: lock_models_shared
select pg_advisory_xact_lock_shared(hashtext('ranking.catalog.models ' || current_schema()), %(site_id)s)

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

-- name: write_texts
insert into {texts} (site_id, product_no, text_hash, vector)
select %(site_id)s, n, h, v
from unnest(%(product_nos)s::int[], %(hashes)s::uuid[], %(vectors)b::vector[]) as e(n, h, v)
order by n
on conflict (site_id, product_no) do update set
  text_hash = excluded.text_hash, vector = excluded.vector

-- name: write_vectors
insert into {vectors} (site_id, product_no, group_key, available, original_price, sale_price,
  rating, terms, text_hash, vector)
select p.site_id, p.product_no, p.group_key, p.available, p.original_price, p.sale_price,
  p.rating, p.terms, e.h, e.v
from unnest(%(product_nos)s::int[], %(hashes)s::uuid[], %(served)b::halfvec[]) as e(n, h, v)
join products p on p.site_id = %(site_id)s and p.product_no = e.n and not p.deleted
order by p.product_no
on conflict (site_id, product_no) do update set
  group_key = excluded.group_key, available = excluded.available,
  original_price = excluded.original_price, sale_price = excluded.sale_price,
  rating = excluded.rating, terms = excluded.terms, text_hash = excluded.text_hash,
  vector = excluded.vector

-- name: analyze
analyze {vectors}

-- name: count_up_to
select count(*) from (select 1 from {table} limit %(limit)s) as counted

-- name: lock_models
select pg_advisory_xact_lock(hashtext('ranking.catalog.models ' || current_schema()), %(site_id)s)

-- name: begin
insert into models (site_id, model_id, name, state, dimension, vectors_table, texts_table,
  exact_cost, params, fitted_on)
select %(site_id)s, model_id, %(name)s, 'building', %(dimension)s,
  'vectors_' || %(site_id)s::int || '_' || model_id, %(texts_table)s, %(exact_cost)s, %(params)s,
  %(fitted_on)s
from (select max(model_id) + 1 as model_id from models where site_id = %(site_id)s) as next
returning model_id, vectors_table

-- name: give_up
-- What a fit that was killed left behind; its lock is ours now.
update models set state = 'failed'
where site_id = %(site_id)s and name = %(name)s and state = 'building'
returning vectors_table

-- name: retire
update models set state = 'retired'
where site_id = %(site_id)s and name = %(name)s and state = 'live'

-- name: promote
update models set state = 'live', ef_search = %(ef_search)s, has_index = %(has_index)s,
  record = %(record)s, promoted_at = current_timestamp
where site_id = %(site_id)s and model_id = %(model_id)s

-- name: left_over
-- Tables of models before the last one: nobody who saw an older model live still reads them.
select vectors_table from models
where site_id = %(site_id)s and name = %(name)s and state = 'retired'
  and to_regclass(vectors_table) is not null
order by model_id desc
offset 1

-- name: drop
drop table if exists {vectors}

-- name: read_texts
select product_no, text_hash, vector from {texts}
where site_id = %(site_id)s and product_no > %(after)s
order by product_no
limit %(limit)s

-- name: read_stale
select t.product_no, t.text_hash, t.vector from {texts} t
left join {vectors} v on v.site_id = t.site_id and v.product_no = t.product_no
where t.site_id = %(site_id)s and t.product_no > %(after)s
  and v.text_hash is distinct from t.text_hash
order by t.product_no
limit %(limit)s

-- name: forget_gone
delete from {vectors} v
where site_id = %(site_id)s and not exists (
  select from {texts} t where t.site_id = v.site_id and t.product_no = v.product_no)

-- name: copy_all_columns
update {vectors} v set group_key = p.group_key, available = p.available,
  original_price = p.original_price, sale_price = p.sale_price, rating = p.rating, terms = p.terms
from products p
where v.site_id = %(site_id)s and p.site_id = v.site_id and p.product_no = v.product_no
  and (v.group_key, v.available, v.original_price, v.sale_price, v.rating, v.terms)
    is distinct from (p.group_key, p.available, p.original_price, p.sale_price, p.rating, p.terms)

-- name: create_index
create index {index} on {vectors} using hnsw (vector halfvec_ip_ops)
with (m = {links}, ef_construction = {ef_construction})

-- name: sample
select vector from {vectors} where site_id = %(site_id)s order by hashint4(product_no) limit %(limit)s

-- name: nearest_exact
with scored as materialized (
  select product_no, vector <#> %(query)s::halfvec as distance from {vectors}
)
select distance from scored order by distance limit %(limit)s

-- name: nearest_by_index
select vector <#> %(query)s::halfvec as distance from {vectors}
order by vector <#> %(query)s::halfvec limit %(limit)s

-- name: lock_fit
select pg_try_advisory_lock(hashtext('ranking.catalog.fitting ' || current_schema()), %(site_id)s)

-- name: unlock_fit
select pg_advisory_unlock(hashtext('ranking.catalog.fitting ' || current_schema()), %(site_id)s)

-- name: index_memory
select set_config('maintenance_work_mem', %(memory)s, true),
  set_config('max_parallel_maintenance_workers', %(helpers)s, true),
  set_config('statement_timeout', '0', true)

-- name: drop_index
drop index {index}

-- name: search_settings
select set_config('hnsw.ef_search', %(ef_search)s, true),
  set_config('hnsw.iterative_scan', 'relaxed_order', true),
  set_config('enable_seqscan', 'off', true)

-- name: wait_briefly
-- While we wait for the lock, uploads that need it wait behind us.
set local lock_timeout = '500ms'

-- name: sites
select site_id from models where name = %(name)s and state = 'live' order by site_id

-- learned models ----------------------------------------------------------------------------------

-- name: read_learned
-- Raw texts and histories of products, whichever of them they have; for building a version.
select p.product_no, t.text_hash, t.vector from products p
left join {texts} t on t.site_id = p.site_id and t.product_no = p.product_no
where p.site_id = %(site_id)s and p.product_no > %(after)s and not p.deleted
order by p.product_no
limit %(limit)s

-- name: histories
select product_no, history::vector as history from {learned}
where site_id = %(site_id)s and product_no = any(%(product_nos)s::int[]) and history is not null

-- name: all_histories
select product_no, history::vector as history from {learned}
where site_id = %(site_id)s and history is not null

-- name: write_learned
insert into {learned} (site_id, product_no, group_key, available, original_price, sale_price,
  rating, terms, text_hash, history, vector)
select p.site_id, p.product_no, p.group_key, p.available, p.original_price, p.sale_price,
  p.rating, p.terms, e.h, e.y, e.v
from unnest(%(product_nos)s::int[], %(hashes)s::uuid[], %(histories)b::halfvec[],
  %(served)b::halfvec[]) as e(n, h, y, v)
join products p on p.site_id = %(site_id)s and p.product_no = e.n and not p.deleted
order by p.product_no
on conflict (site_id, product_no) do update set
  group_key = excluded.group_key, available = excluded.available,
  original_price = excluded.original_price, sale_price = excluded.sale_price,
  rating = excluded.rating, terms = excluded.terms, text_hash = excluded.text_hash,
  history = excluded.history, vector = excluded.vector

-- name: forget_deleted
delete from {vectors} v
where site_id = %(site_id)s and exists (
  select from products p
  where p.site_id = v.site_id and p.product_no = v.product_no and p.deleted)

-- name: lock_training
-- One training at a time over all machines of this database: it takes all of what a machine has. In
-- whatever schema, for a backtest's tables are in one of its own.
select pg_try_advisory_lock(hashtextextended('ranking.training', 0))

-- name: unlock_training
select pg_advisory_unlock(hashtextextended('ranking.training', 0))

-- name: refuse
update models set state = 'failed', record = %(record)s
where site_id = %(site_id)s and model_id = %(model_id)s

-- name: ready
-- Built and judged; it serves once it goes live.
update models set ef_search = %(ef_search)s, has_index = %(has_index)s, record = %(record)s
where site_id = %(site_id)s and model_id = %(model_id)s

-- name: versions
select model_id, name, state, created_at, promoted_at, has_index, record,
  to_regclass(vectors_table) is not null as can_serve
from models
where site_id = %(site_id)s and (%(name)s::text is null or name = %(name)s)
order by model_id desc

-- name: version
select model_id, vectors_table, texts_table, ef_search, exact_cost, has_index, fitted_on, params,
  coalesce((select reltuples::bigint from pg_class where oid = to_regclass(vectors_table)), 0)
from models
where site_id = %(site_id)s and name = %(name)s and model_id = %(model_id)s
  and state <> 'building' and to_regclass(vectors_table) is not null

-- name: go_live
-- What is gone back to keeps its time, so that the next step back goes further.
update models set state = 'live',
  promoted_at = case when %(again)s then coalesce(promoted_at, clock_timestamp())
    else clock_timestamp() end
where site_id = %(site_id)s and model_id = %(model_id)s

-- name: go_back
-- What was gone back from is not gone back to.
update models set state = 'retired', promoted_at = null,
  record = record || jsonb_build_object('rolled_back_at', clock_timestamp())
where site_id = %(site_id)s and name = %(name)s and state = 'live'

-- name: rest
-- It could serve, and waits for somebody to promote it.
update models set state = 'retired' where site_id = %(site_id)s and model_id = %(model_id)s

-- name: forget_learned
update models set state = 'failed', promoted_at = null, params = null
where site_id = %(site_id)s and name = %(name)s

-- name: held
-- Whether somebody went back since a version was last promoted.
select exists (
  select from models
  where site_id = %(site_id)s and name = %(name)s
    and (record->>'rolled_back_at')::timestamptz > (
      select coalesce(max(promoted_at), '-infinity') from models
      where site_id = %(site_id)s and name = %(name)s))

-- name: before
-- The version that a rollback goes back to: the one that was live before, and not since.
select model_id from models
where site_id = %(site_id)s and name = %(name)s and state = 'retired' and promoted_at is not null
  and to_regclass(vectors_table) is not null and promoted_at < %(promoted_at)s
order by promoted_at desc
limit 1

-- name: live_since
select model_id, promoted_at from models
where site_id = %(site_id)s and name = %(name)s and state = 'live'

-- name: left_over_learned
-- Tables of versions that are neither live nor could be gone back to: refused ones, and those
-- before the last two.
select vectors_table from (
  select vectors_table, state, row_number() over (
    partition by state order by promoted_at desc nulls last, model_id desc) as back
  from models
  where site_id = %(site_id)s and name = %(name)s and state in ('retired', 'failed')
) v
where to_regclass(vectors_table) is not null and (state = 'failed' or back > 2)
