-- The ledger: claims, commits and notes of IDs.

-- Returns whether a delivery has a unit that waits. The ID of one that waits is remembered past its window.
create or replace function hookgate.waits(of uuid) returns boolean language sql stable as
    $$ select exists (select 1 from hookgate.due d where d.id = of) $$;

-- Takes keys in flight, each for its lease. verdict 0: the caller's now; 1: another's, for `ms` more; 2: committed; 3: it changed this moment, ask again.
-- The holder gets its key again. It reads first: duplicates, and callers that wait for another's outcome, write nothing.
create or replace function hookgate.claim_1(keys bytea[], tokens uuid[], leases bigint[]) returns table (ord int, verdict int, ms bigint)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
declare t timestamptz := hookgate.store_time(); free int[]; got bytea[];
begin
    -- a claim that a failover forgets lapses early, and no more: it need not wait for the disk
    perform set_config('synchronous_commit', 'off', true);
    select array_agg(a.o) into free
    from unnest(keys, tokens) with ordinality a(key, token, o)
    left join lateral (select state, token, until, delivery from hookgate.ledger where key = a.key offset 0) x on true
    where x.state is null or (x.state = 1 and (x.token = a.token or x.until <= t))
        or (x.state = 2 and x.until <= t and (x.delivery is null or (select 1 from hookgate.due where id = x.delivery limit 1) is null));
    if free is not null then
        with l as (
            insert into hookgate.ledger as x (key, state, token, until)
            select a.key, 1, a.token, t + a.lease * interval '1 ms' from unnest(keys, tokens, leases) with ordinality a(key, token, lease, o)
            where a.o = any(free) order by a.key
            on conflict (key) do update set state = 1, token = excluded.token, delivery = null, until = excluded.until
            where (x.state = 1 and (x.token = excluded.token or x.until <= t))
                or (x.state = 2 and x.until <= t and (x.delivery is null or (select 1 from hookgate.due where id = x.delivery limit 1) is null))
            returning key)
        select array_agg(key) into got from l;
    end if;
    return query
    select a.o::int, case when a.key = any(got) then 0 when x.state is null then 3 when x.state = 1 and x.until > t then 1
            when x.state = 2 and (x.until > t or (select 1 from hookgate.due where id = x.delivery limit 1) is not null) then 2 else 3 end,
        case when x.state = 1 then greatest(0, hookgate.ms_of(x.until - t)) end
    from unnest(keys) with ordinality a(key, o)
    left join lateral (select state, until, delivery from hookgate.ledger where key = a.key offset 0) x on true;
end $$;

-- Commits claims, each for its window. verdict 0: another has the key; 1: it was the caller's, now or at an earlier call; 2: there was no claim. Then it is
-- remembered too: a failover forgot the claim, and the delivery was delivered all the same.
create or replace function hookgate.commit_1(keys bytea[], tokens uuid[], windows bigint[]) returns table (ord int, verdict int)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
declare t timestamptz := hookgate.store_time(); made bytea[]; kept bytea[];
begin
    perform hookgate.wait_for_disk();
    with l as (
        insert into hookgate.ledger as x (key, state, token, until)
        select a.key, 2, a.token, t + a.win * interval '1 ms' from unnest(keys, tokens, windows) a(key, token, win) order by a.key
        on conflict (key) do update set state = 2, until = greatest(excluded.until, case when x.state = 2 then x.until end) where x.token = excluded.token
        -- a row that this statement inserted has no deleter
        returning key, xmax = 0 as is_new)
    select array_agg(key) filter (where is_new), array_agg(key) filter (where not is_new) into made, kept from l;
    return query select a.o::int, case when a.key = any(made) then 2 when a.key = any(kept) then 1 else 0 end from unnest(keys) with ordinality a(key, o);
end $$;

