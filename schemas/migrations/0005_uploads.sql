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

-- Both are functions because each of their statements must see what committed while the one before
-- waited, and because a round trip for each costs more than they do.

-- What is known of names, none of which is forgotten until the transaction ends.
create function known_attribute_types(of_site int, lock int, names jsonb)
returns table (kind text, name text, type text) language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(lock, of_site);
  return query
    select a.kind, a.name, a.type
    from jsonb_to_recordset(names) as n(kind text, name_hash uuid)
    join attribute_types a
      on a.site_id = of_site and a.kind = n.kind and a.name_hash = n.name_hash;
end $$;

-- Holds a key until the transaction ends: no row where another transaction does, nulls where no
-- request came under it since.
create function claim_idempotent_request(of_site int, key uuid, lock bigint, since timestamptz)
returns table (request_hash uuid, status smallint, answer bytea) language plpgsql as $$
begin
  if not pg_try_advisory_xact_lock(lock) then
    return;
  end if;
  return query
    select r.request_hash, r.status, r.answer
    from (select 1) one
    left join idempotent_requests r
      on r.site_id = of_site and r.key_hash = key and r.answered_at > since;
end $$;
