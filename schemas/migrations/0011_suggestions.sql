-- What is suggested to whoever types: the words of the catalog, completions, what others searched for.
-- Locks: SHARE on each partition of events while its index is made: reads go on, writes wait for one
-- pass over the table. The tables are filled by the task `suggestions`.

-- The words of titles, brands, categories, tags and attributes.
create table vocabulary (
  site_id int not null,
  word text not null,                       -- in lower case, without accents
  surface text not null,                    -- as it is written most often
  products int not null,                    -- that have it
  keys int[] not null,                      -- hashes of what is left of it without some letters
  primary key (site_id, word)
) with (fillfactor = 80);
-- The site is part of every key. The task that writes does the index's work, not whoever reads.
create index vocabulary_keys on vocabulary using gin (keys) with (fastupdate = off);

-- Texts that complete what is typed: values of a field of products, or `historical_queries`.
create table completions (
  site_id int not null,
  field text not null,
  folded text not null,                     -- its words in lower case, without accents
  text text not null,
  words tsvector not null,                  -- each after a hash of site and field
  weight real not null,                     -- the greater is asked for more
  uses int not null,                        -- products that have it; of a query visitors
  product_no int,                           -- the one asked for most; null: no product stands behind
  primary key (site_id, field, folded)
) with (fillfactor = 80);
create index completions_words on completions using gin (words) with (fastupdate = off);
create index completions_weight on completions (site_id, field, weight desc, folded);

-- Which catalog the words and completions of a site are of, and how long it took to read.
create table suggestion_sites (
  site_id int primary key,
  fingerprint text not null,
  refreshed_at timestamptz not null,
  took_s real not null
);

-- What visitors searched for in the last 90 days, from events.
create table searched (
  site_id int not null,
  folded text not null,
  text text not null,                       -- as it was typed last
  searches int not null,
  lately int not null,                      -- of the last 7 days
  before int not null,                      -- of the 7 days before these
  visitors int not null,
  last_at timestamptz not null,
  primary key (site_id, folded)
);
create index events_searches on events (site_id, occurred_at desc) where type = 'search';

-- Searches of our API that found nothing, by the day.
create table searched_in_vain (
  site_id int not null,
  day date not null,
  folded text not null,
  text text not null,
  searches int not null,
  last_at timestamptz not null,
  primary key (site_id, day, folded)
) with (fillfactor = 80);

-- Searches of our API that found something once their words were corrected, by the day.
create table searched_corrected (
  site_id int not null,
  day date not null,
  folded text not null,
  text text not null,
  corrected text not null,                  -- what was searched for last
  searches int not null,
  last_at timestamptz not null,
  primary key (site_id, day, folded)
) with (fillfactor = 80);
