-- name: name
insert into snapshot_products (site_id, run, product_id, named_at)
select %(site_id)s, %(run)s, product_id, %(at)s
from jsonb_array_elements_text(%(ids)s) as product_id
on conflict do nothing

-- name: count
-- What was written since the run began is not its to judge.
with began as (
  select min(named_at) as at from snapshot_products where site_id = %(site_id)s and run = %(run)s
)
select count(*), count(*) filter (
  where s.product_id is null and (b.at is null or p.written_at < b.at))
from products p cross join began b
left join snapshot_products s
  on s.site_id = %(site_id)s and s.run = %(run)s and s.product_id = p.product_id
where p.site_id = %(site_id)s and p.available and not p.deleted

-- name: vanished
with began as (
  select min(named_at) as at from snapshot_products where site_id = %(site_id)s and run = %(run)s
)
select p.product_id
from products p cross join began b
where p.site_id = %(site_id)s and p.available and not p.deleted
  and (b.at is null or p.written_at < b.at)
  and not exists (select from snapshot_products s
                  where s.site_id = %(site_id)s and s.run = %(run)s
                    and s.product_id = p.product_id)
order by p.product_id

-- name: forget
delete from snapshot_products where site_id = %(site_id)s and run = %(run)s

-- name: purge
delete from snapshot_products s
using (select site_id, run from snapshot_products
       group by site_id, run having max(named_at) < %(before)s) old
where s.site_id = old.site_id and s.run = old.run
