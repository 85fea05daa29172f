-- name: level
-- How well the words of a product are those asked for: its title is the text; else from 0 to 1, a
-- title with all of them (the more of it they are, the better) before brand, category and the like
-- with the rest, before the subtitle, before the description. Null: not all of them occur.
case
  when w.title_key = %(title_key)s then 2
  when not w.words @@ %(anywhere)s::tsquery then null
  when w.words @@ %(title)s::tsquery
    then 0.75 + 0.25 * least(1, %(count)s::float8 / greatest(w.title_words, 1))
  when w.words @@ %(metadata)s::tsquery then 0.5
  when w.words @@ %(subtitle)s::tsquery then 0.25
  else 0
end

-- name: by_words
select w.product_no, w.group_key, w.available, w.language = %(language)s as spoken,
  {level} as level, {telling} as telling
from product_words w
where w.site_id = %(site_id)s and {matches}
  and w.product_no <> all(%(excluded)s::int[])
  and {filter}
limit %(most)s + 1

-- name: by_number
-- They may have been found a while ago, so they are filtered again.
select w.product_no, w.group_key, w.available, w.language = %(language)s as spoken,
  {level} as level, {telling} as telling
from product_words w
where w.site_id = %(site_id)s and w.product_no = any(%(product_nos)s::int[])
  and {filter}

-- name: scored
-- One row without a product where none is found, or more than `most`: then nothing is compared.
-- The score is the sum of compared.py's parts.
with found as materialized (
{found}
),
counted as (select count(*) as matches, count(distinct group_key) as groups from found),
parts as (
  select f.product_no, f.group_key, f.available, f.spoken, f.level, f.telling,
    {meaning} as meaning, {likeness} as likeness, {interest} as interest, s.new_share,
    ln(1 + r.popular::float8) / coalesce(s.norm, 3) as share
  from found f
  {popularity}
  left join popularity_sites s on s.site_id = %(site_id)s
  {vectors}
  where (select matches from counted) <= %(most)s
),
summed as (
  select *,
    case when level is null then %(near_words)s * coalesce(telling, 0)
      when level > 1 then %(exact)s
      else %(least)s::float8 + %(spread)s * level end
    + case when not spoken or spoken is null then 0
      when level is null then %(near_language)s else %(with_language)s end
    + case when not available then 0
      when level is null then %(near_meaning)s * greatest(0, coalesce(meaning, 0))
        + %(near_likeness)s * greatest(0, coalesce(likeness, 0))
        + %(near_interest)s * greatest(0, coalesce(interest, 0))
        + %(near_popularity)s * least(1, coalesce(share, new_share, 0))
      else %(with_meaning)s * greatest(0, coalesce(meaning, 0))
        + %(with_likeness)s * greatest(0, coalesce(likeness, 0))
        + %(with_interest)s * greatest(0, coalesce(interest, 0))
        + %(with_popularity)s * least(1, coalesce(share, new_share, 0))
      end as score
  from parts
),
best as (select * from summed order by score desc, product_no limit %(limit)s)
select c.matches, c.groups, b.product_no, p.product_id, b.group_key, b.available, b.spoken, b.level,
  b.telling, b.meaning, b.likeness, b.interest, b.share, b.new_share
from counted c
left join best b on true
left join products p on p.site_id = %(site_id)s and p.product_no = b.product_no
order by b.score desc, b.product_no

-- name: popularity
left join popularity r on r.site_id = %(site_id)s and r.product_no = f.product_no

-- name: popularity_each
-- Looked up one by one: of a thousand Postgres would rather read the whole table.
left join lateral (
  select popular from popularity
  where site_id = %(site_id)s and product_no = f.product_no
  limit 1
) r on true

-- name: near
left join {vectors} v on v.site_id = %(site_id)s and v.product_no = f.product_no

-- name: meaning
-(v.vector <#> %(vector)s::vector::halfvec)

-- name: likeness
-(v.vector <#> %(like)s::vector::halfvec)

-- name: interest
-(v.vector <#> %(visitor)s::vector::halfvec)
