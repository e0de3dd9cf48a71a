-- Maintenance: one gateway does a task, whichever comes first when its time has come.

-- Takes a task, if it is due, until `every_ms` from now. Returns the position at which it goes on; null: another has it, or its time has not come.
create or replace function hookgate.maintenance_1(of_task text, every_ms bigint) returns bigint language plpgsql volatile as $$
declare found_at bigint;
begin
    perform set_config('synchronous_commit', 'off', true);
    update hookgate.maintenance set due_at = hookgate.store_time() + every_ms * interval '1 ms' where ctid = any(array(
        select m.ctid from hookgate.maintenance m where m.task = of_task and m.due_at <= hookgate.store_time() for update skip locked))
        returning position into found_at;
    return found_at;
end $$;

-- Keeps the position of a task, and lets it be due again in `again_ms`, if that is not null.
create or replace function hookgate.maintenance_set_1(of_task text, of_position bigint, again_ms bigint) returns void language sql volatile as $$
    update hookgate.maintenance set position = of_position, due_at = coalesce(hookgate.store_time() + again_ms * interval '1 ms', due_at) where task = of_task
$$;

-- Walks `pages` pages of the ledger from where the last walk ended, and deletes entries that have ended. Lapsed claims stay an hour longer: their holders may
-- come back. Returns how many are gone, and where to go on.
create or replace function hookgate.ledger_sweep_1(from_page bigint, pages int) returns table (done bigint, next bigint)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
declare t timestamptz := hookgate.store_time(); n bigint; total bigint := pg_relation_size('hookgate.ledger') / current_setting('block_size')::bigint;
begin
    if from_page >= total then from_page := 0; end if;
    delete from hookgate.ledger where ctid = any(array(
        select l.ctid from hookgate.ledger l where l.ctid >= format('(%s,0)', from_page)::tid and l.ctid < format('(%s,0)', from_page + pages)::tid
            and (case l.state when 1 then l.until < t - interval '1 hour'
                else l.until <= t and (l.delivery is null or (select 1 from hookgate.due d where d.id = l.delivery limit 1) is null) end)
        for update skip locked));
    get diagnostics n = row_count;
    return query select n, case when from_page + pages >= total then 0 else from_page + pages end;
end $$;

-- Walks `pages` pages of the apps' own IDs, and deletes those whose deliveries are gone.
create or replace function hookgate.own_sweep_1(from_page bigint, pages int) returns table (done bigint, next bigint)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
declare n bigint; total bigint := pg_relation_size('hookgate.own_id') / current_setting('block_size')::bigint;
begin
    if from_page >= total then from_page := 0; end if;
    delete from hookgate.own_id where ctid = any(array(
        select o.ctid from hookgate.own_id o where o.ctid >= format('(%s,0)', from_page)::tid and o.ctid < format('(%s,0)', from_page + pages)::tid
            and not exists (select 1 from hookgate.delivery v where v.id = o.delivery)
        for update skip locked));
    get diagnostics n = row_count;
    return query select n, case when from_page + pages >= total then 0 else from_page + pages end;
end $$;

-- Adds up differences of sums, `most` rows at a time. A sum that comes to nothing keeps one row, without a day: a sum that was there once is 0, and not absent.
create or replace function hookgate.counters_fold_1(most int) returns int language plpgsql volatile set lock_timeout = '1s' as $$
declare n int;
begin
    with g as (delete from hookgate.counter where ctid = any(array(select ctid from hookgate.counter limit most for update skip locked)) returning *),
    i as (
        insert into hookgate.counter select kind, number, day, sum(rows), sum(bytes) from (
            select kind, number, case when sum(rows) over d <> 0 or sum(bytes) over d <> 0 then day end as day, rows, bytes
                from g window d as (partition by kind, number, day)) s
        group by 1, 2, 3)
    select count(*) into n from g;
    return n;
end $$;

-- Deletes the rows of lanes in which nothing waits, and lets blocked lanes go on that wait for nothing any more: a net below the locks, which should find none.
create or replace function hookgate.lanes_sweep_1(most int) returns bigint language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
declare n bigint; blocked_targets int[];
begin
    delete from hookgate.lane where ctid = any(array(select ctid from hookgate.lane where waiting = 0 limit most for update skip locked));
    get diagnostics n = row_count;
    blocked_targets := array(select distinct x.target from (select y.target from hookgate.lane y where y.blocked limit most) x);
    perform hookgate.lanes_go_on(blocked_targets, array_fill(null::bytea, array[cardinality(blocked_targets)]));
    return n;
