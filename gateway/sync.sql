-- Pulls of feeds: their state, their runs, the products they name. Only gateway/sync.py runs these.

-- name: due
-- A feed that was never pulled is due at once.
select distinct s.site_id
from sources s left join feeds f using (site_id, source_id)
where s.connector = 'feed' and coalesce(f.next_run, s.created_at) <= %(at)s
order by s.site_id

-- name: due_of
select s.source_id
from sources s left join feeds f using (site_id, source_id)
where s.site_id = %(site_id)s and s.connector = 'feed'
  and coalesce(f.next_run, s.created_at) <= %(at)s
order by coalesce(f.next_run, s.created_at), s.source_id

-- name: lock
-- Of the session: whoever pulls a feed is alone, and a process that dies holds nothing.
select pg_try_advisory_lock(%(class)s, %(source_id)s)

-- name: unlock
select pg_advisory_unlock(%(class)s, %(source_id)s)

-- name: begin
-- Counted as a failure until it ends well, so that a pull that kills its process is not repeated at
-- once for ever.
insert into feeds as f (site_id, source_id, next_run, failures)
values (%(site_id)s, %(source_id)s, %(at)s + %(first_wait)s, 1)
on conflict (site_id, source_id) do update set
  failures = f.failures + 1,
  next_run = %(at)s + least(%(first_wait)s * power(2, least(f.failures, 20)), %(every)s)
returning etag, last_modified, content_hash, changes_at, settings_hash

-- name: begin_by_hand
-- Somebody tries it: when the next pull is due does not depend on how often they did.
insert into feeds as f (site_id, source_id, next_run)
values (%(site_id)s, %(source_id)s, %(at)s + %(first_wait)s)
on conflict (site_id, source_id) do update set next_run = f.next_run
returning etag, last_modified, content_hash, changes_at, settings_hash

-- name: end_those_left
-- A run whose process died; nobody else runs while the lock is ours.
update feed_runs set outcome = 'interrupted', finished_at = %(at)s
where site_id = %(site_id)s and source_id = %(source_id)s and outcome = 'running'

-- name: insert_run
insert into feed_runs (site_id, source_id, started_at, outcome)
values (%(site_id)s, %(source_id)s, %(at)s, 'running')

-- name: note_progress
update feed_runs set counts = %(counts)s
where site_id = %(site_id)s and source_id = %(source_id)s and started_at = %(at)s

-- name: finish_run
update feed_runs set finished_at = %(finished_at)s, outcome = %(outcome)s, counts = %(counts)s,
  problems = %(problems)s, warning = %(warning)s, error = %(error)s
where site_id = %(site_id)s and source_id = %(source_id)s and started_at = %(at)s

-- name: keep_runs
delete from feed_runs
where site_id = %(site_id)s and source_id = %(source_id)s and started_at < (
  select started_at from feed_runs
  where site_id = %(site_id)s and source_id = %(source_id)s
  order by started_at desc offset %(kept)s limit 1)

-- name: succeeded
update feeds set failures = 0, last_success = %(finished_at)s, etag = %(etag)s,
  last_modified = %(last_modified)s, content_hash = %(content_hash)s, changes_at = %(changes_at)s,
  settings_hash = %(settings_hash)s,
  next_run = least(%(at)s + %(every)s, case when %(changes_at)s::timestamptz is not null
    then greatest(%(changes_at)s, %(at)s + %(pause)s) end)
where site_id = %(site_id)s and source_id = %(source_id)s

-- name: still_the_same
update feeds set failures = 0, last_success = %(finished_at)s,
  etag = coalesce(%(etag)s, etag), last_modified = coalesce(%(last_modified)s, last_modified),
  next_run = least(%(at)s + %(every)s, case when changes_at is not null
    then greatest(changes_at, %(at)s + %(pause)s) end)
where site_id = %(site_id)s and source_id = %(source_id)s

-- name: interrupted
-- Nobody's fault: it begins anew as soon as somebody runs again.
update feeds set failures = greatest(failures - 1, 0), next_run = %(finished_at)s
where site_id = %(site_id)s and source_id = %(source_id)s

-- name: ask
-- Somebody wants it now.
insert into feeds as f (site_id, source_id, next_run) values (%(site_id)s, %(source_id)s, %(at)s)
on conflict (site_id, source_id) do update set next_run = %(at)s

-- name: name
insert into feed_products (site_id, product_id, source_id, named_at)
select %(site_id)s, product_id, %(source_id)s, %(at)s
from jsonb_array_elements_text(%(ids)s) as product_id
order by product_id
on conflict (site_id, product_id, source_id) do update set named_at = excluded.named_at

-- name: count
-- How many of the feed's products are available. By sets, here and below: a join of tables that
-- nobody has analyzed yet compares each row with each.
select count(*) from (
  select product_id from feed_products
  where site_id = %(site_id)s and source_id = %(source_id)s
  intersect
  select product_id from products where site_id = %(site_id)s and available and not deleted
) available

-- name: vanished
-- Not what another feed holds still, nor what somebody has written since this pull began.
(
  select product_id from feed_products
  where site_id = %(site_id)s and source_id = %(source_id)s and named_at < %(at)s
  intersect
  select product_id from products
  where site_id = %(site_id)s and available and not deleted and written_at < %(at)s
)
except
select product_id from feed_products where site_id = %(site_id)s and source_id <> %(source_id)s
order by product_id

-- name: forget_vanished
-- What is available still was written while the pull ran: the next one judges it.
delete from feed_products
where site_id = %(site_id)s and source_id = %(source_id)s and named_at < %(at)s
  and product_id = any(array(
    select product_id from feed_products
    where site_id = %(site_id)s and source_id = %(source_id)s and named_at < %(at)s
    except (
      select product_id from products where site_id = %(site_id)s and available and not deleted
      except
      select product_id from feed_products
      where site_id = %(site_id)s and source_id <> %(source_id)s
    )))

-- name: left_over
select exists (select from feed_products
  where site_id = %(site_id)s and source_id = %(source_id)s and named_at < %(at)s)

-- name: urls
select public_id, settings from sources where site_id = %(site_id)s and connector = 'feed'

-- name: states
select s.source_id, s.public_id as source, s.settings, s.created_at,
  coalesce(f.next_run, s.created_at) as next_run, coalesce(f.failures, 0) as failures,
  f.last_success, f.etag, f.last_modified, f.content_hash,
  (select count(*) from feed_products p
   where p.site_id = s.site_id and p.source_id = s.source_id) as products
from sources s left join feeds f using (site_id, source_id)
where s.site_id = %(site_id)s and s.connector = 'feed'
  and (%(source)s::text is null or s.public_id = %(source)s)
order by s.source_id

-- name: runs
select started_at, finished_at, outcome, counts, problems, warning, error
from feed_runs where site_id = %(site_id)s and source_id = %(source_id)s
order by started_at desc
limit %(limit)s

-- name: health
-- Every feed of every site: since when it has not been pulled well.
select t.name as site, s.public_id as source, s.settings, s.created_at, f.last_success,
  coalesce(f.failures, 0) as failures,
  (select error from feed_runs r where r.site_id = s.site_id and r.source_id = s.source_id
   order by started_at desc limit 1) as error
from sources s join sites t using (site_id) left join feeds f using (site_id, source_id)
where s.connector = 'feed'
order by s.site_id, s.source_id
