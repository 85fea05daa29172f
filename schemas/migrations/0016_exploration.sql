-- What clients tell of the lists they were given, and the products that are still to have a chance.
-- Locks: answers is locked for as long as it takes to add columns without a default; all else is
-- new.

alter table answers
  add column first_place int,               -- what comes before it in a list given out in pages; null: it is no list in an order
  add column put text,                      -- a letter a product, why it stands there, see ranking.answers; null: its rank alone
  add column propensities real[];           -- of each product the chance to stand there; null: nothing was left to chance
create index answers_explored on answers (site_id, answered_at) where propensities is not null;

-- How far each site's lists are counted, and how likely each of their places is looked at.
create table impressions_sites (
  site_id int primary key,
  settled_until timestamptz not null,
  looks real[],                             -- from the first place on; null: too little was clicked to know
  estimated_at timestamptz
);

-- By the week of its lists how often a product was shown, and what came of it. Of nobody in
-- particular: an erasure leaves it as it is.
create table shown_products (
  site_id int not null,
  product_no int not null,
  week date not null,                       -- its Monday, UTC
  shown int not null,
  seen int not null,
  clicked int not null,
  looks real not null,                      -- the places it stood at, each by how likely it is looked at
  chances real not null,                    -- see `chances`
  primary key (site_id, product_no, week)
) with (fillfactor = 80);
create index shown_products_week on shown_products (week);

-- The same of the places of each kind of list.
create table shown_places (
  site_id int not null,
  endpoint text not null,
  place int not null,                       -- from 1
  week date not null,
  shown int not null,
  seen int not null,
  clicked int not null,
  primary key (site_id, endpoint, place, week)
) with (fillfactor = 80);

-- What of these days is already counted as chances of new products: a visitor counts once a day for
-- each. Forgotten after a day.
create table chances (
  site_id int not null,
  day date not null,                        -- of the lists, UTC
  product_no int not null,
  visitor int not null,                     -- a hash, which finds nobody
  chance real not null,                     -- 1: seen; where clients do not tell, looks
  primary key (site_id, day, product_no, visitor)
);
create index chances_day on chances (day);

-- Products that began without any history, where a site gives such products a chance.
create table newcomers (
  site_id int not null,
  product_no int not null,
  since timestamptz not null,
  chances real not null default 0,
  state text not null default 'open'        -- waiting: it may have had all, lists given lately are not settled yet
    check (state in ('open', 'waiting', 'done')),
  primary key (site_id, product_no)
);
create index newcomers_open on newcomers (site_id, product_no desc) where state = 'open';
