-- name: beat
insert into heartbeats (role, host, pid, started_at, beat_at)
values (%(role)s, %(host)s, %(pid)s, %(started_at)s, clock_timestamp())
on conflict (role, host, pid) do update set
  started_at = excluded.started_at, beat_at = excluded.beat_at

-- name: unbeat
delete from heartbeats where role = %(role)s and host = %(host)s and pid = %(pid)s

-- name: claim
insert into task_runs (site_id, task, slot, state)
values (%(site_id)s, %(task)s, %(slot)s, 'claimed')
on conflict (site_id, task, slot) do nothing

-- name: unclaim
delete from task_runs
where site_id = %(site_id)s and task = %(task)s and slot = %(slot)s and state = 'claimed'

-- name: finish
update task_runs set state = %(state)s, finished_at = clock_timestamp(), report = %(report)s
where site_id = %(site_id)s and task = %(task)s and state = 'claimed'

-- name: purge_runs
-- Those of a clock that was ahead too: once it is right, their slots would be taken already.
delete from task_runs where slot < %(before)s or slot > now() + interval '1 hour'

-- name: purge_heartbeats
delete from heartbeats where beat_at < %(before)s
