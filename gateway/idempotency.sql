-- name: claim
select request_hash, status, answer
from claim_idempotent_request(%(site)s, %(key)s, %(lock)s, %(since)s)

-- name: keep
-- Over one that is too old and was not purged yet.
insert into idempotent_requests as known
  (site_id, key_hash, request_hash, answered_at, delivery_id, status, answer)
values (%(site)s, %(key)s, %(request)s, %(at)s, %(delivery)s, %(status)s, %(answer)s)
on conflict (site_id, key_hash) do update set
  request_hash = excluded.request_hash, answered_at = excluded.answered_at,
  delivery_id = excluded.delivery_id, status = excluded.status, answer = excluded.answer

-- name: purge
delete from idempotent_requests where answered_at < %(before)s
