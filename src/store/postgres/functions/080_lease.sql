-- Finding and leasing due units.

-- Walks over the targets after one, up to `last`, that have waiting units: `steps` at most, two index seeks each. in_ms: until the earliest unit is due, less
-- than nothing if it was due before; null: all of them wait behind others of their lanes.
create or replace function hookgate.ready_1(after int, last int, steps int) returns table (target int, in_ms bigint)
language sql stable set enable_seqscan = off set jit = off as $$
    with recursive ring as (
        select after as target, null::timestamptz as run_at, 0 as n
        union all
        select x.target, x.run_at, ring.n + 1 from ring cross join lateral (
            select e.target, min(e.run_at) as run_at from (
                (select d.target, d.run_at from hookgate.due d where d.attempt_count = 0 and d.target > ring.target and d.target <= last order by d.target,
                    d.run_at limit 1)
                union all
                (select d.target, d.run_at from hookgate.due d where d.attempt_count > 0 and d.target > ring.target and d.target <= last order by d.target,
                    d.run_at limit 1)) e
            group by e.target order by e.target limit 1) x
        where ring.n < steps)
    select target, case when run_at < 'infinity' then hookgate.ms_of(run_at - hookgate.store_time()) end from ring where n > 0
$$;

-- Returns the same of targets that are known, without units that were due before the floors (null: all). Where a transaction that is open elsewhere keeps
-- vacuum from its work, units that were leased and settled still lie at the low end of the indexes, and each look would read them.
create or replace function hookgate.ready_of_1(targets int[], first_floors timestamptz[], retry_floors timestamptz[]) returns table (target int, in_ms bigint)
language sql stable set enable_seqscan = off set jit = off as $$
    select x.target, case when x.run_at < 'infinity' then hookgate.ms_of(x.run_at - hookgate.store_time()) end from (
        select k.target, least(f.run_at, r.run_at) as run_at from unnest(targets, first_floors, retry_floors) k(target, first_floor, retry_floor)
        left join lateral (select d.run_at from hookgate.due d where d.attempt_count = 0 and d.target = k.target and d.run_at >= coalesce(k.first_floor,
            '-infinity')
            order by d.run_at limit 1) f on true
        left join lateral (select d.run_at from hookgate.due d where d.attempt_count > 0 and d.target = k.target and d.run_at >= coalesce(k.retry_floor,
            '-infinity')
            order by d.run_at limit 1) r on true) x
    where x.run_at is not null
$$;

-- Locks due units of one target, `most` of each kind, the longest due first, and returns their rows. Units that others hold are skipped.
create or replace function hookgate.due_of(of_target int, most int, t timestamptz, except_id uuid, except_lane bytea, first_floor timestamptz,
    retry_floor timestamptz)
returns table (tid tid, id uuid, run_at timestamptz, retry boolean, leased boolean, lapses smallint)
language plpgsql volatile set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
    return query select d.ctid, d.id, d.run_at, false, d.leased, d.lapses from hookgate.due d
        where d.attempt_count = 0 and d.target = of_target and d.run_at <= t and d.run_at >= coalesce(first_floor, '-infinity')
            and (except_id is null or d.id <> except_id) and (except_lane is null or d.lane is distinct from except_lane)
        order by d.run_at limit most for update skip locked;
    return query select d.ctid, d.id, d.run_at, true, d.leased, d.lapses from hookgate.due d
        where d.attempt_count > 0 and d.target = of_target and d.run_at <= t and d.run_at >= coalesce(retry_floor, '-infinity')
            and (except_id is null or d.id <> except_id) and (except_lane is null or d.lane is distinct from except_lane)
        order by d.run_at limit most for update skip locked;
end $$;

-- Leases due units: of each target in turn at most `counts`, first attempts and retries by turns (`turns`: 0 a first attempt begins, 1 a retry), the longest
-- due of each kind first, and as many as memory lets it begin, of which a target holds `held` bytes, and all together `total_held`. Excepted ones are leased
-- only if there are no others. An attempt whose lease lapsed is recorded as cut off. A unit of which two leases in a row lapsed is put off, for longer each
-- time: what kills a gateway shall not kill all of them in a loop. record and body are those of the first row with an ID.
create or replace function hookgate.lease_1(targets int[], counts int[], held bigint[], turns smallint[], except_ids uuid[], except_lanes bytea[],
    first_floors timestamptz[], retry_floors timestamptz[], lease_ms bigint, total_held bigint, memory bigint)
