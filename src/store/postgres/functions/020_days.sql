-- Days: the partitions of `delivery`, `version` and `attempt`.

-- Makes the partitions from yesterday to `ahead` days from now, and that of `also`. Returns how many were made. A table is made alone and then attached:
-- `create table ... partition of` would lock everybody out.
create or replace function hookgate.days_make_1(ahead int, also date default null) returns int
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    d date; part text; made int := 0; parent text;
    today date := (hookgate.store_time() at time zone 'UTC')::date;
begin
    perform pg_advisory_xact_lock(hashtextextended('hookgate.days', 0));
    for d in select x::date from generate_series(today - 1, today + ahead, interval '1 day') x union select also where also is not null order by 1 loop
        foreach parent in array array['delivery', 'version', 'attempt'] loop
            part := format('%s_%s', parent, to_char(d, 'YYYYMMDD'));
            continue when to_regclass('hookgate.' || part) is not null;
            execute format('create table hookgate.%I (like hookgate.%I including all)', part, parent);
            execute format('alter table hookgate.%I attach partition hookgate.%I for values from (%L) to (%L)', parent, part,
                hookgate.first_id(d), hookgate.first_id(d + 1));
            made := made + 1;
        end loop;
    end loop;
    perform hookgate.drop_old_days();
    return made;
end $$;

-- Returns the days before today that have deliveries, with the origins of these.
create or replace function hookgate.days_1() returns table (day date, origin int, rows bigint) language sql stable as $$
    select c.day, c.number, sum(c.rows)::bigint from hookgate.counter c
    where c.kind = 0 and c.day < (hookgate.store_time() at time zone 'UTC')::date group by 1, 2 having sum(c.rows) > 0
    union all
    -- a day whose deliveries are all gone has no sums any more, but a table
    select d.day, null, 0 from (
        select to_date(right(x.relname, 8), 'YYYYMMDD') as day from pg_inherits i join pg_class x on x.oid = i.inhrelid
        where i.inhparent = 'hookgate.delivery'::regclass) d
    where d.day < (hookgate.store_time() at time zone 'UTC')::date - 1
    order by 1, 2 nulls last
$$;

-- Returns the deliveries of a day that stay when it ends: those that wait, are dead, or ended less than their origin's age ago; at most `most` and one more.
create or replace function hookgate.staying(lo uuid, hi uuid, origins int[], ages bigint[], other_age bigint, most int) returns uuid[]
language plpgsql volatile set enable_seqscan = off set jit = off as $$
declare t timestamptz := hookgate.store_time(); longest bigint := greatest(other_age, (select max(a) from unnest(ages) a)); found uuid[];
begin
    select array_agg(x.id) into found from (
        select u.id from hookgate.due u where u.id >= lo and u.id < hi
        union select x.id from hookgate.dead x where x.id >= lo and x.id < hi
        union select z.id from hookgate.attempt z join hookgate.delivery v on v.id = z.id left join unnest(origins, ages) a(origin, age) on a.origin = v.origin
            where z.id >= lo and z.id < hi and z.at > t - longest * interval '1 ms' and z.at > t - coalesce(a.age, other_age) * interval '1 ms'
        union select v.id from hookgate.delivery v left join unnest(origins, ages) a(origin, age) on a.origin = v.origin
            where v.id >= lo and v.id < hi and hookgate.first_id((t at time zone 'UTC')::date - (longest / 86400000)::int - 1) < hi
                and v.at > t - coalesce(a.age, other_age) * interval '1 ms'
        limit most + 1) x;
    return coalesce(found, '{}');
end $$;

-- Drops tables that an end of a day has left: those in whose place are others, and those that were made in vain. They are no partitions.
create or replace function hookgate.drop_old_days() returns void language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare parent text; kind text;
begin
    foreach parent in array array['delivery', 'version', 'attempt'] loop
        foreach kind in array array['old', 'new'] loop
            if to_regclass(format('hookgate.%I', kind || '_' || parent)) is not null then
                execute format('drop table hookgate.%I', kind || '_' || parent);
            end if;
        end loop;
    end loop;
end $$;

-- Ends a day: keeps the deliveries that wait, are dead, or ended less than their origin's age ago (`ages`, in milliseconds, of `origins`; `other_age` of all
-- others), at most `most`, and takes the rest away with its tables. Returns 'gone', 'kept N', 'busy' (the lock was not to be had within 200 ms; nothing is
-- done), or 'many N' (nothing is done). The deliveries that go were delivered: their IDs stay remembered for their windows. Other calls wait only while the
-- tables change places: new ones are made before, and old ones are dropped by the next call.
create or replace function hookgate.day_end_1(day date, origins int[], ages bigint[], other_age bigint, most int) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    lo uuid := hookgate.first_id(day); hi uuid := hookgate.first_id(day + 1); stamp text := to_char(day, 'YYYYMMDD');
    parents text[] := array['delivery', 'version', 'attempt']; parent text; ids uuid[];
begin
    perform pg_advisory_xact_lock(hashtextextended('hookgate.days', 0));
    perform hookgate.drop_old_days();
    if to_regclass('hookgate.delivery_' || stamp) is null then return 'gone'; end if;
    -- first without the lock: too many now are too many then
    ids := hookgate.staying(lo, hi, origins, ages, other_age, most);
    if cardinality(ids) > most then return 'many ' || cardinality(ids); end if;
    foreach parent in array parents loop
        execute format('create table hookgate.%I (like hookgate.%I including all)', 'new_' || parent, parent);
    end loop;
    perform set_config('lock_timeout', '200ms', true);
    begin
        -- sums last, as in all calls: a sum that is being folded would be counted twice
        lock table hookgate.delivery, hookgate.version, hookgate.attempt, hookgate.counter in access exclusive mode;
    exception when lock_not_available then return 'busy'; end;
    -- a new statement has a new snapshot: it sees the commits of the meantime
    ids := hookgate.staying(lo, hi, origins, ages, other_age, most);
    if cardinality(ids) > most then return 'many ' || cardinality(ids); end if;
    delete from hookgate.counter c where c.kind = 0 and c.day = day_end_1.day;
    foreach parent in array parents loop
        execute format('alter table hookgate.%I detach partition hookgate.%I', parent, parent || '_' || stamp);
        execute format('alter table hookgate.%I rename to %I', parent || '_' || stamp, 'old_' || parent);
        continue when cardinality(ids) = 0;
        execute format('insert into hookgate.%I select x.* from unnest($1) n(id) cross join lateral (select * from hookgate.%I o where o.id = n.id offset 0) x',
            'new_' || parent, 'old_' || parent) using ids;
        execute format('alter table hookgate.%I rename to %I', 'new_' || parent, parent || '_' || stamp);
        execute format('alter table hookgate.%I attach partition hookgate.%I for values from (%L) to (%L)', parent, parent || '_' || stamp, lo, hi);
    end loop;
    if cardinality(ids) = 0 then return 'gone'; end if;
    insert into hookgate.counter select 0, v.origin, day_end_1.day, count(*), sum(octet_length(v.record) + octet_length(v.body)
            + coalesce((select sum(octet_length(z.head) + octet_length(z.body) + coalesce(octet_length(z.facts), 0)) from hookgate.attempt z where z.id = v.id),
                0)
            + coalesce((select sum(octet_length(y.body)) from hookgate.version y where y.id = v.id), 0))
        from hookgate.delivery v where v.id >= lo and v.id < hi group by 2;
    return 'kept ' || cardinality(ids);
end $$;
