-- name: described
-- Of every match its group and its values, in as many bytes as they are: rows of their own would
-- cost more than to find and to count them. All columns are in the order of the products found.
with found as materialized (
  select w.product_no, w.group_key from product_words w
  where w.site_id = %(site_id)s and w.product_no <> all(%(excluded)s::int[])
    and {matching}
  limit %(most)s + 1
)
select count(*),
  coalesce(string_agg(int8send(w.group_key), ''), ''),
  coalesce(string_agg(int4send(coalesce(length(f.pairs), 0)), ''), ''),
  coalesce(string_agg(f.pairs, ''), '')
from found w
left join product_facets f on f.site_id = %(site_id)s and f.product_no = w.product_no

-- name: in_buckets
select count(*), {counts}
from product_words w
{products}
where w.site_id = %(site_id)s and w.product_no <> all(%(excluded)s::int[])
  and {matching}

-- name: products
join products p on p.site_id = w.site_id and p.product_no = w.product_no

-- name: in_one
count({counted}) filter (where {condition})

-- name: spelled_so
-- Which of these texts; without captures Postgres matches in linear time.
select t.n - 1 from unnest(%(texts)s::text[]) with ordinality as t(text, n)
where (%(include)s::text is null or t.text ~ %(include)s)
  and not (%(exclude)s::text is not null and t.text ~ %(exclude)s)