returns table (target int, id uuid, lease int, attempt int, attempt_count int, cause smallint, age_ms bigint, waited_ms bigint, lane bytea, bytes bigint,
    due_at timestamptz, is_retry boolean, origin int, key bytea, delivery_id text, event_type text, record bytea, body bytea)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    t timestamptz := hookgate.store_time(); total bigint := total_held; r record; c record; x record; of_round int;
    f_tid tid[]; f_at timestamptz[]; f_retry boolean[]; f_size bigint[]; poison tid[] := '{}';
    all_tid tid[] := '{}'; all_at timestamptz[] := '{}'; all_retry boolean[] := '{}'; all_size bigint[] := '{}';
begin
    for r in select * from unnest(targets, counts, held, turns, except_ids, except_lanes, first_floors, retry_floors)
            a(target, count, held, turn, except_id, except_lane, first_floor, retry_floor) loop
        -- the next target may hold less, and begin one still
        continue when r.count <= 0 or total >= memory or r.held > memory - total;
        for of_round in 1..2 loop
            with d as materialized (
                select d.* from hookgate.due_of(r.target, r.count, t, case of_round when 1 then r.except_id end, case of_round when 1 then r.except_lane end,
                    r.first_floor, r.retry_floor) d),
            s as (
                select d.*, v.size, 2 * row_number() over (partition by d.retry order by d.run_at) + (d.retry <> (r.turn = 1))::int as turn
                from d cross join lateral (select octet_length(v.record) + octet_length(v.body) as size from hookgate.delivery v where v.id = d.id offset 0) v
                where not (d.leased and d.lapses >= 1)),
            n as (select s.*, row_number() over w as place, coalesce(sum(s.size) over (w rows between unbounded preceding and 1 preceding), 0) as before
                from s window w as (order by s.turn)),
            k as (select n.* from n where n.place <= r.count and total + n.before < memory and r.held + n.before <= memory - (total + n.before))
            select (select array_agg(k.tid order by k.place) from k) as tids, (select array_agg(k.run_at order by k.place) from k) as ats,
                (select array_agg(k.retry order by k.place) from k) as retries, (select array_agg(k.size order by k.place) from k) as sizes,
                (select array_agg(d.tid) from d where d.leased and d.lapses >= 1) as poison into c;
            if c.poison is not null then poison := poison || c.poison; end if;
            if c.tids is not null then
                all_tid := all_tid || c.tids; all_at := all_at || c.ats; all_retry := all_retry || c.retries; all_size := all_size || c.sizes::bigint[];
                total := total + (select sum(z) from unnest(c.sizes) z);
                exit;
            end if;
            exit when r.except_id is null and r.except_lane is null;
        end loop;
    end loop;
    if cardinality(poison) > 0 or cardinality(all_tid) > 0 then
        select array_agg(d.id) as ids, array_agg(d.target) as targets, array_agg(d.lease) as leases, array_agg(d.last_attempt) as numbers,
            array_agg(d.cause) as causes,
            array_agg(d.leased_at) as began into x from hookgate.due d where d.ctid = any(poison || all_tid) and d.leased;
        if x.ids is not null then perform hookgate.cut_off(x.ids, x.targets, x.leases, x.numbers, x.causes, x.began); end if;
    end if;
    if cardinality(poison) > 0 then
        update hookgate.due d set leased = false, lapses = least(d.lapses + 1, 30000), run_at = t + least(600, power(2, least(d.lapses - 1,
            12))) * interval '1 s'
            where d.ctid = any(poison);
    end if;
    if cardinality(all_tid) = 0 then return; end if;
    return query
    with u as (
        update hookgate.due d set run_at = t + lease_ms * interval '1 ms', lease = d.lease + 1, leased = true, last_attempt = d.last_attempt + 1, leased_at = t,
            lapses = d.lapses + s.was_leased::int
        from (select x.ctid as tid, x.leased as was_leased from hookgate.due x where x.ctid = any(all_tid)) s where d.ctid = s.tid
        returning s.tid, d.id, d.target, d.lease, d.last_attempt, d.attempt_count, d.cause, d.since, d.lane),
    o as (select u.*, a.place, a.at, a.retry, a.size, row_number() over (partition by u.id order by a.place) as nth
        from unnest(all_tid, all_at, all_retry, all_size) with ordinality a(tid, at, retry, size, place) join u on u.tid = a.tid)
    select o.target, o.id, o.lease, o.last_attempt, o.attempt_count, o.cause,
        greatest(0, hookgate.ms_of(coalesce((select p.at from hookgate.parked_times(array[o.target]) p), t) - o.since)), greatest(0, hookgate.ms_of(t - o.at)),
            o.lane, o.size,
        o.at, o.retry, v.origin, v.key, v.delivery_id, v.event_type, case when o.nth = 1 then v.record end, case when o.nth = 1 then v.body end
    from o cross join lateral (select * from hookgate.delivery v where v.id = o.id offset 0) v order by o.place;
