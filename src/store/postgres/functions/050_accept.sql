-- Accepting deliveries.

-- Puts deliveries into the store, each with the commit of its ID. Everything of one is done, or nothing. A repeated call gets the first answer, with the leases
-- that were not taken over since.
--   keys to bodies: a delivery each. A key, or a digest with the app's own ID (`delivery_ids`), says what it is a duplicate of; `known_keys` are those of
--     deliveries that are only recorded.
--   u_*: their units, in the order in which they enter lanes, each with the place of its delivery. kind 0: leased to the caller for `ms`; 1: due after `ms`;
--     2: delivered; 3: dead (with a reason) or cancelled. u_attempts: attempts that were made before.
--   t_*: these attempts. v_*: bodies in other versions.
-- Returns a row for each lease, or one for each delivery. verdict 0: new; 1: duplicate of `other`, if the store has that; 2: the same, and `other` is dead and
-- shall go again: call `revive_1`; 3: claimed by another for `ms` more; 4: it changed this moment, say it again; 5: `other` has its own ID, and means
-- something else.
-- Small statements one after the other: one large one of twenty parts takes the server four times as long for a single delivery.
create or replace function hookgate.accept_1(
    keys bytea[], tokens uuid[], windows bigint[], revive boolean[], digests bytea[], ids uuid[], origins int[], known_keys bytea[], delivery_ids text[],
    event_types text[], records bytea[], bodies bytea[],
    u_of int[], u_target int[], u_lane bytea[], u_kind smallint[], u_ms bigint[], u_reason int[], u_attempts int[],
    t_of int[], t_target int[], t_number int[], t_cause smallint[], t_started timestamptz[], t_took bigint[], t_connect bigint[], t_first_byte bigint[],
    t_status int[], t_error text[], t_peer text[], t_head bytea[], t_body bytea[], t_facts bytea[],
    v_of int[], v_version int[], v_body bytea[])
