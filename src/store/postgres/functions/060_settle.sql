-- Settling leased units.

-- Records attempts, each once: one with an unknown outcome is replaced. Returns which were new or replaced. Adds their bytes to the sums. Arrays as in
-- `settle_1`.
create or replace function hookgate.record_attempts(ids uuid[], targets int[], leases int[], numbers int[], origins int[], late boolean, causes smallint[],
    started timestamptz[], took bigint[], connect bigint[], first_byte bigint[], status int[], error text[], peer text[], heads bytea[], bodies bytea[],
    facts bytea[]) returns int[]
language plpgsql volatile set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare t timestamptz := hookgate.store_time(); is_late boolean := record_attempts.late; kept int[];
begin
    with z as (
        insert into hookgate.attempt as x (id, target, lease, number, cause, started, took, connect, first_byte, status, error, peer, late, head, body, facts,
            at)
        select a.id, a.target, a.lease, a.number, a.cause, a.started, a.took, a.connect, a.first_byte, a.status, a.error, a.peer, is_late, a.head, a.body,
            case when a.target >= 1073741824 or octet_length(a.facts) > 0 then coalesce(a.facts, '') end, t
        from unnest(ids, targets, leases, numbers, causes, started, took, connect, first_byte, status, error, peer, heads, bodies, facts)
            a(id, target, lease, number, cause, started, took, connect, first_byte, status, error, peer, head, body, facts)
        on conflict (id, target, lease) do update set cause = excluded.cause, started = excluded.started, took = excluded.took, connect = excluded.connect,
            first_byte = excluded.first_byte, status = excluded.status, error = excluded.error, peer = excluded.peer, late = excluded.late,
                head = excluded.head,
            body = excluded.body, facts = excluded.facts, at = excluded.at where x.error = 'cut_off'
        returning id, target, lease)
    select coalesce(array_agg(a.o::int), '{}') into kept from unnest(ids, targets, leases) with ordinality a(id, target, lease, o)
        join z on z.id = a.id and z.target = a.target and z.lease = a.lease;
    insert into hookgate.counter
        select 0, origins[f], hookgate.day_of(ids[f]), 0, sum(octet_length(heads[f]) + octet_length(bodies[f]) + coalesce(octet_length(facts[f]), 0))
        from unnest(kept) f group by 2, 3;
    return kept;
end $$;

-- Settles leased units. act 0: delivered; 1: again after `delays` milliseconds; 2: the same, and the attempt does not count; 3: dead (with a reason); 4:
-- cancelled; 5: given back. The attempt of a unit, where one was made, is in `causes` to `facts`; one that was not made gives its number back.
-- verdict 1: the unit was the caller's, now or at an earlier call of this; 0: it was not; 2: neither, and the attempt was recorded as late; 3: it was
-- delivered, though a person cancelled or replayed it meanwhile: call `settle_late_1`. wakes: a unit may be due at another time than before.
create or replace function hookgate.settle_1(ids uuid[], targets int[], leases int[], attempts int[], acts smallint[], delays bigint[], reasons int[],
    made boolean[],
    causes smallint[], started timestamptz[], took bigint[], connect bigint[], first_byte bigint[], status int[], error text[], peer text[], heads bytea[],
    bodies bytea[], facts bytea[])
returns table (ord int, verdict int, wakes boolean)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    t timestamptz := hookgate.store_time(); every boolean; h_o int[]; h_tid tid[]; h_lane bytea[]; h_tries int[]; h_origin int[]; later int[] := '{}'; noted int[] := '{}';
    r record; recorded int[]; woken int[] := '{}';
