-- name: occurring
-- Of each product which of the queries are true, by their number from 1.
select w.product_no, array(
  select asked.at from unnest(%(queries)s::text[]::tsquery[]) with ordinality as asked(query, at)
  where w.words @@ asked.query
)
from product_words w
where w.site_id = %(site_id)s and w.product_no = any(%(product_nos)s::int[])
