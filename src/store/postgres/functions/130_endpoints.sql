-- The rows of endpoints, with their secrets and their health. They are changed by compare-and-swap, as tenants are.

-- Returns the rows of endpoints in the order of their numbers in the array, with secrets (by number) and health.
create or replace function hookgate.endpoints_of_1(numbers int[]) returns table (number int, id text, tenant int, uid text, edition int, state smallint,
    since timestamptz,
    url text, settings text, sealed bytea, job text, cursor bytea, secret_n int[], secret_name text[], secret_created timestamptz[], secret_ends timestamptz[],
    secret_sealed bytea[], h_since timestamptz, h_failures int, h_hours int, h_last timestamptz, h_status int, h_cause text, h_first uuid, h_notified smallint)
language sql stable set enable_seqscan = off set jit = off as $$
    select e.number, e.id, e.tenant, e.uid, e.edition, e.state, e.since, e.url, e.settings, e.sealed, e.job, e.cursor,
        coalesce(s.n, '{}'), coalesce(s.name, '{}'), coalesce(s.created, '{}'), coalesce(s.ends, '{}'), coalesce(s.sealed, '{}'),
        h.since, h.failures, h.hours, h.last, h.status, h.cause, h.first, h.notified
    from unnest(numbers) with ordinality n(n, o)
    cross join lateral (select * from hookgate.endpoint e where e.number = n.n offset 0) e
    left join lateral (select array_agg(s.n order by s.n) as n, array_agg(s.name order by s.n) as name, array_agg(s.created order by s.n) as created,
        array_agg(s.ends order by s.n) as ends, array_agg(s.sealed order by s.n) as sealed from hookgate.secret s where s.endpoint = n.n) s on true
    left join lateral (select * from hookgate.health h where h.endpoint = n.n offset 0) h on true
    order by n.o
$$;

-- Returns endpoints of a tenant by number, after one, without removed ones.
create or replace function hookgate.endpoints_1(of_tenant int, after int, most int) returns table (number int, id text, tenant int, uid text, edition int,
    state smallint,
    since timestamptz, url text, settings text, sealed bytea, job text, cursor bytea, secret_n int[], secret_name text[], secret_created timestamptz[],
    secret_ends timestamptz[], secret_sealed bytea[], h_since timestamptz, h_failures int, h_hours int, h_last timestamptz, h_status int, h_cause text,
        h_first uuid,
    h_notified smallint) language sql stable set enable_seqscan = off set jit = off as $$
    select e.* from hookgate.endpoints_of_1(array(select e.number from hookgate.endpoint e
        where e.tenant = of_tenant and e.state <> 6 and e.number > after order by e.number limit most)) e
$$;

-- Returns an endpoint of a tenant by its ID or by the app's name of it (the other is null), unless it was removed.
create or replace function hookgate.endpoint_1(of_tenant int, of_id text, of_uid text) returns table (number int, id text, tenant int, uid text, edition int,
    state smallint,
    since timestamptz, url text, settings text, sealed bytea, job text, cursor bytea, secret_n int[], secret_name text[], secret_created timestamptz[],
    secret_ends timestamptz[], secret_sealed bytea[], h_since timestamptz, h_failures int, h_hours int, h_last timestamptz, h_status int, h_cause text,
        h_first uuid,
    h_notified smallint) language sql stable set enable_seqscan = off set jit = off as $$
    select e.* from hookgate.endpoints_of_1(array(
        select e.number from hookgate.endpoint e where of_id is not null and e.id = of_id and e.tenant = of_tenant and e.state <> 6
        union all select e.number from hookgate.endpoint e where of_id is null and e.tenant = of_tenant and e.uid = of_uid and e.state <> 6)) e
$$;

-- Returns endpoints whose job is not over, by number, after one.
create or replace function hookgate.with_jobs_1(after int, most int) returns table (number int, id text, tenant int, uid text, edition int, state smallint,
    since timestamptz, url text, settings text, sealed bytea, job text, cursor bytea, secret_n int[], secret_name text[], secret_created timestamptz[],
    secret_ends timestamptz[], secret_sealed bytea[], h_since timestamptz, h_failures int, h_hours int, h_last timestamptz, h_status int, h_cause text,
        h_first uuid,
    h_notified smallint) language sql stable set enable_seqscan = off set jit = off as $$
    select e.* from hookgate.endpoints_of_1(array(select e.number from hookgate.endpoint e
        where e.cursor is not null and e.number > after order by e.number limit most)) e
