-- Matches of the secrets of routes, which all gateways count together: a secret that one gateway of ten still sees is in use.

-- Adds matches of secrets, and returns what is known of each. keys: fingerprints; added: matches since the last call; ago_ms: milliseconds since the last of
-- them, null without one; gap_ms: after a longer time without a call about it, a secret begins to be watched anew; forget_ms: rows without a call for as
-- long are deleted. A crash of the server may forget the last second.
create or replace function hookgate.secret_matches_1(keys bytea[], added bigint[], ago_ms bigint[], gap_ms bigint, forget_ms bigint)
    returns table (ord int, matches bigint, last_ms bigint, watched_ms bigint)
language plpgsql volatile set lock_timeout = '1s' as $$
#variable_conflict use_column
declare t timestamptz := hookgate.store_time();
begin
    perform set_config('synchronous_commit', 'off', true);
    return query
    with a as materialized (select a.key, a.n, t - a.ago * interval '1 ms' as at, a.o from unnest(keys, added, ago_ms) with ordinality a(key, n, ago, o)),
    u as (
        insert into hookgate.secret_match as s (key, since, last, count, seen) select a.key, t, a.at, a.n, t from a order by a.key
        on conflict (key) do update set count = s.count + excluded.count, last = greatest(s.last, excluded.last),
            since = case when s.seen < t - gap_ms * interval '1 ms' then t else s.since end, seen = greatest(s.seen, t)
        returning key, since, last, count)
    select a.o::int, u.count, case when u.last is not null then greatest(0, (extract(epoch from t - u.last) * 1000)::bigint) end,
        greatest(0, (extract(epoch from t - u.since) * 1000)::bigint)
        from a join u on u.key = a.key;
    delete from hookgate.secret_match where seen < t - forget_ms * interval '1 ms';
end $$;