end $$;

-- Ends units that still wait for removed endpoints: an accept that began before the removal may have added them after it. Returns how many deliveries it
-- changed.
create or replace function hookgate.removed_units_1(most int) returns bigint language plpgsql volatile set enable_seqscan = off set jit = off
    set lock_timeout = '1s' as $$
declare found_targets int[]; ids uuid[];
begin
    select array_agg(r.target) into found_targets from hookgate.ready_1(1073741823, 2147483647, 100000) r
        where (select e.state from hookgate.endpoint e where e.number = r.target) = 6;
    if found_targets is null then return 0; end if;
    ids := array(select x.id from unnest(found_targets) f(target) cross join lateral (
        (select d.id from hookgate.due d where d.attempt_count = 0 and d.target = f.target limit most)
        union all (select d.id from hookgate.due d where d.attempt_count > 0 and d.target = f.target limit most)) x limit most);
    return hookgate.apply_act(4, ids, null, found_targets, null, false, 4, null, false);
end $$;

-- Deletes limits that have all their tokens again.
create or replace function hookgate.buckets_sweep_1() returns bigint language sql volatile as $$
    with d as (delete from hookgate.bucket where ctid = any(array(select ctid from hookgate.bucket where tat < hookgate.store_time() for update skip locked))
        returning 1)
    select count(*) from d
$$;

-- Returns the bytes of all tables and indexes of the store.
create or replace function hookgate.size_1() returns bigint language sql volatile as $$
    select coalesce(sum(pg_relation_size(c.oid)), 0)::bigint from pg_class c
    where c.relnamespace = (select relnamespace from pg_class where oid = 'hookgate.meta'::regclass) and c.relkind in ('r', 'i')
$$;

-- Notes that a gateway lives, and the numbers that it serves; called every few seconds. Returns a summary of all gateways, and the tasks that are due. Numbers
-- that no gateway serves are parked. A gateway that vanished for a minute without a farewell may have served without the store, and what it owed the store
-- ended with it: then the ledgers of all routes begin again.
create or replace function hookgate.heartbeat_1(me uuid, my_version text, my_hash text, my_generation bigint, my_host text, served int[])
returns table (at timestamptz, gates int, hashes int, versions int, days_ahead int, standby text, writable boolean, due text[], ledger_rows bigint,
    ledger_bytes bigint)
language plpgsql volatile set lock_timeout = '1s' as $$
declare t timestamptz := hookgate.store_time(); gone uuid[];
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into hookgate.gateway as g values (me, t, my_version, my_hash, my_generation, my_host, served) on conflict (id) do update
        set seen = excluded.seen, version = excluded.version, hash = excluded.hash, generation = excluded.generation, host = excluded.host,
            serves = excluded.serves;
    with d as (delete from hookgate.gateway where ctid = any(array(select g.ctid from hookgate.gateway g
        where g.seen <= t - interval '60 s' order by g.id for update skip locked)) returning id)
    select array_agg(id) into gone from d;
    if gone is not null then perform hookgate.gap_1(0); end if;
    if exists (select 1 from hookgate.name n where n.parked_at is not null and n.number = any(served)) then perform hookgate.unpark(served); end if;
    if exists (select 1 from hookgate.name n where n.parked_at is null and not exists (select 1 from hookgate.gateway g where n.number = any(g.serves))) then
        update hookgate.name n set parked_at = t where n.parked_at is null and not exists (select 1 from hookgate.gateway g where n.number = any(g.serves));
    end if;
    return query
    select t, count(*)::int, count(distinct g.hash)::int, count(distinct g.version)::int,
        (select count(*)::int from generate_series(1, 30) n where to_regclass('hookgate.delivery_' || to_char((t at time zone 'UTC')::date + n,
            'YYYYMMDD')) is not null),
        case when current_setting('synchronous_standby_names') <> '' then 'waits' when (select count(*)
            from pg_stat_replication) > 0 then 'ignored' else 'none' end,
        not pg_is_in_recovery(), array(select m.task from hookgate.maintenance m where m.due_at <= t),
        (select greatest(0, c.reltuples)::bigint from pg_class c where c.oid = 'hookgate.ledger'::regclass), pg_total_relation_size('hookgate.ledger')
    from hookgate.gateway g where g.seen > t - interval '15 s';
end $$;

-- Notes that a gateway ends in order: it leaves no gap.
create or replace function hookgate.goodbye_1(me uuid) returns void language sql volatile as $$ delete from hookgate.gateway where id = me $$;
