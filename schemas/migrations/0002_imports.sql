-- Imports: how far each file has come, and which products a snapshot has named.
-- Locks: only new tables, nothing existing is touched.

-- One row for a file (by its content) on its way in. Finished, it tells what came of it, and the
-- next import of the same file starts it over.
create table imports (
  site_id int not null,
  source_id int not null,
  kind text not null check (kind in ('products', 'users', 'events')),
  file_hash uuid not null,                  -- of the file's bytes
  name text not null,
  run text,                                 -- of the snapshot that this file is a part of
  records bigint not null default 0,        -- so many of its records are delivered, from the first on
  counts jsonb not null default '{}',       -- of those: accepted, duplicate, ignored, refused …
  problems jsonb not null default '[]',     -- the first of its records that were left out
  started_at timestamptz not null,
  updated_at timestamptz not null,
  finished_at timestamptz,
  primary key (site_id, source_id, kind, file_hash)
);

-- The products that a snapshot has named so far: whatever else is available is gone.
create table snapshot_products (
  site_id int not null,
  run text not null,
  product_id text not null,
  named_at timestamptz not null,
  primary key (site_id, run, product_id)
);
