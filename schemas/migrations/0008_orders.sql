-- Orders told piece by piece, groups of variants, stock by place, ids of one device.
-- Locks: SHARE on products and on events' partitions while an index and the orders are made: reads
-- go on, writes wait.

-- What an order comes to, derived from order_tellings.
create table orders (
  site_id int not null,
  order_id text not null,
  version bigint not null default 1,        -- raised, and so locked, by whoever tells of it
  status text check (status in ('placed', 'partly_refunded', 'refunded', 'cancelled')),  -- null: only its undoing was told
  placed_at timestamptz,
  revenue numeric,                          -- as placed
  refunded numeric,
  currency text,
  lines jsonb not null default '[]',        -- {product_id, quantity, returned}
  actor_id uuid,                            -- whose purchase it is
  event_at timestamptz,                     -- where the purchase lies in events; null: nowhere
  primary key (site_id, order_id)
);

-- The newest that each source told of an order, its backend and its pages apart: one row for its
-- lines, one that it is cancelled, one for each refund.
create table order_tellings (
  site_id int not null,
  order_id text not null,
  source_id int not null,
  told text not null check (told in ('placed', 'cancelled', 'refunded')),
  reference text not null default '',       -- of a refund
  trust smallint not null,                  -- the greater is believed first
  as_of timestamptz not null,
  told_hash uuid not null,                  -- equal as_of: the larger hash wins, whatever came first
  occurred_at timestamptz not null,
  user_actor_id uuid,
  anonymous_actor_id uuid,
  content jsonb not null,                   -- product_ids, quantities, revenue, currency, data, message_id
  delivery_id uuid not null,
  position int not null,
  received_at timestamptz not null,
  primary key (site_id, order_id, source_id, trust, told, reference)
);
create index order_tellings_user on order_tellings (site_id, user_actor_id) where user_actor_id is not null;
create index order_tellings_anonymous on order_tellings (site_id, anonymous_actor_id) where anonymous_actor_id is not null;

-- Everybody that was ever told to have placed an order: anonymous ids without a user beside them, and
-- users. Rows only come, so that ids are joined alike whichever telling came first.
create table order_people (
  site_id int not null,
  order_id text not null,
  actor_id uuid not null,
  is_user boolean not null,
  trust smallint not null,                  -- the greatest that said so
  since timestamptz not null,
  primary key (site_id, order_id, actor_id)
);
create index order_people_actor on order_people (site_id, actor_id);

-- Purchases of before are orders of which one source told once.
insert into order_tellings
  (site_id, order_id, source_id, told, trust, as_of, told_hash, occurred_at, user_actor_id,
   anonymous_actor_id, content, delivery_id, position, received_at)
select e.site_id, e.data->>'order_id', e.source_id, 'placed', 2, e.occurred_at, e.event_id,
       e.occurred_at, case when a.kind = 'user' then e.actor_id end,
       case when a.kind = 'user' then e.anonymous_actor_id else e.actor_id end,
       jsonb_strip_nulls(jsonb_build_object(
         'product_ids', e.product_ids, 'quantities', e.quantities, 'revenue', e.revenue,
         'currency', e.data->'currency', 'data', e.data, 'message_id', e.message_id)),
       e.delivery_id, e.position, e.received_at
from events e
left join actors a on a.site_id = e.site_id and a.actor_id = e.actor_id
where e.type = 'purchase' and e.data->>'order_id' is not null
on conflict do nothing;

insert into order_people (site_id, order_id, actor_id, is_user, trust, since)
select site_id, order_id, coalesce(user_actor_id, anonymous_actor_id), user_actor_id is not null,
       trust, occurred_at
from order_tellings
where coalesce(user_actor_id, anonymous_actor_id) is not null;

insert into orders (site_id, order_id, status, placed_at, revenue, refunded, currency, lines,
                    actor_id, event_at)
select e.site_id, e.data->>'order_id', 'placed', e.occurred_at, e.revenue, 0, e.data->>'currency',
       coalesce((select jsonb_agg(jsonb_build_object(
                          'product_id', p.id, 'quantity', e.quantities[p.n], 'returned', 0) order by p.n)
                 from unnest(e.product_ids) with ordinality as p(id, n)), '[]'),
       e.actor_id, e.occurred_at
