-- name: apply
-- Everything a delivery implies for events and identity, and the delivery itself, in one
-- statement: five statements behind HTTP managed half the rate. Each step reads the one before,
-- which fixes the lock order: event keys, edges, actors; inside each table in key order.
with incoming as materialized (
  select r.*, case
    when exists (select from actors a where a.site_id = %(site)s
                 and a.actor_id in (r.actor_id, r.anonymous_actor_id)
                 and a.erased_at >= r.occurred_at) then 'erased'
    {too_old}
    end as why
  from jsonb_to_recordset(%(records)s) as r(
    position int, ordinal int, event_id uuid, occurred_at timestamptz,
    actor_id uuid, anonymous_actor_id uuid, type event_type, product_ids text[],
    quantities real[], revenue numeric, data jsonb, message_id text)
),
fresh as (
  insert into event_keys (site_id, occurred_on, event_id)
  select %(site)s, (occurred_at at time zone 'utc')::date, event_id
  from incoming where why is null
  order by event_id
  on conflict do nothing
  returning event_id
),
told as materialized (
  select i.*, f.event_id is not null as fresh from incoming i left join fresh f using (event_id)
),
stored as (
  insert into events (site_id, occurred_at, event_id, actor_id, anonymous_actor_id, type,
                      product_ids, quantities, revenue, data, message_id,
                      source_id, delivery_id, position, received_at)
  select %(site)s, occurred_at, event_id, actor_id, anonymous_actor_id, type,
         product_ids, quantities, revenue, data, message_id,
         %(source)s, %(delivery)s, position, %(received_at)s
  from told where fresh and type is not null
),
edges as materialized (
  select e.*, gone.erased_at, gone.ends
  from jsonb_to_recordset(%(edges)s) as e(
    kind text, from_actor uuid, to_actor uuid, occurred_at timestamptz, unless_actor uuid)
  cross join lateral (
    select max(a.erased_at) as erased_at, count(*) as ends from actors a
    where a.site_id = %(site)s and a.actor_id in (e.from_actor, e.to_actor)
      and a.erased_at >= e.occurred_at) as gone
),
joined as (
  insert into identity_edges (site_id, kind, from_actor, to_actor, occurred_at, unless_actor,
                              delivery_id)
  select %(site)s, e.kind, e.from_actor, e.to_actor, e.occurred_at, e.unless_actor, %(delivery)s
  from edges e
  where (select count(*) from told) >= 0 and e.erased_at is null
  order by e.from_actor, e.to_actor, e.kind
  on conflict (site_id, from_actor, to_actor, kind) do update set
    occurred_at = excluded.occurred_at, delivery_id = excluded.delivery_id
  where excluded.occurred_at < identity_edges.occurred_at
  returning from_actor, to_actor
),
touched as (
  -- The plain id of somebody who was erased comes back only with something new of theirs.
  insert into actors (site_id, actor_id, kind, sent_id, erased_at)
  select %(site)s, a.actor_id, a.kind, case when a.named then a.sent_id end,
         (select t.erased_at from actors t where t.site_id = %(site)s and t.actor_id = a.actor_id)
  from (
    select r.*,
           (r.told_at is not null
            and not exists (select from actors t where t.site_id = %(site)s
                            and t.actor_id = r.actor_id and t.erased_at >= r.told_at))
           or r.actor_id in (select actor_id from told where fresh and type is not null
                             union all select anonymous_actor_id from told where fresh
                             union all select from_actor from joined
                             union all select to_actor from joined) as named
    from jsonb_to_recordset(%(actors)s) as r(
      actor_id uuid, kind text, sent_id text, told_at timestamptz, changed boolean)) a
  where a.named or a.changed
  order by a.actor_id
  on conflict (site_id, actor_id) do update set
    kind = excluded.kind, sent_id = coalesce(actors.sent_id, excluded.sent_id),
    version = case when actors.erased_at is not distinct from excluded.erased_at
                   then actors.version + 1 else raise_serialization_failure() end
  returning actor_id, kind
),
counts as materialized (
  select %(ready)s - count(*) filter (where not fresh) as applied,
         %(duplicate)s + count(*) filter (where not fresh and why is null) as duplicate,
         %(ignored)s + count(*) filter (where why is not null) as ignored
  from told where ordinal = 0
){delivery}
select c.applied, c.duplicate, c.ignored,
       (select jsonb_agg(jsonb_build_array(position, why) order by position)
        from told where ordinal = 0 and not fresh) as left_out,
       array(select from_actor from joined union select to_actor from joined
             -- sent as a user id for the first time: an alias may have waited for that
             union select actor_id from touched where kind = 'user'
                     and not exists (select from actors a where a.site_id = %(site)s
                                     and a.actor_id = touched.actor_id and a.sent_id is not null)
                     and exists (select from identity_edges e where e.site_id = %(site)s
                                 and e.unless_actor = touched.actor_id)) as rejoin,
       (select jsonb_agg(jsonb_build_array(from_actor, to_actor, erased_at))
        -- where both ends are gone since, nothing tells that the later erasure reached the other
        from edges where ends = 1) as late_edges
