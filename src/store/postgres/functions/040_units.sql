-- Units that begin to wait, end, and follow each other in lanes. These functions are called by others alone.
--
-- The lane of an endpoint waits for units that are older and in no lane, too: the endpoint was not ordered when they were accepted. A unit that enters such a
-- lane, or becomes its first, must not miss the end of the last older unit. So a call that ends units of endpoints shares their order lock, and one that lets
-- a unit wait for older ones takes it alone. It is a lock of the transaction, in 16 parts, so that batches do not fill the server's table of locks.

-- Returns whether the first unit of an endpoint's lane has to wait for units that are in no lane. Only the first hundred of each kind are looked at: where
-- all in no lane are older, one is enough, and where most are newer, the endpoint is not ordered any more.
create or replace function hookgate.waits_for_older(of_target int, of_id uuid) returns boolean
language plpgsql stable set enable_seqscan = off set jit = off as $$
begin
    if of_target < 1073741824 then return false; end if;
    return exists (select 1 from (select d.id, d.lane from hookgate.due d
            where d.attempt_count = 0 and d.target = of_target and d.run_at < 'infinity' order by d.run_at limit 100) x where x.lane is null and x.id < of_id)
        or exists (select 1 from (select d.id, d.lane from hookgate.due d
            where d.attempt_count > 0 and d.target = of_target and d.run_at < 'infinity' order by d.run_at limit 100) x where x.lane is null and x.id < of_id);
end $$;

-- Takes the order lock of endpoints for units that may end: alone, where one of a lane ends and others in no lane wait, and shared otherwise. Called before
-- anything else is locked.
create or replace function hookgate.share_order(ids uuid[], targets int[]) returns void
language plpgsql volatile set enable_seqscan = off set jit = off as $$
declare r record;
begin
    for r in select x.target % 16 as part, bool_or(x.is_laned and hookgate.waits_for_older(x.target, 'ffffffff-ffff-ffff-ffff-ffffffffffff')) as alone from (
            select d.target, bool_or(d.lane is not null) as is_laned from unnest(ids, targets) a(id, target)
            cross join lateral (select d.target, d.lane from hookgate.due d where d.id = a.id and d.target = a.target offset 0) d
            where a.target >= 1073741824 group by 1) x group by 1 order by 1 loop
        if r.alone then perform pg_advisory_xact_lock(hashtext('hookgate.order'), r.part);
        else perform pg_advisory_xact_lock_shared(hashtext('hookgate.order'), r.part);
        end if;
    end loop;
end $$;

-- Takes the order lock for the waiting units of deliveries (of `only_targets`, if there are any) that may end. See `share_order`.
create or replace function hookgate.share_order_of(of uuid[], only_targets int[]) returns void
language plpgsql volatile set enable_seqscan = off set jit = off as $$
declare r record;
begin
    select array_agg(d.id) as ids, array_agg(d.target) as targets into r from unnest(of) g
        cross join lateral (select d.id, d.target from hookgate.due d where d.id = g and d.target >= 1073741824
            and (cardinality(only_targets) = 0 or d.target = any(only_targets)) offset 0) d;
    if r.ids is not null then perform hookgate.share_order(r.ids, r.targets); end if;
end $$;

-- Takes the order lock of those endpoints in whose lanes these units would have to wait for older units in no lane. Returns the endpoints. Called before
-- anything else is locked.
create or replace function hookgate.take_order(ids uuid[], targets int[], lanes bytea[]) returns int[]
language plpgsql volatile set enable_seqscan = off set jit = off as $$
declare behind int[];
begin
    select coalesce(array_agg(distinct w.target), '{}') into behind from unnest(ids, targets, lanes) w(id, target, lane)
        where w.lane is not null and w.target >= 1073741824 and hookgate.waits_for_older(w.target, w.id);
    perform pg_advisory_xact_lock(hashtext('hookgate.order'), b) from (select distinct x % 16 as b from unnest(behind) x order by 1) p;
    return behind;
end $$;

-- Takes the order lock for dead and cancelled units of deliveries (of `only_targets`, if there are any) that are to wait again, with `with_delivered` also for
-- delivered ones. See `take_order`.
create or replace function hookgate.take_order_again(of uuid[], only_targets int[], with_delivered boolean) returns int[]
language plpgsql volatile set enable_seqscan = off set jit = off as $$
declare r record;
begin
    select array_agg(x.id) as ids, array_agg(x.target) as targets, array_agg(x.lane) as lanes into r from (
        select d.id, d.target, d.lane from unnest(of) g cross join lateral (select d.id, d.target, d.lane from hookgate.dead d
            where d.id = g and d.lane is not null and d.target >= 1073741824 and (cardinality(only_targets) = 0 or d.target = any(only_targets)) offset 0) d
        union all
        select v.id, z.target, v.lane from unnest(of) g
            cross join lateral (select v.id, v.lane from hookgate.delivery v where v.id = g and v.lane is not null offset 0) v
            cross join lateral (select distinct z.target from hookgate.attempt z where z.id = g and z.target >= 1073741824
                and (cardinality(only_targets) = 0 or z.target = any(only_targets))) z
            where with_delivered) x;
    if r.ids is null then return '{}'; end if;
    return hookgate.take_order(r.ids, r.targets, r.lanes);
