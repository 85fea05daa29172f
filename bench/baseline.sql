-- Bare ANN, k = 24, no filter: what Postgres alone can do on these vectors. Fixed once.
\set n random(1, :products)
select product_no from :vectors
where site_id = :site and available
order by vector <#> (select vector from :vectors where site_id = :site and product_no = :n)
limit 24;
