-- What an operator asks of the whole installation, as few statements a scrape.

-- name: failed_deliveries
-- By the partial index of failed ones.
select count(*), coalesce(extract(epoch from now() - min(received_at)), 0)::float8
from deliveries where failed > 0

-- name: encoding
select count(*), count(*) filter (where attempts >= %(max_attempts)s),
  coalesce(extract(epoch from now() - min(queued_at) filter (where attempts = 0)), 0)::float8
from products_to_encode

-- name: roles
-- The freshest heartbeat of each role and how many processes of it reported lately.
select role, extract(epoch from now() - max(beat_at))::float8,
  count(*) filter (where beat_at > now() - make_interval(secs => %(fresh_s)s))
from heartbeats group by role order by role

-- name: tasks
-- Of each task: the age of its newest run, the sites whose newest run failed, and the age of the
-- oldest newest run that has not ended. One probe of the primary key a site and task.
select t.task, extract(epoch from now() - max(r.slot))::float8,
  count(*) filter (where r.state = 'failed'),
  coalesce(extract(epoch from now() - min(r.started_at) filter (where r.state = 'claimed')), 0)
    ::float8
from unnest(%(tasks)s::text[]) as t(task)
cross join (select 0 as site_id union all select site_id from sites) s
cross join lateral (
  select slot, state, started_at from task_runs
  where site_id = s.site_id and task = t.task
  order by slot desc
  limit 1
) r
group by t.task
order by t.task
