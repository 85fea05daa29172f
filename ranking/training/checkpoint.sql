-- name: save
insert into training_checkpoints (site_id, trained_until, trainings, weights, product_nos, histories)
values (%(site_id)s, %(trained_until)s, %(trainings)s, %(weights)s, %(product_nos)s, %(histories)s)
on conflict (site_id) do update set
  trained_until = excluded.trained_until, trainings = excluded.trainings,
  weights = excluded.weights, product_nos = excluded.product_nos, histories = excluded.histories

-- name: read
-- Not one that learned from somebody who was erased since.
select c.trained_until, c.trainings, c.weights, c.product_nos, c.histories
from training_checkpoints c
where c.site_id = %(site_id)s and c.trained_until <= %(before)s and c.trainings < %(most)s
  and not exists (
    select from actors a where a.site_id = c.site_id and a.erased_at > c.trained_until)

-- name: forget
delete from training_checkpoints where site_id = %(site_id)s
