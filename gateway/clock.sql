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
