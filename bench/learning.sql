-- name: events
-- Visits of as many visitors, a second between two events, up to an instant.
with product as materialized (
  select product_id, row_number() over (order by product_no) - 1 as n
  from products where site_id = %(site_id)s
)
insert into events (site_id, occurred_at, event_id, actor_id, type, product_ids, source_id,
  delivery_id, position, received_at)
select %(site_id)s, to_timestamp(e.at), gen_random_uuid(), md5('v' || e.visit)::uuid,
  'product_detail_page_view', array[p.product_id], 0, gen_random_uuid(), 0, to_timestamp(e.at)
from unnest(%(visits)s::int[], %(rows)s::int[], %(times)s::float8[]) as e(visit, row, at)
join product p on p.n = e.row
