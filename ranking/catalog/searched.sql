-- name: texts
-- The partial index on searches gives the newest first, whatever else there is between them.
select distinct t.text
from (
  select e.data->'search'->>'keywords' as text from events e
  where e.site_id = %(site_id)s and e.type = 'search'
    and e.occurred_at > %(since)s and e.occurred_at <= %(at)s
  order by e.occurred_at desc
  limit %(most)s
) as t
where length(t.text) <= %(longest)s

-- name: refresh
-- A text that is written in several ways is one; as it is written most often it is shown.
with folded as materialized (
  select * from jsonb_to_recordset(%(texts)s) as f(text text, folded text)
),
newest as materialized (
  select e.occurred_at, e.actor_id, e.data->'search'->>'keywords' as text from events e
  where e.site_id = %(site_id)s and e.type = 'search'
    and e.occurred_at > %(since)s and e.occurred_at <= %(at)s
  order by e.occurred_at desc
  limit %(most)s
),
counted as materialized (
  select f.folded,
    mode() within group (order by btrim(n.text)) as text,
    count(*)::int as searches,
    (count(*) filter (where n.occurred_at > %(lately)s))::int as lately,
    (count(*) filter (where n.occurred_at <= %(lately)s and n.occurred_at > %(before)s))::int
      as before,
    count(distinct coalesce(m.visitor_id, n.actor_id))::int as visitors,
    max(n.occurred_at) as last_at
  from newest n
  join folded f on f.text = n.text
  left join members m on m.site_id = %(site_id)s and m.actor_id = n.actor_id
  group by f.folded
  order by visitors desc, f.folded
  limit %(kept)s
),
gone as (
  delete from searched s
  where s.site_id = %(site_id)s and not exists (select from counted c where c.folded = s.folded)
)
insert into searched as s
  (site_id, folded, text, searches, lately, before, visitors, last_at)
select %(site_id)s, folded, text, searches, lately, before, visitors, last_at from counted
order by folded
on conflict (site_id, folded) do update set
  text = excluded.text, searches = excluded.searches, lately = excluded.lately,
  before = excluded.before, visitors = excluded.visitors, last_at = excluded.last_at
where (s.text, s.searches, s.lately, s.before, s.visitors, s.last_at) is distinct from
  (excluded.text, excluded.searches, excluded.lately, excluded.before, excluded.visitors,
   excluded.last_at)

-- name: completing
-- What lately found nothing at least every second time completes nothing.
select s.folded, s.text, s.visitors from searched s
left join (
  select v.folded, sum(v.searches) as searches from searched_in_vain v
  where v.site_id = %(site_id)s and v.last_at > %(lately)s and v.last_at <= %(at)s
  group by v.folded
) as vain on vain.folded = s.folded
where s.site_id = %(site_id)s and coalesce(vain.searches, 0) * 2 <= s.lately

-- name: again_in_vain
update searched_in_vain set searches = searches + 1, last_at = greatest(last_at, %(at)s), text = %(text)s
where site_id = %(site_id)s and day = %(day)s and folded = %(folded)s

-- name: in_vain
-- Whoever sends anything does not fill the disk: a day holds so many texts.
insert into searched_in_vain as v (site_id, day, folded, text, searches, last_at)
select %(site_id)s, %(day)s, %(folded)s, %(text)s, 1, %(at)s
where not exists (
  select from searched_in_vain where site_id = %(site_id)s and day = %(day)s
  offset %(most)s - 1)
on conflict (site_id, day, folded) do update set
  searches = v.searches + 1, last_at = greatest(v.last_at, excluded.last_at)

-- name: again_corrected
update searched_corrected set searches = searches + 1, last_at = greatest(last_at, %(at)s),
  text = %(text)s, corrected = %(corrected)s
where site_id = %(site_id)s and day = %(day)s and folded = %(folded)s

-- name: corrected
insert into searched_corrected as c (site_id, day, folded, text, corrected, searches, last_at)
select %(site_id)s, %(day)s, %(folded)s, %(text)s, %(corrected)s, 1, %(at)s
where not exists (
  select from searched_corrected where site_id = %(site_id)s and day = %(day)s
  offset %(most)s - 1)
on conflict (site_id, day, folded) do update set
  searches = c.searches + 1, last_at = greatest(c.last_at, excluded.last_at)

-- name: purge
with corrected as (
  delete from searched_corrected where day < %(before)s returning 1
),
in_vain as (
  delete from searched_in_vain where day < %(before)s returning 1
)
select (select count(*) from corrected) + (select count(*) from in_vain)

-- name: popular
select text, searches, visitors, last_at as last_searched_at from searched
where site_id = %(site_id)s
order by searches desc, visitors desc, folded
limit %(limit)s

-- name: rising
select text, searches, visitors, last_at as last_searched_at, lately as searches_7_days,
  before as searches_7_days_before
from searched
where site_id = %(site_id)s and lately > before
order by lately - before desc, lately desc, folded
limit %(limit)s

-- name: no_results
select v.text, v.searches, s.visitors, v.last_searched_at
from (
  select folded, (array_agg(text order by last_at desc))[1] as text,
    sum(searches)::int as searches, max(last_at) as last_searched_at
  from searched_in_vain
  where site_id = %(site_id)s and day >= %(since)s
  group by folded
) as v
left join searched s on s.site_id = %(site_id)s and s.folded = v.folded
order by v.searches desc, v.last_searched_at desc, v.folded
limit %(limit)s

-- name: report_corrected
select v.text, v.corrected_text, v.searches, s.visitors, v.last_searched_at
from (
  select folded, (array_agg(text order by last_at desc))[1] as text,
    (array_agg(corrected order by last_at desc))[1] as corrected_text,
    sum(searches)::int as searches, max(last_at) as last_searched_at
  from searched_corrected
  where site_id = %(site_id)s and day >= %(since)s
  group by folded
) as v
left join searched s on s.site_id = %(site_id)s and s.folded = v.folded
order by v.searches desc, v.last_searched_at desc, v.folded
limit %(limit)s