from counts c

-- name: too_old
-- Only where a record is that old: to look into every partition of the keys costs a tenth.
when r.occurred_at < %(horizon)s
 and not exists (select from event_keys k
                 where k.site_id = %(site)s and k.event_id = r.event_id) then 'too_old'

-- name: delivery
-- A body that is one repeat keeps its row, hash and counts, not its bytes.
, delivery as (
  insert into deliveries (site_id, received_at, delivery_id, source_id, topic, outcome,
                          received, applied, duplicate, ignored, refused, failed,
                          headers, body, body_hash, error)
  select %(site)s, %(received_at)s, %(delivery)s, %(source)s, %(topic)s,
         case when c.applied > 0 then 'applied'
              when c.duplicate > 0 then 'duplicate'
              when %(refused)s > 0 then 'refused'
              when c.ignored > 0 then 'ignored'
              else 'applied' end,
         %(received)s, c.applied, c.duplicate, c.ignored, %(refused)s, 0,
         %(headers)s,
         case when c.duplicate > 0 and c.duplicate = %(received)s then null
              else %(body)s::bytea end,
         %(body_hash)s, %(error)s
  from counts c
),
problems as (
  insert into delivery_problems (site_id, received_at, delivery_id, position, outcome, pointer, reason)
  select %(site)s, %(received_at)s, %(delivery)s, p.position, p.outcome, p.pointer, p.reason
  from jsonb_to_recordset(%(problems)s) as p(position int, outcome text, pointer text, reason text)
  union all
  select %(site)s, %(received_at)s, %(delivery)s, t.position, 'ignored', '', t.why
  from told t where t.ordinal = 0 and t.why is not null
)

-- name: take_back
-- The events that a delivery brought, by their primary keys; the purchases that orders come to are
-- made by what is told of those.
delete from events e
using (select occurred_at, event_id from events
       where site_id = %(site)s and delivery_id = %(delivery_id)s
         and position <> all(%(erased)s::int[])
         and not (type = 'purchase' and data ? 'order_id')
       order by event_id for update) as brought
where e.site_id = %(site)s and e.occurred_at = brought.occurred_at
  and e.event_id = brought.event_id
returning e.event_id, e.actor_id, e.anonymous_actor_id

-- name: brought
-- What each record of a delivery came to, to be compared with what it comes to read anew. The
-- purchases that orders come to are compared by what is told of those.
select position, md5(row(event_id, type, product_ids, quantities, revenue, actor_id,
                         anonymous_actor_id, occurred_at, data - 'mapping')::text)
from events
where site_id = %(site)s and delivery_id = %(delivery)s
  and not (type = 'purchase' and data ? 'order_id')

-- name: of_other_deliveries
-- Which keys are those of events that are there. A key knows the day of its event: one pass over
-- the days in question, since another mapping may have read another instant.
with known as materialized (
  select event_id, occurred_on from event_keys
  where site_id = %(site)s and event_id = any(%(ids)s)
)
select event_id from events
where site_id = %(site)s and event_id = any(%(ids)s)
  and occurred_at >= (select min(occurred_on)::timestamp at time zone 'utc' from known)
  and occurred_at < (select (max(occurred_on) + 1)::timestamp at time zone 'utc' from known)

-- name: free_keys
with freed as (
  select event_id from event_keys
  where site_id = %(site)s and event_id = any(%(ids)s)
  order by event_id for update
)
delete from event_keys k using freed
where k.site_id = %(site)s and k.event_id = freed.event_id

-- name: note
insert into delivery_problems
  (site_id, received_at, delivery_id, position, outcome, pointer, reason, resolved_at)
select %(site)s, %(received_at)s, %(delivery)s, n.position, n.outcome, n.pointer, n.reason,
       clock_timestamp()
from jsonb_to_recordset(%(notes)s) as n(position int, outcome text, pointer text, reason text)
on conflict (site_id, received_at, delivery_id, position) do update set
  outcome = excluded.outcome, pointer = excluded.pointer, reason = excluded.reason,
  resolved_at = excluded.resolved_at

