-- name: named
-- Under which id each visitor of v was sent: a user's before an anonymous one.
cross join lateral (
  select a.kind, a.sent_id
  from (select m.actor_id from members m
        where m.site_id = %(site_id)s and m.visitor_id = v.visitor_id
        union select v.visitor_id) ids
  join actors a on a.site_id = %(site_id)s and a.actor_id = ids.actor_id
  where a.sent_id is not null
  order by a.kind desc, a.sent_id
  limit 1
) named

-- name: people
-- What is kept of them, and the ids they were sent under.
select v.visitor_id, v.data::text as data, v.vector::vector as vector, named.kind, named.sent_id
from profiles v
{named}
where v.site_id = %(site_id)s and v.visitor_id = any(%(visitors)s::uuid[])
  and v.model_id = %(model_id)s and v.vector is not null
