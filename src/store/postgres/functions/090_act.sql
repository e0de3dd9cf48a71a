-- Acts of people on deliveries, and the deletion of deliveries.

-- Deletes deliveries with all that belongs to them. The ledger's entry of one that was not delivered goes with it, since nothing would ever be delivered under
-- its key; the entry of one that was delivered stays, and names no delivery. An entry that belongs to another delivery by now stays as it is. A delivery with a
-- unit that is being settled at this moment stays. Returns the IDs of those that are gone.
create or replace function hookgate.erase(gone uuid[]) returns uuid[]
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare left_t int[]; left_l bytea[]; mine_t int[]; mine_l bytea[]; keys bytea[]; undelivered uuid[]; done uuid[] := '{}'; r record;
begin
    perform hookgate.share_order_of(gone, '{}');
    keys := array(select v.key from (select distinct g from unnest(gone) g) g
        cross join lateral (select key from hookgate.delivery v where v.id = g.g and v.key is not null offset 0) v order by 1);
    perform 1 from (select distinct k from unnest(keys) k order by k) k
        cross join lateral (select 1 from hookgate.ledger l where l.key = k.k and l.delivery = any(gone) for update offset 0) l;
    perform 1 from (select v.* from (select distinct g from unnest(gone) g) g
            cross join lateral (select v.id, v.origin, v.delivery_id from hookgate.delivery v where v.id = g.g and v.delivery_id is not null offset 0) v
                order by 2, 3) v
        cross join lateral (select 1 from hookgate.own_id o where o.origin = v.origin and o.delivery_id = v.delivery_id
            and o.delivery = v.id for update offset 0) o;
    gone := array(select v.id from (select distinct g from unnest(gone) g order by g) g
        cross join lateral (select v.id from hookgate.delivery v where v.id = g.g for update offset 0) v);
    undelivered := array(select distinct x.id from unnest(gone) g cross join lateral (
        select d.id from hookgate.due d where d.id = g union all select d.id from hookgate.dead d where d.id = g) x);
    perform 1 from unnest(gone) g cross join lateral (select 1 from hookgate.dead d where d.id = g order by d.target for update offset 0) d;
    select x.of_targets, x.of_lanes into mine_t, mine_l from hookgate.lock_lanes(gone, '{}') x;
    with q as (delete from hookgate.due where ctid = any(array(
            select x.tid from unnest(gone) g(g) cross join lateral (
                select d.ctid tid from hookgate.due d where d.id = g.g and (d.lane is null or (d.target, d.lane) in (select m.t, m.l from unnest(mine_t,
                    mine_l) m(t, l)))
                order by d.target for update skip locked offset 0) x))
        returning target, origin, lane),
    s as (insert into hookgate.counter select 1, case when target >= 1073741824 then origin else target end, null, -count(*), 0 from q group by 2)
    select array_agg(target), array_agg(lane) into left_t, left_l from q;
    if left_t is not null then perform hookgate.lanes_go_on(left_t, left_l); end if;
    -- one after the other: the plan for one ID is good for empty tables and for full ones
    for r in select v.* from unnest(gone) g(g)
            cross join lateral (select v.id, v.origin, v.key, v.delivery_id, octet_length(v.record) + octet_length(v.body) as size
                from hookgate.delivery v where v.id = g.g offset 0) v loop
        -- one that is being settled at this moment stays
        continue when hookgate.waits(r.id);
        with z as (delete from hookgate.attempt z where z.id = r.id returning octet_length(z.head) + octet_length(z.body) + coalesce(octet_length(z.facts),
            0) as size),
        b as (delete from hookgate.version b where b.id = r.id returning octet_length(b.body) as size)
        insert into hookgate.counter select 0, r.origin, hookgate.day_of(r.id), -1, -r.size - coalesce((select sum(z.size) from z),
            0) - coalesce((select sum(b.size) from b), 0);
        with x as (delete from hookgate.dead d where d.id = r.id returning d.target, d.origin, d.reason)
        insert into hookgate.counter select c.kind, case when x.target >= 1073741824 then x.origin else x.target end, null, -count(*), 0
            from x cross join (values (2), (3)) c(kind) where c.kind = 2 or x.reason is null group by 1, 2;
        delete from hookgate.delivery v where v.id = r.id;
        delete from hookgate.own_id o where o.origin = r.origin and o.delivery_id = r.delivery_id and o.delivery = r.id;
        if r.key is not null and r.id = any(undelivered) then
            delete from hookgate.ledger l where l.key = r.key and l.delivery = r.id;
        elsif r.key is not null then
            update hookgate.ledger l set delivery = null where l.key = r.key and l.delivery = r.id;
        end if;
        done := done || r.id;
    end loop;
    return done;