from events e
where e.type = 'purchase' and e.data->>'order_id' is not null
on conflict do nothing;

-- The newest list of all products of a group; empty: the group is gone.
create table product_groups (
  site_id int not null,
  group_id text not null,
  as_of timestamptz not null,
  product_ids text[] not null,
  primary key (site_id, group_id)
);
create index products_group on products (site_id, group_key);

-- How many of an item lie where, and which product the item is.
create table stock_items (
  site_id int not null,
  source_id int not null,
  item_id text not null,
  version bigint not null default 1,        -- raised, and so locked, by whoever tells of it
  product_id text,                          -- null: its product is not known yet
  product_as_of timestamptz,                -- of the record that says so
  available boolean,                        -- as that record says
  primary key (site_id, source_id, item_id)
);
create table stock_levels (
  site_id int not null,
  source_id int not null,
  item_id text not null,
  location_id text not null,
  as_of timestamptz not null,
  quantity real,                            -- null: the place no longer counts
  primary key (site_id, source_id, item_id, location_id)
);

-- device: two anonymous ids of one browser, which have one owner together.
alter table identity_edges drop constraint identity_edges_kind_check;
alter table identity_edges add constraint identity_edges_kind_check
  check (kind in ('same', 'owned', 'alias', 'device'));

-- All anonymous ids of one browser by facts up to an instant, the given one among them.
create function device_of(of_site int, id uuid, until timestamptz)
returns setof uuid language sql stable as $$
  with recursive device (actor_id) as (
    select id
    union
    select n.actor_id
    from device d
    cross join lateral (
      select e.to_actor from identity_edges e
      where e.site_id = of_site and e.from_actor = d.actor_id and e.kind = 'device'
        and e.occurred_at <= until and e.undone_at is null
      union all
      select e.from_actor from identity_edges e
      where e.site_id = of_site and e.to_actor = d.actor_id and e.kind = 'device'
        and e.occurred_at <= until and e.undone_at is null
    ) n (actor_id)
  )
  select actor_id from device
$$;

-- The one owner of a device: the user of the earliest fact about any of its ids, null where there
-- is none or where there are more than so many.
create function device_owner(of_site int, id uuid, most int)
returns uuid language sql stable as $$
  select case when count(distinct e.to_actor) <= most
              then (array_agg(e.to_actor order by e.occurred_at, e.to_actor))[1] end
  from device_of(of_site, id, 'infinity') d (actor_id)
  join identity_edges e on e.site_id = of_site and e.from_actor = d.actor_id
  where e.kind in ('owned', 'alias') and e.undone_at is null
    and (select a.sent_id from actors a
         where a.site_id = of_site and a.actor_id = e.unless_actor) is null
$$;

-- Each request to erase somebody: what went at once, by table, and how far the kept bodies are done.
create table erasures (
  site_id int not null,
  delivery_id uuid not null,                -- the request
  erased_at timestamptz not null,           -- when it was carried out
  actors uuid[] not null,                   -- keyed hashes of the person's ids
  orders text[] not null default '{}',      -- that they placed: what tells of these is theirs too
  counts jsonb not null,                    -- rows by table
  bodies_until timestamptz not null default 'epoch', -- kept bodies received up to then are done
  records int not null default 0,           -- overwritten inside bodies
  finished_at timestamptz,
  primary key (site_id, delivery_id)
);
create index erasures_open on erasures (site_id) where finished_at is null;

-- What platforms ask of a person: a copy of somebody's data, the end of the connection.
create table platform_requests (
  site_id int not null,
  delivery_id uuid not null,
  position int not null,
  source_id int not null,
  kind text not null,                       -- export, or a lifecycle's name
  request_id text,
  person jsonb,                             -- for an export: user_id, anonymous_id, order_ids
  asked_at timestamptz not null,
  done_at timestamptz,
  primary key (site_id, delivery_id, position)
);