-- Extends claims to their leases from now, and never shortens them. Returns whether each is still the caller's.
create or replace function hookgate.extend_1(keys bytea[], tokens uuid[], leases bigint[]) returns table (ord int, owned boolean)
language sql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
    with l as materialized (
        select a.o, a.lease, x.tid from unnest(keys, tokens, leases) with ordinality a(key, token, lease, o)
        cross join lateral (select ctid tid from hookgate.ledger where key = a.key and token = a.token and state = 1 for update offset 0) x),
    u as (update hookgate.ledger x set until = greatest(x.until, hookgate.store_time() + l.lease * interval '1 ms') from l where x.ctid = l.tid)
    select a.o::int, l.o is not null from unnest(keys) with ordinality a(key, o) left join l on l.o = a.o
$$;

-- Gives claims back. Returns how many were the caller's. A commit stays.
create or replace function hookgate.release_1(keys bytea[], tokens uuid[]) returns int
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
declare n int;
begin
    perform set_config('synchronous_commit', 'off', true);
    delete from hookgate.ledger where ctid = any(array(
        select x.tid from (select key, token from unnest(keys, tokens) a(key, token) order by key) a
        cross join lateral (select ctid tid from hookgate.ledger where key = a.key and token = a.token and state = 1 for update offset 0) x));
    get diagnostics n = row_count;
    return n;
end $$;

-- Notes keys for their windows, without a claim, and shortens none that is remembered. Returns how many rows it wrote.
create or replace function hookgate.note_1(keys bytea[], windows bigint[]) returns int
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
declare t timestamptz := hookgate.store_time(); n int;
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into hookgate.ledger as x (key, state, until)
        select a.key, 2, t + a.win * interval '1 ms' from unnest(keys, windows) a(key, win) order by a.key
        on conflict (key) do update set state = 2, token = null, until = excluded.until
            where x.until < excluded.until and (x.state = 2 or x.until <= t);
    get diagnostics n = row_count;
    return n;
end $$;

-- Notes that the caller keeps the ledgers of these routes, by these policies. A route's ledger is complete from the time at which the first gateway said so,
-- as long as no gateway says another policy and no minute passes without a word. Called at start, after a reload, and with each heartbeat.
create or replace function hookgate.keep_1(routes text[], policies bytea[]) returns void
language plpgsql volatile set lock_timeout = '1s' as $$
declare t timestamptz := hookgate.store_time();
begin
    insert into hookgate.kept_route as k (route, policy, since, seen)
        select a.route, a.policy, t, t from (select distinct on (x.route) x.route, x.policy from unnest(routes, policies) x(route, policy) order by 1) a
        on conflict (route) do update set policy = excluded.policy, seen = t,
            since = case when k.policy = excluded.policy and k.seen > t - interval '60 s' then k.since else t end
        -- most calls change nothing: each gateway says the same every few seconds
        where k.policy <> excluded.policy or k.seen <= t - interval '15 s' or k.seen > t;
end $$;

-- Notes that an ID may be missing that should be remembered: all routes are complete only from `ahead_ms` after now.
create or replace function hookgate.gap_1(ahead_ms bigint) returns void language plpgsql volatile set lock_timeout = '1s' as $$
declare t timestamptz := hookgate.store_time();
begin
    update hookgate.kept_route set since = t + ahead_ms * interval '1 ms'
        where route = any(array(select route from hookgate.kept_route where since <= t + ahead_ms * interval '1 ms' order by route for update));
end $$;

-- Returns whether keys are noted, and the time in milliseconds for which the ledgers of their routes have been complete; null if they are not.
create or replace function hookgate.recall_1(routes text[], keys bytea[]) returns table (ord int, noted boolean, complete_ms bigint)
language sql stable set enable_seqscan = off set jit = off as $$
    select a.o::int, x.state is not null,
        (select floor(extract(epoch from hookgate.store_time() - k.since) * 1000)::bigint from hookgate.kept_route k
            where k.route = a.route and k.since <= hookgate.store_time() and k.seen > hookgate.store_time() - interval '60 s')
    from unnest(routes, keys) with ordinality a(route, key, o)
    left join lateral (select l.state from hookgate.ledger l where l.key = a.key and l.state = 2 and l.until > hookgate.store_time() offset 0) x on true
$$;
