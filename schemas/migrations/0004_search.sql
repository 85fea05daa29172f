-- What search finds products by: a row for every product that is not deleted.
-- Locks: only a new table, nothing existing is touched. The products that are there already are
-- split into words by the task `words`, in batches, which finds them from Postgres.

create table product_words (
  site_id int not null,
  product_no int not null,
  -- what filters use, as it lies beside the vectors
  group_key bigint not null,
  available boolean not null,
  original_price float8,
  sale_price float8,
  rating float8,
  terms bigint[] not null,
  text_hash uuid,                           -- of the text these words are of
  recipe smallint not null,                 -- how they were split, see ranking.catalog.words.RECIPE
  language text not null,                   -- two letters: whose stems are among them
  title_key bigint not null,                -- hash of the title's words
  title_words smallint not null,            -- how many there are
  words tsvector not null,                  -- each as site_id/word, of the title also as site_id=word; A title, B brand and the like, C subtitle, D description
  primary key (site_id, product_no)
);
-- The site stands in every word, so that no site's search reads another's postings. Both columns in
-- one index: a common word and a narrow filter are intersected there. The pending list is short,
-- because every search goes through it.
create index product_words_words on product_words using gin (words, terms)
  with (gin_pending_list_limit = 256);
create index product_words_title on product_words (site_id, title_key);
-- A site's words are rarely common in all sites together: keep more of them in the statistics.
alter table product_words alter words set statistics 1000;