end $$;

-- Lets units wait: in the order of the arrays, each behind the others of its lane. `kinds` 0: leased to the caller for `ms`, if nothing is before it; 1: due
-- after `ms`. One for an endpoint that is being removed is dead instead (reason 4). `leases` are the numbers of their last leases, with the caller's;
-- `last_attempts` the numbers of attempts that were made, `behind` the endpoints whose order lock the caller has taken. Adds to the sums.
create or replace function hookgate.let_wait(ids uuid[], targets int[], origins int[], lanes bytea[], kinds smallint[], ms bigint[], leases int[],
    attempt_counts int[], last_attempts int[], why smallint, behind int[]) returns void
language plpgsql volatile set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    t timestamptz := hookgate.store_time(); laned boolean := cardinality(array_remove(lanes, null)) > 0; gone int[] := '{}';
    times_of int[] := '{}'; times timestamptz[] := '{}';
begin
    if 1073741824 <= any(targets) then
        gone := hookgate.removed_among(targets);
        if cardinality(gone) > 0 then
            insert into hookgate.dead (id, target, origin, at, reason, lease, attempt_count, lane, last_attempt)
            select w.id, w.target, w.origin, t, 4, w.lease, w.tries, w.lane, w.last
            from unnest(ids, targets, origins, lanes, leases, attempt_counts, last_attempts) w(id, target, origin, lane, lease, tries, last)
            where w.target = any(gone) order by w.id, w.target;
            insert into hookgate.counter select 2, w.origin, null, count(*), 0 from unnest(targets, origins) w(target, origin)
                where w.target = any(gone) group by 2;
        end if;
    end if;
    select coalesce(array_agg(p.target), '{}'), coalesce(array_agg(p.at), '{}') into times_of, times from hookgate.parked_times(targets) p;
    insert into hookgate.counter select 1, x.number, null, count(*), 0
        from unnest(targets, origins) w(target, origin) cross join lateral (select case when w.target >= 1073741824 then w.origin else w.target end as number) x
        where not w.target = any(gone) group by 2;
    insert into hookgate.due (id, target, origin, run_at, lease, leased, attempt_count, cause, since, last_attempt, leased_at)
    select w.id, w.target, w.origin, t + w.ms * interval '1 ms', w.lease, w.kind = 0, w.tries, why, coalesce(times[array_position(times_of, w.target)], t),
        w.last + (w.kind = 0)::int, case w.kind when 0 then t end
    from unnest(ids, targets, origins, lanes, kinds, ms, leases, attempt_counts, last_attempts) w(id, target, origin, lane, kind, ms, lease, tries, last)
    where w.lane is null and not w.target = any(gone);
    if not laned then return; end if;
    -- the lock of the lane's row puts all gateways in one order
    with w as materialized (
        select w.*, row_number() over (partition by target, lane order by o) rn, count(*) over (partition by target, lane) c
        from unnest(ids, targets, origins, lanes, kinds, ms, leases, attempt_counts, last_attempts) with ordinality
            w(id, target, origin, lane, kind, ms, lease, tries, last, o)
        where lane is not null and not target = any(gone)),
    y as (
        insert into hookgate.lane as y (target, lane, waiting, seq) select distinct target, lane, c::int, c from w order by 1, 2
        on conflict (target, lane) do update set waiting = y.waiting + excluded.waiting, seq = y.seq + excluded.seq returning target, lane, waiting, seq),
    p as (select w.*, y.seq - w.c + w.rn as place, y.waiting = w.c and w.rn = 1
            and not (w.target = any(behind) and hookgate.waits_for_older(w.target, w.id)) as is_first
        from w join y on y.target = w.target and y.lane = w.lane)
    insert into hookgate.due (id, target, origin, run_at, lease, leased, attempt_count, cause, since, lane, seq, last_attempt, leased_at)
    select p.id, p.target, p.origin, case when p.is_first then t + p.ms * interval '1 ms' else 'infinity' end, p.lease, p.kind = 0 and p.is_first, p.tries, why,
        coalesce(times[array_position(times_of, p.target)], t), p.lane, p.place, p.last + (p.kind = 0 and p.is_first)::int,
        case when p.kind = 0 and p.is_first then t end
    from p;
    if cardinality(behind) > 0 then
        update hookgate.lane set blocked = true where ctid = any(array(
            select y.ctid from (select distinct w.target, w.lane from unnest(targets, lanes) w(target, lane) where w.lane is not null
                and w.target = any(behind)) w
            cross join lateral (select d.run_at from hookgate.due d where d.target = w.target and d.lane = w.lane order by d.seq limit 1) h
            cross join lateral (select y.ctid from hookgate.lane y where y.target = w.target and y.lane = w.lane and not y.blocked offset 0) y
            where h.run_at = 'infinity'));
    end if;
