-- name: all
select field, folded, text, weight, uses, product_no from completions
where site_id = %(site_id)s and (field = %(field)s) = %(historical)s

-- name: forget
delete from completions c
using jsonb_to_recordset(%(rows)s) as gone(field text, folded text)
where c.site_id = %(site_id)s and c.field = gone.field and c.folded = gone.folded

-- name: change
update completions c set text = r.text, weight = r.weight, uses = r.uses, product_no = r.product_no
from jsonb_to_recordset(%(rows)s) as r(
  field text, folded text, text text, words text, weight real, uses int, product_no int)
where c.site_id = %(site_id)s and c.field = r.field and c.folded = r.folded and r.words is null

-- name: add
insert into completions (site_id, field, folded, text, words, weight, uses, product_no)
select %(site_id)s, r.field, r.folded, r.text, r.words::tsvector, r.weight, r.uses, r.product_no
from jsonb_to_recordset(%(rows)s) as r(
  field text, folded text, text text, words text, weight real, uses int, product_no int)
where r.words is not null
order by r.field, r.folded
on conflict (site_id, field, folded) do update set
  text = excluded.text, words = excluded.words, weight = excluded.weight, uses = excluded.uses,
  product_no = excluded.product_no

-- name: greatest
select folded, text, weight, uses, product_no from completions
where site_id = %(site_id)s and field = %(field)s and uses >= %(least_uses)s
order by weight desc, folded
limit %(limit)s

-- name: walked
-- What is so common that a bitmap of all would take long is among the greatest weights.
select t.folded, t.text, t.weight, t.uses, t.product_no
from (
  select * from completions c
  where c.site_id = %(site_id)s and c.field = %(field)s
  order by c.weight desc, c.folded
  limit %(walked)s
) as t
where t.words @@ %(query)s::tsquery and t.uses >= %(least_uses)s
order by t.weight desc, t.folded
limit %(limit)s

-- name: scanned
-- Site and field are in the words too. `+ 0` and `|| ''` keep Postgres from reading all of a field's
-- index beside that of the words.
select t.folded, t.text, t.weight, t.uses, t.product_no
from (
  select * from completions c
  where c.words @@ %(query)s::tsquery
    and c.site_id + 0 = %(site_id)s and c.field || '' = %(field)s and c.uses >= %(least_uses)s
  limit %(scanned)s
) as t
order by t.weight desc, t.folded
limit %(limit)s
