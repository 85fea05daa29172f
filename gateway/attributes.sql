-- name: known
-- A type that a delivery relied on is not forgotten before its records are seen.
select kind, name, type
from known_attribute_types(
  %(site)s, hashtext('gateway.attributes ' || current_schema()), %(names)s)

-- name: hold
select pg_advisory_xact_lock(hashtext('gateway.attributes ' || current_schema()), %(site)s)

-- name: left
select kind, %(most)s - count(*) from attribute_types where site_id = %(site)s group by kind

-- name: remember
-- In one order, and waiting for whoever is deciding the same name.
insert into attribute_types (site_id, kind, name_hash, name, type, first_told_at)
select %(site)s, r.kind, r.name_hash, r.name, r.type, %(at)s
from jsonb_to_recordset(%(rows)s) as r(kind text, name_hash uuid, name text, type text)
order by r.kind, r.name_hash
on conflict do nothing

-- name: of_site
with had as (
  select 'product' as kind, name, count(*) as records
  from products p, jsonb_object_keys(p.record->'custom_attributes') as name
  where p.site_id = %(site)s and not p.deleted
  group by name
  union all
  select 'user', name, count(*) from (
    select u.user_id, name
    from users u, jsonb_object_keys(u.record->'custom_attributes') as name
    where u.site_id = %(site)s and not u.deleted
    union
    select t.user_id, substr(t.name, length('custom_attributes.') + 1)
    from user_traits t
    where t.site_id = %(site)s and t.name like 'custom\_attributes.%%' and t.value is not null
  ) of_users
  group by name
)
select a.kind, a.name, a.type, coalesce(had.records, 0) as records, a.first_told_at
from attribute_types a
left join had on had.kind = a.kind and had.name = a.name
where a.site_id = %(site)s
order by a.kind, a.name

-- name: products_with
select count(*) from products
where site_id = %(site)s and not deleted and record->'custom_attributes' ? %(name)s

-- name: users_with
select count(*) from (
  select user_id from users
  where site_id = %(site)s and not deleted and record->'custom_attributes' ? %(name)s
  union
  select user_id from user_traits
  where site_id = %(site)s and name = 'custom_attributes.' || %(name)s and value is not null
) of_users

-- name: forget
delete from attribute_types
where site_id = %(site)s and kind = %(kind)s and name_hash = %(name_hash)s