$$;

-- Returns endpoints that are neither active nor removed, by number, after one.
create or replace function hookgate.inactive_1(after int, most int) returns table (number int, state smallint, since timestamptz)
language sql stable set enable_seqscan = off as $$
    select e.number, e.state, e.since from hookgate.endpoint e where e.state <> 0 and e.state <> 6 and e.number > after order by e.number limit most
$$;

-- Counts the units that wait for paused endpoints.
create or replace function hookgate.waiting_for_inactive_1() returns bigint language sql stable set enable_seqscan = off set jit = off as $$
    select coalesce(sum(f.n + r.n), 0)::bigint from (select e.number from hookgate.endpoint e where e.state <> 0 and e.state <> 6 and e.state in (1, 2, 3)) e
    cross join lateral (select count(*) as n from hookgate.due d where d.target = e.number and d.attempt_count = 0) f
    cross join lateral (select count(*) as n from hookgate.due d where d.target = e.number and d.attempt_count > 0) r
$$;

-- Draws the number of a new endpoint. Each call draws another.
create or replace function hookgate.endpoint_reserve_1() returns int language sql volatile as $$ select nextval('hookgate.endpoint_number')::int $$;

-- Makes or replaces the row of an endpoint, with its secrets. Returns a verdict (see `endpoint_save_1`), or -1: an earlier call of this save did it. Health is
-- left alone: the caller forgets it last.
create or replace function hookgate.put_endpoint(of_number int, of_id text, of_tenant int, of_uid text, of_state smallint, of_since timestamptz, of_url text,
    of_settings text, of_sealed bytea, of_job text, of_cursor bytea, s_n int[], s_name text[], s_created timestamptz[], s_ends timestamptz[], s_sealed bytea[],
    expected int, most int) returns int
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
#variable_conflict use_column
declare f record; s record; is_there boolean;
begin
    if expected is null then
        -- the tenant's row puts those in one order that add endpoints to it
        perform 1 from hookgate.tenant t where t.number = of_tenant and t.removed_at is null for no key update;
        is_there := found;
    end if;
    perform 1 from hookgate.endpoint e where e.number = of_number for update;
    select * into f from hookgate.endpoints_of_1(array[of_number]);
    if found then
        if f.edition = coalesce(expected, 0) + 1 and f.id = of_id and f.tenant = of_tenant and f.uid is not distinct from of_uid and f.state = of_state
            and f.since = of_since
                and f.url = of_url and f.settings = of_settings and f.sealed is not distinct from of_sealed and f.job is not distinct from of_job
                and f.cursor is not distinct from of_cursor and f.secret_n = s_n and f.secret_name = s_name and f.secret_created = s_created
                and f.secret_ends is not distinct from s_ends and f.secret_sealed = s_sealed then
            return -1;
        end if;
        if expected is null or f.edition <> expected or f.state = 6 or f.tenant <> of_tenant or f.id <> of_id then return 1; end if;
    else
        if expected is not null or of_number < 1073741824 or of_state = 6 or not is_there
                or exists (select 1 from hookgate.endpoint e where e.id = of_id) then return 1; end if;
    end if;
    if exists (select 1 from hookgate.endpoint e where e.tenant = of_tenant and e.uid = of_uid and e.number <> of_number) then return 2; end if;
    if expected is null and (select count(*) from hookgate.endpoint e where e.tenant = of_tenant and e.state <> 6) >= most then return 3; end if;
    begin
        insert into hookgate.endpoint as e (number, id, tenant, uid, edition, state, since, url, settings, sealed, job, cursor)
            values (of_number, of_id, of_tenant, of_uid, coalesce(expected, 0) + 1, of_state, of_since, of_url, of_settings, of_sealed, of_job, of_cursor)
            on conflict (number) do update set uid = excluded.uid, edition = excluded.edition, state = excluded.state, since = excluded.since,
                url = excluded.url,
                settings = excluded.settings, sealed = excluded.sealed, job = excluded.job, cursor = excluded.cursor;
    exception when unique_violation then
        -- another took the name or the ID at this moment
        return case when exists (select 1 from hookgate.endpoint e where e.tenant = of_tenant and e.uid = of_uid and e.number <> of_number) then 2 else 1 end;
    end;
    delete from hookgate.secret x where x.endpoint = of_number;
    insert into hookgate.secret (endpoint, n, name, created, ends, sealed) select of_number, x.* from unnest(s_n, s_name, s_created, s_ends, s_sealed) x(n,
        name, created, ends, sealed);
    return 0;
