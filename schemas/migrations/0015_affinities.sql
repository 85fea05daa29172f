-- Style clusters: products whose texts are alike, with a label, and what the products of each cost.
-- The clock's task `clusters` makes them anew from vectors and records.
-- Locks: only new tables, nothing existing is touched.

-- Number 0 is the whole catalog, which has prices and no label.
create table clusters (
  site_id int not null,
  cluster_id int not null,
  label text not null,
  words text[] not null default '{}',       -- of the label, the one that says most first
  products int not null default 0,
  prices jsonb not null default '{}',       -- by currency ('' where none is told): 21 quantiles from 0 to 1
  centre halfvec(384),                      -- in the space of cluster_sites.model_id
  primary key (site_id, cluster_id)
);
alter table clusters alter centre set storage plain;

-- A product's cluster. Without a row: it has no text, or its site has no clusters.
create table product_clusters (
  site_id int not null,
  product_no int not null,
  cluster_id int not null,
  likeness real not null,                   -- cosine with the centre
  primary key (site_id, product_no)
);
create index product_clusters_nearest on product_clusters (site_id, cluster_id, likeness desc, product_no);

create table cluster_sites (
  site_id int primary key,
  version int not null,                     -- raised by each fit; a part of profiles' fingerprints
  model_id int not null,                    -- whose vectors were clustered
  fitted_on int not null,                   -- products
  last_id int not null                      -- the highest cluster_id ever given: none is given twice
);
