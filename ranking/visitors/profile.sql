-- name: kept
-- The stored profile, where it is still true of what was committed: one row, or none. Asked apart
-- from `read`, which opens every partition of the events before it begins.
with {whose}
select w.visitor_id, p.data::text as data, p.vector::vector as vector, p.taste::vector as taste
from whose w
join profiles p on p.site_id = %(site_id)s and p.visitor_id = w.visitor_id
where not w.apart and p.fingerprint = w.fingerprint
  and p.made_at > %(at)s::timestamptz - interval '24 hours'

-- name: read
-- All that a profile is made of but the products, in one snapshot: read apart, an old event could
-- be stored under a newer version.
-- apart: asked for alone, but joined to others; then `own` reads instead.
with {whose}
select w.visitor_id, w.apart, w.known, w.fingerprint,
       case when not w.apart then (
         select {happened}
         from (
           select e.* from member m cross join lateral (
             select * from events e
             where e.site_id = %(site_id)s and e.actor_id = m.actor_id and {counts}
             order by e.occurred_at desc, e.event_id limit %(most_events)s) e
           order by e.occurred_at desc, e.event_id limit %(most_events)s) t
       ) end::text as happened,
       case when not w.apart then (
         select {bought}
         from (
           select u.product_id, max(e.occurred_at) as occurred_at
           from member m cross join lateral (
             select e.occurred_at, e.product_ids from events e
             where e.site_id = %(site_id)s and e.actor_id = m.actor_id and e.type = 'purchase'
             order by e.occurred_at desc, e.event_id limit %(most_purchases)s) e
           cross join unnest(e.product_ids) as u(product_id)
           group by u.product_id
           order by occurred_at desc, u.product_id limit %(most_bought)s) b
       ) end::text as bought
from whose w

-- name: whose
-- The visitor, its members, and the fingerprint of all that a profile depends on but the products.
visitor as (
  select coalesce(m.visitor_id, %(actor)s::uuid) as visitor_id,
         %(alone)s::boolean and m.visitor_id is not null as apart
  from (select 1) one
  left join members m on m.site_id = %(site_id)s and m.actor_id = %(actor)s
),
member as materialized (
  select a.actor_id, a.version
  from (select m.actor_id from visitor v
        join members m on m.site_id = %(site_id)s and m.visitor_id = v.visitor_id
        union select %(actor)s::uuid) as ids
  join actors a on a.site_id = %(site_id)s and a.actor_id = ids.actor_id
),
whose as materialized (
  select v.visitor_id, v.apart, f.known, f.fingerprint
  from visitor v
  cross join (
    select count(*) > 0 as known,
           md5(concat(string_agg(actor_id || ':' || version, ',' order by actor_id), '/',
                      %(model_id)s::int, '/', %(learned_id)s::int, '/', %(recipe)s::int, '/',
                      (select c.version from cluster_sites c where c.site_id = %(site_id)s)))::uuid
             as fingerprint
    from member) f
)

-- name: own
-- What this id itself sent: before any login, and after it beside a user id. Nothing that others
-- of its visitor sent, whoever said that they belong together.
select (
  select {happened}
  from (
    select * from (
      (select * from events e
       where e.site_id = %(site_id)s and e.actor_id = %(actor)s and {counts}
       order by e.occurred_at desc, e.event_id limit %(most_events)s)
      union all
      (select * from events e
       where e.site_id = %(site_id)s and e.anonymous_actor_id = %(actor)s and {counts}
       order by e.occurred_at desc, e.event_id limit %(most_events)s)) e
    order by e.occurred_at desc, e.event_id limit %(most_events)s) t
  )::text as happened, (
  select {bought}
  from (
    select u.product_id, max(e.occurred_at) as occurred_at
    from (
      (select e.occurred_at, e.product_ids from events e
       where e.site_id = %(site_id)s and e.actor_id = %(actor)s and e.type = 'purchase'
       order by e.occurred_at desc, e.event_id limit %(most_purchases)s)
      union all
      (select e.occurred_at, e.product_ids from events e
       where e.site_id = %(site_id)s and e.anonymous_actor_id = %(actor)s and e.type = 'purchase'
       order by e.occurred_at desc, e.event_id limit %(most_purchases)s)) e
    cross join unnest(e.product_ids) as u(product_id)
    group by u.product_id
    order by occurred_at desc, u.product_id limit %(most_bought)s) b
  )::text as bought

