-- name: history_is_old
select 1 where not exists (
  select from popularity_sites where site_id = %(site_id)s
    and history_day = (%(at)s::timestamptz at time zone 'utc')::date)

-- name: history
-- Every event before the day of `at`.
with weights as (
  select key::event_type as type, value::text::float8 as weight from jsonb_each(%(weights)s)
),
day as (select date_trunc('day', %(at)s::timestamptz, 'UTC') as start),
told as materialized (
  select p.product_no, sum(w.weight * power(0.5, extract(epoch from d.start - e.occurred_at)
      / extract(epoch from %(long_half_life)s::interval)))::real as history
  from day d
  join events e on e.site_id = %(site_id)s and e.occurred_at < d.start
  join weights w on w.type = e.type
  cross join lateral unnest(e.product_ids) as u(product_id)
  join products p on p.site_id = e.site_id and p.product_id = u.product_id and not p.deleted
  group by p.product_no
),
gone as (
  update popularity o set history = 0
  where o.site_id = %(site_id)s and o.history > 0
    and not exists (select from told t where t.product_no = o.product_no)
)
insert into popularity as o (site_id, product_no, popular, trending, computed_at, history)
select %(site_id)s, t.product_no, 0, 0, %(at)s, t.history from told t
order by t.product_no
on conflict (site_id, product_no) do update set history = excluded.history

-- name: refresh
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
lately as materialized (
  select p.product_no,
    sum(w.weight * power(0.5, extract(epoch from s.anchor - e.occurred_at)
      / extract(epoch from %(half_life)s::interval))) as popular,
    sum(w.weight * power(0.5, extract(epoch from s.anchor - e.occurred_at)
      / extract(epoch from %(trend_half_life)s::interval))) as trending
  from span s
  join events e on e.site_id = %(site_id)s and e.occurred_at > s.since and e.occurred_at <= s.until
  join weights w on w.type = e.type
  cross join lateral unnest(e.product_ids) as u(product_id)
  join products p on p.site_id = e.site_id and p.product_id = u.product_id and not p.deleted
  group by p.product_no
),
fresh as materialized (
  select coalesce(l.product_no, o.product_no) as product_no,
    (coalesce(l.popular, 0) + %(long_share)s * coalesce(o.history, 0))::real as popular,
    coalesce(l.trending, 0)::real as trending
  from lately l
  full join (select product_no, history from popularity
             where site_id = %(site_id)s and history > 0) o using (product_no)
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
),
site as (
  select count(*) as products,
    ln(1 + greatest(%(floor)s, coalesce(max(popular), 0)::float8)) as norm,
    coalesce(avg(ln(1 + popular::float8)), 0) as mean
  from fresh
),
kept as (
  insert into popularity_sites as o (site_id, history_day, norm, new_share, computed_at)
  select %(site_id)s, (%(at)s::timestamptz at time zone 'utc')::date, norm,
    least(1, %(new_factor)s * mean / norm), %(at)s
  from site
  on conflict (site_id) do update set
    history_day = excluded.history_day, norm = excluded.norm, new_share = excluded.new_share,
    computed_at = excluded.computed_at
  where (o.history_day, o.norm, o.new_share)
    is distinct from (excluded.history_day, excluded.norm, excluded.new_share)
)
select products from site
