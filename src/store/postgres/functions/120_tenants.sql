-- The rows of tenants. One is changed by compare-and-swap: read it, compute the new one, save it with the edition that was read. A save whose row is already
-- what it would make is done, and writes no second audit entry.

-- Returns tenants by their app's names, in the order of their bytes, after one.
create or replace function hookgate.tenants_1(after text, most int) returns table (number int, uid text, created timestamptz, edition int, removed boolean,
    settings text)
language sql stable set enable_seqscan = off as $$
    select t.number, t.uid, t.created, t.edition, false, t.settings from hookgate.tenant t
    where t.uid > coalesce(after, '') collate "C" and t.removed_at is null order by t.uid limit most
$$;

-- Returns the tenant with a name of the app, unless it was removed.
create or replace function hookgate.tenant_1(of_uid text) returns table (number int, uid text, created timestamptz, edition int, removed boolean, settings text)
language sql stable set enable_seqscan = off as $$
    select t.number, t.uid, t.created, t.edition, false, t.settings from hookgate.tenant t where t.uid = of_uid and t.removed_at is null
$$;

-- Makes a tenant (`expected` is null: its number is given by the store), or replaces the row of which the caller read this edition. A removed tenant gets `#`
-- and its number as name, so that its name is free again. verdict 0: done; 1: the row is not, or no longer, as the caller knows it; 2: another has the name;
-- 4: all numbers are used.
create or replace function hookgate.tenant_save_1(of_number int, of_uid text, of_created timestamptz, is_removed boolean, of_settings text, expected int,
    who text, what text, which text, because text) returns table (verdict int, number int, edition int)
language plpgsql volatile set lock_timeout = '1s' as $$
#variable_conflict use_column
declare f record; wanted text;
begin
    perform hookgate.wait_for_disk();
    if expected is null then
        if is_removed then return query select 1, of_number, 0; return; end if;
        -- a row that another makes at this moment is waited for
        begin
            insert into hookgate.tenant (number, uid, created, edition, settings)
                select nextval('hookgate.tenant_number')::int, of_uid, of_created, 1, of_settings
                where not exists (select 1 from hookgate.tenant t where t.uid = of_uid) on conflict (uid) do nothing returning tenant.number into f;
        exception when sequence_generator_limit_exceeded then return query select 4, 0, 0; return; end;
        if found then
            if who is not null then perform hookgate.note_act(who, what, which, because, 1, null); end if;
            return query select 0, f.number, 1; return;
        end if;
        select t.number, t.edition = 1 and t.created = of_created and t.settings = of_settings and t.removed_at is null as is_same into f
            from hookgate.tenant t where t.uid = of_uid;
        return query select case when f.is_same then 0 else 2 end, f.number, 1;
        return;
    end if;
    select t.* into f from hookgate.tenant t where t.number = of_number for update;
    if not found then return query select 1, of_number, 0; return; end if;
    wanted := case when is_removed then '#' || of_number else of_uid end;
    if f.edition = expected + 1 and f.uid = wanted and f.settings = of_settings and (f.removed_at is not null) = is_removed then
        return query select 0, of_number, f.edition; return;
    end if;
    if f.edition <> expected or f.removed_at is not null then return query select 1, of_number, f.edition; return; end if;
    begin
        update hookgate.tenant t set uid = wanted, edition = expected + 1, settings = of_settings,
            removed_at = case when is_removed then hookgate.store_time() end
            where t.number = of_number;
    exception when unique_violation then return query select 2, of_number, f.edition; return; end;
    if who is not null then perform hookgate.note_act(who, what, which, because, 1, null); end if;
    return query select 0, of_number, expected + 1;
end $$;

-- Returns what those of these numbers are called that exist, in their order: a tenant by its app's name, an endpoint by its ID.
create or replace function hookgate.called_1(numbers int[]) returns table (number int, name text) language sql stable set enable_seqscan = off as $$
    select n.n, coalesce(t.uid, e.id) from unnest(numbers) with ordinality n(n, o)
    left join lateral (select t.uid from hookgate.tenant t where t.number = n.n offset 0) t on true
    left join lateral (select e.id from hookgate.endpoint e where e.number = n.n offset 0) e on true
    where t.uid is not null or e.id is not null order by n.o
$$;

-- Counts tenants (no state), and endpoints by state, without removed ones.
create or replace function hookgate.address_counts_1() returns table (state smallint, count bigint) language sql stable as $$
    select null::smallint, count(*) from hookgate.tenant t where t.removed_at is null
    union all select e.state, count(*) from hookgate.endpoint e where e.state <> 6 group by e.state
$$;
