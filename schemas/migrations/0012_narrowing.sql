-- What searches are narrowed and put in order by: values that facets count, places.
-- Locks: only new tables, nothing existing is touched. The rows of products that are there already
-- are made by the task `facets`, in batches, which finds them from Postgres.

-- Of each product that is not deleted the values that facets count, in a few bytes each: 100,000
-- rows are read for one count.
create table product_facets (
  site_id int not null,
  product_no int not null,
  recipe smallint not null,                 -- how they were made, see ranking.catalog.facets.RECIPE
  source_hash bigint not null,              -- of the columns of products that change with them
  pairs bytea not null,                     -- 16 bytes a value: the field's key, the value's
  primary key (site_id, product_no)
);

-- What a value's key stands for. Rows only come; two transactions that meet a new value at once may
-- both write it, which does no harm and locks nothing.
create table facet_values (
  site_id int not null,
  term bigint not null,
  value jsonb not null                      -- a string or a boolean
);
create index facet_values_term on facet_values (site_id, term);

-- Where a product is, for the fields that hold {lat, lon} or a list of them.
create table product_places (
  site_id int not null,
  product_no int not null,
  field text not null,
  number smallint not null,                 -- of the field's places, from 0
  lat float8 not null,
  lon float8 not null,                      -- from -180 up to 180, which is -180
  primary key (site_id, product_no, field, number)
);
create index product_places_lat on product_places (site_id, field, lat, lon) include (product_no);

-- Kilometres between two places on a sphere of the earth's mean radius (haversine).
create function great_circle_km(lat1 float8, lon1 float8, lat2 float8, lon2 float8)
returns float8 language sql immutable parallel safe as $$
  select 2 * 6371.0088 * asin(least(1, sqrt(
    sin(radians(lat2 - lat1) / 2) ^ 2
    + cos(radians(lat1)) * cos(radians(lat2)) * sin(radians(lon2 - lon1) / 2) ^ 2)))
$$;
