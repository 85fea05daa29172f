-- name: enter
-- Products that nobody has done anything with yet.
insert into newcomers (site_id, product_no, since)
select p.site_id, p.product_no, %(at)s from products p
where p.site_id = %(site_id)s and p.available and not p.deleted
  and not exists (select from popularity r
                  where r.site_id = p.site_id and r.product_no = p.product_no)
  and not exists (select from newcomers n
                  where n.site_id = p.site_id and n.product_no = p.product_no)
order by p.product_no
on conflict do nothing

-- name: joined_by_hash
-- How many rows are new is not in the statistics: a loop in a loop would seem cheap.
select set_config('enable_nestloop', 'off', true)

-- name: count
-- Chances of lists that are settled, and of those given since: what came of them is not told yet.
-- Of a visitor one a day for each product.
with best as (
  select u.product_no, max((%(looks)s::real[])[
      least(u.at + a.first_place, cardinality(%(looks)s::real[]))::int]) as chance
  from answers a
  cross join lateral unnest(a.product_nos) with ordinality as u(product_no, at)
  where a.site_id = %(site_id)s and a.answered_at > %(settled)s and a.answered_at <= %(at)s
    and a.propensities is not null and a.first_place is not null
    and substr(a.put, u.at::int, 1) = 'e'
  group by u.product_no, a.actor_id, (a.answered_at at time zone 'UTC')::date
),
given as (
  select product_no, sum(chance) as chances from best group by product_no
),
settled as (
  select product_no, sum(chances) as chances from shown_products
  where site_id = %(site_id)s group by product_no
),
counted as (
  select n.product_no, coalesce(g.chances, 0)::real as given, coalesce(s.chances, 0)::real as settled
  from newcomers n
  left join given g on g.product_no = n.product_no
  left join settled s on s.product_no = n.product_no
  where n.site_id = %(site_id)s and n.state <> 'done'
),
judged as (
  select c.product_no, c.settled + c.given as chances,
    case when c.settled >= %(enough)s then 'done'
         when c.settled + c.given >= %(enough)s then 'waiting' else 'open' end as state
  from counted c
)
update newcomers n set chances = j.chances, state = j.state
from judged j
where n.site_id = %(site_id)s and n.product_no = j.product_no
  and (n.chances, n.state) is distinct from (j.chances, j.state)

-- name: open_ones
select product_no from newcomers
where site_id = %(site_id)s and state = 'open'
order by product_no desc
limit %(most)s

-- name: open_again
-- Where more chances are to be given than before.
update newcomers set state = 'open'
where site_id = %(site_id)s and state = 'done' and chances < %(enough)s

-- name: tally
select state, count(*) from newcomers where site_id = %(site_id)s group by state
