-- name: people
-- What is kept of them, and the ids they were sent under: a user's before an anonymous one.
select p.visitor_id, p.data::text as data, p.vector::vector as vector, named.kind, named.sent_id
from profiles p
cross join lateral (
  select a.kind, a.sent_id
  from (select m.actor_id from members m
        where m.site_id = %(site_id)s and m.visitor_id = p.visitor_id
        union select p.visitor_id) ids
  join actors a on a.site_id = %(site_id)s and a.actor_id = ids.actor_id
  where a.sent_id is not null
  order by a.kind desc, a.sent_id
  limit 1
) named
where p.site_id = %(site_id)s and p.visitor_id = any(%(visitors)s::uuid[])
  and p.model_id = %(model_id)s and p.vector is not null