end $$;

-- Lets lanes go on that units have left, once for each unit, and the blocked lanes of endpoints that a unit in no lane (null) has left. The first of each is
-- due now, unless it was due before or waits for older units. Returns the targets of those. The caller has taken the units out of `due`.
create or replace function hookgate.lanes_go_on(targets int[], lanes bytea[]) returns int[]
language plpgsql volatile set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare t timestamptz := hookgate.store_time(); r record; woken int[];
begin
    if cardinality(array_remove(lanes, null)) = 0 and not 1073741824 <= any(targets) then return '{}'; end if;
    with x as materialized (
        select x.target, x.lane from unnest(targets, lanes) x(target, lane) where x.lane is not null
        union select e.target, y.lane from (select distinct x.target from unnest(targets, lanes) x(target, lane) where x.lane is null
            and x.target >= 1073741824) e
            cross join lateral (select y.lane from hookgate.lane y where y.target = e.target and y.blocked offset 0) y
        order by 1, 2),
    l as (select x.target, x.lane from x
        cross join lateral (select 1 from hookgate.lane y where y.target = x.target and y.lane = x.lane for update offset 0) y)
    select array_agg(target) as targets, array_agg(lane) as lanes into r from l;
    if r.targets is null then return '{}'; end if;
    -- a new statement: it sees the lanes as they are now that they are locked, and the units that were accepted meanwhile
    with n as materialized (select x.target, x.lane, count(*)::int as units from unnest(targets, lanes) x(target, lane) where x.lane is not null group by 1, 2),
    h as materialized (
        select y.tid as lane_tid, coalesce(n.units, 0) as units, y.blocked, e.tid, e.run_at,
            coalesce(e.run_at = 'infinity' and hookgate.waits_for_older(l.target, e.id), false) as waits
        from unnest(r.targets, r.lanes) l(target, lane)
        left join n on n.target = l.target and n.lane = l.lane
        cross join lateral (select y.ctid tid, y.blocked from hookgate.lane y where y.target = l.target and y.lane = l.lane offset 0) y
        left join lateral (select d.ctid tid, d.id, d.run_at from hookgate.due d where d.target = l.target and d.lane = l.lane
            order by d.seq limit 1) e on true),
    y as (update hookgate.lane y set waiting = y.waiting - h.units, blocked = h.waits from h where y.ctid = h.lane_tid and (h.units > 0
        or h.blocked <> h.waits)),
    d as (update hookgate.due d set run_at = t where d.run_at = 'infinity'
        and d.ctid = any(array(select h.tid from h where h.run_at = 'infinity' and not h.waits)) returning target)
    select coalesce(array_agg(distinct target), '{}') into woken from d;
    return woken;
end $$;

-- Locks the lanes of waiting units of deliveries (of `only_targets`, if there are any), and the blocked lanes of endpoints that others of these units, in no
-- lane, wait for. Returns the lanes of the units.
create or replace function hookgate.lock_lanes(of uuid[], only_targets int[], out of_targets int[], out of_lanes bytea[])
language plpgsql volatile set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
    with u as materialized (
        select distinct d.target, d.lane from unnest(of) g cross join lateral (select d.target, d.lane from hookgate.due d
            where d.id = g and (d.lane is not null or d.target >= 1073741824) and (cardinality(only_targets) = 0 or d.target = any(only_targets)) offset 0) d),
    w as (
        select u.target, u.lane from u where u.lane is not null
        union select u.target, y.lane from u cross join lateral (select y.lane from hookgate.lane y where y.target = u.target and y.blocked offset 0) y
            where u.lane is null
        order by 1, 2)
    select array_agg(y.target), array_agg(y.lane) into of_targets, of_lanes from w
        cross join lateral (select y.target, y.lane from hookgate.lane y where y.target = w.target and y.lane = w.lane for update offset 0) y;
end $$;

-- Records that the outcomes of attempts are not known, unless they are recorded. An outcome that arrives later replaces the row.
create or replace function hookgate.cut_off(ids uuid[], targets int[], leases int[], numbers int[], causes smallint[], began timestamptz[]) returns void
language sql volatile as $$
    insert into hookgate.attempt (id, target, lease, number, cause, started, took, error, late, head, body, facts, at)
    select a.id, a.target, a.lease, a.number, a.cause, coalesce(a.began, hookgate.store_time()), 0, 'cut_off', false, '', '',
        case when a.target >= 1073741824 then ''::bytea end, hookgate.store_time()
    from unnest(ids, targets, leases, numbers, causes, began) a(id, target, lease, number, cause, began) order by 1, 2, 3
    on conflict (id, target, lease) do nothing
