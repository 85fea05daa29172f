-- Feeds: what is known of the file behind each, how its last pulls went, which products it holds.
-- Locks: only new tables, nothing existing is touched.

-- One row for a source of the connector `feed`, made at its first pull.
create table feeds (
  site_id int not null,
  source_id int not null,
  next_run timestamptz not null,
  failures int not null default 0,          -- pulls since the last good one; a pull that begins counts
  etag text,                                -- as the server told them with the file that was read
  last_modified text,
  content_hash uuid,
  changes_at timestamptz,                   -- when that file means something else: a sale begins, an offer ends
  settings_hash uuid,                       -- of what else its items depended on
  last_success timestamptz,                 -- read, or found unchanged
  primary key (site_id, source_id),
  foreign key (site_id, source_id) references sources
);

create table feed_runs (
  site_id int not null,
  source_id int not null,
  started_at timestamptz not null,
  finished_at timestamptz,
  outcome text not null check (outcome in ('running', 'done', 'unchanged', 'failed', 'interrupted')),
  counts jsonb not null default '{}',
  problems jsonb not null default '[]',     -- the first of them: place in the file, reason
  warning text,
  error text,
  primary key (site_id, source_id, started_at)
);

-- The products that a feed holds, and which pull named each last: who is missing from the next one
-- is no longer to be had.
create table feed_products (
  site_id int not null,
  product_id text not null,
  source_id int not null,
  named_at timestamptz not null,            -- started_at of that pull
  primary key (site_id, product_id, source_id)
);
create index feed_products_of on feed_products (site_id, source_id, named_at);
