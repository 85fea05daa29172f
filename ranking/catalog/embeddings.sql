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

-- name: waiting
select count(*) from products_to_encode
where site_id = %(site_id)s and attempts < %(max_attempts)s and (attempts = 0 or queued_at <= %(at)s)

-- name: failed
select count(*) from products_to_encode
where site_id = %(site_id)s and (error is not null or attempts >= %(max_attempts)s)

-- name: sites_waiting
select distinct site_id from products_to_encode
where attempts < %(max_attempts)s and (attempts = 0 or queued_at <= %(at)s)
order by site_id

-- name: take
-- Materialized: the lock is tried in this order, row by row, and only until there are enough. The
-- window lets the planner follow the index (100,000 waiting: 1.4 ms, 183 when all were sorted).
-- queued_at of a product that failed says when to try again.
with due as materialized (
  select q.product_no from products_to_encode q
  join products p on p.site_id = q.site_id and p.product_no = q.product_no
  where q.site_id = %(site_id)s and q.attempts < %(max_attempts)s
    and (q.attempts = 0 or q.queued_at <= %(at)s) and p.text_hash is not null and not p.deleted
  order by q.queued_at desc, q.product_no
  limit %(window)s
)
select product_no from due
where pg_try_advisory_lock(hashtext('ranking.catalog.embeddings ' || current_schema()), product_no)
limit %(limit)s

-- name: read_taken
select p.product_no, p.text_hash, q.attempts > 0, p.record from jsonb_array_elements_text(%(product_nos)s) as n
join products_to_encode q on q.site_id = %(site_id)s and q.product_no = n::int
join products p on p.site_id = q.site_id and p.product_no = q.product_no
where p.text_hash is not null and not p.deleted

-- name: release
select count(pg_advisory_unlock(hashtext('ranking.catalog.embeddings ' || current_schema()), n::int))
from jsonb_array_elements_text(%(product_nos)s) as n

-- name: begin
-- Before the network has them, because it may never come back: then this is all that is known. The
-- first time they are due again at once (others of their slice are to blame, or a kill is), later
-- others come first.
update products_to_encode set attempts = attempts + 1,
  error = case when attempts > 0 then 'the encoder did not come back from it' end,
  queued_at = case when attempts = 0 then queued_at
    else %(at)s::timestamptz + %(first_retry)s::interval * power(4, attempts - 1) end
where site_id = %(site_id)s
  and product_no in (select n::int from jsonb_array_elements_text(%(product_nos)s) as n)

-- name: note_failure
update products_to_encode set error = %(error)s,
  queued_at = %(at)s::timestamptz + %(first_retry)s::interval * power(4, attempts - 1)
where site_id = %(site_id)s and product_no = %(product_no)s

-- name: lock_products
select product_no, text_hash from products
where site_id = %(site_id)s and product_no = any(%(product_nos)s) and not deleted
order by product_id
for share

-- name: find_dirty
insert into products_to_encode (site_id, product_no, text_hash)
select p.site_id, p.product_no, p.text_hash from products p
left join {texts} t on t.site_id = p.site_id and t.product_no = p.product_no
left join {vectors} v on v.site_id = p.site_id and v.product_no = p.product_no
where p.site_id = %(site_id)s and not p.deleted and p.text_hash is not null
  and (t.text_hash is distinct from p.text_hash or v.text_hash is distinct from p.text_hash)
order by p.product_no
on conflict (site_id, product_no) do nothing

-- name: with_text
select count(*) from products where site_id = %(site_id)s and not deleted and text_hash is not null

-- name: of_another_recipe
select product_no, record_hash, record from products
where site_id = %(site_id)s and product_no > %(after)s and not deleted
  and (text_hash is null or text_hash not between %(first)s and %(last)s)
order by product_no
limit %(limit)s

-- name: tell_anew
-- Locked in the order of ids, as uploads do; what one of them changed meanwhile is left as it is.
with told as materialized (
  select * from jsonb_to_recordset(%(rows)s) as r(product_no int, record_hash uuid, text_hash uuid)
),
known as materialized (
  select product_no from products
  where site_id = %(site_id)s and product_no in (select product_no from told)
  order by product_id
  for no key update
)
update products p set text_hash = told.text_hash
from told join known using (product_no)
where p.site_id = %(site_id)s and p.product_no = told.product_no and not p.deleted
  and p.record_hash = told.record_hash and p.text_hash is distinct from told.text_hash
returning p.product_no, p.text_hash is not null
