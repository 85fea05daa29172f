-- name: beats
select exists (select from heartbeats where role = %(role)s and host = %(host)s
               and beat_at > now() - make_interval(secs => %(fresh_s)s))
