-- name: read
select product_no, record from products
where site_id = %(site_id)s and product_no = any(%(product_nos)s::int[])
  and not deleted

-- name: read_locked
-- An upload of one of these comes wholly before or wholly after.
select product_no, record from products
where site_id = %(site_id)s and product_no = any(%(product_nos)s::int[])
  and not deleted
order by product_id
for share

-- name: write
insert into product_words (site_id, product_no, group_key, available, original_price, sale_price,
  rating, terms, text_hash, recipe, language, title_key, title_words, words)
select p.site_id, p.product_no, p.group_key, p.available, p.original_price, p.sale_price,
  p.rating, p.terms, p.text_hash, %(recipe)s, r.language, r.title_key, r.title_words, r.words
from jsonb_to_recordset(%(rows)s) as r(
  product_no int, language text, title_key bigint, title_words smallint, words tsvector)
join products p on p.site_id = %(site_id)s and p.product_no = r.product_no
order by p.product_no
on conflict (site_id, product_no) do update set
  group_key = excluded.group_key, available = excluded.available,
  original_price = excluded.original_price, sale_price = excluded.sale_price,
  rating = excluded.rating, terms = excluded.terms, text_hash = excluded.text_hash,
  recipe = excluded.recipe, language = excluded.language, title_key = excluded.title_key,
  title_words = excluded.title_words, words = excluded.words

-- name: copy_columns
update product_words w set group_key = p.group_key, available = p.available,
  original_price = p.original_price, sale_price = p.sale_price, rating = p.rating, terms = p.terms
from unnest(%(product_nos)s::int[]) as n
join products p on p.site_id = %(site_id)s and p.product_no = n
where w.site_id = %(site_id)s and w.product_no = p.product_no

-- name: forget
delete from product_words
where site_id = %(site_id)s and product_no = any(%(product_nos)s::int[])

-- name: missing
-- Without words, with those of another text or recipe, or with columns that somebody else changed.
select p.product_no from products p
left join product_words w on w.site_id = p.site_id and w.product_no = p.product_no
where p.site_id = %(site_id)s and p.product_no > %(after)s
  and not p.deleted
  and (w.product_no is null or w.text_hash is distinct from p.text_hash
    or w.recipe <> %(recipe)s
    or w.language <> coalesce(nullif(lower(left(p.record->>'language', 2)), ''), %(default)s)
    or (w.group_key, w.available, w.original_price, w.sale_price, w.rating, w.terms)
      is distinct from
      (p.group_key, p.available, p.original_price, p.sale_price, p.rating, p.terms))
order by p.product_no
limit %(limit)s

-- name: gone
-- By sets: a join of tables that nobody has analyzed yet compares each row with each.
select product_no from products where site_id = %(site_id)s and deleted
intersect
select product_no from product_words where site_id = %(site_id)s

-- name: languages
-- Of a sample: what more than one product in fifty is written in.
with sampled as materialized (
  select language from product_words where site_id = %(site_id)s limit %(sample)s
)
select language from sampled
group by language
having count(*) * 50 > (select count(*) from sampled)
order by count(*) desc, language
limit %(most)s
