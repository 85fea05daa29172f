-- name: sessions
-- A session: what one actor did until half an hour passed without an event. Its products in order,
-- what each says, and when it ended.
with told as materialized (
  select e.actor_id, e.occurred_at, e.event_id, w.value::float8 as weight, e.product_ids
  from events e
  join jsonb_each_text(%(weights)s::jsonb) as w(type, value) on w.type = e.type::text
  where e.site_id = %(site_id)s and cardinality(e.product_ids) > 0
    and e.occurred_at > %(at)s::timestamptz - %(window)s::interval and e.occurred_at <= %(at)s
  order by e.occurred_at desc, e.event_id
  limit %(most_events)s
),
begun as (
  select t.*,
    case when t.occurred_at - lag(t.occurred_at) over mine <= %(gap)s::interval
      then 0 else 1 end as is_first,
    count(*) over (partition by t.actor_id) as of_one
  from told t
  window mine as (partition by t.actor_id order by t.occurred_at, t.event_id)
),
numbered as (
  select b.*, sum(b.is_first) over (
    partition by b.actor_id order by b.occurred_at, b.event_id) as number
  from begun b
  where b.of_one <= %(most_of_one)s
)
select array_agg(p.product_no order by n.occurred_at, n.event_id, u.place) as product_nos,
       array_agg(n.weight order by n.occurred_at, n.event_id, u.place) as weights,
       extract(epoch from max(n.occurred_at))::float8 as ended
from numbered n
cross join lateral unnest(n.product_ids) with ordinality as u(product_id, place)
join products p on p.site_id = %(site_id)s and p.product_id = u.product_id and not p.deleted
group by n.actor_id, n.number
having count(*) > 1
order by max(n.occurred_at), n.actor_id

-- name: write
insert into neighbours as o (site_id, product_no, other_nos, shares)
select %(site_id)s, r.product_no, r.other_nos, r.shares
from jsonb_to_recordset(%(rows)s::jsonb) as r(product_no int, other_nos int[], shares real[])
order by r.product_no
on conflict (site_id, product_no) do update set
  other_nos = excluded.other_nos, shares = excluded.shares
where (o.other_nos, o.shares) is distinct from (excluded.other_nos, excluded.shares)

-- name: drop_others
delete from neighbours where site_id = %(site_id)s and product_no <> all(%(kept)s::int[])