returns table (ord int, verdict int, other uuid, ms bigint, target int, lease int, attempt int)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    t timestamptz := hookgate.store_time(); total int := cardinality(ids); won uuid[]; fresh uuid[]; every boolean; behind int[] := '{}'; w record; r record; x record;
begin
    perform hookgate.wait_for_disk();
    if 1073741824 <= any(u_target) and cardinality(array_remove(u_lane, null)) > 0 then
        behind := hookgate.take_order(array(select ids[o] from unnest(u_of) o), u_target, u_lane);
    end if;
    with l as (
        insert into hookgate.ledger as x (key, state, token, delivery, until)
        select a.key, 2, a.token, a.id, t + a.win * interval '1 ms' from unnest(keys, tokens, ids, windows) a(key, token, id, win) where a.key is not null
            order by a.key
        on conflict (key) do update set state = 2, token = excluded.token, delivery = excluded.delivery, until = excluded.until
        where (x.state = 1 and (x.token = excluded.token or x.until <= t))
            or (x.state = 2 and x.until <= t and (x.delivery is null or (select 1 from hookgate.due where id = x.delivery limit 1) is null))
        returning delivery)
    select coalesce(array_agg(delivery), '{}') into won from l;
    if cardinality(array_remove(digests, null)) > 0 then
        with o as (
            insert into hookgate.own_id (origin, delivery_id, delivery, digest)
            select a.origin, a.delivery_id, a.id, a.digest from unnest(origins, delivery_ids, ids, digests) a(origin, delivery_id, id, digest)
            where a.digest is not null order by 1, 2
            on conflict (origin, delivery_id) do nothing returning delivery)
        select won || coalesce(array_agg(delivery), '{}') into won from o;
    end if;
    every := cardinality(won) = total;
    with d as (
        insert into hookgate.delivery (id, origin, at, key, delivery_id, event_type, record, body, lane)
        select a.id, a.origin, t, coalesce(a.key, a.known), a.delivery_id, a.type, a.record, a.body, l.lane
        from unnest(ids, origins, keys, known_keys, digests, delivery_ids, event_types, records, bodies) with ordinality
            a(id, origin, key, known, digest, delivery_id, type, record, body, o)
        left join lateral (select u.lane from unnest(u_of, u_lane) with ordinality u(o, lane, n) where u.o = a.o and u.lane is not null
            order by u.n limit 1) l on true
        where every or (a.key is null and a.digest is null) or a.id = any(won)
        on conflict do nothing returning id)
    select coalesce(array_agg(id), '{}') into fresh from d;
    every := cardinality(fresh) = total;
    select array_agg(ids[u.o] order by n) as ids, array_agg(u.target order by n) as targets, array_agg(origins[u.o] order by n) as origins,
        array_agg(u.lane order by n) as lanes, array_agg(u.kind order by n) as kinds, array_agg(u.ms order by n) as ms,
        array_agg(u.tries + (u.kind = 0)::int order by n) as leases, array_agg(u.tries order by n) as tries into w
    from unnest(u_of, u_target, u_lane, u_kind, u_ms, u_attempts) with ordinality u(o, target, lane, kind, ms, tries, n)
    where u.kind <= 1 and (every or ids[u.o] = any(fresh));
    if w.ids is not null then
        perform hookgate.let_wait(w.ids, w.targets, w.origins, w.lanes, w.kinds, w.ms, w.leases, w.tries, w.tries, 0::smallint, behind);
    end if;
    if 3::smallint = any(u_kind) then
        insert into hookgate.dead (id, target, origin, at, reason, lease, attempt_count, lane, last_attempt)
        select ids[u.o], u.target, origins[u.o], t, u.reason, u.tries, u.tries, u.lane, u.tries
        from unnest(u_of, u_target, u_lane, u_kind, u_reason, u_attempts) u(o, target, lane, kind, reason, tries) where kind = 3 and (every
            or ids[o] = any(fresh));
        insert into hookgate.counter
        select k.kind, case when u.target >= 1073741824 then origins[u.o] else u.target end, null, count(*), 0
        from unnest(u_of, u_target, u_kind, u_reason) u(o, target, kind, reason) cross join (values (2), (3)) k(kind)
        where u.kind = 3 and (every or ids[u.o] = any(fresh)) and (k.kind = 2 or u.reason is null) group by 1, 2;
    end if;
    if cardinality(t_of) > 0 then
        insert into hookgate.attempt (id, target, lease, number, cause, started, took, connect, first_byte, status, error, peer, late, head, body, facts, at)
        select ids[z.o], z.target, z.number, z.number, z.cause, z.started, z.took, z.connect, z.first_byte, z.status, z.error, z.peer, false, z.head, z.body,
            case when z.target >= 1073741824 or octet_length(z.facts) > 0 then coalesce(z.facts, '') end, t
        from unnest(t_of, t_target, t_number, t_cause, t_started, t_took, t_connect, t_first_byte, t_status, t_error, t_peer, t_head, t_body, t_facts)
            z(o, target, number, cause, started, took, connect, first_byte, status, error, peer, head, body, facts) where every or ids[o] = any(fresh);
    end if;
    if cardinality(v_of) > 0 then
        insert into hookgate.version (id, version, body)
        select ids[v.o], v.version, v.body from unnest(v_of, v_version, v_body) v(o, version, body) where every or ids[v.o] = any(fresh);
    end if;
    insert into hookgate.counter
    select 0, s.origin, hookgate.day_of(s.id), sum(s.n), sum(s.size) from (
        select a.id, a.origin, 1 as n, octet_length(a.record) + octet_length(a.body) as size from unnest(ids, origins, records, bodies) a(id, origin, record,
            body)
        union all select ids[z.o], origins[z.o], 0, octet_length(z.head) + octet_length(z.body) + coalesce(octet_length(z.facts), 0)
            from unnest(t_of, t_head, t_body, t_facts) z(o, head, body, facts)
        union all select ids[v.o], origins[v.o], 0, octet_length(v.body) from unnest(v_of, v_body) v(o, body)) s
    where every or s.id = any(fresh) group by 2, 3;
    return query
    select a.o::int, 0, null::uuid, null::bigint, l.target, l.lease, l.attempt from unnest(ids) with ordinality a(id, o)
    left join lateral (
        -- one without a lane is known to be the first; of a lane, or of an endpoint that may be removed, the row says it
        select u.target, u.tries + 1 as lease, u.tries + 1 as attempt from unnest(u_of, u_target, u_lane, u_kind, u_attempts) u(o, target, lane, kind, tries)
        where u.o = a.o and u.kind = 0 and ((u.lane is null and u.target < 1073741824)
            or (select d.leased from hookgate.due d where d.id = a.id and d.target = u.target))) l on true
    where every or a.id = any(fresh);
    if every then return; end if;
    -- What is there already may be on this server alone, if the server ended its wait for a standby. A commit waits for all before it, but only if it
    -- writes something itself.
    perform pg_logical_emit_message(true, 'hookgate', '');
    -- the few that are not new, each by itself, as things are now
    for r in select a.* from unnest(keys, digests, origins, delivery_ids, ids, revive) with ordinality a(key, digest, origin, delivery_id, id, revive, o)
            where not a.id = any(fresh) loop
        ord := r.o; verdict := null; other := null; ms := null; target := null; lease := null; attempt := null;
        if exists (select 1 from hookgate.delivery d where d.id = r.id) then
            -- ours, from an earlier call: leases that were not taken over since
            verdict := 0;
            for x in select u.target, u.tries + 1 as lease from unnest(u_of, u_target, u_kind, u_attempts) u(o, target, kind, tries)
                cross join lateral (select 1 from hookgate.due d where d.id = r.id and d.target = u.target and d.lease = u.tries + 1 and d.leased offset 0) d
                where u.o = r.o and u.kind = 0 loop
                target := x.target; lease := x.lease; attempt := x.lease; return next;
            end loop;
            if target is null then return next; end if;
            continue;
        end if;
        if r.digest is not null then
            select o.delivery, o.digest into x from hookgate.own_id o where o.origin = r.origin and o.delivery_id = r.delivery_id;
            if not found then
                verdict := 4;
            elsif not exists (select 1 from hookgate.delivery v where v.id = x.delivery) then
                -- the one that had it is gone with its day
                delete from hookgate.own_id where ctid = any(array(select o.ctid from hookgate.own_id o
                    where o.origin = r.origin and o.delivery_id = r.delivery_id and o.delivery = x.delivery for update skip locked));
                verdict := 4;
            else
                other := x.delivery; verdict := case when x.digest = r.digest then 1 else 5 end;
            end if;
            return next;
            continue;
        end if;
        select l.state, l.delivery, l.until, hookgate.waits(l.delivery) as waits into x from hookgate.ledger l where l.key = r.key;
        if not found or (x.until <= t and (x.state = 1 or not x.waits)) then
            verdict := 4;
        elsif x.state = 1 then
            verdict := 3; ms := hookgate.ms_of(x.until - t);
        else
            select v.id into other from hookgate.delivery v where v.id = x.delivery;
            -- `revive_1` raises it, in a transaction of its own: this one has lanes already, and dead rows come before lanes
            verdict := case when r.revive and exists (select 1 from hookgate.dead d where d.id = other) then 2 else 1 end;
        end if;
        return next;
    end loop;