end $$;

-- Applies an act to deliveries (of the origins `scope`, if it is not null; on units of `only_targets`, if there are any). Returns how many it changed. kind 0:
-- replay; 1: attempt now; 2: renew; 3: cancel; 4: make dead; 5: add units; 6: purge. The rows of the deliveries are locked first: two acts on one delivery come
-- one after the other.
create or replace function hookgate.apply_act(kind int, ids uuid[], scope int[], only_targets int[], why smallint, with_delivered boolean, why_dead int,
    of_lane bytea,
    with_waiting boolean) returns bigint
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare t timestamptz := hookgate.store_time(); seen uuid[]; changed uuid[] := '{}'; few uuid[]; r record; n int; any_target boolean; behind int[] := '{}';
begin
    only_targets := coalesce(only_targets, '{}');
    if kind = 6 then
        -- `erase` locks, the ledger first
        seen := array(select v.id from (select distinct g from unnest(ids) g order by g) g
            cross join lateral (select v.id, v.origin from hookgate.delivery v where v.id = g.g offset 0) v
            where (scope is null or v.origin = any(scope)) and (with_waiting or (select 1 from hookgate.due d where d.id = v.id limit 1) is null));
        return cardinality(hookgate.erase(seen));
    end if;
    if kind = 4 and why_dead = 3 and cardinality(only_targets) > 0 then
        -- units of others do not end because of a pause
        only_targets := array(select x from unnest(only_targets) x
            where coalesce((select e.state in (1, 2, 3) from hookgate.endpoint e where e.number = x), true));
        if cardinality(only_targets) = 0 then return 0; end if;
    end if;
    any_target := cardinality(only_targets) = 0;
    if kind in (3, 4) then
        perform hookgate.share_order_of(ids, only_targets);
    elsif kind = 0 then
        behind := hookgate.take_order_again(ids, only_targets, with_delivered);
    elsif kind = 5 and of_lane is not null then
        behind := hookgate.take_order(array(select i from unnest(ids) i, unnest(only_targets) o), array(select o from unnest(ids) i, unnest(only_targets) o),
            array(select of_lane from unnest(ids) i, unnest(only_targets) o));
    end if;
    seen := array(select v.id from (select distinct g from unnest(ids) g order by g) g
        cross join lateral (select v.id, v.origin from hookgate.delivery v where v.id = g.g for no key update offset 0) v
        where scope is null or v.origin = any(scope));
    if kind = 0 then
        changed := changed || hookgate.raise_units(seen, only_targets, why, behind);
    elsif kind in (3, 4) then
        changed := changed || hookgate.end_units(seen, only_targets, case kind when 4 then why_dead end);
    end if;
    if kind = 5 or (kind = 0 and with_delivered) then
        -- in neither table: one that died between the statement before and this one is dead, and was not delivered
        select array_agg(x.id order by x.id, x.target) as ids, array_agg(x.target order by x.id, x.target) as targets, array_agg(x.origin order by x.id,
            x.target) as origins,
            array_agg(x.lane order by x.id, x.target) as lanes, array_agg(x.lease order by x.id, x.target) as leases,
            array_agg(x.last order by x.id, x.target) as lasts into r
        from (
            select z.id, z.target, v.origin, v.lane, z.lease, z.last from unnest(seen) g
            cross join lateral (select z.id, z.target, max(z.lease) as lease, max(z.number) as last from hookgate.attempt z
                where z.id = g and (any_target or z.target = any(only_targets)) group by 1, 2) z
            cross join lateral (select v.origin, v.lane from hookgate.delivery v where v.id = g offset 0) v where kind = 0
            union all
            select g, o.target, v.origin, of_lane, 0, 0 from unnest(seen) g cross join (select distinct target from unnest(only_targets) target) o
            cross join lateral (select v.origin from hookgate.delivery v where v.id = g offset 0) v
            where kind = 5 and not exists (select 1 from hookgate.attempt z where z.id = g and z.target = o.target)) x
        where not exists (select 1 from hookgate.due d where d.id = x.id and d.target = x.target)
            and not exists (select 1 from hookgate.dead d where d.id = x.id and d.target = x.target);
        if r.ids is not null then
            n := cardinality(r.ids);
            perform hookgate.let_wait(r.ids, r.targets, r.origins, r.lanes, array_fill(1::smallint, array[n]), array_fill(0::bigint, array[n]), r.leases,
                array_fill(0, array[n]), r.lasts, why, behind);
            changed := changed || r.ids;
        end if;
    end if;
    -- units that wait come after lanes
    if kind in (0, 1, 2) then
        -- a unit that waits behind others of its lane, or is being attempted, stays as it is; but for its budget, which `renew` sets
        with l as materialized (
            select x.tid, x.target from unnest(seen) g cross join lateral (
                select d.ctid tid, d.target from hookgate.due d where d.id = g and (any_target or d.target = any(only_targets))
                    and case kind when 0 then d.run_at < 'infinity' and (not d.leased or d.run_at <= t)
                        when 1 then not d.leased and d.run_at > t and d.run_at < 'infinity' else not d.leased or d.run_at <= t end
                order by d.target for update skip locked offset 0) x),
        p as materialized (select p.* from hookgate.parked_times(array(select distinct target from l)) p),
        u as (update hookgate.due d set run_at = case when d.run_at < 'infinity' then t else d.run_at end,
                attempt_count = case kind when 1 then d.attempt_count else 0 end, since = case kind when 1 then d.since else coalesce(p.at, t) end,
                cause = case kind when 0 then why else d.cause end, lapses = 0
            from l left join p on p.target = l.target where d.ctid = l.tid returning d.id)
        select array_agg(distinct id) into few from u;
        changed := changed || coalesce(few, '{}');
    end if;
    return (select count(distinct c) from unnest(changed) c);
