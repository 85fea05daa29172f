-- The learned model: vectors of its own beside the text's, and what profiles keep for it.
-- Locks: profiles is locked for as long as it takes to add a column without a default; all else is
-- new.

-- The visitor's vector in the learned model's space; null: none is live, or nothing is known.
alter table profiles add column taste real[];

-- Products as a learned model serves them: one table a site and version, vectors_<site>_<model>,
-- with the columns of vectors_template that filters use.
create table learned_template (
  site_id int not null,
  product_no int not null,
  group_key bigint not null,
  available boolean not null,
  original_price float8,
  sale_price float8,
  rating float8,
  terms bigint[] not null,
  text_hash uuid,                           -- null: it has no text, its events alone say what it is
  history halfvec(65),                      -- what its events add to its text's vector, and its bias; null: none yet
  vector halfvec(65) not null,              -- 64 of the product, and its bias
  primary key (site_id, product_no)
);
alter table learned_template alter history set storage plain, alter vector set storage plain;

-- Where a site's last training was before it saw the days that it was judged on: the next one goes on
-- from there. Rebuilt by any training.
create table training_checkpoints (
  site_id int primary key,
  trained_until timestamptz not null,       -- it has seen no session that began later
  trainings int not null,                   -- how many went on from one another
  weights bytea not null,
  product_nos bytea not null,               -- int32
  histories bytea not null                  -- float16, 64 a product
);