begin
    perform hookgate.wait_for_disk();
    if 1073741824 <= any(targets) then
        perform hookgate.share_order(array(select a.id from unnest(ids, acts) a(id, act) where a.act in (0, 3, 4)),
            array(select a.target from unnest(targets, acts) a(target, act) where a.act in (0, 3, 4)));
    end if;
    -- the rows that are the caller's, locked in one order
    select coalesce(array_agg(a.o order by a.o), '{}'), array_agg(x.tid order by a.o), array_agg(x.lane order by a.o),
        array_agg(x.attempt_count order by a.o), array_agg(x.origin order by a.o) into h_o, h_tid, h_lane, h_tries, h_origin
    from (select a.* from unnest(ids, targets, leases) with ordinality a(id, target, lease, o) order by 1, 2) a
    cross join lateral (select d.ctid tid, d.lane, d.attempt_count, d.origin from hookgate.due d
        where d.id = a.id and d.target = a.target and d.lease = a.lease and d.leased for update offset 0) x;
    every := cardinality(h_o) = cardinality(ids);
    if cardinality(h_o) > 0 then
        delete from hookgate.due where ctid = any(array(select h.tid from unnest(h_o, h_tid) h(o, tid) where acts[h.o] in (0, 3, 4)));
        if acts && '{1,2,5}' then
            update hookgate.due d set leased = false, lapses = 0, run_at = t + case when acts[h.o] = 5 then 0 else delays[h.o] end * interval '1 ms',
                attempt_count = d.attempt_count + (acts[h.o] = 1 and made[h.o])::int, last_attempt = d.last_attempt - (not made[h.o])::int,
                cause = case when acts[h.o] = 5 then d.cause else 0 end
            from unnest(h_o, h_tid) h(o, tid) where d.ctid = h.tid and acts[h.o] in (1, 2, 5);
        end if;
        if acts && '{3,4}' then
            insert into hookgate.dead (id, target, origin, at, reason, lease, attempt_count, lane, last_attempt)
            select ids[h.o], targets[h.o], h.origin, t, case when acts[h.o] = 3 then reasons[h.o] end, leases[h.o], h.tries + made[h.o]::int, h.lane,
                attempts[h.o] - (not made[h.o])::int
            from unnest(h_o, h_lane, h_tries, h_origin) h(o, lane, tries, origin) where acts[h.o] in (3, 4);
        end if;
        select array_agg(h.o) as o, array_agg(ids[h.o]) as ids, array_agg(targets[h.o]) as targets, array_agg(leases[h.o]) as leases,
            array_agg(attempts[h.o]) as numbers,
            array_agg(h.origin) as origins into r from unnest(h_o, h_origin) h(o, origin) where made[h.o];
        if r.ids is not null then
            perform hookgate.record_attempts(r.ids, r.targets, r.leases, r.numbers, r.origins, false, array(select causes[o] from unnest(r.o) o),
                array(select started[o] from unnest(r.o) o), array(select took[o] from unnest(r.o) o), array(select connect[o] from unnest(r.o) o),
                array(select first_byte[o] from unnest(r.o) o), array(select status[o] from unnest(r.o) o), array(select error[o] from unnest(r.o) o),
                array(select peer[o] from unnest(r.o) o), array(select heads[o] from unnest(r.o) o), array(select bodies[o] from unnest(r.o) o),
                array(select facts[o] from unnest(r.o) o));
        end if;
        insert into hookgate.counter
        select g.kind, case when targets[h.o] >= 1073741824 then h.origin else targets[h.o] end, null, sum(g.sign), 0
        from unnest(h_o, h_origin) h(o, origin) cross join (values (1, -1), (2, 1), (3, 1)) g(kind, sign)
        where (g.kind = 1 and acts[h.o] in (0, 3, 4)) or (g.kind = 2 and acts[h.o] in (3, 4)) or (g.kind = 3 and acts[h.o] = 4) group by 1, 2;
    end if;
    if not every then
        -- the few that were not held: a late attempt is recorded, if its delivery is there still
        for r in select a.o, a.id, a.target, a.lease, a.number, v.origin from unnest(ids, targets, leases, attempts) with ordinality a(id, target, lease,
            number, o)
                cross join lateral (select v.id, v.origin from hookgate.delivery v where v.id = a.id for key share offset 0) v
                where made[a.o] and not a.o = any(h_o) order by a.id, a.target loop
            continue when hookgate.was_settled(r.id, r.target, r.lease);
            -- a success counts, unless another attempts the unit now
            if acts[r.o] = 0 and (exists (select 1 from hookgate.due d where d.id = r.id and d.target = r.target and not d.leased)
                    or exists (select 1 from hookgate.dead x where x.id = r.id and x.target = r.target)) then
                later := later || r.o;
                continue;
            end if;
            recorded := hookgate.record_attempts(array[r.id], array[r.target], array[r.lease], array[r.number], array[r.origin], true, causes[r.o:r.o],
                started[r.o:r.o], took[r.o:r.o],
                connect[r.o:r.o], first_byte[r.o:r.o], status[r.o:r.o], error[r.o:r.o], peer[r.o:r.o], heads[r.o:r.o], bodies[r.o:r.o], facts[r.o:r.o]);
            if cardinality(recorded) > 0 then noted := noted || r.o; end if;
        end loop;
    end if;
    -- lanes last: a call that deletes deliveries has locked these before lanes
    select array_agg(targets[h.o]) as targets, array_agg(h.lane) as lanes into r from unnest(h_o, h_lane) h(o, lane)
        where acts[h.o] in (0, 3, 4) and (h.lane is not null or targets[h.o] >= 1073741824);
    if r.targets is not null then woken := hookgate.lanes_go_on(r.targets, r.lanes); end if;
    if 1073741824 <= any(targets) then
        perform hookgate.note_health(array(select ids[h] from unnest(h_o) h), array(select targets[h] from unnest(h_o) h),
            array(select case acts[h] when 0 then 1 when 5 then 0 else -made[h]::int end from unnest(h_o) h),
            array(select status[h] from unnest(h_o) h), array(select error[h] from unnest(h_o) h));
    end if;
    return query select h.o, 1, h.lane is not null or acts[h.o] in (1, 2, 5) or targets[h.o] = any(woken)
        from unnest(h_o, h_lane) h(o, lane);
    if every then return; end if;
    for r in select a.* from unnest(ids, targets, leases) with ordinality a(id, target, lease, o) where not a.o = any(h_o) loop
        ord := r.o; wakes := false;
        verdict := case when r.o = any(noted) then 2 when hookgate.was_settled(r.id, r.target, r.lease) then 1 when r.o = any(later) then 3 else 0 end;
        return next;
    end loop;