end $$;

-- Sets dead deliveries going again, of which duplicates came; their IDs are remembered for `windows` from now at least. raised: it did; false: another did, or
-- they are gone.
create or replace function hookgate.revive_1(keys bytea[], of uuid[], windows bigint[]) returns table (ord int, raised boolean)
language plpgsql volatile set enable_seqscan = off set jit = off set lock_timeout = '1s' set plan_cache_mode = force_generic_plan as $$
declare t timestamptz := hookgate.store_time(); got uuid[]; behind int[];
begin
    perform hookgate.wait_for_disk();
    behind := hookgate.take_order_again(of, '{}', false);
    perform 1 from (select k from unnest(keys) k order by k) k cross join lateral (select 1 from hookgate.ledger l where l.key = k.k for update offset 0) l;
    got := hookgate.raise_units(of, '{}', 1::smallint, behind);
    with l as materialized (
        select a.win, x.tid from unnest(keys, of, windows) a(key, id, win)
        cross join lateral (select l.ctid tid from hookgate.ledger l where l.key = a.key and l.delivery = a.id offset 0) x where a.id = any(got))
    update hookgate.ledger x set until = greatest(x.until, t + l.win * interval '1 ms') from l where x.ctid = l.tid;
    return query select a.o::int, a.id = any(got) from unnest(of) with ordinality a(id, o);
end $$;
