-- Queries of deliveries, for people. The states of units are read in one statement, so that a unit that moves meanwhile is seen in one place: in two
-- statements it could be in neither, which reads as delivered.

-- Returns a summary of deliveries, in rows of four kinds; of their units those of one target, or of the first `most` targets of each kind (null: all).
-- what 0: the delivery (number: origin; size: bytes of the body; flag: the ledger's entry of its key is its own). 1: a unit that waits (number: target; count:
-- attempts in this round; flag: leased; ms: until it is due, null behind others of its lane). 2: a dead one (status: the reason). 3: the last attempt of a
-- target (count: attempts on record; ms: its duration).
create or replace function hookgate.rows_1(ids uuid[], only_target int, most int) returns table (id uuid, what int, number int, lease int, count bigint,
    flag boolean,
    ms bigint, status int, error text, at timestamptz, size bigint, key bytea, delivery_id text, event_type text)
language sql stable set enable_seqscan = off set jit = off as $$
    with c as materialized (select i.id from unnest(ids) i(id))
    select c.id, 0, d.origin, null::int, null::bigint, d.owns, null::bigint, null::int, null::text, d.at, d.size, d.key, d.delivery_id, d.event_type
        from c cross join lateral (select d.origin, d.at, octet_length(d.body)::bigint as size, d.key, d.delivery_id, d.event_type,
            d.key is not null and exists (select 1 from hookgate.ledger l where l.key = d.key and l.delivery = d.id) as owns
            from hookgate.delivery d where d.id = c.id offset 0) d
    union all select c.id, 1, u.target, u.lease, u.attempt_count, u.leased,
        case when u.run_at < 'infinity' then greatest(0, hookgate.ms_of(u.run_at - hookgate.store_time())) end, null, null, u.since, null, null, null, null
        from c cross join lateral (select * from hookgate.due u where u.id = c.id and (only_target is null or u.target = only_target)
            order by u.target limit most) u
    union all select c.id, 2, x.target, x.lease, x.attempt_count, null, null, x.reason, null, x.at, null, null, null, null
        from c cross join lateral (select * from hookgate.dead x where x.id = c.id and (only_target is null or x.target = only_target)
            order by x.target limit most) x
    union all select c.id, 3, z.target, z.lease, z.n, null, z.took, z.status, z.error, z.started, null, null, null, null
        from c cross join lateral (select distinct on (z.target) z.target, z.lease, count(*) over (partition by z.target) as n, z.took, z.status, z.error,
            z.started
            from hookgate.attempt z where z.id = c.id and (only_target is null or z.target = only_target) order by z.target, z.lease desc limit most) z
$$;

-- Returns candidates of a page, with their summaries (see `rows_1`): `looks` IDs of a table (delivery, due, dead) from `lo` on (`past`: after it) and before
-- `hi`, those whose column (origin, target, or null) is `of_number`, and with that ID of a provider, if one is given. The caller sifts them by its filter.
create or replace function hookgate.page_1(of_table text, of_column text, of_number int, of_delivery_id text, lo uuid, past boolean, hi uuid, newest boolean,
    looks int,
    only_target int, most int) returns table (id uuid, what int, number int, lease int, count bigint, flag boolean, ms bigint, status int, error text,
        at timestamptz,
    size bigint, key bytea, delivery_id text, event_type text) language plpgsql stable set jit = off as $$
begin
    if not of_table in ('delivery', 'due', 'dead') then raise exception 'no such table'; end if;
    -- planned anew each time, for these bounds: partitions that cannot have any are left out
    return query execute format('select r.* from hookgate.rows_1(array(select distinct x.id from hookgate.%I x where x.id %s $1 and x.id < $2 %s %s order by x.id %s limit $3), $6, $7) r',
        of_table, case when past then '>' else '>=' end, case when of_column is null then '' else format('and x.%I = $4', of_column) end,
        case when of_delivery_id is null then '' else 'and x.delivery_id = $5' end, case when newest then 'desc' else 'asc' end)
        using lo, hi, looks, of_number, of_delivery_id, only_target, most;
end $$;

