-- name: lock
-- Whoever tells of an item holds it to the end, so that the next one sees all that was told.
insert into stock_items (site_id, source_id, item_id)
select %(site_id)s, %(source_id)s, item_id from unnest(%(ids)s::text[]) as i(item_id)
order by item_id
on conflict (site_id, source_id, item_id) do update set version = stock_items.version + 1

-- name: levels
insert into stock_levels (site_id, source_id, item_id, location_id, as_of, quantity)
select distinct on (r.item_id, r.location_id)
  %(site_id)s, %(source_id)s, r.item_id, r.location_id, r.as_of, r.quantity
from jsonb_to_recordset(%(rows)s)
  as r(item_id text, location_id text, as_of timestamptz, quantity real)
order by r.item_id, r.location_id, r.as_of desc, r.quantity desc nulls last
on conflict (site_id, source_id, item_id, location_id) do update set
  as_of = excluded.as_of, quantity = excluded.quantity
where (excluded.as_of, coalesce(excluded.quantity, '-infinity'))
    > (stock_levels.as_of, coalesce(stock_levels.quantity, '-infinity'))

-- name: items
update stock_items i set
  product_id = r.product_id, product_as_of = r.product_as_of, available = r.available
from jsonb_to_recordset(%(rows)s)
  as r(item_id text, product_id text, product_as_of timestamptz, available boolean)
where i.site_id = %(site_id)s and i.source_id = %(source_id)s and i.item_id = r.item_id
  and (i.product_as_of is null or r.product_as_of >= i.product_as_of)

-- name: available
-- By stock where some place counts and any of it is newer than the product's own word, else by that.
select i.product_id,
       case when max(l.as_of) > i.product_as_of and count(l.quantity) > 0 then sum(l.quantity) > 0
            else i.available end
from stock_items i
left join stock_levels l using (site_id, source_id, item_id)
where i.site_id = %(site_id)s and i.source_id = %(source_id)s and i.item_id = any(%(ids)s)
  and i.product_id is not null
group by i.product_id, i.product_as_of, i.available
order by i.product_id
