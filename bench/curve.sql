-- name: actors
-- Visitors "c0", "c1", … whose ids the caller hashed.
insert into actors (site_id, actor_id, kind, sent_id)
select %(site_id)s, t.actor_id, 'anonymous', t.sent_id
from unnest(%(actor_ids)s::uuid[], %(sent_ids)s::text[]) as t (actor_id, sent_id);

-- name: events
-- Views numbered from `first` on, over the last `days` days: each of a visitor and of a product
-- taken at random, popular products more often than others. What ingest would have written, but
-- for the keys and deliveries, which no list reads.
insert into events (site_id, occurred_at, event_id, actor_id, type, product_ids, source_id,
                    delivery_id, position, received_at)
select %(site_id)s, drawn.at, gen_random_uuid(), (%(actor_ids)s::uuid[])[drawn.visitor],
  'product_detail_page_view', array[(%(product_ids)s::text[])[drawn.product]], %(source_id)s,
  %(delivery_id)s, 0, drawn.at
from (
  select %(at)s::timestamptz - random() * %(days)s * interval '1 day' as at,
    1 + floor(random() * %(visitors)s)::int as visitor,
    1 + floor(power(random(), 3) * %(products)s)::int as product
  from generate_series(1, %(events)s)
) as drawn;