-- Returns those of these deliveries whose bodies contain these bytes.
create or replace function hookgate.having_1(ids uuid[], wanted bytea) returns table (id uuid) language sql stable set enable_seqscan = off set jit = off as $$
    select i.id from unnest(ids) i(id) cross join lateral (select position(wanted in d.body) > 0 as has from hookgate.delivery d where d.id = i.id offset 0) d
        where d.has
$$;

-- Returns the records of those of these deliveries that exist.
create or replace function hookgate.records_1(ids uuid[]) returns table (id uuid, record bytea) language sql stable set enable_seqscan = off set jit = off as $$
    select i.id, d.record from unnest(ids) i(id) cross join lateral (select d.record from hookgate.delivery d where d.id = i.id offset 0) d
$$;

-- Returns the summary of one delivery (see `rows_1`), with its record and body in the row of the delivery.
create or replace function hookgate.get_1(of uuid, only_target int, most int) returns table (id uuid, what int, number int, lease int, count bigint,
    flag boolean, ms bigint,
    status int, error text, at timestamptz, size bigint, key bytea, delivery_id text, event_type text, record bytea, body bytea)
language sql stable set enable_seqscan = off set jit = off as $$
    select r.*, d.record, d.body from hookgate.rows_1(array[of], only_target, most) r
    left join lateral (select d.record, d.body from hookgate.delivery d where d.id = of offset 0) d on r.what = 0
$$;

-- Returns the attempts of a delivery to targets from one number to another, by target and lease.
create or replace function hookgate.unit_attempts_1(of uuid, first_target int, last_target int) returns table (target int, number int, late boolean,
    cause smallint,
    started timestamptz, took bigint, connect bigint, first_byte bigint, status int, error text, peer text, head bytea, body bytea, facts bytea, entry bigint,
        id uuid,
    origin int, event_type text) language sql stable set enable_seqscan = off set jit = off as $$
    select z.target, z.number, z.late, z.cause, z.started, z.took, z.connect, z.first_byte, z.status, z.error, z.peer, z.head, z.body, z.facts, z.entry, z.id,
        d.origin, d.event_type
    from (select d.origin, d.event_type from hookgate.delivery d where d.id = of offset 0) d
    cross join lateral (select * from hookgate.attempt z where z.id = of and z.target between first_target and last_target offset 0) z
    order by z.target, z.lease
$$;

-- Returns attempts to an endpoint, or of a delivery (the other is null), newest first, before an entry (null: from the newest on). Attempts whose delivery is
-- gone are left out, but for one row without a target at the end: the position from which to go on, if there may be more.
create or replace function hookgate.attempts_1(of_target int, of uuid, before bigint, most int) returns table (target int, number int, late boolean,
    cause smallint,
    started timestamptz, took bigint, connect bigint, first_byte bigint, status int, error text, peer text, head bytea, body bytea, facts bytea, entry bigint,
        id uuid,
    origin int, event_type text) language plpgsql stable set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare tids uuid[]; targets int[]; leases int[]; rows bigint[];
begin
    if of_target is not null then
        select array_agg(x.id order by x.entry desc), array_agg(x.target order by x.entry desc), array_agg(x.lease order by x.entry desc), array_agg(x.entry
            order by x.entry desc)
            into tids, targets, leases, rows
        from (select z.id, z.target, z.lease, z.entry from hookgate.attempt z where z.target = of_target and z.facts is not null
            and z.entry < coalesce(before, 9223372036854775807) order by z.entry desc limit most) x;
    else
        select array_agg(x.id order by x.entry desc), array_agg(x.target order by x.entry desc), array_agg(x.lease order by x.entry desc), array_agg(x.entry
            order by x.entry desc)
            into tids, targets, leases, rows
        from (select z.id, z.target, z.lease, z.entry from hookgate.attempt z where z.id = of and z.entry < coalesce(before, 9223372036854775807)
            order by z.entry desc limit most) x;
    end if;
    return query
    select z.target, z.number, z.late, z.cause, z.started, z.took, z.connect, z.first_byte, z.status, z.error, z.peer, z.head, z.body, z.facts, z.entry, z.id,
        d.origin, d.event_type
    from unnest(tids, targets, leases) with ordinality x(id, target, lease, o)
    cross join lateral (select d.origin, d.event_type from hookgate.delivery d where d.id = x.id offset 0) d
    cross join lateral (select * from hookgate.attempt z where z.id = x.id and z.target = x.target and z.lease = x.lease offset 0) z
    order by x.o;
    if cardinality(rows) >= most then
        target := null; number := null; late := null; cause := null; started := null; took := null; connect := null; first_byte := null; status := null; error := null;
        peer := null; head := null; body := null; facts := null; id := null; origin := null; event_type := null; entry := rows[cardinality(rows)];
        return next;
    end if;