-- name: keep_erasure
insert into erasures (site_id, delivery_id, erased_at, actors, orders, counts)
values (%(site)s, %(delivery)s, %(received_at)s, %(actors)s, %(orders)s, %(counts)s)
on conflict (site_id, delivery_id) do nothing

-- name: keep_requests
insert into platform_requests
  (site_id, delivery_id, position, source_id, kind, request_id, person, asked_at)
select %(site)s, %(delivery)s, r.position, %(source)s, r.kind, r.request_id, r.person,
       coalesce(r.at, %(received_at)s)
from jsonb_to_recordset(%(rows)s)
  as r(position int, kind text, request_id text, person jsonb, at timestamptz)
on conflict do nothing

-- name: keep_failed
-- Our own code failed on this delivery: nothing of it was applied, all of it is kept.
insert into deliveries (site_id, received_at, delivery_id, source_id, topic, outcome,
                        received, applied, duplicate, ignored, refused, failed,
                        headers, body, body_hash, error)
values (%(site)s, %(received_at)s, %(delivery)s, %(source)s, %(topic)s, 'failed',
        %(received)s, 0, 0, 0, 0, %(received)s, %(headers)s, %(body)s, %(body_hash)s, %(error)s)
on conflict do nothing

-- name: delivery_for_update
-- One whose partition is leaving is summed up already, and no longer there.
select source_id, received_at, topic, headers, body, outcome, received, applied, duplicate,
       ignored, refused, failed, attempts, body_hash
from deliveries
where site_id = %(site)s and delivery_id = %(delivery)s
  and received_at >= %(since)s and received_at < %(until)s
  and not exists (select from partitions_leaving p where p.parent = 'deliveries'
                  and received_at >= p.since and received_at < p.until)
for update

-- name: delivery_counts
select outcome, received, applied, duplicate, ignored, refused, failed, error
from deliveries
where site_id = %(site)s and delivery_id = %(delivery)s
  and received_at >= %(since)s and received_at < %(until)s

-- name: open_problems
select position, outcome from delivery_problems
where site_id = %(site)s and delivery_id = %(delivery)s and received_at = %(received_at)s
  and resolved_at is null

-- name: problems
select position, pointer, outcome, reason from delivery_problems
where site_id = %(site)s and delivery_id = %(delivery)s and received_at = %(received_at)s
order by position

-- name: settle_delivery
update deliveries set
  outcome = %(outcome)s, received = %(received)s, applied = %(applied)s, duplicate = %(duplicate)s,
  ignored = %(ignored)s, refused = %(refused)s, failed = %(failed)s, error = %(error)s,
  attempts = least(attempts + 1, 32000)
where site_id = %(site)s and delivery_id = %(delivery)s and received_at = %(received_at)s

-- name: settle_problems
-- What a replay left open gets its present reason, what it mended is resolved.
with now_open as (
  insert into delivery_problems (site_id, received_at, delivery_id, position, outcome, pointer, reason)
  select %(site)s, %(received_at)s, %(delivery)s, p.position, p.outcome, p.pointer, p.reason
  from jsonb_to_recordset(%(problems)s) as p(position int, outcome text, pointer text, reason text)
  on conflict (site_id, received_at, delivery_id, position) do update set
    outcome = excluded.outcome, pointer = excluded.pointer, reason = excluded.reason,
    resolved_at = null
  returning position
)
update delivery_problems set resolved_at = clock_timestamp()
where site_id = %(site)s and delivery_id = %(delivery)s and received_at = %(received_at)s
  and resolved_at is null and position = any(%(mended)s)

-- name: failed_deliveries
-- Those whose next try is due: after 1, 2, 4 … minutes, at most 20 tries.
select source_id, delivery_id from deliveries
where site_id = %(site)s and failed > 0 and attempts < 20
  and received_at > %(at)s - interval '30 days'
  and received_at + interval '30 seconds' * power(2, attempts) < %(at)s
  and not exists (select from partitions_leaving p where p.parent = 'deliveries'
                  and received_at >= p.since and received_at < p.until)
order by received_at
limit 100

-- name: note_attempt
update deliveries set attempts = least(attempts + 1, 32000)
where site_id = %(site)s and delivery_id = %(delivery)s
  and received_at >= %(since)s and received_at < %(until)s

-- name: was_sent_again
select 1 from deliveries
where site_id = %(site)s and source_id = %(source)s and received_at > %(received_at)s
  and body_hash = %(body_hash)s and applied > 0
limit 1
