-- name: begin
-- The first time from the oldest list that is counted at all.
insert into impressions_sites (site_id, settled_until)
select %(site_id)s, coalesce(min(answered_at) - interval '1 millisecond', %(goal)s)
from answers
where site_id = %(site_id)s and answered_at > %(oldest)s and answered_at <= %(goal)s
on conflict do nothing

-- name: site
-- Locked: no list is counted twice.
select settled_until, looks, estimated_at from impressions_sites
where site_id = %(site_id)s for update

-- name: known
select settled_until, looks, estimated_at from impressions_sites where site_id = %(site_id)s

-- name: joined_by_hash
-- How many rows are new is not in the statistics: a loop in a loop would seem cheap.
select set_config('enable_nestloop', 'off', true)

-- name: next_lists
-- From when to when the next lists were given, so that empty weeks are not gone through.
select min(answered_at), max(answered_at) from (
  select answered_at from answers
  where site_id = %(site_id)s and answered_at > %(since)s and answered_at <= %(goal)s
  order by answered_at
  limit %(most)s
) as next

-- name: settle
-- What clients told of the lists of a span, counted by product and by place. Seen is what they
-- reported so, viewable impressions before plain ones; of a list without any, what comes down to
-- its deepest click, which is nothing where nothing was clicked. A click has been seen.
-- Chances of new products are those of lists with an explored place. A visitor counts once a day
-- for each, by the best of the lists; all who do not say who they are are one.
with lists as materialized (
  select a.miso_id, a.answered_at, a.endpoint, a.first_place, a.product_nos,
    date_trunc('week', a.answered_at, 'UTC')::date as week,
    (a.answered_at at time zone 'UTC')::date as day,
    hashtext(coalesce(a.actor_id::text, '')) as visitor,
    a.propensities is not null as explores
  from answers a
  where a.site_id = %(site_id)s and a.answered_at > %(since)s and a.answered_at <= %(until)s
    and a.first_place is not null
),
told as materialized (
  select e.miso_id, e.type,
    -- One by one, for all products are many more than these.
    (select p.product_no from products p
     where p.site_id = %(site_id)s and p.product_id = u.product_id) as product_no,
    u.product_id is null as names_nothing
  from (
    select (data->>'miso_id')::uuid as miso_id, occurred_at, type, product_ids from events
    where site_id = %(site_id)s and occurred_at > %(since)s::timestamptz - %(skew)s::interval
      and occurred_at <= %(until)s::timestamptz + %(late)s::interval
      and type = any(%(types)s::event_type[]) and data ? 'miso_id'
  ) e
  join lists l on l.miso_id = e.miso_id and e.occurred_at <= l.answered_at + %(late)s::interval
  left join lateral unnest(e.product_ids) as u(product_id) on true
),
of_list as (
  select miso_id,
    bool_or(type = 'viewable_impression') as is_viewed,
    bool_or(type = 'impression') as is_reported,
    bool_or(type = 'impression' and names_nothing) as is_whole
  from told group by miso_id
),
of_product as (
  select miso_id, product_no,
    bool_or(type not in ('impression', 'viewable_impression')) as clicked,
    bool_or(type = 'viewable_impression') as viewed,
    bool_or(type = 'impression') as reported
  from told where product_no is not null
  group by miso_id, product_no
),
shown as materialized (
  select l.endpoint, l.week, l.explores, l.day, l.visitor, u.product_no,
    (l.first_place + u.at)::int as place, coalesce(o.clicked, false) as clicked,
    coalesce(a.is_viewed or a.is_reported, false) as is_told,
    case when a.is_viewed then coalesce(o.viewed, false)
         when a.is_reported then a.is_whole or coalesce(o.reported, false)
         else u.at <= coalesce(max(u.at) filter (where o.clicked) over (partition by l.miso_id), 0)
    end or coalesce(o.clicked, false) as seen
  from lists l
  cross join lateral unnest(l.product_nos) with ordinality as u(product_no, at)
  left join of_list a on a.miso_id = l.miso_id
  left join of_product o on o.miso_id = l.miso_id and o.product_no = u.product_no
),
looked as (
  select s.*, (%(looks)s::real[])[least(s.place, cardinality(%(looks)s::real[]))] as looks
  from shown s
),
best as (
  select s.day, s.week, s.product_no, s.visitor,
    max(case when s.is_told then s.seen::int else s.looks end) as chance
  from looked s
  join newcomers n
    on n.site_id = %(site_id)s and n.product_no = s.product_no and n.state <> 'done'
  where s.explores
  group by s.day, s.week, s.product_no, s.visitor
),
gained as materialized (
  select b.*, b.chance - coalesce(c.chance, 0) as gain
  from best b
  left join chances c on c.site_id = %(site_id)s and c.day = b.day
    and c.product_no = b.product_no and c.visitor = b.visitor
  where b.chance > coalesce(c.chance, 0)
),
of_day as (
  insert into chances as t (site_id, day, product_no, visitor, chance)
  select %(site_id)s, day, product_no, visitor, chance from gained
  order by day, product_no, visitor
  on conflict (site_id, day, product_no, visitor) do update set chance = excluded.chance
),
of_week as (
  select product_no, week, sum(gain) as gain from gained group by product_no, week
),
by_product as (
  insert into shown_products as t
    (site_id, product_no, week, shown, seen, clicked, looks, chances)
  select %(site_id)s, l.product_no, l.week, count(*), count(*) filter (where l.seen),
    count(*) filter (where l.clicked), sum(l.looks), coalesce(max(w.gain), 0)
  from looked l
  left join of_week w on w.product_no = l.product_no and w.week = l.week
  group by l.product_no, l.week
  order by l.product_no, l.week
  on conflict (site_id, product_no, week) do update set
    shown = t.shown + excluded.shown, seen = t.seen + excluded.seen,
    clicked = t.clicked + excluded.clicked, looks = t.looks + excluded.looks,
    chances = t.chances + excluded.chances
),
by_place as (
  insert into shown_places as t (site_id, endpoint, place, week, shown, seen, clicked)
  select %(site_id)s, endpoint, place, week, count(*), count(*) filter (where seen),
    count(*) filter (where clicked)
  from shown group by endpoint, place, week
  order by endpoint, place, week
  on conflict (site_id, endpoint, place, week) do update set
    shown = t.shown + excluded.shown, seen = t.seen + excluded.seen,
    clicked = t.clicked + excluded.clicked
)
select count(*) from lists

