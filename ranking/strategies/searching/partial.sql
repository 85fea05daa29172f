-- name: frequencies
-- Of each word how many products have it, as far as `most`.
select (
  select count(*) from (
    select 1 from product_words w
    where w.site_id = %(site_id)s and w.words @@ asked.query::tsquery
    limit %(most)s
  ) as capped
)
from unnest(%(queries)s::text[]) with ordinality as asked(query, at)
order by asked.at

-- name: size
select count(*) from product_words w where w.site_id = %(site_id)s

-- name: with_some
select w.product_no from product_words w
where w.site_id = %(site_id)s and w.words @@ %(some)s::tsquery and not {matches}
  and w.product_no <> all(%(excluded)s::int[])
  and {filter}
limit %(most)s

-- name: popular_with_some
-- Of the site's most popular products those with one of the words.
select w.product_no
from (
  select r.product_no, r.popular from popularity r
  where r.site_id = %(site_id)s order by r.popular desc, r.product_no limit %(walked)s
) as top
join product_words w on w.site_id = %(site_id)s and w.product_no = top.product_no
where w.words @@ %(some)s::tsquery and not {matches}
  and w.product_no <> all(%(excluded)s::int[])
  and {filter}
order by top.popular desc, top.product_no
limit %(most)s