end $$;

-- Walks over the units that wait for a target, in the order in which they are due: first attempts, or retries. Returns `step` at most after a position. meant:
-- the unit waits since before the walk began (`began_us`; null: it begins now), and its delivery was accepted before `until`. The last row has no ID, and says
-- when the walk began.
create or replace function hookgate.waiting_1(of_target int, at_retries boolean, after_us bigint, after_id uuid, until uuid, began bigint, step int)
returns table (id uuid, run_at_us bigint, meant boolean, began_us bigint) language sql stable set enable_seqscan = off set jit = off as $$
    with b as (select coalesce(hookgate.from_us(began), hookgate.store_time()) as at, hookgate.from_us(after_us) as after),
    p as (select coalesce((select hookgate.store_time() - x.at from hookgate.parked_times(array[of_target]) x), interval '0') as behind)
    select d.id, hookgate.to_us(d.run_at), d.since + p.behind < b.at and (until is null or d.id < until), hookgate.to_us(b.at) from b, p cross join lateral (
        (select d.id, d.run_at, d.since from hookgate.due d where not at_retries and d.attempt_count = 0 and d.target = of_target and d.run_at >= b.after
            and (d.run_at, d.id) > (b.after, after_id) order by d.run_at, d.id limit step)
        union all
        (select d.id, d.run_at, d.since from hookgate.due d where at_retries and d.attempt_count > 0 and d.target = of_target and d.run_at >= b.after
            and (d.run_at, d.id) > (b.after, after_id) order by d.run_at, d.id limit step)) d
    union all select null, null, null, hookgate.to_us(b.at) from b
    order by 2 nulls last, 1
$$;

-- Counts the units that wait for a target, of deliveries from one ID to another: at most `most` without an attempt, and as many others.
create or replace function hookgate.count_waiting_1(of_target int, lo uuid, hi uuid, only_new boolean, most int) returns bigint
language sql stable set enable_seqscan = off set jit = off as $$
    select (select count(*) from (select 1 from hookgate.due d where d.attempt_count = 0 and d.target = of_target and d.id >= lo and (hi is null
        or d.id < hi) limit most) x)
        + case when only_new then 0 else
            (select count(*) from (select 1 from hookgate.due d where d.attempt_count > 0 and d.target = of_target and d.id >= lo and (hi is null
                or d.id < hi) limit most) x) end
$$;

-- Returns the last acts, newest first.
create or replace function hookgate.audit_1(most int) returns table (at timestamptz, who text, what text, which text, reason text, done bigint)
    language sql stable as
    $$ select a.at, a.who, a.what, a.which, a.reason, a.done from hookgate.audit a order by a.number desc limit most $$;

-- Returns all sums; those of tenants are one number, the first of a tenant.
create or replace function hookgate.totals_1() returns table (kind int, number int, rows bigint, bytes bigint) language sql stable as
    $$ select c.kind::int, least(c.number, 536870912), sum(c.rows)::bigint, sum(c.bytes)::bigint from hookgate.counter c group by 1, 2 $$;

-- Returns the sums of one tenant.
create or replace function hookgate.sums_1(tenant int) returns table (kind int, rows bigint, bytes bigint) language sql stable as
    $$ select c.kind::int, sum(c.rows)::bigint, sum(c.bytes)::bigint from hookgate.counter c where c.number = tenant group by 1 $$;