-- name: settled
update impressions_sites set settled_until = %(until)s where site_id = %(site_id)s

-- name: at_places
-- What each product came to at each place of the newest lists, a few of each visitor, until these
-- have so many places; clicks of one list once. All who do not say who they are are one visitor.
with newest as (
  select a.miso_id, a.answered_at, a.actor_id, a.first_place, a.product_nos from answers a
  where a.site_id = %(site_id)s and a.answered_at > %(oldest)s and a.answered_at <= %(until)s
    and a.first_place is not null
  order by a.answered_at desc
  limit %(most)s
),
of_each as (
  select n.*, row_number() over (
    partition by n.actor_id order by n.answered_at desc, n.miso_id) as of_one
  from newest n
),
measured as (
  select o.*, sum(cardinality(o.product_nos)) over (
    order by o.answered_at desc, o.miso_id rows unbounded preceding) as so_far
  from of_each o where o.of_one <= %(most_of_one)s
),
lists as materialized (
  select miso_id, answered_at, first_place, product_nos from measured
  where so_far <= %(most_places)s
),
clicked as materialized (
  select distinct e.miso_id,
    (select p.product_no from products p
     where p.site_id = %(site_id)s and p.product_id = u.product_id) as product_no
  from (
    select (data->>'miso_id')::uuid as miso_id, occurred_at, product_ids from events
    where site_id = %(site_id)s and occurred_at > %(oldest)s::timestamptz - %(skew)s::interval
      and occurred_at > (select min(answered_at) from lists) - %(skew)s::interval
      and occurred_at <= %(until)s::timestamptz + %(late)s::interval
      and type = any(%(clicks)s::event_type[]) and data ? 'miso_id'
  ) e
  join lists l on l.miso_id = e.miso_id and e.occurred_at <= l.answered_at + %(late)s::interval
  cross join lateral unnest(e.product_ids) as u(product_id)
)
select u.product_no, least(l.first_place + u.at, %(places)s)::int as place,
  count(*)::int as shown, count(c.miso_id)::int as clicked
from lists l
cross join lateral unnest(l.product_nos) with ordinality as u(product_no, at)
left join clicked c on c.miso_id = l.miso_id and c.product_no = u.product_no
group by 1, 2

-- name: estimated
update impressions_sites set looks = %(looks)s, estimated_at = %(at)s where site_id = %(site_id)s

-- name: places
select endpoint, place, sum(shown)::bigint as shown, sum(seen)::bigint as seen,
  sum(clicked)::bigint as clicked
from shown_places
where site_id = %(site_id)s and week >= %(since)s and place <= %(places)s
group by endpoint, place
order by endpoint, place

-- name: products
-- The rate is shrunk to that of all products, as if each had been looked at some times before.
with counted as (
  select product_no, sum(shown)::bigint as shown, sum(seen)::bigint as seen,
    sum(clicked)::bigint as clicked, sum(looks)::float8 as looks
  from shown_products
  where site_id = %(site_id)s and week >= %(since)s
  group by product_no
),
mean as (
  select coalesce(sum(clicked) / nullif(sum(looks), 0), 0)::float8 as rate from counted
)
select p.product_id, coalesce(p.record->>'title', '') as title, c.shown, c.seen, c.clicked,
  c.clicked::float8 / c.shown as ctr,
  (c.clicked + %(prior)s * m.rate) / (c.looks + %(prior)s) as corrected_rate,
  n.chances, n.state
from counted c
cross join mean m
join products p on p.site_id = %(site_id)s and p.product_no = c.product_no and not p.deleted
left join newcomers n on n.site_id = %(site_id)s and n.product_no = c.product_no
where %(product_id)s::text is null or p.product_id = %(product_id)s
order by c.shown desc, p.product_id
limit %(limit)s

-- name: purge_products
delete from shown_products where week < %(before)s

-- name: purge_places
delete from shown_places where week < %(before)s

-- name: purge_chances
delete from chances where day < %(day)s
