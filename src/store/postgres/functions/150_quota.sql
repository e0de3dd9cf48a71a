-- Limits that gateways share: tokens are reserved ahead, one round trip for a second's worth of them.

-- Reserves tokens of limits (GCRA). each_us: microseconds that a token takes to come back; burst: tokens at once; want: tokens asked for; spent: tokens that
-- are used already, and are charged in any case, down to a whole burst below nothing. granted: those of `want` that the caller may use; wait_us: until there
-- is one more.
create or replace function hookgate.reserve_1(keys bytea[], each_us bigint[], burst int[], want int[], spent int[]) returns table (ord int, granted int,
    wait_us bigint)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare t timestamptz := hookgate.store_time();
begin
    perform set_config('synchronous_commit', 'off', true);
    return query
    with a as materialized (select a.*, a.each_us * interval '1 us' as each from unnest(keys, each_us, burst, want, spent) with ordinality a(key, each_us,
        burst, want, spent, o)),
    u as (
        -- a new row is made with nothing spent, so that one rule holds for both
        insert into hookgate.bucket as b (key, tat, granted)
        select a.key, t + (a.spent + least(a.want, a.burst - least(a.spent, a.burst))) * a.each, least(a.want, a.burst - least(a.spent, a.burst)) from a
            order by a.key
        on conflict (key) do update set (tat, granted) = (
            select least(base.at + g.n * a.each, t + 2 * a.burst * a.each), g.n from a
            cross join lateral (select greatest(b.tat, t) + a.spent * a.each as at) base
            cross join lateral (select greatest(0, least(a.want, floor(extract(epoch from t + a.burst * a.each - base.at) * 1000000 / a.each_us)::int)) as n) g
            where a.key = excluded.key)
        returning key, tat, granted)
    select a.o::int, u.granted, greatest(0, extract(epoch from u.tat - (t + (a.burst - 1) * a.each)) * 1000000)::bigint from a join u on u.key = a.key;
end $$;
