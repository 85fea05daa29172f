-- name: read
select asked, version, served, variants from paged_lists
where site_id = %(site_id)s and list_hash = %(list_hash)s
  and touched_at > %(at)s::timestamptz - %(idle)s::interval

-- name: still
-- Of a page given before, what may still be in it.
select p.product_no, p.product_id from products p
where p.site_id = %(site_id)s and p.product_no = any(%(product_nos)s::int[])
  and p.available and not p.deleted and {filter}

-- name: variants
select p.product_no from products p
where p.site_id = %(site_id)s and not p.deleted and p.group_key = any(%(groups)s::bigint[])
  and p.product_no <> all(%(product_nos)s::int[])
order by p.product_no
limit %(limit)s

-- name: begin
-- In place of one that has lapsed, which nobody can go on with.
insert into paged_lists as l
  (site_id, list_hash, actor_id, asked, version, touched_at, served, variants)
values (%(site_id)s, %(list_hash)s, %(actor_id)s, %(asked)s, 1, %(at)s, %(served)s,
        %(variants)s::int[])
on conflict (site_id, list_hash) do update set
  asked = excluded.asked, version = l.version + 1, touched_at = excluded.touched_at,
  served = excluded.served, variants = excluded.variants
where l.touched_at <= %(at)s::timestamptz - %(idle)s::interval

-- name: go_on
-- Changes nothing where another request was quicker, or the person was erased.
update paged_lists set
  asked = %(asked)s, version = version + 1, touched_at = greatest(touched_at, %(at)s),
  served = %(served)s, variants = %(variants)s::int[]
where site_id = %(site_id)s and list_hash = %(list_hash)s and version = %(version)s

-- name: touch
update paged_lists set touched_at = greatest(touched_at, %(at)s)
where site_id = %(site_id)s and list_hash = %(list_hash)s

-- name: purge
delete from paged_lists where touched_at < %(before)s
