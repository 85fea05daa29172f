-- name: refresh
-- Ages count from the start of the window's last day, not from its end: a common factor does not
-- change any order, and so rows change only where events came or left, not with every minute.
with weights as (
  select key::event_type as type, value::text::float8 as weight from jsonb_each(%(weights)s)
),
newest as (
  select occurred_at from events
  where site_id = %(site_id)s and occurred_at <= %(at)s and cardinality(product_ids) > 0
    and type in (select type from weights)
  order by occurred_at desc limit 1
),
span as (
  select until, until - %(window)s::interval as since, date_trunc('day', until, 'UTC') as anchor
  from (
    select case when occurred_at > %(at)s::timestamptz - %(window)s::interval
      then %(at)s else occurred_at end as until
    from newest) as n
),
fresh as materialized (
  select p.product_no, sum(w.weight)::real as popular,
    sum(w.weight * power(0.5, extract(epoch from s.anchor - e.occurred_at)
      / extract(epoch from %(half_life)s::interval)))::real as trending
  from span s
  join events e on e.site_id = %(site_id)s and e.occurred_at > s.since and e.occurred_at <= s.until
  join weights w on w.type = e.type
  cross join lateral unnest(e.product_ids) as u(product_id)
  join products p on p.site_id = e.site_id and p.product_id = u.product_id and not p.deleted
  group by p.product_no
),
gone as (
  delete from popularity o where o.site_id = %(site_id)s
    and not exists (select from fresh f where f.product_no = o.product_no)
),
stored as (
  insert into popularity as o (site_id, product_no, popular, trending, computed_at)
  select %(site_id)s, f.product_no, f.popular, f.trending, %(at)s from fresh f
  order by f.product_no
  on conflict (site_id, product_no) do update set
    popular = excluded.popular, trending = excluded.trending, computed_at = excluded.computed_at
  where (o.popular, o.trending) is distinct from (excluded.popular, excluded.trending)
)
select count(*) from fresh