end $$;

-- Makes an endpoint (`expected` is null) of a tenant that is not removed, if that has fewer than `most`; or replaces the row of which the caller read this
-- edition. Secrets are replaced with it. Health is not saved, but an endpoint that becomes active, or is removed, has none afterwards. verdict 0: done; 1: the
-- row is not, or no longer, as the caller knows it, or the tenant was removed; 2: another of the tenant has the app's name; 3: the tenant has as many as it
-- may have.
create or replace function hookgate.endpoint_save_1(of_number int, of_id text, of_tenant int, of_uid text, of_state smallint, of_since timestamptz, of_url text,
    of_settings text, of_sealed bytea, of_job text, of_cursor bytea, s_n int[], s_name text[], s_created timestamptz[], s_ends timestamptz[], s_sealed bytea[],
    expected int, most int, who text, what text, which text, because text) returns table (verdict int, number int, edition int)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
declare before smallint; v int;
begin
    perform hookgate.wait_for_disk();
    select e.state into before from hookgate.endpoint e where e.number = of_number for update;
    v := hookgate.put_endpoint(of_number, of_id, of_tenant, of_uid, of_state, of_since, of_url, of_settings, of_sealed, of_job, of_cursor, s_n, s_name,
        s_created, s_ends,
        s_sealed, expected, most);
    if v = 0 then
        if who is not null then perform hookgate.note_act(who, what, which, because, 1, null); end if;
        if before <> of_state and of_state in (0, 6) then delete from hookgate.health h where h.endpoint = of_number; end if;
    end if;
    return query select greatest(v, 0), of_number, coalesce(expected, 0) + 1;
end $$;

-- Makes a change of an endpoint that exists, with acts on units that its tenant's events have for it, and a notification of the app: all of it, or nothing. A
-- repeated call changes nothing. If `failing_since` is given, the endpoint must still fail since then. Arrays of acts: see `apply_act`; `a_of` is the act of
-- each of `a_ids`. Verdicts as of `endpoint_save_1`.
create or replace function hookgate.endpoint_change_1(of_number int, of_id text, of_tenant int, of_uid text, of_state smallint, of_since timestamptz,
    of_url text,
    of_settings text, of_sealed bytea, of_job text, of_cursor bytea, s_n int[], s_name text[], s_created timestamptz[], s_ends timestamptz[], s_sealed bytea[],
    expected int, failing_since timestamptz, a_kind int[], a_cause smallint[], a_flag boolean[], a_reason int[], a_lane bytea[], a_of int[], a_ids uuid[],
    n_id uuid, n_origin int, n_delivery_id text, n_event_type text, n_record bytea, n_body bytea, n_target int[], n_lane bytea[], n_kind smallint[],
        n_ms bigint[],
    who text, what text, which text, because text) returns table (verdict int, number int, edition int)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
