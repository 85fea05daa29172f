-- How fast one key may ask; empty: as its site's settings say, else the default of its kind.
-- Locks: ACCESS EXCLUSIVE on keys for an instant, no row is rewritten.

alter table keys add column requests_per_second int check (requests_per_second > 0);
