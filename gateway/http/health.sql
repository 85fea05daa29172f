-- name: beats
-- The roles that reported lately, on whichever machine.
select distinct role from heartbeats where beat_at > now() - make_interval(secs => %(fresh_s)s)
