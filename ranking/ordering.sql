-- name: valued
-- Every match with its values, in as many bytes as they are; nan: it has none.
select coalesce(string_agg(int4send(w.product_no), ''), ''),
  coalesce(string_agg(int8send(w.group_key), ''), '')
  {columns}
from product_words w
{products}
where w.site_id = %(site_id)s and w.product_no <> all(%(excluded)s::int[])
  and {matching}

-- name: products
join products p on p.site_id = w.site_id and p.product_no = w.product_no

-- name: column
, coalesce(string_agg(float8send(coalesce({value}, 'NaN')), ''), '')

-- name: among
w.product_no = any(%(product_nos)s::int[])

-- name: ranged
-- The first number or date of a field, as seconds; true is 1 and false 0.
coalesce(
  case jsonb_typeof(p.ranges->{field}->0)
    when 'number' then (p.ranges->{field}->0)::float8
    when 'string' then extract(epoch from (p.ranges->{field}->>0)::timestamp)::float8
  end,
  case when w.terms @> array[{true}]::bigint[] then 1.0
    when w.terms @> array[{false}]::bigint[] then 0.0 end)

-- name: distance
(select min(great_circle_km({lat}, {lon}, g.lat, g.lon)) from product_places g
  where g.site_id = w.site_id and g.product_no = w.product_no and g.field = 'location')

-- name: boosted
case when {condition} then 1.0 else 0.0 end
