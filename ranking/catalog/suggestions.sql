-- name: fingerprint
-- Of all texts: prices and stock, which change by the minute, are no part of it.
select count(*) || ':' || coalesce(
  bit_xor(hashtextextended(coalesce(text_hash::text, ''), product_no)), 0)
from product_words where site_id = %(site_id)s

-- name: is_due
select 1 where not exists (
  select from suggestion_sites s
  where s.site_id = %(site_id)s
    and (s.refreshed_at + s.took_s * %(pause)s * interval '1 second' > %(at)s
      or (s.fingerprint = %(fingerprint)s
        and s.refreshed_at + %(every)s::interval > %(at)s)))

-- name: begin
-- The row is locked until the end, so that two never write the words of one site.
insert into suggestion_sites as s (site_id, fingerprint, refreshed_at, took_s)
values (%(site_id)s, %(fingerprint)s, %(at)s, 0)
on conflict (site_id) do update set
  fingerprint = excluded.fingerprint, refreshed_at = excluded.refreshed_at

-- name: end
update suggestion_sites set took_s = %(took_s)s where site_id = %(site_id)s

-- name: records
select p.product_no, p.available, p.record - %(unread)s::text[], coalesce(r.popular, 0)::float8
from products p
left join popularity r on r.site_id = p.site_id and r.product_no = p.product_no
where p.site_id = %(site_id)s and not p.deleted