$$;

-- Lets dead and cancelled units of deliveries (of `only_targets`, if there are any) wait again, with a fresh budget, behind the others of their lanes. Returns
-- these deliveries. `behind`: see `let_wait`. Locks the deliveries: one that is being deleted is waited for, and then is not there.
create or replace function hookgate.raise_units(of uuid[], only_targets int[], why smallint, behind int[]) returns uuid[]
language plpgsql volatile set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare r record; zeros int[]; got uuid[];
begin
    with v as materialized (
        select v.id from (select distinct o from unnest(of) o order by o) o
        cross join lateral (select v.id from hookgate.delivery v where v.id = o.o for key share offset 0) v),
    l as materialized (
        select x.* from v cross join lateral (
            select d.ctid tid from hookgate.dead d where d.id = v.id and (cardinality(only_targets) = 0 or d.target = any(only_targets))
            order by d.target for update offset 0) x),
    d as (delete from hookgate.dead where ctid = any(array(select tid from l)) returning id, target, origin, lease, lane, last_attempt, reason),
    s as (insert into hookgate.counter
        select k.kind, case when d.target >= 1073741824 then d.origin else d.target end, null, -count(*), 0
        from d cross join (values (2), (3)) k(kind) where k.kind = 2 or d.reason is null group by 1, 2)
    select array_agg(id order by id, target) as ids, array_agg(target order by id, target) as targets, array_agg(origin order by id, target) as origins,
        array_agg(lane order by id, target) as lanes, array_agg(lease order by id, target) as leases, array_agg(last_attempt order by id, target) as lasts
        into r from d;
    if r.ids is null then return '{}'; end if;
    zeros := array_fill(0, array[cardinality(r.ids)]);
    perform hookgate.let_wait(r.ids, r.targets, r.origins, r.lanes, array_fill(1::smallint, array[cardinality(r.ids)]), zeros::bigint[], r.leases, zeros,
        r.lasts, why,
        behind);
    return array(select distinct x from unnest(r.ids) x);
end $$;

-- Ends waiting units of deliveries (of `only_targets`, if there are any): as dead, or as cancelled without a reason. The attempt of one that is leased has an
-- unknown outcome from now on. The caller shares the order lock. A unit that is being settled at this moment is left to its holder. Returns the deliveries.
create or replace function hookgate.end_units(of uuid[], only_targets int[], why int) returns uuid[]
language plpgsql volatile set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare t timestamptz := hookgate.store_time(); mine_t int[]; mine_l bytea[]; r record;
begin
    select x.of_targets, x.of_lanes into mine_t, mine_l from hookgate.lock_lanes(of, only_targets) x;
    with q as (delete from hookgate.due where ctid = any(array(
            -- a unit that has come to a lane since is left alone: its lane is not ours
            select x.tid from (select distinct g from unnest(of) g order by g) g cross join lateral (
                select d.ctid tid from hookgate.due d where d.id = g.g and (cardinality(only_targets) = 0 or d.target = any(only_targets))
                    and (d.lane is null or (d.target, d.lane) in (select m.t, m.l from unnest(mine_t, mine_l) m(t, l)))
                order by d.target for update skip locked offset 0) x))
        returning id, target, origin, lease, leased, attempt_count, cause, lane, last_attempt, leased_at),
    x as (insert into hookgate.dead (id, target, origin, at, reason, lease, attempt_count, lane, last_attempt)
        select id, target, origin, t, why, lease + 1, attempt_count, lane, last_attempt from q),
    s as (insert into hookgate.counter
        select k.kind, case when q.target >= 1073741824 then q.origin else q.target end, null, count(*) * k.sign, 0
        from q cross join (values (1, -1), (2, 1), (3, 1)) k(kind, sign) where k.kind < 3 or why is null group by 1, 2, k.sign)
    select array_agg(id) as ids, array_agg(target) as targets, array_agg(lane) as lanes,
        array_agg(id) filter (where leased) as c_ids, array_agg(target) filter (where leased) as c_targets, array_agg(lease) filter (where leased) as c_leases,
        array_agg(last_attempt) filter (where leased) as c_numbers, array_agg(cause) filter (where leased) as c_causes,
        array_agg(leased_at) filter (where leased) as c_began into r from q;
    if r.ids is null then return '{}'; end if;
    if r.c_ids is not null then perform hookgate.cut_off(r.c_ids, r.c_targets, r.c_leases, r.c_numbers, r.c_causes, r.c_began); end if;
    perform hookgate.lanes_go_on(r.targets, r.lanes);
    return array(select distinct x from unnest(r.ids) x);
end $$;
