-- name: name
insert into snapshot_products (site_id, run, product_id, named_at)
select %(site_id)s, %(run)s, product_id, %(at)s
from jsonb_array_elements_text(%(ids)s) as product_id
on conflict do nothing

-- name: began
select min(named_at) from snapshot_products where site_id = %(site_id)s and run = %(run)s

-- name: count
-- What was written since the run began is not its to judge. By sets, here and below: a join of
-- tables that nobody has analyzed yet compares each row with each.
with gone as (
  select product_id from products
  where site_id = %(site_id)s and available and not deleted
    and (%(began)s::timestamptz is null or written_at < %(began)s)
  except
  select product_id from snapshot_products where site_id = %(site_id)s and run = %(run)s
)
select
  (select count(*) from products where site_id = %(site_id)s and available and not deleted),
  (select count(*) from gone)

-- name: vanished
select product_id from products
where site_id = %(site_id)s and available and not deleted
  and (%(began)s::timestamptz is null or written_at < %(began)s)
except
select product_id from snapshot_products where site_id = %(site_id)s and run = %(run)s
order by product_id

-- name: forget
delete from snapshot_products where site_id = %(site_id)s and run = %(run)s

-- name: purge
delete from snapshot_products s
using (select site_id, run from snapshot_products
       group by site_id, run having max(named_at) < %(before)s) old
where s.site_id = old.site_id and s.run = old.run
