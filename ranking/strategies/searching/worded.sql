-- name: titled
select w.product_no from product_words w
where w.site_id = %(site_id)s and w.title_key = %(title_key)s
  and w.product_no <> all(%(excluded)s::int[])
  and {filter}
limit %(pool)s

-- name: popular
-- Of the site's most popular products those with all the words.
select w.product_no
from (
  select r.product_no, r.popular from popularity r
  where r.site_id = %(site_id)s order by r.popular desc, r.product_no limit %(walked)s
) as top
join product_words w on w.site_id = %(site_id)s and w.product_no = top.product_no
where {matches} and w.product_no <> all(%(excluded)s::int[])
  and {filter}
order by top.popular desc, top.product_no
limit %(pool)s

-- name: in_title
-- Of some that have all the words in their title those with the shortest.
select t.product_no
from (
  select w.product_no, w.title_words from product_words w
  where w.site_id = %(site_id)s and w.words @@ %(in_title)s::tsquery
    and w.product_no <> all(%(excluded)s::int[])
    and {filter}
  limit %(walked)s
) as t
order by t.title_words, t.product_no
limit %(pool)s

-- name: some
select w.product_no from product_words w
where w.site_id = %(site_id)s and {matches}
  and w.product_no <> all(%(excluded)s::int[])
  and {filter}
limit %(pool)s