end $$;

-- Returns the body of a delivery in another version of its type.
create or replace function hookgate.version_1(of uuid, of_version int) returns bytea language sql stable set enable_seqscan = off as
    $$ select v.body from hookgate.version v where v.id = of and v.version = of_version $$;

-- Returns the schedule that the waits of a target follow, as text; null: none is known.
create or replace function hookgate.schedule_1(of_target int) returns text language sql stable as
    $$ select value from hookgate.meta where name = 'retry:' || of_target $$;

-- Notes that the waits of a target follow a schedule.
create or replace function hookgate.schedule_set_1(of_target int, schedule text) returns void language sql volatile as
    $$ insert into hookgate.meta values ('retry:' || of_target, schedule) on conflict (name) do update set value = excluded.value $$;

-- Returns retries of a target that are due later, after a position (null: from now on), in the order in which they are due. head: the answer's headers of the
-- last attempt, if it was answered with 429 or 503.
create or replace function hookgate.retries_1(of_target int, after_us bigint, after_id uuid, step int)
returns table (id uuid, run_at_us bigint, in_ms bigint, attempt_count int, age_ms bigint, head bytea) language sql stable set enable_seqscan = off
    set jit = off as $$
    with p as (select coalesce((select x.at from hookgate.parked_times(array[of_target]) x), hookgate.store_time()) as at)
    select d.id, hookgate.to_us(d.run_at), hookgate.ms_of(d.run_at - hookgate.store_time()), d.attempt_count, greatest(0, hookgate.ms_of(p.at - d.since)),
        z.head
    from p cross join lateral (select * from hookgate.due d where d.attempt_count > 0 and d.target = of_target and not d.leased
            and d.run_at >= coalesce(hookgate.from_us(after_us), hookgate.store_time()) and d.run_at < 'infinity'
            and (d.run_at, d.id) > (coalesce(hookgate.from_us(after_us), hookgate.store_time()), coalesce(after_id, '00000000-0000-0000-0000-000000000000'))
            order by d.run_at, d.id limit step) d
    left join lateral (select case when z.status in (429, 503) then z.head end as head from hookgate.attempt z
        where z.id = d.id and z.target = of_target and not z.late order by z.lease desc limit 1) z on true
    order by d.run_at, d.id
$$;

-- Lets retries be due in `in_ms`, if they would be due later. Returns how many. Units that are being attempted, or are not there any more, stay as they are.
create or replace function hookgate.shorten_1(of_target int, ids uuid[], in_ms bigint[]) returns int
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
declare t timestamptz := hookgate.store_time(); n int;
begin
    update hookgate.due d set run_at = t + x.ms * interval '1 ms' from (
        select y.tid, a.ms from (select * from unnest(ids, in_ms) a(id, ms) order by id) a
        cross join lateral (select d.ctid tid from hookgate.due d where d.id = a.id and d.target = of_target and not d.leased and d.attempt_count > 0
            and d.run_at < 'infinity' and d.run_at > t + a.ms * interval '1 ms' for update skip locked offset 0) y) x
    where d.ctid = x.tid;
    get diagnostics n = row_count;
    return n;
end $$;
