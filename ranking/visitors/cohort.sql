-- name: people
-- Whose every field is so: as the record says it, or a trait that is newer. `sample` of them, always
-- the same ones.
with field as (
  select f.* from jsonb_to_recordset(%(fields)s) as f(name text, path text[], value jsonb)
),
said as (
  select u.user_id, f.name
  from field f
  join users u on u.site_id = %(site_id)s and not u.deleted
    and u.record #> f.path @> f.value
  where not exists (
    select from user_traits t where t.site_id = u.site_id and t.user_id = u.user_id
      and t.name = f.name and t.as_of > u.as_of)
  union all
  select t.user_id, f.name
  from field f
  join user_traits t on t.site_id = %(site_id)s and t.name = f.name and t.value @> f.value
  left join users u on u.site_id = t.site_id and u.user_id = t.user_id
  where u.as_of is null or t.as_of > u.as_of
)
select user_id from said
group by user_id
having count(*) = (select count(*) from field)
order by hashtextextended(user_id, 0), user_id
limit %(sample)s

-- name: pepper
select pepper from sites where site_id = %(site_id)s

-- name: tastes
-- What is kept of these people, however old: a few minutes do not change what many like.
select a.actor_id, p.vector::vector as vector
from unnest(%(actors)s::uuid[]) as a(actor_id)
left join members m on m.site_id = %(site_id)s and m.actor_id = a.actor_id
join profiles p on p.site_id = %(site_id)s and p.visitor_id = coalesce(m.visitor_id, a.actor_id)
where p.model_id = %(model_id)s
