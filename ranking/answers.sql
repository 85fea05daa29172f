-- name: record
insert into answers
  (site_id, answered_at, miso_id, actor_id, endpoint, model_id, product_nos, scores)
values (%(site_id)s, %(at)s, %(miso_id)s, %(actor_id)s, %(endpoint)s, %(model_id)s,
        %(product_nos)s::int[], %(scores)s::real[])
