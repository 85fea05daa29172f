-- Read only.

-- name: products
select s.name, count(*) filter (where q.attempts >= %(most)s),
  max(q.error) filter (where q.attempts >= %(most)s), count(*) filter (where q.attempts < %(most)s),
  coalesce(extract(epoch from clock_timestamp() - min(q.queued_at) filter (where q.attempts = 0)), 0)
    ::float8
from products_to_encode q join sites s using (site_id)
group by s.name
order by s.name