end $$;

-- Does one step of an act (see `apply_act`), and writes it into the audit in the same transaction. Returns how many deliveries it changed, and its row in the
-- audit.
create or replace function hookgate.act_1(kind int, ids uuid[], scope int[], targets int[], cause smallint, delivered boolean, reason int, lane bytea,
    waiting boolean,
    who text, which text, because text, goes_on bigint) returns table (done bigint, audit bigint) language plpgsql volatile set lock_timeout = '1s' as $$
declare n bigint;
begin
    perform hookgate.wait_for_disk();
    n := hookgate.apply_act(kind, ids, scope, targets, cause, delivered, reason, lane, waiting);
    return query select n, hookgate.note_act(who, (array['replay', 'attempt_now', 'renew', 'cancel', 'make_dead', 'add', 'purge'])[kind + 1], which, because, n,
        goes_on);
end $$;

-- Writes an act that changes nothing here into the audit. Returns its row.
create or replace function hookgate.note_1(who text, what text, which text, because text, done bigint, goes_on bigint) returns bigint
language plpgsql volatile set lock_timeout = '1s' as $$
begin
    perform hookgate.wait_for_disk();
    return hookgate.note_act(who, what, which, because, done, goes_on);
end $$;

-- Forgets committed IDs, also of deliveries that wait, and writes it into the audit. Returns how many there were. Claims in flight are left alone.
create or replace function hookgate.forget_1(keys bytea[], who text, which text, because text) returns bigint
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
declare n bigint; t timestamptz := hookgate.store_time(); mine bytea[];
begin
    perform hookgate.wait_for_disk();
    -- one that is committed after this is left alone: it would be locked out of the order
    mine := array(select x.key from (select distinct k from unnest(keys) k order by k) k
        cross join lateral (select l.key from hookgate.ledger l where l.key = k.k and l.state = 2 for update offset 0) x);
    with d as (
        delete from hookgate.ledger where ctid = any(array(
            select x.tid from unnest(mine) k cross join lateral (select l.ctid tid from hookgate.ledger l where l.key = k offset 0) x))
        returning until, delivery)
    select count(*) into n from d where d.until > t or hookgate.waits(d.delivery);
    perform hookgate.note_act(who, 'forget', which, because, n, null);
    return n;
