-- name: alone
select pg_advisory_xact_lock(hashtext('ranking.catalog.together ' || current_schema()), %(site_id)s)

-- name: refresh
-- A basket: what one actor bought in a session. Of a basket with more products than `most` a
-- different part each time, so that no product is always left out.
with bought as materialized (
  select e.actor_id, e.occurred_at, e.event_id, e.product_ids from events e
  where e.site_id = %(site_id)s and e.type = 'purchase'
    and e.occurred_at > %(at)s::timestamptz - %(window)s::interval and e.occurred_at <= %(at)s
  order by e.occurred_at desc, e.event_id
  limit %(most_purchases)s
),
begun as (
  select b.*, case when b.occurred_at - lag(b.occurred_at) over mine <= %(session)s::interval
                then 0 else 1 end as is_first
  from bought b
  window mine as (partition by b.actor_id order by b.occurred_at, b.event_id)
),
numbered as (
  select b.actor_id, b.product_ids, sum(b.is_first) over (
    partition by b.actor_id order by b.occurred_at, b.event_id) as number
  from begun b
),
line as (
  select distinct n.actor_id, n.number, p.product_no
  from numbered n
  cross join lateral unnest(n.product_ids) as u(product_id)
  join products p on p.site_id = %(site_id)s and p.product_id = u.product_id and not p.deleted
),
placed as (
  select l.*, row_number() over (
    partition by l.actor_id, l.number
    order by hashint8extended(l.product_no, l.number), l.product_no) as place
  from line l
),
basket as materialized (
  select array_agg(product_no) as products from placed
  where place <= %(most)s
  group by actor_id, number
),
alone as materialized (
  select u.product_no, count(*) as baskets
  from basket b cross join lateral unnest(b.products) as u(product_no)
  group by u.product_no
),
pair as (
  select one.product_no, other.product_no as other_no, count(*) as baskets
  from basket b
  cross join lateral unnest(b.products) as one(product_no)
  cross join lateral unnest(b.products) as other(product_no)
  where cardinality(b.products) > 1 and one.product_no <> other.product_no
  group by 1, 2
),
ranked as (
  select s.*, row_number() over (partition by product_no order by score desc, other_no) as place
  from (
    select p.product_no, p.other_no,
      (p.baskets / sqrt(a.baskets * o.baskets) * p.baskets / (p.baskets + %(shrink)s))::real as score
    from pair p
    join alone a on a.product_no = p.product_no
    join alone o on o.product_no = p.other_no
  ) s
),
best as materialized (
  select product_no, other_no, score from ranked where place <= %(kept)s
),
gone as (
  delete from bought_together t
  where t.site_id = %(site_id)s
    and not exists (select from best b where b.product_no = t.product_no and b.other_no = t.other_no)
),
written as (
  insert into bought_together as t (site_id, product_no, other_no, score)
  select %(site_id)s, product_no, other_no, score from best
  on conflict (site_id, product_no, other_no) do update set score = excluded.score
    where t.score is distinct from excluded.score
)
select (select count(*) from best), (select count(*) from basket)
