-- Read only: the roles and their work.

-- name: roles
select role, extract(epoch from clock_timestamp() - max(beat_at))::float8
from heartbeats group by role

-- name: tasks
-- The newest run of each task and site, where it failed or was given out long ago.
select s.name, t.task, r.report->>'error',
  extract(epoch from clock_timestamp() - coalesce(r.finished_at, r.started_at))::float8
from (select 0 as site_id, null as name union all select site_id, name from sites) s
cross join unnest(%(tasks)s::text[]) as t(task)
cross join lateral (
  select state, started_at, finished_at, report from task_runs
  where site_id = s.site_id and task = t.task
  order by slot desc
  limit 1
) r
where r.state = 'failed'
   or (r.state = 'claimed' and r.started_at < clock_timestamp() - make_interval(secs => %(late_s)s))
order by s.name nulls first, t.task

-- name: failed_deliveries
-- By the partial index of failed ones.
select s.name, count(*), extract(epoch from clock_timestamp() - min(d.received_at))::float8,
  (array_agg(d.error order by d.received_at desc))[1]
from deliveries d join sites s using (site_id)
where d.failed > 0
group by s.name
order by s.name