end $$;

-- Deletes what an origin need not keep, `step` deliveries at most, the oldest first, and looks at four times as many from `after` on. A delivery is over by
-- the age since it ended; while the origin has more bytes than `most_bytes`, the oldest go, with dead ones only if `with_dead`. Ages of null delete nothing.
-- done: how many are gone; next: where to go on, null at the end; over: there are still too many bytes.
create or replace function hookgate.sweep_1(of_origin int, age_ms bigint, dead_age_ms bigint, most_bytes bigint, with_dead boolean, after uuid, step int)
returns table (done bigint, next uuid, over boolean)
language plpgsql volatile set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_variable
declare
    t timestamptz := hookgate.store_time(); excess bigint; r record; gone uuid[] := '{}'; last uuid; whole boolean := true; looked int := 0;
    age interval := age_ms * interval '1 ms'; dead_age interval := dead_age_ms * interval '1 ms';
begin
    if most_bytes is not null then
        -- each row needs some bytes beside its own, in indexes and small tables
        excess := coalesce((select sum(c.bytes) + sum(c.rows) * 512 from hookgate.counter c where c.kind = 0 and c.number = of_origin), 0) - most_bytes;
    end if;
    for r in select v.id, v.at, octet_length(v.record) + octet_length(v.body) + coalesce(z.size, 0)
                + coalesce((select sum(octet_length(b.body)) from hookgate.version b where b.id = v.id), 0) as size,
            (select 1 from hookgate.due d where d.id = v.id limit 1) is not null as waits,
            (select max(x.at) from hookgate.dead x where x.id = v.id) as died, greatest(v.at, z.at) as ended
        from hookgate.delivery v left join lateral (select max(z.at) as at, sum(octet_length(z.head) + octet_length(z.body)
            + coalesce(octet_length(z.facts), 0)) as size from hookgate.attempt z where z.id = v.id) z on true
        where v.origin = of_origin and v.id > after order by v.id limit step * 4 loop
        if cardinality(gone) >= step then whole := false; exit; end if;
        looked := looked + 1; last := r.id;
        if not r.waits and (case when r.died is null then t - r.ended > age else t - greatest(r.died, r.ended) > dead_age end
                or (excess > 0 and (r.died is null or with_dead))) then
            gone := gone || r.id; excess := excess - r.size - 512;
        elsif coalesce(excess, 0) <= 0 and coalesce(t - r.at <= least(age, dead_age), true) then
            -- nothing after it is older, or no age counts
            last := null; exit;
        end if;
    end loop;
    if cardinality(gone) > 0 then gone := hookgate.erase(gone); end if;
    return query select cardinality(gone)::bigint, case when whole and looked < step * 4 then null else last end, coalesce(excess > 0, false);
end $$;

-- Returns origins after a number that have deliveries.
create or replace function hookgate.origins_1(after int, most int) returns table (number int) language sql stable as
    $$ select c.number from hookgate.counter c where c.kind = 0 and c.number > after group by 1 having sum(c.rows) > 0 order by 1 limit most $$;