-- name: happened
json_agg(json_build_array(
  t.event_id, t.occurred_at, t.type, t.product_ids, t.data->'product_group_ids',
  t.data->'search'->>'keywords', t.data->'category', t.data->'duration', t.data->'rating')
  order by t.occurred_at desc, t.event_id)

-- name: bought
json_agg(json_build_array(b.product_id, b.occurred_at) order by b.occurred_at desc, b.product_id)

-- name: counts
-- Neither impressions nor what a page reports about itself are interests, and a search that
-- mirrors a call of our own API was already told by the page.
e.type not in ('impression', 'viewable_impression')
and (cardinality(e.product_ids) > 0 or e.type in ('search', 'category_page_view')
     or e.data ? 'product_group_ids')
and coalesce(e.data->>'custom_action_name', '') not in ('heartbeat', 'generic_click')
and coalesce(e.data->'context'->'custom_context'->>'channel', '') <> 'miso_api'

-- name: products
-- pending: there is a text that its vector does not stand for yet. Only of products that shape the
-- vector, and of those that are priced, is more than the number read; of one of which very much is
-- told, what may be among the first names of a kind.
select p.product_id, p.product_no,
       w.telling and p.text_hash is not null and v.text_hash is distinct from p.text_hash as pending,
       v.vector::vector as vector,
       case when w.telling or w.priced then coalesce(p.sale_price, p.original_price) end as price,
       case when w.telling or w.priced then upper(r.record->'custom_attributes'->>'currency') end
         as currency,
       c.cluster_id,
       case when w.telling then json_build_array(
         r.record->'title', r.record->'brand',
         jsonb_path_query_array(nullif(r.record->'tags', 'null'), '$[0 to 23]'),
         jsonb_path_query_array(nullif(r.record->'categories', 'null'), '$[0 to 23]'), k.label,
         json_build_object('color', r.record->'color', 'size', r.record->'size',
           'material', r.record->'material'),
         case when pg_column_size(r.record->'custom_attributes') <= 4096
             or jsonb_typeof(r.record->'custom_attributes') <> 'object'
           then r.record->'custom_attributes'
           else (select jsonb_object_agg(few.key, few.value) from (
             select key, value from jsonb_each(r.record->'custom_attributes')
             where length(key) <= 60 and pg_column_size(value) <= 1024 limit 96) few)
         end) end::text as told
from jsonb_to_recordset(%(wanted)s) as w(product_id text, telling boolean, priced boolean)
join products p on p.site_id = %(site_id)s and p.product_id = w.product_id
cross join lateral (
  -- Unpacked once: where much is told of a product that is what takes the time.
  select case when w.telling or w.priced then p.record #> '{{}}' end as record offset 0) r
left join {vectors} v on w.telling and v.site_id = p.site_id and v.product_no = p.product_no
left join product_clusters c on (w.telling or w.priced)
  and c.site_id = p.site_id and c.product_no = p.product_no
left join clusters k on w.telling and k.site_id = c.site_id and k.cluster_id = c.cluster_id

-- name: store
-- A slower writer may put an older profile over a newer one: the next reader sees its fingerprint.
insert into profiles (site_id, visitor_id, fingerprint, model_id, made_at, data, vector, taste)
values (%(site_id)s, %(visitor_id)s, %(fingerprint)s, %(model_id)s, %(at)s, %(data)s::jsonb,
        %(vector)s::vector::real[], %(taste)s::vector::real[])
on conflict (site_id, visitor_id) do update set
  fingerprint = excluded.fingerprint, model_id = excluded.model_id, made_at = excluded.made_at,
  data = excluded.data, vector = excluded.vector, taste = excluded.taste

-- name: forget
-- In pieces, so that no reader waits long for its row. Returns where the next piece begins.
with piece as (
  select visitor_id from profiles
  where site_id = %(site_id)s and visitor_id > %(after)s
  order by visitor_id limit %(limit)s
),
gone as (
  delete from profiles
  where site_id = %(site_id)s and visitor_id in (select visitor_id from piece)
    and made_at < %(made_before)s
)
select visitor_id from piece order by visitor_id desc limit 1
