-- name: record
insert into answers
  (site_id, answered_at, miso_id, actor_id, endpoint, model_id, product_nos, scores, first_place,
   put, propensities)
values (%(site_id)s, %(at)s, %(miso_id)s, %(actor_id)s, %(endpoint)s, %(model_id)s,
        %(product_nos)s::int[], %(scores)s::real[], %(first_place)s, %(put)s,
        %(propensities)s::real[])