declare before smallint; v int; r record;
begin
    perform hookgate.wait_for_disk();
    select e.state into before from hookgate.endpoint e where e.number = of_number for update;
    if failing_since is not null and not exists (select 1 from hookgate.health h
            where h.endpoint = of_number and h.since = failing_since and h.notified <> 255) then
        return query select 1, of_number, coalesce(expected, 0); return;
    end if;
    if cardinality(a_ids) > 0 then
        -- its acts may both end units and let some wait again
        perform pg_advisory_xact_lock(hashtext('hookgate.order'), of_number % 16);
    end if;
    begin
        v := hookgate.put_endpoint(of_number, of_id, of_tenant, of_uid, of_state, of_since, of_url, of_settings, of_sealed, of_job, of_cursor, s_n, s_name,
            s_created,
            s_ends, s_sealed, expected, 2147483647);
        if v = 0 then
            if who is not null then perform hookgate.note_act(who, what, which, because, 1, null); end if;
            for r in select a.*, array(select i.id from unnest(a_ids, a_of) i(id, act) where i.act = a.o) as ids
                    from unnest(a_kind, a_cause, a_flag, a_reason, a_lane) with ordinality a(kind, cause, flag, reason, lane, o) order by a.o loop
                perform hookgate.apply_act(r.kind, r.ids, array[of_tenant], array[of_number], r.cause, coalesce(r.flag, false), r.reason, r.lane,
                    coalesce(r.flag, false));
            end loop;
            if n_id is not null then
                perform hookgate.store_notice(n_id, n_origin, n_delivery_id, n_event_type, n_record, n_body, n_target, n_lane, n_kind, n_ms);
            end if;
            -- rows of health come last, so it is asked again
            if failing_since is not null then
                perform 1 from hookgate.health h where h.endpoint = of_number and h.since = failing_since and h.notified <> 255 for update;
                if not found then raise exception using errcode = 'P0H01', message = 'changed meanwhile'; end if;
            end if;
            if before <> of_state and of_state in (0, 6) then delete from hookgate.health h where h.endpoint = of_number; end if;
        end if;
    exception when sqlstate 'P0H01' then v := 1; end;
    return query select greatest(v, 0), of_number, coalesce(expected, 0) + 1;
end $$;

-- Returns the text by which the key of the seals is recognised.
create or replace function hookgate.seal_check_1() returns bytea language sql stable as $$ select decode(value, 'hex') from hookgate.meta
    where name = 'seal_check' $$;

-- Replaces that text.
create or replace function hookgate.seal_check_set_1(sealed bytea) returns void language sql volatile as
    $$ insert into hookgate.meta values ('seal_check', encode(sealed, 'hex')) on conflict (name) do update set value = excluded.value $$;

-- Counts the sealed texts of endpoints that do not begin with these bytes. It reads all of them.
create or replace function hookgate.seals_without_1(prefix bytea) returns bigint language sql stable as $$
    select (select count(*) from hookgate.secret s where substr(s.sealed, 1, octet_length(prefix)) <> prefix)
        + (select count(*) from hookgate.endpoint e where e.sealed is not null and substr(e.sealed, 1, octet_length(prefix)) <> prefix)
$$;

-- Returns the sealed texts of endpoints that have some, of `most` endpoints by number, after one: headers (no n) first, then the secrets by number.
create or replace function hookgate.to_reseal_1(after int, most int) returns table (number int, n int, sealed bytea) language sql stable as $$
    with e as materialized (select e.number, e.sealed from hookgate.endpoint e where e.number > after and e.state <> 6
        and (e.sealed is not null or exists (select 1 from hookgate.secret s where s.endpoint = e.number)) order by e.number limit most)
    select e.number, null::int, e.sealed from e where e.sealed is not null
    union all select e.number, s.n, s.sealed from e cross join lateral (select s.n, s.sealed from hookgate.secret s where s.endpoint = e.number offset 0) s
    order by 1, 2 nulls first
$$;

-- Replaces those of an endpoint's sealed texts that are still as they were read. The edition grows if one was, so that no other change brings an older seal
-- back. Returns how many were.
create or replace function hookgate.reseal_1(target int, ns int[], before bytea[], after bytea[]) returns int
language plpgsql volatile set lock_timeout = '1s' as $$
declare done int := 0; n int;
begin
    perform hookgate.wait_for_disk();
    perform 1 from hookgate.endpoint e where e.number = target for update;
    update hookgate.endpoint e set sealed = a.after from unnest(ns, before, after) a(n, before, after) where a.n is null and e.number = target
        and e.sealed = a.before;
    get diagnostics done = row_count;
    update hookgate.secret s set sealed = a.after from unnest(ns, before, after) a(n, before, after) where s.endpoint = target and s.n = a.n
        and s.sealed = a.before;
    get diagnostics n = row_count;
    done := done + n;
    if done > 0 then update hookgate.endpoint e set edition = e.edition + 1 where e.number = target; end if;
    return done;
end $$;
