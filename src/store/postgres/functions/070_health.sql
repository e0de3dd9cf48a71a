-- The health of endpoints: a row for each one that fails, written with the outcome of the attempt. The rules are those of the program's `tenant::health`.

-- Notes the outcomes of attempts to endpoints: 1 a success, -1 a failure, 0 neither. Writes nothing for other targets, and nothing for a success of an endpoint
-- that does not fail. The rows of health are the last that a transaction locks.
create or replace function hookgate.note_health(ids uuid[], targets int[], outcomes int[], status int[], error text[]) returns void
language plpgsql volatile set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare t timestamptz := date_trunc('milliseconds', hookgate.store_time()); r record; h record; is_there boolean;
begin
    for r in select a.* from unnest(ids, targets, outcomes, status, error) with ordinality a(id, target, outcome, status, error, o)
            where a.target >= 1073741824 and (a.outcome < 0
                or (a.outcome > 0 and exists (select 1 from hookgate.health x where x.endpoint = a.target))) order by a.target, a.o loop
        if r.outcome > 0 then
            -- the app was warned, and has to be notified of the end
            delete from hookgate.health where endpoint = r.target and notified = 0;
            update hookgate.health set notified = 255 where endpoint = r.target and notified <> 255;
            continue;
        end if;
        select x.notified into h from hookgate.health x where x.endpoint = r.target;
        is_there := found or exists (select 1 from hookgate.endpoint e where e.number = r.target and e.state <> 6);
        continue when not is_there;
        insert into hookgate.health as x (endpoint, since, failures, hours, last, status, cause, first, notified)
            values (r.target, t, 1, 1, t, r.status, case when r.status is null then r.error end, r.id, 0)
            on conflict (endpoint) do update set
                since = case x.notified when 255 then excluded.since else x.since end,
                failures = case x.notified when 255 then 1 else x.failures + 1 end,
                -- only an hour after all others counts: attempts may end in another order than they are recorded in
                hours = case x.notified when 255 then 1 else x.hours + (date_trunc('hour', excluded.last, 'UTC') > date_trunc('hour', x.last, 'UTC'))::int end,
                last = case x.notified when 255 then excluded.last else greatest(x.last, excluded.last) end,
                status = excluded.status, cause = excluded.cause,
                first = case x.notified when 255 then excluded.first else x.first end,
                notified = case x.notified when 255 then 1 else x.notified end;
    end loop;
end $$;

-- Returns endpoints after a number whose last attempt failed, or that recovered and were not reported.
create or replace function hookgate.unhealthy_1(after int, most int) returns table (number int, tenant int, state smallint, h_since timestamptz, h_failures int,
    h_hours int, h_last timestamptz, h_status int, h_cause text, h_first uuid, h_notified smallint) language sql stable set enable_seqscan = off
        set jit = off as $$
    select e.number, e.tenant, e.state, h.since, h.failures, h.hours, h.last, h.status, h.cause, h.first, h.notified
    from hookgate.health h cross join lateral (select * from hookgate.endpoint e where e.number = h.endpoint and e.state <> 6 offset 0) e
    where h.endpoint > after order by h.endpoint limit most
$$;

-- Stores a notification of the app. Units are due after `ms`, or now.
create or replace function hookgate.store_notice(n_id uuid, n_origin int, n_delivery_id text, n_event_type text, n_record bytea, n_body bytea,
    n_target int[], n_lane bytea[], n_kind smallint[], n_ms bigint[]) returns void language plpgsql volatile as $$
declare n int := cardinality(n_target); verdict int;
begin
    select a.verdict into verdict from hookgate.accept_1(array[null::bytea], array[n_id], array[0::bigint], array[false], array[null::bytea], array[n_id],
        array[n_origin],
        array[null::bytea], array[n_delivery_id], array[n_event_type], array[n_record], array[n_body],
        array_fill(1, array[n]), n_target, n_lane, n_kind, n_ms, array_fill(null::int, array[n]), array_fill(0, array[n]),
        '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}') a limit 1;
    assert verdict = 0, 'a notification is new, or here from an earlier call';
end $$;

-- Stores a notification about the failures of an endpoint since `since`, and notes that (`notified`); null: one about their end, and forgets them. Returns
-- whether that is new: nothing is done if it was noted before, or if other failures began meanwhile.
create or replace function hookgate.notified_1(target int, since timestamptz, notified smallint, n_id uuid, n_origin int, n_delivery_id text, n_event_type text,
    n_record bytea, n_body bytea, n_target int[], n_lane bytea[], n_kind smallint[], n_ms bigint[]) returns boolean
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' as $$
declare is_new boolean;
begin
    perform hookgate.wait_for_disk();
    is_new := exists (select 1 from hookgate.health h where h.endpoint = notified_1.target and h.since = notified_1.since
        and case when notified_1.notified is null then h.notified = 255 else h.notified < notified_1.notified end);
    if not is_new then return false; end if;
    begin
        if n_id is not null then
            perform hookgate.store_notice(n_id, n_origin, n_delivery_id, n_event_type, n_record, n_body, n_target, n_lane, n_kind, n_ms);
        end if;
        -- rows of health come last, so it is asked again
        if notified_1.notified is null then
            delete from hookgate.health h where h.endpoint = notified_1.target and h.since = notified_1.since and h.notified = 255;
        else
            update hookgate.health h set notified = notified_1.notified
                where h.endpoint = notified_1.target and h.since = notified_1.since and h.notified < notified_1.notified;
        end if;
        if not found then raise exception using errcode = 'P0H01', message = 'changed meanwhile'; end if;
    exception when sqlstate 'P0H01' then return false; end;
    return true;
end $$;
