-- name: sites_with_news
-- A site where a refresh takes long is given twenty times as long until the next.
select s.site_id from sites s
left join lateral (
  select slot, finished_at, started_at from task_runs r
  where r.site_id = s.site_id and r.task = %(task)s and r.state = 'done'
  order by slot desc
  limit 1
) last on true
where last.slot is null
   or last.slot <= %(at)s::timestamptz - %(at_least)s::interval
   or (last.slot + 20 * coalesce(last.finished_at - last.started_at, interval '0') <= %(at)s
       and exists (
         select from deliveries d where d.site_id = s.site_id
           and d.received_at > last.slot - %(overlap)s::interval and d.applied > 0))
order by s.site_id

-- name: sites_with_purchases
-- Where what is bought together is to be counted anew: each hour with news, each day in any case, as
-- erasure and retention take purchases away. Sooner where what came since may be as much again as was
-- counted then: the first orders, an archive that arrives piece by piece.
select s.site_id from sites s
left join lateral (
  select slot, finished_at, started_at,
    case when slot > %(at)s::timestamptz - %(news_at_least)s::interval
      then coalesce((report->>'baskets')::int, 0) else 0 end as enough
  from task_runs r
  where r.site_id = s.site_id and r.task = 'together' and r.state = 'done'
  order by slot desc
  limit 1
) last on true
where last.slot is null
   or last.slot <= %(at)s::timestamptz - %(at_least)s::interval
   or (last.slot + 20 * coalesce(last.finished_at - last.started_at, interval '0') <= %(at)s
       and last.enough < (
         select coalesce(sum(applied), 0) from (
           select d.applied from deliveries d
           where d.site_id = s.site_id and d.received_at > last.slot - %(overlap)s::interval
             and d.applied > 0
           limit %(looked_at)s) d))
order by s.site_id

-- name: sites_with_failures
select distinct site_id from deliveries where failed > 0 order by site_id

-- name: sites_to_train
-- Each site has its turn once in every span, moved by its number, and keeps it while another site
-- trains (a run that found one is no run). One that nothing was sent to since is left alone.
with turn as (
  select s.site_id,
    to_timestamp(floor((extract(epoch from %(at)s::timestamptz) - shift) / length) * length + shift)
      as since
  from sites s
  cross join lateral (
    select extract(epoch from %(every)s::interval) as length,
      s.site_id * 37 %% (extract(epoch from %(every)s::interval)
        / extract(epoch from %(look)s::interval))::int * extract(epoch from %(look)s::interval)
        as shift) l
)
select t.site_id from turn t
left join lateral (
  select slot from task_runs r
  where r.site_id = t.site_id and r.task = 'train'
    and coalesce(r.report->>'outcome', '') <> 'busy'
  order by slot desc
  limit 1
) last on true
where (last.slot is null or last.slot < t.since)
  and exists (
    select from deliveries d where d.site_id = t.site_id and d.applied > 0
      and (last.slot is null or d.received_at > last.slot - %(overlap)s::interval))
order by t.site_id

-- name: sites_done_since
select distinct site_id from task_runs
where task = %(task)s and state = 'done' and slot > %(before)s
