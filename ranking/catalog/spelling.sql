-- name: occurs
select exists (
  select from product_words w where w.site_id = %(site_id)s and w.words @@ %(query)s::tsquery)

-- name: first_that_goes
select c.number
from unnest(%(queries)s::text[]) with ordinality as c(query, number)
where exists (
  select from product_words w where w.site_id = %(site_id)s and w.words @@ c.query::tsquery)
order by c.number
limit 1