end $$;

-- Returns whether this very lease settled a unit.
create or replace function hookgate.was_settled(of_id uuid, of_target int, of_lease int) returns boolean
language plpgsql stable set enable_seqscan = off set jit = off as $$
begin
    return exists (select 1 from hookgate.due d where d.id = of_id and d.target = of_target and d.lease = of_lease and not d.leased)
        or exists (select 1 from hookgate.attempt z where z.id = of_id and z.target = of_target and z.lease = of_lease and not z.late
            and z.error is distinct from 'cut_off')
        or exists (select 1 from hookgate.dead x where x.id = of_id and x.target = of_target and x.lease = of_lease);
end $$;

-- Settles units that attempts have delivered after all, although they were cancelled or replayed during the attempt. One that another attempts now stays, and
-- the attempt is late. verdict 0, 1 and 2 as of `settle_1`.
create or replace function hookgate.settle_late_1(ids uuid[], targets int[], leases int[], attempts int[], causes smallint[], started timestamptz[],
    took bigint[],
    connect bigint[], first_byte bigint[], status int[], error text[], peer text[], heads bytea[], bodies bytea[], facts bytea[])
returns table (ord int, verdict int)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare seen int[]; origins int[]; r record; d record; done boolean; recorded int[]; left_t int[] := '{}'; left_l bytea[] := '{}'; ended int[] := '{}';
begin
    perform hookgate.wait_for_disk();
    perform hookgate.share_order(ids, targets);
    -- a call that raises or deletes one of these waits, or is waited for
    select coalesce(array_agg(a.o), '{}'), coalesce(array_agg(v.origin), '{}') into seen, origins
    from (select a.* from unnest(ids) with ordinality a(id, o) order by 1) a
    cross join lateral (select v.origin from hookgate.delivery v where v.id = a.id for update offset 0) v;
    perform 1 from (select a.id, a.target from unnest(ids, targets) a(id, target) order by 1, 2) a
        cross join lateral (select 1 from hookgate.dead x where x.id = a.id and x.target = a.target for update offset 0) x;
    perform hookgate.lock_lanes(ids, targets);
    for r in select s.o, s.origin, ids[s.o] as id, targets[s.o] as target, leases[s.o] as lease, attempts[s.o] as number
            from unnest(seen, origins) s(o, origin) order by 3, 4 loop
        ord := r.o;
        if hookgate.was_settled(r.id, r.target, r.lease) then verdict := 1; return next; continue; end if;
        done := false;
        -- two statements: the second sees the row that the first has locked
        select u.ctid as tid, u.lane into d from hookgate.due u where u.id = r.id and u.target = r.target and not u.leased for update skip locked;
        if found then
            delete from hookgate.due where ctid = d.tid;
            done := true; left_t := left_t || r.target; left_l := left_l || d.lane;
            insert into hookgate.counter values (1, case when r.target >= 1073741824 then r.origin else r.target end, null, -1, 0);
        else
            delete from hookgate.dead x where x.id = r.id and x.target = r.target returning reason into d;
            if found then
                done := true;
                insert into hookgate.counter select k, case when r.target >= 1073741824 then r.origin else r.target end, null, -1, 0
                    from unnest(array[2, 3]) k where k = 2 or d.reason is null;
            end if;
        end if;
        recorded := hookgate.record_attempts(array[r.id], array[r.target], array[r.lease], array[r.number], array[r.origin], not done, causes[r.o:r.o],
            started[r.o:r.o], took[r.o:r.o],
            connect[r.o:r.o], first_byte[r.o:r.o], status[r.o:r.o], error[r.o:r.o], peer[r.o:r.o], heads[r.o:r.o], bodies[r.o:r.o], facts[r.o:r.o]);
        verdict := case when done then 1 when cardinality(recorded) > 0 then 2 else 0 end;
        if done then ended := ended || r.o; end if;
        return next;
    end loop;
    perform hookgate.lanes_go_on(left_t, left_l);
    perform hookgate.note_health(array(select ids[o] from unnest(ended) o), array(select targets[o] from unnest(ended) o), array_fill(1,
        array[cardinality(ended)]),
        array_fill(null::int, array[cardinality(ended)]), array_fill(null::text, array[cardinality(ended)]));
    return query select a.o::int, 0 from unnest(ids) with ordinality a(id, o) where not a.o = any(seen);
end $$;
