-- name: actors
insert into actors (site_id, actor_id, kind, sent_id)
select %(site_id)s, actor, 'anonymous', 'v' || n - 1
from unnest(%(actors)s::uuid[]) with ordinality as a(actor, n)

-- name: events
-- By turns of the visitors, over eight weeks; some products are seen far more often than others, and
-- every tenth event is an order.
with product as materialized (
  select product_id, row_number() over (order by product_no) - 1 as n
  from products where site_id = %(site_id)s
),
visitor as materialized (
  select actor, n - 1 as n from unnest(%(actors)s::uuid[]) with ordinality as a(actor, n)
),
happened as materialized (
  select n, floor((select count(*) from product) * power(random(), 3))::bigint as seen,
    %(at)s::timestamptz - n * (interval '8 weeks' / %(events)s) as at
  from generate_series(1, %(events)s) as n
)
insert into events (site_id, occurred_at, event_id, actor_id, type, product_ids, source_id,
  delivery_id, position, received_at)
select %(site_id)s, h.at, gen_random_uuid(), v.actor,
  (case when h.n %% 10 = 0 then 'purchase' else 'product_detail_page_view' end)::event_type,
  array[p.product_id], 0, gen_random_uuid(), 0, h.at
from happened h
join product p on p.n = h.seen
join visitor v on v.n = h.n %% %(visitors)s
