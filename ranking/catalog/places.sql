-- name: read
select product_no, field, number, lat, lon from product_places
where site_id = %(site_id)s and product_no = any(%(product_nos)s::int[])

-- name: forget
delete from product_places
where site_id = %(site_id)s and product_no = any(%(product_nos)s::int[])

-- name: write
insert into product_places (site_id, product_no, field, number, lat, lon)
select %(site_id)s, r.product_no, r.field, r.number, r.lat, r.lon
from jsonb_to_recordset(%(rows)s) as r(
  product_no int, field text, number smallint, lat float8, lon float8)
order by r.product_no, r.field, r.number
on conflict (site_id, product_no, field, number) do update set
  lat = excluded.lat, lon = excluded.lon
