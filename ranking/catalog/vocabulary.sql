-- name: known
select word, surface, products from vocabulary
where site_id = %(site_id)s and word = any(%(words)s::text[])

-- name: with_keys
select word, surface, products from vocabulary
where site_id = %(site_id)s and keys && %(keys)s::int[]

-- name: all
select word, surface, products from vocabulary where site_id = %(site_id)s

-- name: forget
delete from vocabulary v
using jsonb_array_elements_text(%(words)s) as gone(word)
where v.site_id = %(site_id)s and v.word = gone.word

-- name: change
-- No index knows these columns, so that a word which one product more has costs one row.
update vocabulary v set surface = r.surface, products = r.products
from jsonb_to_recordset(%(rows)s) as r(word text, surface text, products int, keys int[])
where v.site_id = %(site_id)s and v.word = r.word and r.keys is null

-- name: add
insert into vocabulary (site_id, word, surface, products, keys)
select %(site_id)s, r.word, r.surface, r.products, r.keys
from jsonb_to_recordset(%(rows)s) as r(word text, surface text, products int, keys int[])
where r.keys is not null
order by r.word
on conflict (site_id, word) do update set
  surface = excluded.surface, products = excluded.products, keys = excluded.keys
