-- Uploads: requests that their senders named by a key, and the types of custom attributes.
-- Locks: only new tables, nothing existing is touched.

-- The answer to each request with an Idempotency-Key, for a day: the same request again gets it again.
create table idempotent_requests (
  site_id int not null,
  key_hash uuid not null,                   -- of the API key's kind and what the header said
  request_hash uuid not null,               -- of method, path, options and body
  answered_at timestamptz not null,
  delivery_id uuid not null,
  status smallint not null,
  answer bytea not null,
  primary key (site_id, key_hash)
);
create index idempotent_requests_age on idempotent_requests (answered_at);

-- What each custom attribute holds, the same in all records of a site. A name may be longer than an
-- index holds.
create table attribute_types (
  site_id int not null,
  kind text not null check (kind in ('product', 'user')),
  name_hash uuid not null,
  name text not null,
  type text not null check (type in ('boolean', 'number', 'string', 'numbers', 'strings', 'object')),
  first_told_at timestamptz not null,
  primary key (site_id, kind, name_hash)
);
