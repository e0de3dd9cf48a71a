-- The contract of the store, in SQL: what src/store/contract asks of every store, and what is particular to this one. Run it in a database in which schema.sql and
-- functions/*.sql have been run:  psql -X -v ON_ERROR_STOP=1 -f self_test.sql
-- Time is moved by the row of `hookgate_test.clock`, and everything is undone at the end. The last line of its output says how many assertions held.
\set QUIET on
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
create schema hookgate_test;
create table hookgate_test.clock (at timestamptz not null);
insert into hookgate_test.clock values (now());
create or replace function hookgate.store_time() returns timestamptz language sql stable as $$ select at from hookgate_test.clock $$;
create function hookgate_test.pass(by interval) returns void language sql as $$ update hookgate_test.clock set at = at + by $$;
create sequence hookgate_test.held;
-- Counts an assertion that holds, and ends the test with its text otherwise.
create function hookgate_test.holds(is_true boolean, what text) returns void language plpgsql as $$
begin
    if is_true is not true then raise exception 'does not hold: %', what; end if;
    perform nextval('hookgate_test.held');
end $$;
create function hookgate_test.same(is_so anyelement, wanted anyelement, what text) returns void language plpgsql as $$
begin
    if is_so is distinct from wanted then raise exception '%: found %, wanted %', what, is_so, wanted; end if;
    perform nextval('hookgate_test.held');
end $$;
-- Returns an ID of today, later than the one before.
create sequence hookgate_test.ids;
create function hookgate_test.id() returns uuid language sql volatile as
    $$ select overlay(hookgate.first_id((now() at time zone 'UTC')::date)::text placing lpad(to_hex(nextval('hookgate_test.ids')), 12, '0') from 25)::uuid $$;
create function hookgate_test.token(n int) returns uuid language sql as $$ select lpad(n::text, 32, '0')::uuid $$;
-- Accepts one delivery to one target. `tried` are the statuses of attempts before it.
create function hookgate_test.accept(id uuid, target int, kind int, ms bigint default 20000, key bytea default null, token uuid default null, revive boolean default true,
    lane bytea default null, tried int[] default '{}', reason int default null, win bigint default 3600000, body bytea default 'body', origin int default null,
    own text default null, digest bytea default null, known bytea default null, versions bytea[] default '{}')
returns table (verdict int, other uuid, in_ms bigint, got int, lease int, attempt int) language sql volatile as $$
    select verdict, other, ms, target, lease, attempt from hookgate.accept_1(array[key], array[coalesce(token, id)], array[win], array[revive], array[digest], array[id],
        array[coalesce(origin, target)], array[known], array[coalesce(own, 'evt_' || id::text)], array['push'], array['\x0101'::bytea], array[body],
        array[1], array[target], array[lane], array[kind::smallint], array[ms], array[reason], array[cardinality(tried)],
        array_fill(1, array[cardinality(tried)]), array_fill(target, array[cardinality(tried)]), array(select n::int from generate_subscripts(tried, 1) n),
        array_fill(0::smallint, array[cardinality(tried)]), array_fill(now(), array[cardinality(tried)]), array_fill(12::bigint, array[cardinality(tried)]),
        array_fill(null::bigint, array[cardinality(tried)]), array_fill(null::bigint, array[cardinality(tried)]), tried, array_fill(null::text, array[cardinality(tried)]),
        array_fill('127.0.0.1:80'::text, array[cardinality(tried)]), array_fill('\x00'::bytea, array[cardinality(tried)]),
        array_fill('answer'::bytea, array[cardinality(tried)]), array_fill(null::bytea, array[cardinality(tried)]),
        array_fill(1, array[cardinality(versions)]), array(select n::int from generate_subscripts(versions, 1) n), versions)
$$;
-- Accepts an event of a tenant, for endpoints that are due now.
create function hookgate_test.event(id uuid, tenant int, own text, digest bytea, endpoints int[], lane bytea default null, kind int default 1) returns text
language sql volatile as $$
    select string_agg(concat_ws(' ', (array['new', 'duplicate', 'revive', 'in flight', 'again', 'other'])[verdict + 1], other), ',') from hookgate.accept_1(array[null::bytea],
        array[id], array[0::bigint], array[false], array[digest], array[id], array[tenant], array[null::bytea], array[own], array['paid'], array['\x0101'::bytea], array['event'::bytea],
        array_fill(1, array[cardinality(endpoints)]), endpoints, array_fill(lane, array[cardinality(endpoints)]), array_fill(kind::smallint, array[cardinality(endpoints)]),
        array_fill(case kind when 0 then 20000 else 0 end::bigint, array[cardinality(endpoints)]), array_fill(null::int, array[cardinality(endpoints)]),
        array_fill(0, array[cardinality(endpoints)]), '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')
$$;
create function hookgate_test.lease(targets int[], want int, held bigint default 0, total bigint default 0, turn int default 0, except_id uuid default null,
    except_lane bytea default null) returns table (target int, id uuid, lease int, attempt int, tries int, cause smallint, age_ms bigint, waited_ms bigint, lane bytea,
    bytes bigint, body bytea) language sql volatile as $$
    select target, id, lease, attempt, attempt_count, cause, age_ms, waited_ms, lane, bytes, body from hookgate.lease_1(targets, array_fill(want, array[cardinality(targets)]),
        array_fill(held, array[cardinality(targets)]), array_fill(turn::smallint, array[cardinality(targets)]), array_fill(except_id, array[cardinality(targets)]),
        array_fill(except_lane, array[cardinality(targets)]), null, null, 20000, total, 33554432)
$$;
create function hookgate_test.take(target int, want int) returns uuid[] language sql volatile as
    $$ select coalesce(array_agg(id), '{}') from hookgate_test.lease(array[target], want) $$;
create function hookgate_test.settle(id uuid, target int, lease int, attempt int, act int, delay bigint default 0, status int default null, reason int default null,
    error text default null) returns int language sql volatile as $$
    select verdict from hookgate.settle_1(array[id], array[target], array[lease], array[attempt], array[act::smallint], array[delay], array[reason],
        array[status is not null or error is not null], array[0::smallint], array[now()], array[12::bigint], array[1::bigint], array[null::bigint], array[status], array[error],
        array['127.0.0.1:80'], array['\x00'::bytea], array['answer'::bytea], array['\x05'::bytea])
$$;
create function hookgate_test.settle_late(id uuid, target int, lease int, attempt int, status int) returns int language sql volatile as $$
    select verdict from hookgate.settle_late_1(array[id], array[target], array[lease], array[attempt], array[0::smallint], array[now()], array[12::bigint],
        array[1::bigint], array[null::bigint], array[status], array[null::text], array['127.0.0.1:80'], array['\x00'::bytea], array['answer'::bytea], array[null::bytea])
$$;
-- Returns the state of the only unit of a delivery.
create function hookgate_test.state(of uuid, of_target int default null) returns text language sql as $$
    select coalesce((select case attempt_count when 0 then 'pending' else 'retrying' end from hookgate.due where id = of and (of_target is null or target = of_target)),
        (select case when reason is null then 'cancelled' else 'dead' end from hookgate.dead where id = of and (of_target is null or target = of_target)),
        case when exists (select from hookgate.delivery where id = of) then 'delivered' end)
$$;
create function hookgate_test.claim(key bytea, token int, lease bigint default 20000) returns text language sql volatile as
    $$ select (array['fresh', 'in flight ', 'committed', 'again'])[verdict + 1] || coalesce(case when verdict = 1 then ms::text end, '')
        from hookgate.claim_1(array[key], array[hookgate_test.token(token)], array[lease]) $$;
create function hookgate_test.commit(key bytea, token int) returns int language sql volatile as
    $$ select verdict from hookgate.commit_1(array[key], array[hookgate_test.token(token)], array[3600000::bigint]) $$;
create function hookgate_test.act(kind int, ids uuid[], delivered boolean default false, waiting boolean default false, scope int[] default null, targets int[] default '{}',
    reason int default null, lane bytea default null) returns bigint language sql volatile as
    $$ select done from hookgate.act_1(kind, ids, scope, targets, 1::smallint, delivered, reason, lane, waiting, 'anna', 'these', 'because', null) $$;
create function hookgate_test.sums(of_kind int, of_number int) returns text language sql as
    $$ select coalesce(sum(rows), 0) || '/' || coalesce(sum(bytes), 0) from hookgate.counter where kind = of_kind and number = of_number $$;
-- Returns the attempts on record: number, status or error, and whether it is late.
create function hookgate_test.attempts(of uuid, of_target int default null) returns text language sql as $$
    select string_agg(number || ' ' || coalesce(status::text, error) || case when late then ' late' else '' end, ', ' order by target, lease)
    from hookgate.attempt where id = of and (of_target is null or target = of_target)
$$;

-- Days, IDs, the ledger
do $$
declare k bytea; n int;
begin
    perform hookgate_test.same(hookgate.day_of('019ac8f1-7f00-7000-8000-000000000000'), (select (to_timestamp(('x019ac8f17f00')::bit(48)::bigint / 1000.0) at time zone 'UTC')::date), 'day of an ID');
    perform hookgate_test.same(hookgate.day_of(hookgate.first_id('2026-11-29')), date '2026-11-29', 'first ID of a day');
    perform hookgate_test.holds(hookgate.first_id('2026-11-29') < hookgate.first_id('2026-11-30'), 'days are in order');
    perform hookgate_test.same(hookgate.from_us(hookgate.to_us(hookgate.store_time())), hookgate.store_time(), 'microseconds');
    perform hookgate_test.same((hookgate.to_us('infinity'), hookgate.from_us(9223372036854775807))::text, '(9223372036854775807,infinity)', 'no time');
    perform hookgate_test.same((select octet_length(hash_key) || schema || writable from hookgate.store_1()), '161.0true', 'what a gateway reads first');
    k := '\x01';
    perform hookgate_test.same(hookgate_test.claim(k, 1), 'fresh', 'claimed');
    perform hookgate_test.same(hookgate_test.claim(k, 1), 'fresh', 'its own');
    perform hookgate_test.same(hookgate_test.claim(k, 2), 'in flight 20000', 'in flight');
    perform hookgate_test.same(hookgate_test.commit(k, 2), 0, 'not its claim');
    perform hookgate_test.same(hookgate_test.commit(k, 1), 1, 'committed');
    perform hookgate_test.same(hookgate_test.commit(k, 1), 1, 'repeated');
    perform hookgate_test.same(hookgate_test.claim(k, 3), 'committed', 'a duplicate');
    perform hookgate_test.same(hookgate.release_1(array[k], array[hookgate_test.token(1)]), 0, 'a commit stays');
    perform hookgate_test.pass('3601 s');
    perform hookgate_test.same(hookgate_test.claim(k, 3), 'fresh', 'the window has passed');
    perform hookgate_test.same(hookgate.release_1(array[k], array[hookgate_test.token(2)]), 0, 'only the holder gives back');
    perform hookgate_test.same(hookgate.release_1(array[k], array[hookgate_test.token(3)]), 1, 'given back');
    perform hookgate_test.same(hookgate_test.claim(k, 4), 'fresh', 'free again');
    perform hookgate_test.pass('21 s');
    perform hookgate_test.same(hookgate_test.claim(k, 5), 'fresh', 'it lapsed');
    perform hookgate_test.same(hookgate_test.commit(k, 4), 0, 'taken over');
    perform hookgate_test.same(hookgate_test.commit(k, 5), 1, 'by the new holder');
    k := '\x02';
    perform hookgate_test.claim(k, 1);
    perform hookgate_test.holds((select owned from hookgate.extend_1(array[k], array[hookgate_test.token(1)], array[60000])), 'extended');
    perform hookgate_test.holds(not (select owned from hookgate.extend_1(array[k], array[hookgate_test.token(2)], array[90000])), 'not its claim');
    perform hookgate_test.pass('21 s');
    perform hookgate_test.same(hookgate_test.claim(k, 2), 'in flight 39000', 'held longer');
    perform hookgate_test.pass('60 s');
    perform hookgate_test.same(hookgate_test.commit(k, 1), 1, 'it lapsed, and nobody took it over');
    perform hookgate_test.same(hookgate_test.commit('\x03', 9), 2, 'a failover forgot the claim');
    perform hookgate_test.same(hookgate_test.claim('\x03', 1), 'committed', 'and the commit is remembered');
    -- several in one call
    perform hookgate_test.same((select string_agg(ord || ':' || verdict, ' ' order by ord) from hookgate.claim_1(array['\x03', '\x04', '\x05']::bytea[],
        array[hookgate_test.token(1), hookgate_test.token(2), hookgate_test.token(3)], array[1000, 1000, 1000])), '1:2 2:0 3:0', 'a batch of claims');
    -- notes, and the time for which a ledger is complete
    perform hookgate_test.same(hookgate.note_1(array['\x0a', '\x0b']::bytea[], array[60000, 60000]), 2, 'noted');
    perform hookgate_test.same(hookgate.note_1(array['\x0a', '\x0b']::bytea[], array[60000, 90000]), 1, 'only what is longer is written');
    perform hookgate.keep_1(array['a', 'b'], array['\x01', '\x02']::bytea[]);
    perform hookgate_test.same((select noted || ' ' || complete_ms from hookgate.recall_1(array['a'], array['\x0a'::bytea])), 'true 0', 'noted, and complete from now on');
    perform hookgate_test.pass('50 s');
    perform hookgate.keep_1(array['a', 'b'], array['\x01', '\x02']::bytea[]);
    perform hookgate_test.pass('50 s');
    perform hookgate_test.same((select noted || ' ' || complete_ms from hookgate.recall_1(array['a'], array['\x0a'::bytea])), 'false 100000', 'the note has ended');
    perform hookgate_test.same((select complete_ms from hookgate.recall_1(array['c'], array['\x0a'::bytea])), null::bigint, 'nobody keeps it');
    perform hookgate.keep_1(array['a', 'b'], array['\x01', '\x09']::bytea[]);
    perform hookgate_test.same((select array_agg(complete_ms order by ord) from hookgate.recall_1(array['a', 'b'], array['\x0a', '\x0a']::bytea[])), array[100000::bigint, 0], 'another policy begins again');
    perform hookgate.gap_1(0);
    perform hookgate_test.same((select complete_ms from hookgate.recall_1(array['a'], array['\x0a'::bytea])), 0::bigint, 'a gap');
    perform hookgate.gap_1(60000);
    perform hookgate_test.same((select complete_ms from hookgate.recall_1(array['a'], array['\x0a'::bytea])), null::bigint, 'a gap ahead');
    perform hookgate_test.pass('61 s');
    perform hookgate_test.same((select complete_ms from hookgate.recall_1(array['a'], array['\x0a'::bytea])), null::bigint, 'nobody has kept it for a minute');
    perform hookgate.keep_1(array['a'], array['\x01'::bytea]);
    perform hookgate_test.same((select complete_ms from hookgate.recall_1(array['a'], array['\x0a'::bytea])), 0::bigint, 'and it begins again');
end $$;

-- Accepting, leasing, settling
do $$
declare a uuid; b uuid; c uuid; r record; n int; k bytea; ids uuid[];
begin
    a := hookgate_test.id();
    for n in 1..2 loop
        select * into r from hookgate_test.accept(a, 10, 0);
        perform hookgate_test.same((r.verdict, r.got, r.lease, r.attempt)::text, '(0,10,1,1)', 'leased to its acceptor, also if the call is repeated');
    end loop;
    perform hookgate_test.same(hookgate_test.take(10, 9), '{}'::uuid[], 'it is held');
    perform hookgate_test.same(hookgate_test.state(a), 'pending', 'pending');
    perform hookgate_test.same(hookgate_test.sums(1, 10) || ' ' || hookgate_test.sums(0, 10), '1/0 1/6', 'counted once');
    perform hookgate_test.same(hookgate_test.settle(a, 10, 1, 1, 0, 0, 200), 1, 'settled');
    perform hookgate_test.same(hookgate_test.settle(a, 10, 1, 1, 0, 0, 200), 1, 'repeated');
    perform hookgate_test.same(hookgate_test.state(a), 'delivered', 'delivered');
    select * into r from hookgate_test.accept(a, 10, 0);
    perform hookgate_test.same((r.verdict, r.got)::text, '(0,)', 'it is over, and not done again');
    -- with a key
    a := hookgate_test.id();
    for n in 1..2 loop
        select * into r from hookgate_test.accept(a, 11, 0, 20000, '\x50');
        perform hookgate_test.same((r.verdict, r.got, r.lease)::text, '(0,11,1)', 'repeated with its key');
    end loop;
    perform hookgate_test.settle(a, 11, 1, 1, 0, 0, 200);
    select * into r from hookgate_test.accept(a, 11, 0, 20000, '\x50');
    perform hookgate_test.same((r.verdict, r.got)::text, '(0,)', 'repeated after its end');
    -- a delay, a retry that is settled twice
    a := hookgate_test.id();
    perform hookgate_test.accept(a, 12, 1, 20000);
    perform hookgate_test.same(hookgate_test.take(12, 1), '{}'::uuid[], 'not yet');
    perform hookgate_test.same((select in_ms from hookgate.ready_1(11, 2147483647, 1)), 20000::bigint, 'due later');
    perform hookgate_test.pass('20 s');
    select * into r from hookgate_test.lease(array[12], 1);
    perform hookgate_test.same((r.id, r.lease, r.attempt, r.tries, r.age_ms, r.waited_ms, r.cause, r.body)::text, format('(%s,1,1,0,20000,0,0,"\\x626f6479")', a), 'leased when it is due');
    for n in 1..2 loop perform hookgate_test.same(hookgate_test.settle(a, 12, 1, 1, 1, 40000, 503), 1, 'again later'); end loop;
    perform hookgate_test.same(hookgate_test.state(a), 'retrying', 'retrying');
    perform hookgate_test.pass('39999 ms');
    perform hookgate_test.same(hookgate_test.take(12, 1), '{}'::uuid[], 'not yet');
    perform hookgate_test.pass('1 ms');
    select * into r from hookgate_test.lease(array[12], 1);
    perform hookgate_test.same((r.lease, r.attempt, r.tries)::text, '(2,2,1)', 'one attempt, counted once');
    for n in 1..2 loop perform hookgate_test.same(hookgate_test.settle(a, 12, 2, 2, 5), 1, 'given back'); end loop;
    select * into r from hookgate_test.lease(array[12], 1);
    perform hookgate_test.same((r.lease, r.attempt, r.tries)::text, '(3,2,1)', 'no attempt was made');
    perform hookgate_test.same(hookgate_test.settle(a, 12, 2, 2, 5), 0, 'the next holder is not given back');
    for n in 1..2 loop perform hookgate_test.same(hookgate_test.settle(a, 12, 3, 2, 3, 0, 500, 1), 1, 'dead'); end loop;
    perform hookgate_test.same((select (attempt_count, lease, reason, last_attempt)::text from hookgate.dead where id = a), '(2,3,1,2)', 'its numbers');
    perform hookgate_test.same(hookgate_test.settle(a, 12, 1, 1, 0, 0, 503), 1, 'it was settled, long ago');
    perform hookgate_test.same(hookgate_test.state(a), 'dead', 'and that changes nothing');
    -- an attempt that does not count, one that was not made
    a := hookgate_test.id();
    perform hookgate_test.accept(a, 12, 0);
    perform hookgate_test.settle(a, 12, 1, 1, 2, 0, 503);
    select * into r from hookgate_test.lease(array[12], 1);
    perform hookgate_test.same((r.attempt, r.tries)::text, '(2,0)', 'a probe does not count, and has a number');
    perform hookgate_test.settle(a, 12, 2, 2, 1, 0);
    select * into r from hookgate_test.lease(array[12], 1);
    perform hookgate_test.same((r.attempt, r.tries)::text, '(2,0)', 'nothing was made');
    perform hookgate_test.settle(a, 12, 3, 2, 4);
    perform hookgate_test.same(hookgate_test.state(a) || hookgate_test.sums(2, 12) || hookgate_test.sums(3, 12), 'cancelled2/01/0', 'cancelled is counted twice');
    -- a lapsed lease is taken over, what is late is recorded once
    a := hookgate_test.id();
    perform hookgate_test.accept(a, 13, 0);
    perform hookgate_test.pass('20001 ms');
    perform hookgate_test.same((select lease from hookgate_test.lease(array[13], 5)), 2, 'taken over');
    perform hookgate_test.same(hookgate_test.attempts(a), '1 cut_off', 'the attempt was cut off');
    perform hookgate_test.same(hookgate_test.settle(a, 13, 1, 1, 0, 0, 200), 2, 'late');
    perform hookgate_test.same(hookgate_test.settle(a, 13, 1, 1, 0, 0, 200), 0, 'late, and recorded');
    perform hookgate_test.same(hookgate_test.settle(a, 13, 1, 1, 4), 0, 'lost');
    perform hookgate_test.same(hookgate_test.state(a), 'pending', 'it changed nothing');
    perform hookgate_test.pass('20001 ms');
    perform hookgate_test.same(hookgate_test.settle(a, 13, 2, 2, 0, 0, 204), 1, 'it lapsed, and nobody took it over');
    perform hookgate_test.same(hookgate_test.settle(a, 13, 1, 1, 3, 0, 200, 2), 0, 'still lost');
    perform hookgate_test.same(hookgate_test.attempts(a) || ' ' || hookgate_test.state(a), '1 200 late, 2 204 delivered', 'both on record');
    -- attempts before it, and numbers that only grow
    a := hookgate_test.id();
    select * into r from hookgate_test.accept(a, 31, 0, 20000, null, null, true, null, '{503}');
    perform hookgate_test.same((r.lease, r.attempt)::text, '(2,2)', 'numbers go on');
    perform hookgate_test.settle(a, 31, 2, 2, 5);
    select * into r from hookgate_test.lease(array[31], 9);
    perform hookgate_test.same((r.lease, r.attempt)::text, '(3,2)', 'no attempt was made before');
    perform hookgate_test.pass('20001 ms');
    select * into r from hookgate_test.lease(array[31], 9);
    perform hookgate_test.same((r.attempt, r.tries)::text, '(3,1)', 'the budget counts what is settled');
    perform hookgate_test.same(hookgate_test.attempts(a), '1 503, 2 cut_off', 'no gap in the numbers');
    perform hookgate_test.same(hookgate_test.settle(a, 31, 3, 2, 1, 20000, 500), 2, 'lost');
    perform hookgate_test.same(hookgate_test.settle(a, 31, 4, 3, 0, 0, 200), 1, 'delivered');
    for n in 4..5 loop
        perform hookgate_test.same(hookgate_test.act(0, array[a], true), 1::bigint, 'replayed');
        select * into r from hookgate_test.lease(array[31], 9);
        perform hookgate_test.same((r.attempt, r.tries, r.cause)::text, format('(%s,0,1)', n), 'with a fresh budget');
        perform hookgate_test.settle(a, 31, r.lease, r.attempt, case n when 4 then 3 else 0 end, 0, case n when 4 then 410 else 200 end, 1);
    end loop;
    perform hookgate_test.same(hookgate_test.attempts(a), '1 503, 2 500 late, 3 200, 4 410, 5 200', 'all on record');
    -- a delivery that kills gateways waits longer each time
    a := hookgate_test.id();
    perform hookgate_test.accept(a, 33, 0);
    perform hookgate_test.pass('21 s');
    perform hookgate_test.same(hookgate_test.take(33, 1), array[a], 'the first lapse is anybody''s bad luck');
    for n in 0..2 loop
        perform hookgate_test.pass('21 s');
        perform hookgate_test.same(hookgate_test.take(33, 1), '{}'::uuid[], 'put off');
        perform hookgate_test.pass((1 << n) * interval '1 s' - interval '1 ms');
        perform hookgate_test.same(hookgate_test.take(33, 1), '{}'::uuid[], 'not yet');
        perform hookgate_test.pass('1 ms');
        perform hookgate_test.same(hookgate_test.take(33, 1), array[a], 'twice as long each time');
    end loop;
    perform hookgate_test.same(hookgate_test.attempts(a), '1 cut_off, 2 cut_off, 3 cut_off, 4 cut_off', 'each of them on record');
    perform hookgate_test.settle(a, 33, 5, 5, 1, 0, 500);
    perform hookgate_test.same((select lapses from hookgate.due where id = a), 0::smallint, 'who settles has not died');
    -- recorded only; dead and cancelled from the beginning
    a := hookgate_test.id(); b := hookgate_test.id(); c := hookgate_test.id();
    perform hookgate_test.accept(a, 20, 2, null, null, null, true, null, '{200}');
    perform hookgate_test.accept(b, 20, 3, null, null, null, true, null, '{400}', 400);
    perform hookgate_test.accept(c, 20, 3, null, null, null, true, null, '{500}', null);
    perform hookgate_test.same(concat_ws(' ', hookgate_test.state(a), hookgate_test.state(b), hookgate_test.state(c)), 'delivered dead cancelled', 'over');
    perform hookgate_test.same(hookgate_test.sums(2, 20) || ' ' || hookgate_test.sums(3, 20), '2/0 1/0', 'and counted');
    perform hookgate_test.accept(hookgate_test.id(), 20, 1, 0, null, null, true, null, '{502,503}');
    select * into r from hookgate_test.lease(array[20], 9);
    perform hookgate_test.same((r.lease, r.attempt, r.tries)::text, '(3,3,2)', 'two attempts before');
end $$;

-- Duplicates and revival
do $$
declare a uuid; b uuid; r record; n int; k bytea;
begin
    a := hookgate_test.id(); k := '\x51';
    select * into r from hookgate_test.accept(a, 14, 1, 0, k);
    perform hookgate_test.same((r.verdict, r.got)::text, '(0,)', 'for anyone');
    for n in 0..1 loop
        select * into r from hookgate_test.accept(hookgate_test.id(), 14, 1, 0, k, null, n = 0);
        perform hookgate_test.same((r.verdict, r.other)::text, format('(1,%s)', a), 'a duplicate');
    end loop;
    perform hookgate_test.same(hookgate_test.claim(k, 9), 'committed', 'the ledger knows it');
    k := '\x52';
    perform hookgate_test.claim(k, 1);
    select * into r from hookgate_test.accept(hookgate_test.id(), 14, 1, 0, k);
    perform hookgate_test.same((r.verdict, r.in_ms)::text, '(3,20000)', 'in flight');
    perform hookgate_test.same(hookgate_test.commit(k, 1), 1, 'committed');
    select * into r from hookgate_test.accept(hookgate_test.id(), 14, 1, 0, k);
    perform hookgate_test.same((r.verdict, r.other)::text, '(1,)', 'a duplicate of what was forwarded');
    perform hookgate_test.same(hookgate_test.take(14, 9), array[a], 'one alone is there');
    -- a claim becomes the commit
    k := '\x53'; a := hookgate_test.id();
    perform hookgate_test.claim(k, 1);
    perform hookgate_test.pass('20001 ms');
    perform hookgate_test.same(hookgate_test.claim(k, 2), 'fresh', 'taken over');
    select * into r from hookgate_test.accept(hookgate_test.id(), 15, 1, 0, k, hookgate_test.token(1));
    perform hookgate_test.same((r.verdict, r.in_ms)::text, '(3,20000)', 'another has the claim');
    select * into r from hookgate_test.accept(a, 15, 1, 0, k, hookgate_test.token(2));
    perform hookgate_test.same(r.verdict, 0, 'the holder accepts');
    perform hookgate_test.same(hookgate_test.claim(k, 3) || hookgate_test.commit(k, 2), 'committed1', 'that was its commit');
    select * into r from hookgate_test.accept(hookgate_test.id(), 15, 1, 0, k, hookgate_test.token(1));
    perform hookgate_test.same((r.verdict, r.other)::text, format('(1,%s)', a), 'a duplicate');
    -- a duplicate of a dead one revives it, once
    a := hookgate_test.id(); k := '\x54';
    perform hookgate_test.accept(a, 16, 0, 20000, k);
    perform hookgate_test.settle(a, 16, 1, 1, 3, 0, 410, 410);
    perform hookgate_test.same(hookgate_test.sums(2, 16), '1/0', 'dead');
    select * into r from hookgate_test.accept(hookgate_test.id(), 16, 0, 20000, k, null, false);
    perform hookgate_test.same((r.verdict, r.other)::text, format('(1,%s)', a), 'nothing is revived');
    select * into r from hookgate_test.accept(hookgate_test.id(), 16, 0, 20000, k);
    perform hookgate_test.same((r.verdict, r.other)::text, format('(2,%s)', a), 'to be revived');
    perform hookgate_test.pass('3000 s');
    perform hookgate_test.holds((select raised from hookgate.revive_1(array[k], array[a], array[3600000::bigint])), 'revived');
    perform hookgate_test.holds(not (select raised from hookgate.revive_1(array[k], array[a], array[3600000::bigint])), 'once');
    perform hookgate_test.same(hookgate_test.sums(2, 16) || ' ' || hookgate_test.sums(1, 16), '0/0 1/0', 'it waits');
    select * into r from hookgate_test.accept(hookgate_test.id(), 16, 0, 20000, k);
    perform hookgate_test.same(r.verdict, 1, 'a duplicate of what waits');
    select * into r from hookgate_test.lease(array[16], 9);
    perform hookgate_test.same((r.id, r.lease, r.tries, r.cause, r.age_ms)::text, format('(%s,2,0,1,0)', a), 'its lease goes on, its budget is fresh');
    perform hookgate_test.settle(a, 16, 2, 2, 0, 0, 200);
    perform hookgate_test.pass('3000 s');
    select * into r from hookgate_test.accept(hookgate_test.id(), 16, 0, 20000, k);
    perform hookgate_test.same((r.verdict, r.other)::text, format('(1,%s)', a), 'remembered for a whole window since the revival');
    -- what waits is remembered past its window; what does not, is not
    a := hookgate_test.id(); k := '\x55';
    perform hookgate_test.accept(a, 17, 1, 10800000, k);
    perform hookgate_test.pass('2 h');
    select * into r from hookgate_test.accept(hookgate_test.id(), 17, 1, 0, k);
    perform hookgate_test.same((r.verdict, r.other)::text, format('(1,%s)', a), 'it waits still');
    perform hookgate_test.same(hookgate_test.claim(k, 1), 'committed', 'for a claim too');
    perform hookgate.ledger_sweep_1(0, 1000);
    perform hookgate_test.same(hookgate_test.claim(k, 1), 'committed', 'the sweep leaves it');
    perform hookgate_test.same(hookgate_test.act(3, array[a]), 1::bigint, 'cancelled');
    perform hookgate_test.same(hookgate_test.claim(k, 1), 'fresh', 'nothing waits');
    -- an attempt that succeeds overrides a cancel, and a replay
    for n in 0..1 loop
        a := hookgate_test.id(); k := decode('8' || n, 'hex');
        perform hookgate_test.accept(a, 34, 0, 20000, k);
        perform hookgate_test.act(3, array[a]);
        perform hookgate_test.same(hookgate_test.state(a) || ' ' || hookgate_test.attempts(a), 'cancelled 1 cut_off', 'cancelled');
        if n = 1 then perform hookgate.revive_1(array[k], array[a], array[3600000::bigint]); end if;
        perform hookgate_test.same(hookgate_test.settle(a, 34, 1, 1, 0, 0, 200), 3, 'it was delivered after all');
        perform hookgate_test.same(hookgate_test.settle_late(a, 34, 1, 1, 200), 1, 'and counts');
        perform hookgate_test.same(hookgate_test.settle_late(a, 34, 1, 1, 200), 1, 'repeated');
        perform hookgate_test.same(hookgate_test.settle(a, 34, 1, 1, 0, 0, 200), 1, 'repeated from the beginning');
        perform hookgate_test.same(hookgate_test.state(a) || ' ' || hookgate_test.attempts(a), 'delivered 1 200', 'delivered');
        select * into r from hookgate_test.accept(hookgate_test.id(), 34, 1, 0, k);
        perform hookgate_test.same((r.verdict, r.other)::text, format('(1,%s)', a), 'a resend is a duplicate');
        perform hookgate_test.same(hookgate_test.take(34, 9), '{}'::uuid[], 'it does not go again');
    end loop;
    perform hookgate_test.same(concat_ws(' ', hookgate_test.sums(1, 34), hookgate_test.sums(2, 34), hookgate_test.sums(3, 34)), '0/0 0/0 0/0', 'the sums too');
    a := hookgate_test.id();
    perform hookgate_test.accept(a, 34, 0);
    perform hookgate_test.act(3, array[a]);
    perform hookgate_test.same(hookgate_test.settle(a, 34, 1, 1, 1, 20000, 500), 2, 'a failure does not count');
    perform hookgate_test.same(hookgate_test.state(a) || ' ' || hookgate_test.attempts(a), 'cancelled 1 500 late', 'cancelled still');
    -- replayed and leased again: the success of the attempt before is late
    a := hookgate_test.id();
    perform hookgate_test.accept(a, 34, 0);
    perform hookgate_test.act(3, array[a]);
    perform hookgate_test.act(0, array[a]);
    perform hookgate_test.same(hookgate_test.take(34, 1), array[a], 'leased by another');
    perform hookgate_test.same(hookgate_test.settle_late(a, 34, 1, 1, 200), 2, 'another attempts it now');
    perform hookgate_test.same(hookgate_test.state(a), 'pending', 'and it stays');
    perform hookgate_test.same(hookgate_test.settle(a, 34, 3, 2, 0, 0, 200), 1, 'until that settles');
    perform hookgate_test.same(hookgate_test.settle_late(hookgate_test.id(), 34, 1, 1, 200), 0, 'a delivery that is gone');
end $$;

-- Lanes, fairness, the ring
do $$
declare a uuid; b uuid; c uuid; r record; n int; ids uuid[]; firsts uuid[]; retries uuid[];
begin
    a := hookgate_test.id(); b := hookgate_test.id(); c := hookgate_test.id();
    perform hookgate_test.same((select lease from hookgate_test.accept(a, 18, 0, 20000, null, null, true, '\xaa')), 1, 'the first of a lane');
    perform hookgate_test.same((select lease from hookgate_test.accept(b, 18, 0, 20000, null, null, true, '\xaa')), null::int, 'the second waits behind it');
    perform hookgate_test.accept(c, 18, 1, 0, null, null, true, '\xaa');
    perform hookgate_test.same((select in_ms from hookgate.ready_1(17, 2147483647, 1)), 20000::bigint, 'no other is due');
    perform hookgate_test.same(hookgate_test.settle(a, 18, 1, 1, 1, 40000, 503), 1, 'a retry');
    perform hookgate_test.same(hookgate_test.take(18, 9), '{}'::uuid[], 'those behind wait');
    perform hookgate_test.pass('40 s');
    perform hookgate_test.same(hookgate_test.take(18, 9), array[a], 'the first goes again');
    perform hookgate_test.settle(a, 18, 2, 2, 3, 0, 500, 1);
    perform hookgate_test.same(hookgate_test.act(3, array[b]), 1::bigint, 'the second is cancelled');
    perform hookgate_test.same(hookgate_test.take(18, 9), array[c], 'the third follows');
    perform hookgate_test.same(hookgate_test.act(0, array[a]), 1::bigint, 'the first is replayed');
    perform hookgate_test.same(hookgate_test.take(18, 9), '{}'::uuid[], 'and waits behind the third');
    perform hookgate_test.settle(c, 18, 1, 1, 0, 0, 200);
    perform hookgate_test.same(hookgate_test.take(18, 9), array[a], 'then it goes');
    perform hookgate_test.same((select waiting from hookgate.lane where lane = '\xaa' and target = 18), 1, 'one waits');
    perform hookgate_test.settle(a, 18, 3, 3, 0, 0, 200);
    perform hookgate_test.same(hookgate.lanes_sweep_1(9), 1::bigint, 'none waits');
    -- a replay of what was delivered keeps its lane
    a := hookgate_test.id(); b := hookgate_test.id();
    perform hookgate_test.accept(a, 32, 0, 20000, null, null, true, '\x07');
    perform hookgate_test.settle(a, 32, 1, 1, 0, 0, 200);
    perform hookgate_test.same(hookgate_test.act(0, array[a], true), 1::bigint, 'replayed');
    perform hookgate_test.same((select lease from hookgate_test.accept(b, 32, 0, 20000, null, null, true, '\x07')), null::int, 'a new one does not overtake');
    perform hookgate_test.same(hookgate_test.take(32, 9), array[a], 'the replay goes');
    perform hookgate_test.settle(a, 32, 2, 2, 1, 20000, 503);
    perform hookgate_test.same(hookgate_test.take(32, 9), '{}'::uuid[], 'it is the first still');
    perform hookgate_test.pass('20 s');
    perform hookgate_test.same(hookgate_test.take(32, 9), array[a], 'again');
    perform hookgate_test.settle(a, 32, 3, 3, 0, 0, 200);
    perform hookgate_test.same(hookgate_test.take(32, 9), array[b], 'and then the new one');
    -- bounds: a target that holds more than the free memory waits, the next one begins
    ids := array(select hookgate_test.id() from generate_series(1, 8));
    perform hookgate_test.accept(i, case when i.o <= 4 then 19 else 9401 end, 1, 0, null, null, true, null, '{}', null, 1, convert_to(repeat('x', 10000), 'UTF8'))
        from unnest(ids) with ordinality i(i, o);
    perform hookgate_test.same((select count(*) from hookgate_test.lease(array[19, 9401], 9, 0, 33554432)), 0::bigint, 'no memory');
    perform hookgate_test.same((select array_agg(target) from hookgate_test.lease(array[19], 9, 21000, 33554432 - 20000)), null::int[], 'it holds more than is free');
    perform hookgate_test.same((select array_agg(target) from hookgate_test.lease(array[9401], 1, 0, 33554432 - 20000)), array[9401], 'this one does not');
    perform hookgate_test.same((select array_agg(target) from hookgate_test.lease(array[19], 9, 0, 33554432 - 31000)), array[19, 19], 'as many as begin within the memory');
    perform hookgate_test.same((select array_agg(target) from hookgate_test.lease(array[19, 9401], 9, 0, 33554432 - 1)), array[19], 'one, though it is too large');
    perform hookgate_test.same((select count(*) from hookgate_test.lease(array[19], 0)), 0::bigint, 'none is wanted');
    perform hookgate_test.same((select array_agg(target) from hookgate_test.lease(array[19, 9401], 2)), array[19, 9401, 9401], 'in the order of the requests');
    -- first attempts and retries take turns
    for n in 1..3 loop
        a := hookgate_test.id(); b := hookgate_test.id();
        perform hookgate_test.accept(a, 9501, 1, 0, null, null, true, null, '{503}'); retries := retries || a;
        perform hookgate_test.accept(b, 9501, 1, 0); firsts := firsts || b;
        perform hookgate_test.pass('1 ms');
    end loop;
    perform hookgate_test.same((select array_agg(id) from hookgate_test.lease(array[9501], 3, 0, 0, 1)), array[retries[1], firsts[1], retries[2]], 'by turns, a retry first');
    perform hookgate_test.same((select array_agg(id) from hookgate_test.lease(array[9501], 1)), array[firsts[2]], 'a first attempt');
    perform hookgate_test.same((select array_agg(id) from hookgate_test.lease(array[9501], 9)), array[firsts[3], retries[3]], 'the rest');
    -- excepted ones come last
    ids := array(select hookgate_test.id() from generate_series(1, 3));
    perform hookgate_test.accept(ids[i], 9503, 1, 0, null, null, true, (array['\x01', '\x01', '\x02']::bytea[])[i]) from generate_series(1, 3) i;
    perform hookgate_test.same((select id from hookgate_test.lease(array[9503], 1, 0, 0, 0, ids[1], '\x01')), ids[3], 'another lane');
    perform hookgate_test.settle(ids[3], 9503, 1, 1, 5);
    perform hookgate_test.same((select id from hookgate_test.lease(array[9503], 1, 0, 0, 0, ids[3], '\x02')), ids[1], 'the other one');
    perform hookgate_test.settle(ids[1], 9503, 1, 1, 0, 0, 200);
    perform hookgate_test.same((select id from hookgate_test.lease(array[9503], 1, 0, 0, 0, ids[1], '\x01')), ids[3], 'not the next of the same lane');
    perform hookgate_test.same((select id from hookgate_test.lease(array[9503], 1, 0, 0, 0, ids[2], '\x01')), ids[2], 'there is nothing else');
    -- the ring
    perform hookgate_test.accept(hookgate_test.id(), t, 1, 0) from generate_series(9001, 9100) t;
    perform hookgate_test.accept(hookgate_test.id(), t, 1, 0, null, null, true, null, '{503}') from unnest(array[9001, 9050, 9100]) t;
    perform hookgate_test.pass('5 ms');
    perform hookgate_test.accept(hookgate_test.id(), 9200, 1, 20000);
    perform hookgate_test.same((select array_agg(target order by target) from hookgate.ready_1(9000, 9300, 1000)), array(select generate_series(9001, 9100)) || 9200, 'each target once');
    perform hookgate_test.same((select array_agg(in_ms order by target) from hookgate.ready_1(9099, 9300, 1000)), array[-5::bigint, 20000], 'since when, or until when');
    perform hookgate_test.same((select array_agg(target order by target) from hookgate.ready_1(9049, 9300, 2)), array[9050, 9051], 'from one on, bounded');
    perform hookgate_test.same((select array_agg(target || ':' || in_ms order by target) from hookgate.ready_of_1(array[9001, 9200, 9300], null, null)), array['9001:-5', '9200:20000'], 'known targets');
    perform hookgate_test.same((select count(*) from hookgate.ready_of_1(array[9001], array[hookgate.store_time()], array[hookgate.store_time()])), 0::bigint, 'none after the floors');
    perform hookgate_test.same((select in_ms from hookgate.ready_of_1(array[9001], array[hookgate.store_time()], null)), -5::bigint, 'a floor for each kind');
    -- one delivery to several targets has one body in the answer
    a := hookgate_test.id();
    perform hookgate_test.event(a, 536870999, 'shared', '\x01', array[1073750001, 1073750002]);
    perform hookgate_test.same((select array_agg(body order by target) from hookgate_test.lease(array[1073750001, 1073750002], 9)), array['event'::bytea, null], 'a body once');
    perform hookgate_test.act(6, array[a], false, true);
end $$;

-- A new schedule, parked time, names
do $$
declare a uuid; b uuid; r record; n int; e bigint;
begin
    perform hookgate_test.same((select (number is null)::text from hookgate.names_1()), 'true', 'no names');
    select edition into e from hookgate.names_1();
    perform hookgate_test.holds(hookgate.names_save_1(e, array[1, 2], array[0, 0]::smallint[], array['github', 'stripe'], array['github', 'stripe'], array[1, 2]), 'saved');
    perform hookgate_test.holds(not hookgate.names_save_1(e, array[3], array[0]::smallint[], array['other'], array['other'], array[3]), 'another saved meanwhile');
    select edition into e from hookgate.names_1();
    perform hookgate_test.holds(hookgate.names_save_1(e, array[2], array[0]::smallint[], array['stripe'], array['stripe payments'], array[1, 2]), 'renamed');
    perform hookgate_test.same((select string_agg(concat_ws(' ', number, kind, name, owners), ',' order by number) from hookgate.names_1()), '1 0 github github,2 0 stripe stripe payments', 'as they are');
    select edition into e from hookgate.names_1();
    perform hookgate_test.holds(hookgate.names_save_1(e, '{}', '{}', '{}', '{}', array[1, 2]), 'nothing to save');
    perform hookgate_test.same((select distinct edition from hookgate.names_1()), e, 'the same edition');
    -- parked time does not count
    a := hookgate_test.id(); b := hookgate_test.id();
    perform hookgate_test.accept(a, 2, 1, 0);
    perform hookgate_test.pass('20 s');
    for n in 1..2 loop
        perform hookgate.names_save_1(e, '{}', '{}', '{}', '{}', array[1]);
        perform hookgate_test.pass('1 h');
        perform hookgate.names_save_1(e, '{}', '{}', '{}', '{}', array[1]);
        perform hookgate_test.pass('1 h');
    end loop;
    perform hookgate_test.accept(b, 2, 1, 0);
    perform hookgate_test.pass('1 h');
    perform hookgate.names_save_1(e, '{}', '{}', '{}', '{}', array[1, 2]);
    perform hookgate_test.pass('20 s');
    perform hookgate_test.same((select array_agg(age_ms) from hookgate_test.lease(array[2], 9)), array[40000::bigint, 20000], 'their ages');
    perform hookgate.names_save_1(e, '{}', '{}', '{}', '{}', array[1]);
    perform hookgate_test.pass('10 s');
    perform hookgate.heartbeat_1(hookgate_test.token(7), '0.2', 'x', 1, 'host-7', array[1, 2]);
    perform hookgate_test.same((select parked_at is null and parked = 18010000 from hookgate.name where number = 2)::text, 'true', 'a gateway that serves it ends its parking');
    perform hookgate.names_save_1(e, '{}', '{}', '{}', '{}', array[1]);
    perform hookgate.heartbeat_1(hookgate_test.token(8), '0.2', 'y', 2, 'host-8', array[1]);
    perform hookgate.heartbeat_1(hookgate_test.token(7), '0.2', 'x', 1, 'host-7', array[1, 2]);
    perform hookgate.heartbeat_1(hookgate_test.token(8), '0.2', 'y', 2, 'host-8', array[1]);
    perform hookgate_test.holds((select parked_at is null from hookgate.name where number = 2), 'not parked while one gateway serves it');
    perform hookgate.goodbye_1(hookgate_test.token(7));
    perform hookgate.heartbeat_1(hookgate_test.token(8), '0.2', 'y', 2, 'host-8', array[1]);
    perform hookgate_test.holds((select parked_at is not null from hookgate.name where number = 2), 'parked when the last one has ended');
    perform hookgate.goodbye_1(hookgate_test.token(8));
    perform hookgate.unpark(array[1, 2]);
    -- retries of a target
    for n in 0..1 loop
        a := hookgate_test.id();
        perform hookgate_test.accept(a, 9504, 1, 0);
        perform hookgate_test.take(9504, 1);
        perform hookgate_test.settle(a, 9504, 1, 1, 1, 7200000 + n, 503);
    end loop;
    perform hookgate_test.same(hookgate.schedule_1(9504), null::text, 'no schedule yet');
    perform hookgate_test.same((select array_agg(concat_ws(' ', in_ms, attempt_count, age_ms, head)) from hookgate.retries_1(9504, null, null, 9)), array['7200000 1 0 \x00', '7200001 1 0 \x00'], 'retries');
    select * into r from hookgate.retries_1(9504, null, null, 1);
    perform hookgate_test.same((select array_agg(in_ms) from hookgate.retries_1(9504, r.run_at_us, r.id, 9)), array[7200001::bigint], 'after a position');
    perform hookgate_test.same(hookgate.shorten_1(9504, array[r.id, a], array[20000, 7300000]), 1, 'only shorter');
    perform hookgate_test.same((select array_agg(in_ms) from hookgate.retries_1(9504, null, null, 9)), array[20000::bigint, 7200001], 'shortened');
    perform hookgate.schedule_set_1(9504, 'fixed'); perform hookgate.schedule_set_1(9504, 'growing');
    perform hookgate_test.same(hookgate.schedule_1(9504), 'growing', 'followed');
end $$;

-- Acts, forgetting, sums
do $$
declare a uuid; b uuid; c uuid; r record; n int; k bytea; ids uuid[]; first_audit bigint;
begin
    a := hookgate_test.id(); b := hookgate_test.id();
    perform hookgate_test.accept(a, 21, 0); perform hookgate_test.settle(a, 21, 1, 1, 0, 0, 200); perform hookgate_test.accept(b, 21, 0);
    perform hookgate_test.same(hookgate_test.act(0, array[a]), 0::bigint, 'it was delivered');
    perform hookgate_test.same(hookgate_test.act(0, array[a], true, false, array[22]), 0::bigint, 'not its scope');
    perform hookgate_test.same(hookgate_test.act(0, array[a], true, false, array[22, 21]), 1::bigint, 'replayed');
    select * into r from hookgate_test.lease(array[21], 9);
    perform hookgate_test.same((r.id, r.lease, r.cause)::text, format('(%s,2,1)', a), 'its lease goes on');
    perform hookgate_test.same(hookgate_test.act(3, array[a, b]), 2::bigint, 'cancelled');
    perform hookgate_test.same(hookgate_test.settle(b, 21, 1, 1, 1, 0, 500), 2, 'over its head');
    perform hookgate_test.same(hookgate_test.state(b), 'cancelled', 'cancelled');
    perform hookgate_test.same(hookgate_test.act(6, array[a, b]), 2::bigint, 'purged');
    perform hookgate_test.same(concat_ws(' ', hookgate_test.state(b), hookgate_test.sums(0, 21), hookgate_test.sums(2, 21), hookgate_test.sums(3, 21)), '0/0 0/0 0/0', 'to the last byte');
    perform hookgate_test.same((select who || ' ' || what || ' ' || reason || ' ' || done from hookgate.audit_1(1)), 'anna purge because 2', 'written down');
    a := hookgate_test.id();
    perform hookgate_test.accept(a, 21, 1, 0);
    perform hookgate_test.same(hookgate_test.act(6, array[a]), 0::bigint, 'what waits stays');
    perform hookgate_test.same(hookgate_test.act(6, array[a], false, true), 1::bigint, 'unless it is said');
    perform hookgate_test.same(hookgate_test.sums(1, 21), '0/0', 'nothing waits');
    -- steps share a row of the audit
    select audit into first_audit from hookgate.act_1(6, array[hookgate_test.id()], null, '{}', null, false, null, null, false, 'ben', 'w', 'steps', null);
    a := hookgate_test.id(); perform hookgate_test.accept(a, 21, 2);
    perform hookgate_test.same((select done || ' ' || (audit = first_audit) from hookgate.act_1(6, array[a], null, '{}', null, false, null, null, false, 'ben', 'w', 'steps', first_audit)), '1 true', 'the same row');
    perform hookgate_test.same((select done from hookgate.audit_1(1)), 1::bigint, 'added up');
    -- attempted now: what waits for a later time, and nothing else of it changes
    ids := array(select hookgate_test.id() from generate_series(1, 3));
    perform hookgate_test.accept(ids[1], 29, 0); perform hookgate_test.settle(ids[1], 29, 1, 1, 1, 20000, 503);
    perform hookgate_test.accept(ids[2], 29, 0, 20000, null, null, true, '\x01'); perform hookgate_test.settle(ids[2], 29, 1, 1, 2, 20000, 503);
    perform hookgate_test.accept(ids[3], 29, 0, 20000, null, null, true, '\x01');
    perform hookgate_test.same(hookgate_test.take(29, 9), '{}'::uuid[], 'later');
    perform hookgate_test.same(hookgate_test.act(1, ids), 2::bigint, 'attempted now');
    perform hookgate_test.same((select array_agg(format('%s %s %s', l.id, l.tries, l.cause)) from hookgate_test.lease(array[29], 9) l), array[format('%s 0 0', ids[2]), format('%s 1 0', ids[1])], 'with the budget they had');
    perform hookgate_test.same(hookgate_test.act(1, ids), 0::bigint, 'what is attempted, or behind others, stays');
    perform hookgate_test.same(hookgate_test.act(2, ids), 1::bigint, 'only the one behind is renewed');
    perform hookgate_test.pass('21 s');
    perform hookgate_test.same(hookgate_test.act(2, ids), 3::bigint, 'leases that lapsed are renewed');
    perform hookgate_test.same((select array_agg(age_ms || ' ' || tries) from hookgate_test.lease(array[29], 9)), array['0 0', '0 0'], 'with a fresh budget');
    perform hookgate_test.same(hookgate_test.act(3, ids), 3::bigint, 'ended');
    -- what is erased undelivered takes its entry in the ledger with it
    for n in 0..3 loop
        a := hookgate_test.id(); k := decode('7' || n, 'hex');
        perform hookgate_test.accept(a, 27, 0, 20000, k, null, false);
        if n > 0 then perform hookgate_test.settle(a, 27, 1, 1, (array[3, 4, 0])[n], 0, 410, case n when 1 then 1 end); end if;
        perform hookgate_test.act(6, array[a], false, true);
        perform hookgate_test.same(hookgate_test.claim(k, 1), case n when 3 then 'committed' else 'fresh' end, 'a claim after the purge');
        perform hookgate.release_1(array[k], array[hookgate_test.token(1)]);
        select * into r from hookgate_test.accept(hookgate_test.id(), 27, 1, 0, k, null, false);
        perform hookgate_test.same((r.verdict, r.other)::text, case n when 3 then '(1,)' else '(0,)' end, 'a resend after the purge');
    end loop;
    -- but the entry of a later delivery stays
    a := hookgate_test.id(); b := hookgate_test.id(); k := '\x74';
    perform hookgate_test.accept(a, 28, 0, 20000, k, null, false); perform hookgate_test.settle(a, 28, 1, 1, 3, 0, 410, 1);
    perform hookgate_test.same(hookgate.forget_1(array[k], 'anna', 'evt', 'redo'), 1::bigint, 'forgotten');
    perform hookgate_test.same((select verdict from hookgate_test.accept(b, 28, 1, 0, k, null, false)), 0, 'new');
    perform hookgate_test.act(6, array[a]);
    perform hookgate_test.same((select other from hookgate_test.accept(hookgate_test.id(), 28, 1, 0, k, null, false)), b, 'a duplicate of the later one');
    -- forgotten is new again, though it waits; what is in flight is left alone
    a := hookgate_test.id(); k := '\x60';
    perform hookgate_test.accept(a, 26, 1, 0, k);
    perform hookgate_test.claim('\x61', 1);
    perform hookgate_test.same(hookgate.forget_1(array[k, '\x61', '\x62'], 'anna', 'evt', 'redo'), 1::bigint, 'one was remembered');
    perform hookgate_test.same((select verdict from hookgate_test.accept(hookgate_test.id(), 26, 1, 0, k)), 0, 'new');
    perform hookgate_test.same(hookgate_test.commit('\x61', 1), 1, 'its claim is there');
    perform hookgate_test.same((select what || ' ' || which || ' ' || done from hookgate.audit_1(1)), 'forget evt 1', 'written down');
    -- what is only recorded keeps its key
    a := hookgate_test.id();
    perform hookgate_test.accept(a, 26, 2, null, null, null, true, null, '{200}', null, 1, 'body', null, null, null, '\x63');
    perform hookgate_test.same((select concat_ws(' ', key, flag) from hookgate.rows_1(array[a], null, null) where what = 0), '\x63 f', 'its key, which it does not own');
    perform hookgate_test.commit('\x63', 1);
    perform hookgate_test.same(hookgate.forget_1(array['\x63'::bytea], 'anna', 'evt', 'redo'), 1::bigint, 'and forgets it');
    -- sums add up
    perform hookgate.counters_fold_1(100000);
    perform hookgate_test.holds((select count(*) > 0 and sum(rows) = 0 and sum(bytes) = 0 from hookgate.totals_1() where kind = 1 and number = 21), 'nothing is 0, and not absent');
    perform hookgate_test.same((select count(*) from (select kind, number, day from hookgate.counter group by 1, 2, 3) t), (select count(*) from hookgate.counter), 'one row each');
end $$;

-- Looking
do $$
declare a uuid; r record; ids uuid[]; zero uuid := '00000000-0000-0000-0000-000000000000'; last uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
begin
    ids := array(select hookgate_test.id() from generate_series(1, 5));
    perform hookgate_test.accept(i.i, 50, 1, 0, null, null, true, null, '{}', null, 1, convert_to('{"customer":"c-' || i.n || '"}', 'UTF8')) from unnest(ids) with ordinality i(i, n);
    perform hookgate_test.same((select array_agg(id order by id desc) from hookgate.page_1('delivery', 'origin', 50, null, zero, false, last, true, 2, null, null) where what = 0), array[ids[5], ids[4]], 'the newest');
    perform hookgate_test.same((select array_agg(id order by id) from hookgate.page_1('due', 'target', 50, null, ids[2], true, ids[5], false, 9, null, null) where what = 1), ids[3:4], 'what waits, between two');
    perform hookgate_test.same((select count(*) from hookgate.page_1('delivery', null, null, 'evt_' || ids[4], zero, false, last, true, 9, null, null)), 2::bigint, 'by a provider''s ID');
    perform hookgate_test.same((select count(*) from hookgate.page_1('delivery', 'origin', 51, 'evt_' || ids[4], zero, false, last, true, 9, null, null)), 0::bigint, 'of another origin');
    perform hookgate_test.same((select array_agg(h) from hookgate.having_1(ids, '"c-3"') h), ids[3:3], 'by text');
    perform hookgate_test.same((select array_agg(record) from hookgate.records_1(ids[1:1] || hookgate_test.id())), array['\x0101'::bytea], 'records');
    perform hookgate_test.take(50, 1);
    perform hookgate_test.settle(ids[1], 50, 1, 1, 1, 5000, 503);
    select * into r from hookgate.rows_1(ids[1:1], null, null) where what = 1;
    perform hookgate_test.same((r.number, r.lease, r.count, r.flag, r.ms)::text, '(50,1,1,f,5000)', 'a unit');
    select * into r from hookgate.rows_1(ids[1:1], null, null) where what = 3;
    perform hookgate_test.same((r.lease, r.count, r.status, r.ms)::text, '(1,1,503,12)', 'its last attempt');
    perform hookgate_test.same((select array_agg(what order by what) from hookgate.get_1(ids[1], null, null)), array[0, 1, 3], 'all of one');
    perform hookgate_test.same((select array_agg(what order by what) from hookgate.get_1(ids[1], null, 0)), array[0], 'none of its units');
    perform hookgate_test.same((select convert_from(body, 'UTF8') from hookgate.get_1(ids[1], null, 0) where what = 0), '{"customer":"c-1"}', 'its body');
    perform hookgate_test.same((select concat_ws(' ', target, number, late, status, peer, origin, event_type) from hookgate.unit_attempts_1(ids[1], 0, 2147483647)), '50 1 f 503 127.0.0.1:80 50 push', 'its attempts');
    perform hookgate_test.same((select count(*) from hookgate.unit_attempts_1(ids[1], 51, 2147483647)), 0::bigint, 'of some targets');
    perform hookgate_test.same(hookgate.count_waiting_1(50, zero, null, false, 100) || ' ' || hookgate.count_waiting_1(50, ids[3], ids[5], true, 100) || ' ' || hookgate.count_waiting_1(50, zero, null, false, 2), '5 2 3', 'counted, and bounded');
    -- a walk over what waits
    perform hookgate_test.pass('1 ms');
    select * into r from hookgate.waiting_1(50, false, -9223372036854775808, zero, null, null, 2) where id is null;
    perform hookgate_test.same(hookgate.from_us(r.began_us), hookgate.store_time(), 'it begins now');
    perform hookgate_test.same((select array_agg(id || ' ' || meant order by id) from hookgate.waiting_1(50, false, -9223372036854775808, zero, ids[3], null, 2) where id is not null), array[ids[2] || ' true', ids[3] || ' false'], 'the first two');
    perform hookgate_test.same((select array_agg(w.id order by w.id) from hookgate.waiting_1(50, false, (select max(run_at_us) from hookgate.waiting_1(50, false, -9223372036854775808, zero, null, null, 2)), ids[3], null, r.began_us, 9) w where w.id is not null), ids[4:5], 'the next');
    perform hookgate_test.same((select array_agg(w.id) from hookgate.waiting_1(50, true, -9223372036854775808, zero, null, r.began_us, 9) w where w.id is not null), ids[1:1], 'retries');
    perform hookgate_test.same((select array_agg(meant) from hookgate.waiting_1(50, true, -9223372036854775808, zero, null, r.began_us - 5000000, 9) w where w.id is not null), array[false], 'what waits since later is not meant');
end $$;

-- Tenants and endpoints
create function hookgate_test.tenant(number int, uid text, settings text, expected int, removed boolean default false) returns text language sql volatile as $$
    select concat_ws(' ', (array['done', 'conflict', 'taken', 'full', 'used up'])[verdict + 1], edition)
    from hookgate.tenant_save_1(number, uid, timestamptz '2027-01-15 08:00:00.123+00', removed, settings, expected, 'office', 'tenant.save', uid, 'because')
$$;
create function hookgate_test.endpoint(number int, tenant int, uid text, url text, expected int, state int default 0, most int default 100, secrets int default 2,
    id text default null, job text default null, cursor bytea default null) returns text language sql volatile as $$
    select concat_ws(' ', (array['done', 'conflict', 'taken', 'full'])[verdict + 1], edition) from hookgate.endpoint_save_1(number, coalesce(id, 'ep_' || number), tenant, uid,
        state::smallint, timestamptz '2027-01-15 08:00:01.123+00', url, '{}', case when state < 6 then '\x00aa'::bytea end, job, cursor,
        array(select generate_series(1, secrets)), array(select 'secret-' || n from generate_series(1, secrets) n),
        array_fill(timestamptz '2027-01-15 08:00:00.123+00', array[secrets]), array(select case n when 1 then timestamptz '2027-01-16 08:00:00.123+00' end from generate_series(1, secrets) n),
        array(select decode('00ff0' || n, 'hex') from generate_series(1, secrets) n), expected, most, 'office', 'endpoint.save', 'acme', 'because')
$$;
do $$
declare t1 int; t2 int; t3 int; e1 int; e2 int; e3 int; r record; n int; before bigint;
begin
    perform hookgate_test.same((select count(*) from hookgate.tenants_1(null, 9)), 0::bigint, 'no tenants');
    perform hookgate_test.same(hookgate_test.tenant(0, 'list-b', '{}', null), 'done 1', 'made');
    select count(*) into before from hookgate.audit;
    for n in 1..2 loop perform hookgate_test.same(hookgate_test.tenant(0, 'list-b', '{}', null), 'done 1', 'repeated'); end loop;
    perform hookgate_test.same((select count(*) from hookgate.audit), before, 'and written down once');
    perform hookgate_test.same(hookgate_test.tenant(0, 'list-b', '[]', null), 'taken 1', 'another has the name');
    perform hookgate_test.tenant(0, 'list-a', '{}', null); perform hookgate_test.tenant(0, 'list-c', '{}', null);
    select number into t1 from hookgate.tenant_1('list-b'); select number into t2 from hookgate.tenant_1('list-a'); select number into t3 from hookgate.tenant_1('list-c');
    perform hookgate_test.holds(t1 >= 536870912 and t2 > t1 and t3 > t2, 'numbers only grow');
    perform hookgate_test.same((select array_agg(uid) from hookgate.tenants_1('list', 2)), array['list-a', 'list-b'], 'in the order of their names');
    perform hookgate_test.same((select array_agg(uid) from hookgate.tenants_1('list-b', 9)), array['list-c'], 'from one on');
    perform hookgate_test.same(hookgate_test.tenant(t1, 'list-b', '[1]', 1), 'done 2', 'changed');
    perform hookgate_test.same(hookgate_test.tenant(t1, 'list-b', '[1]', 1), 'done 2', 'repeated');
    perform hookgate_test.same(hookgate_test.tenant(t1, 'list-b', '[2]', 1), 'conflict 2', 'another edition');
    perform hookgate_test.same(hookgate_test.tenant(t1, 'list-a', '[1]', 2), 'taken 2', 'another name');
    perform hookgate_test.same(hookgate_test.tenant(t1 + 99, 'nobody', '{}', 1), 'conflict 0', 'nobody');
    perform hookgate_test.same((select concat_ws(' ', number = t1, edition, settings, created at time zone 'UTC') from hookgate.tenant_1('list-b')), 't 2 [1] 2027-01-15 08:00:00.123', 'as it is');
    -- endpoints
    e1 := hookgate.endpoint_reserve_1(); e2 := hookgate.endpoint_reserve_1(); e3 := hookgate.endpoint_reserve_1();
    perform hookgate_test.holds(e1 >= 1073741824 and e2 > e1, 'each call draws another');
    for n in 1..2 loop perform hookgate_test.same(hookgate_test.endpoint(e1, t1, 'main', 'https://a', null), 'done 1', 'made, and repeated'); end loop;
    perform hookgate_test.same(hookgate_test.endpoint(e1, t1, 'main', 'https://b', null), 'conflict 1', 'it is there');
    perform hookgate_test.same(hookgate_test.endpoint(e2, t1, 'main', 'https://b', null), 'taken 1', 'the name is');
    perform hookgate_test.same(hookgate_test.endpoint(e2, t1, null, 'https://b', null, 0, 1), 'full 1', 'one is allowed');
    perform hookgate_test.same(hookgate_test.endpoint(e2, t1, null, 'https://b', null), 'done 1', 'more are');
    perform hookgate_test.same(hookgate_test.endpoint(e3, t2, null, 'https://b', null, 0, 100, 2, 'ep_' || e1), 'conflict 1', 'another''s ID');
    perform hookgate_test.same(hookgate_test.endpoint(3, t2, null, 'https://b', null), 'conflict 1', 'no endpoint''s number');
    perform hookgate_test.same(hookgate_test.endpoint(e1, t2, 'main', 'https://a', 1), 'conflict 2', 'of another tenant');
    perform hookgate_test.same(hookgate_test.endpoint(e2, t1, 'main', 'https://b', 1), 'taken 2', 'renamed to a name that is taken');
    perform hookgate_test.same(hookgate_test.endpoint(e1, t1, 'main', 'https://c', 1), 'done 2', 'changed');
    perform hookgate_test.same(hookgate_test.endpoint(e1, t1, 'main', 'https://c', 1), 'done 2', 'repeated');
    perform hookgate_test.same(hookgate_test.endpoint(e1, t1, 'main', 'https://c', 1, 0, 100, 1), 'conflict 2', 'the row is the same, its secrets are not');
    perform hookgate_test.same(hookgate_test.endpoint(e1, t1, 'main', 'https://d', 3), 'conflict 4', 'another edition');
    update hookgate.secret set sealed = '\x55' where secret.endpoint = e1 and secret.n = 2;
    perform hookgate_test.same(hookgate_test.endpoint(e1, t1, 'main', 'https://c', 1), 'conflict 2', 'nor is one of its seals');
    update hookgate.secret set sealed = '\x00ff02' where secret.endpoint = e1 and secret.n = 2;
    perform hookgate_test.same(hookgate_test.endpoint(e3, t1, null, 'https://d', 1), 'conflict 2', 'nothing to change');
    select * into r from hookgate.endpoint_1(t1, 'ep_' || e1, null);
    perform hookgate_test.same(concat_ws(' ', r.number = e1, r.uid, r.edition, r.url, r.secret_n, r.secret_name, r.secret_ends[2] is null, r.h_since is null), 't main 2 https://c {1,2} {secret-1,secret-2} t t', 'whole');
    perform hookgate_test.same((select number from hookgate.endpoint_1(t1, null, 'main')), e1, 'by the app''s name');
    perform hookgate_test.same((select count(*) from hookgate.endpoint_1(t2, null, 'main')) + (select count(*) from hookgate.endpoint_1(t2, 'ep_' || e1, null)), 0::bigint, 'not another tenant''s');
    perform hookgate_test.same((select array_agg(number) from hookgate.endpoints_1(t1, 0, 9)), array[e1, e2], 'of a tenant');
    perform hookgate_test.same((select array_agg(number) from hookgate.endpoints_1(t1, e1, 9)), array[e2], 'from one on');
    perform hookgate_test.same((select array_agg(number) from hookgate.endpoints_of_1(array[e2, e3, e1])), array[e2, e1], 'in the given order');
    perform hookgate_test.same((select array_agg(concat_ws(' ', number - case when number < e1 then t1 else e1 end, name)) from hookgate.called_1(array[e1, 77, t1])), array['0 ep_' || e1, '0 list-b'], 'what they are called');
    perform hookgate_test.same(hookgate_test.endpoint(e2, t1, null, 'https://b', 1, 1, 100, 2, null, '{}', '\x01'), 'done 2', 'paused, with a job');
    perform hookgate_test.same((select array_agg(number || ' ' || state) from hookgate.inactive_1(0, 9)), array[e2 || ' 1'], 'inactive');
    perform hookgate_test.same((select array_agg(number) from hookgate.with_jobs_1(0, 9)), array[e2], 'with jobs');
    perform hookgate_test.same((select string_agg(concat_ws(':', coalesce(state, -1), count), ' ' order by state nulls first) from hookgate.address_counts_1()), '-1:3 0:1 1:1', 'counted');
    -- seals
    perform hookgate_test.same(hookgate.seal_check_1(), null::bytea, 'no seal yet');
    perform hookgate.seal_check_set_1('\x01'); perform hookgate.seal_check_set_1('\x0002');
    perform hookgate_test.same(hookgate.seal_check_1(), '\x0002'::bytea, 'the last');
    perform hookgate_test.same((select array_agg(concat_ws(' ', x.number - e1, x.n)) from hookgate.to_reseal_1(0, 1) x), array['0', '0 1', '0 2'], 'headers first');
    perform hookgate_test.same(hookgate.seals_without_1('\x00') || ' ' || hookgate.seals_without_1('\x00ff') || ' ' || hookgate.seals_without_1(''), '0 2 0', 'by prefix');
    perform hookgate_test.same(hookgate.reseal_1(e1, array[null, 1, 2], array['\x00aa', '\x00ff01', '\x77']::bytea[], array['\x01', '\x02', '\x03']::bytea[]), 2, 'only as they were read');
    perform hookgate_test.same(hookgate.reseal_1(e1, array[null, 1], array['\x00aa', '\x00ff01']::bytea[], array['\x01', '\x02']::bytea[]), 0, 'repeated');
    select * into r from hookgate.endpoint_1(t1, 'ep_' || e1, null);
    perform hookgate_test.same(concat_ws(' ', r.edition, r.sealed, r.secret_sealed[1], r.secret_sealed[2]), '3 \x01 \x02 \x00ff02', 'sealed again');
    -- removal
    perform hookgate_test.same(hookgate_test.endpoint(e1, t1, null, 'https://c', 3, 6, 100, 0), 'done 4', 'removed');
    perform hookgate_test.same((select concat_ws(' ', state, secret_n, sealed is null) from hookgate.endpoints_of_1(array[e1])), '6 {} t', 'its number stays');
    perform hookgate_test.same((select count(*) from hookgate.endpoints_1(t1, 0, 9)), 1::bigint, 'it is not listed');
    perform hookgate_test.same(hookgate_test.endpoint(e1, t1, null, 'https://c', 4), 'conflict 5', 'it does not come back');
    perform hookgate_test.same(hookgate_test.endpoint(e3, t1, 'main', 'https://c', null), 'done 1', 'its name is free');
    perform hookgate_test.same(hookgate_test.tenant(t3, 'list-c', '{}', 1, true), 'done 2', 'a tenant is removed');
    perform hookgate_test.same(hookgate_test.tenant(t3, 'list-c', '{}', 1, true), 'done 2', 'repeated');
    perform hookgate_test.same((select count(*) from hookgate.tenant_1('list-c')) + (select count(*) from hookgate.tenant_1('#' || t3)), 0::bigint, 'it is not found');
    perform hookgate_test.same((select name from hookgate.called_1(array[t3])), '#' || t3, 'its number stays');
    perform hookgate_test.same(hookgate_test.tenant(t3, 'list-c', '{}', 2), 'conflict 2', 'it does not come back');
    perform hookgate_test.same(hookgate_test.endpoint(hookgate.endpoint_reserve_1(), t3, null, 'https://c', null), 'conflict 1', 'and gets no endpoints');
    perform hookgate_test.same(hookgate_test.tenant(0, 'list-c', '{}', null), 'done 1', 'its name is free');
    perform hookgate_test.holds((select number from hookgate.tenant_1('list-c')) > t3, 'under another number');
end $$;

-- Events, and units of endpoints
do $$
declare a uuid; b uuid; c uuid; d uuid; r record; n int; tenant int := 536870912 + 500; e int[]; ids uuid[]; k text;
begin
    e := array(select 1073750100 + i from generate_series(0, 9) i);
    a := hookgate_test.id();
    perform hookgate_test.same(hookgate_test.event(a, tenant, 'order-1', '\x01', e[1:1], null, 0), 'new', 'an event');
    perform hookgate_test.same(hookgate_test.event(a, tenant, 'order-1', '\x01', e[1:1], null, 0), 'new', 'the same call');
    for n in 1..2 loop
        perform hookgate_test.same(hookgate_test.event(hookgate_test.id(), tenant, 'order-1', '\x01', e[1:1]), 'duplicate ' || a, 'the same meaning');
        perform hookgate_test.same(hookgate_test.event(hookgate_test.id(), tenant, 'order-1', '\x02', e[1:1]), 'other ' || a, 'another meaning');
        perform hookgate_test.settle(a, e[1], 1, 1, 0, 0, 200);
    end loop;
    perform hookgate_test.same(hookgate_test.event(hookgate_test.id(), tenant + 1, 'order-1', '\x02', e[2:2]), 'new', 'of another tenant');
    perform hookgate_test.same(hookgate_test.act(6, array[a]), 1::bigint, 'purged');
    perform hookgate_test.same(hookgate_test.event(hookgate_test.id(), tenant, 'order-1', '\x02', e[2:2]), 'new', 'the ID is free again');
    -- one whose delivery is gone with its day
    insert into hookgate.own_id values (tenant, 'old', hookgate_test.id(), '\x01');
    perform hookgate_test.same(hookgate_test.event(hookgate_test.id(), tenant, 'old', '\x02', e[2:2]), 'again', 'it is taken away');
    perform hookgate_test.same(hookgate_test.event(hookgate_test.id(), tenant, 'old', '\x02', e[2:2]), 'new', 'and free');
    insert into hookgate.own_id values (tenant, 'older', hookgate_test.id(), '\x01');
    perform hookgate_test.same((select done || ' ' || next from hookgate.own_sweep_1(0, 1000)), '1 0', 'or swept');
    -- versions are counted, and deleted with their delivery
    a := hookgate_test.id();
    perform hookgate_test.accept(a, e[3], 1, 0, null, null, false, null, '{}', null, 1, 'body', tenant, 'versions', '\x01', null, array['first', 'second']::bytea[]);
    perform hookgate_test.same(hookgate.version_1(a, 1) || hookgate.version_1(a, 2), 'firstsecond'::bytea, 'versions');
    perform hookgate_test.same(hookgate.version_1(a, 3), null::bytea, 'no such version');
    n := (select sum(bytes) from hookgate.counter where kind = 0 and number = tenant);
    perform hookgate_test.act(6, array[a], false, true);
    perform hookgate_test.same((select sum(bytes) from hookgate.counter where kind = 0 and number = tenant)::int, n - 6 - 11, 'bytes of all bodies');
    perform hookgate_test.same((select count(*) from hookgate.version where id = a), 0::bigint, 'gone');
    -- units of endpoints count for their tenant, and are shown in part
    tenant := tenant + 10; a := hookgate_test.id(); e := array(select 1073750200 + i from generate_series(0, 9) i);
    perform hookgate_test.event(a, tenant, 'five', '\x01', e[1:5]);
    perform hookgate_test.settle(id, target, lease, attempt, (array[0, 3, 4])[target - e[1] + 1], 0, 410, case target - e[1] when 1 then 1 end)
        from hookgate_test.lease(e[1:3], 1);
    perform hookgate_test.same(concat_ws(' ', hookgate_test.sums(0, tenant), hookgate_test.sums(1, tenant), hookgate_test.sums(2, tenant), hookgate_test.sums(3, tenant), hookgate_test.sums(1, e[1])), '1/31 2/0 2/0 1/0 0/0', 'sums of the tenant');
    perform hookgate_test.same((select string_agg(kind || ':' || rows, ' ' order by kind) from hookgate.sums_1(tenant)), '0:1 1:2 2:2 3:1', 'the same');
    perform hookgate_test.same((select array_agg(number - e[1] order by number, what) from hookgate.rows_1(array[a], null, null) where what in (1, 2)), array[1, 2, 3, 4], 'its units');
    perform hookgate_test.same((select array_agg(number - e[1] order by number, what) from hookgate.rows_1(array[a], null, 1) where what in (1, 2)), array[1, 3], 'the first of each table');
    perform hookgate_test.same((select array_agg(number - e[1]) from hookgate.rows_1(array[a], e[4], null) where what in (1, 2)), array[3], 'one target''s');
    perform hookgate_test.same((select string_agg(concat_ws(' ', target - e[1], number, status, facts), ',') from hookgate.attempts_1(e[1], null, null, 9)), '0 1 410 \x05', 'attempts of an endpoint');
    perform hookgate_test.same((select array_agg(target - e[1]) from hookgate.attempts_1(null, a, null, 2)), array[2, 1, null], 'of a delivery, the newest first');
    perform hookgate_test.same((select array_agg(target - e[1]) from hookgate.attempts_1(null, a, (select entry from hookgate.attempts_1(null, a, null, 2) where target is null), 2)), array[0], 'from a position on');
    perform hookgate_test.same(hookgate_test.act(6, array[a], false, true), 1::bigint, 'purged');
    perform hookgate_test.same((select string_agg(kind || ':' || rows || ':' || bytes, ' ' order by kind) from hookgate.sums_1(tenant)), '0:0:0 1:0:0 2:0:0 3:0:0', 'to the last byte');
    -- a missing unit is added once
    a := hookgate_test.id();
    perform hookgate_test.event(a, tenant, 'missing', '\x01', e[6:6], null, 0);
    perform hookgate_test.settle(a, e[6], 1, 1, 0, 0, 200);
    perform hookgate_test.same(hookgate_test.act(5, array[a], false, false, array[tenant + 1], e[6:7]), 0::bigint, 'not its scope');
    perform hookgate_test.same(hookgate_test.act(5, array[a], false, false, array[tenant], e[6:7]) || ' ' || hookgate_test.act(5, array[a], false, false, null, e[6:7]), '1 0', 'added once');
    perform hookgate_test.same((select (attempt, tries, cause)::text from hookgate_test.lease(e[6:7], 9)), '(1,0,1)', 'due now');
    perform hookgate_test.settle(a, e[7], 1, 1, 3, 0, 500, 2);
    perform hookgate_test.same(hookgate_test.act(0, array[a], false, false, null, e[7:7]) || ' ' || hookgate_test.act(0, array[a], false, false, null, e[6:6]), '1 0', 'of one target');
    perform hookgate_test.same((select attempt from hookgate_test.lease(e[7:7], 9)), 2, 'numbers of attempts only grow');
    -- made dead because of a pause, as long as the endpoint is paused
    a := hookgate_test.id();
    perform hookgate_test.event(a, tenant, 'paused', '\x01', e[8:8]);
    insert into hookgate.endpoint (number, id, tenant, edition, state, since, url, settings) values (e[8], 'x8', tenant, 1, 0, now(), '', '');
    perform hookgate_test.same(hookgate_test.act(4, array[a], false, false, null, e[8:8], 3), 0::bigint, 'it is active again');
    update hookgate.endpoint set state = 2 where number = e[8];
    perform hookgate_test.same(hookgate.waiting_for_inactive_1(), 1::bigint, 'it waits for a paused one');
    perform hookgate_test.same(hookgate_test.act(4, array[a], false, false, null, e[8:8], 3), 1::bigint, 'it is paused');
    perform hookgate_test.same((select reason from hookgate.dead where id = a), 3, 'the reason');
    -- an endpoint that is being removed gets no units
    update hookgate.endpoint set state = 5 where number = e[8];
    b := hookgate_test.id();
    perform hookgate_test.same(hookgate_test.event(b, tenant, 'removing', '\x01', e[8:9], null, 0), 'new', 'accepted');
    perform hookgate_test.same(hookgate_test.state(b, e[8]) || ' ' || hookgate_test.state(b, e[9]) || ' ' || (select reason from hookgate.dead where id = b), 'dead pending 4', 'dead at once');
    perform hookgate_test.same(hookgate_test.act(0, array[a]), 1::bigint, 'a replay');
    perform hookgate_test.same((select concat_ws(' ', hookgate_test.state(a), reason) from hookgate.dead where id = a), 'dead 4', 'is dead again');
    update hookgate.endpoint set state = 0 where number = e[8];
    perform hookgate_test.act(0, array[a]);
    update hookgate.endpoint set state = 6 where number = e[8];
    perform hookgate_test.same(hookgate.removed_units_1(100) || ' ' || hookgate_test.state(a), '1 dead', 'what is left of a removed one ends');
    -- the lane of an endpoint waits for older units in no lane, and ends although newer ones come
    e := array[1073760001]; ids := array(select hookgate_test.id() from generate_series(1, 6));
    perform hookgate_test.event(ids[1], tenant, 'l1', '\x01', e); perform hookgate_test.event(ids[2], tenant, 'l2', '\x01', e);
    perform hookgate_test.event(ids[3], tenant, 'l3', '\x01', e, '\x09'); perform hookgate_test.event(ids[4], tenant, 'l4', '\x01', e, '\x09');
    perform hookgate_test.same(hookgate_test.take(e[1], 9), ids[1:2], 'those in no lane');
    perform hookgate_test.same((select blocked from hookgate.lane where target = e[1]), true, 'the lane is blocked');
    perform hookgate_test.settle(ids[1], e[1], 1, 1, 0, 0, 200);
    perform hookgate_test.same(hookgate_test.take(e[1], 9), '{}'::uuid[], 'one is left');
    perform hookgate_test.event(ids[5], tenant, 'l5', '\x01', e); perform hookgate_test.pass('1 ms');
    perform hookgate_test.settle(ids[2], e[1], 1, 1, 3, 0, 500, 1);
    perform hookgate_test.same((select array_agg(x order by x) from unnest(hookgate_test.take(e[1], 9)) x), array[ids[3], ids[5]], 'the lane goes on, beside a newer one');
    perform hookgate_test.settle(ids[3], e[1], 1, 1, 0, 0, 200);
    perform hookgate_test.same(hookgate_test.take(e[1], 9), array[ids[4]], 'to its end');
    perform hookgate_test.same((select blocked || ' ' || waiting from hookgate.lane where target = e[1]), 'false 1', 'not blocked');
    -- the first of a lane does not wait for a newer unit in no lane, the second does
    e := array[1073760002]; ids := array(select hookgate_test.id() from generate_series(1, 3));
    perform hookgate_test.event(ids[1], tenant, 'm1', '\x01', e, '\x09'); perform hookgate_test.event(ids[2], tenant, 'm2', '\x01', e); perform hookgate_test.event(ids[3], tenant, 'm3', '\x01', e, '\x09');
    perform hookgate_test.same((select array_agg(x order by x) from unnest(hookgate_test.take(e[1], 9)) x), ids[1:2], 'both are due');
    perform hookgate_test.settle(ids[1], e[1], 1, 1, 0, 0, 200);
    perform hookgate_test.same(hookgate_test.take(e[1], 9), '{}'::uuid[], 'the next one waits');
    -- what a lost wake would leave
    delete from hookgate.due where id = ids[2]; update hookgate.counter set rows = rows - 1 where ctid = (select ctid from hookgate.counter where kind = 1 and number = tenant limit 1);
    perform hookgate.lanes_sweep_1(100);
    perform hookgate_test.same(hookgate_test.take(e[1], 9), ids[3:3], 'is found by the sweep');
end $$;

-- Health, and changes that depend on it
create function hookgate_test.change(number int, tenant int, state int, expected int, failing_since timestamptz, acts int[], act_ids uuid[], notice uuid default null,
    job text default null) returns text language sql volatile as $$
    select concat_ws(' ', (array['done', 'conflict', 'taken'])[verdict + 1], edition) from hookgate.endpoint_change_1(number, 'ep_' || number, tenant, null, state::smallint,
        timestamptz '2027-01-15 08:00:01.123+00', 'https://x', '{}', null, job, null, '{}', '{}', '{}', '{}', '{}', expected, failing_since,
        acts, array_fill(1::smallint, array[cardinality(acts)]), array_fill(false, array[cardinality(acts)]), array_fill(3, array[cardinality(acts)]),
        array_fill(null::bytea, array[cardinality(acts)]), array_fill(1, array[cardinality(act_ids)]), act_ids,
        notice, 700, null, 'endpoint.paused', '\x0101', 'notice', array[700], array[null::bytea], array[1::smallint], array[0::bigint], 'gateway', 'pause', 'acme', 'because')
$$;
create function hookgate_test.health(of_number int) returns text language sql as $$
    select concat_ws(' ', extract(epoch from hookgate.store_time() - since)::int, failures, hours, extract(epoch from hookgate.store_time() - last)::int, coalesce(status::text, cause), notified)
    from hookgate.health where endpoint = of_number
$$;
-- Attempts the one unit of an endpoint, and lets it be due again.
create function hookgate_test.attempt(of_endpoint int, act int, status int, error text default null) returns int language plpgsql as $$
declare r record;
begin
    select * into r from hookgate_test.lease(array[of_endpoint], 1);
    return hookgate_test.settle(r.id, of_endpoint, r.lease, r.attempt, act, 0, status, 1, error);
end $$;
create function hookgate_test.notified(number int, since timestamptz, notified int, notice uuid) returns boolean language sql as $$
    select hookgate.notified_1(number, since, notified::smallint, notice, 700, null, 'endpoint.failing', '\x0101', 'notice', array[700], array[null::bytea], array[1::smallint], array[0::bigint])
$$;
do $$
declare t int; e int; a uuid := hookgate_test.id(); b uuid := hookgate_test.id(); s timestamptz; n uuid; before bigint; r record;
begin
    perform hookgate_test.tenant(0, 'health', '{}', null);
    select number into t from hookgate.tenant_1('health');
    e := hookgate.endpoint_reserve_1();
    perform hookgate.endpoint_save_1(e, 'ep_' || e, t, null, 0::smallint, timestamptz '2027-01-15 08:00:01.123+00', 'https://x', '{}', null, null, null, '{}', '{}', '{}', '{}', '{}', null, 9, null, null, null, null);
    perform hookgate_test.event(a, t, 'a', '\x01', array[e]);
    perform hookgate_test.attempt(e, 1, 200);
    perform hookgate_test.same(hookgate_test.health(e), '0 1 1 0 200 0', 'a failure');
    perform hookgate_test.pass('30 min');
    perform hookgate_test.attempt(e, 2, null, 'timeout');
    perform hookgate_test.pass('60 min');
    perform hookgate_test.attempt(e, 1, 503);
    perform hookgate_test.attempt(e, 5, null);
    perform hookgate_test.same((select concat_ws(' ', failures, hours between 2 and 3, status, cause, first = a) from hookgate.health where endpoint = e), '3 t 503 t', 'a streak');
    perform hookgate_test.same((select concat_ws(' ', number = e, tenant = t, state, h_failures, h_notified) from hookgate.unhealthy_1(0, 9)), 't t 0 3 0', 'it is listed');
    perform hookgate_test.same((select h_failures from hookgate.endpoint_1(t, 'ep_' || e, null)), 3, 'and shown');
    select since into s from hookgate.health where endpoint = e;
    perform hookgate_test.same(s, date_trunc('milliseconds', s), 'in whole milliseconds');
    n := hookgate_test.id();
    perform hookgate_test.same(hookgate_test.notified(e, s + interval '1 ms', 2, n), false, 'other failures');
    perform hookgate_test.same(hookgate_test.notified(e, s, null, n), false, 'it is not over');
    perform hookgate_test.same(hookgate_test.notified(e, s, 2, n), true, 'noted');
    perform hookgate_test.same(hookgate_test.notified(e, s, 2, n), false, 'once');
    perform hookgate_test.same(hookgate_test.take(700, 9), array[n], 'with its notification');
    perform hookgate_test.attempt(e, 1, 503);
    perform hookgate_test.same((select failures || ' ' || notified from hookgate.health where endpoint = e), '4 2', 'the streak goes on');
    -- a pause, with the acts on its units, all or nothing
    select count(*) into before from hookgate.audit;
    perform hookgate_test.same(hookgate_test.change(e, t, 2, 1, s - interval '1 s', array[3], array[a]), 'conflict 1', 'it fails since another time');
    perform hookgate_test.same(hookgate_test.change(e, t, 2, 7, s, array[3], array[a]), 'conflict 8', 'another edition');
    perform hookgate_test.same(hookgate_test.state(a), 'retrying', 'nothing was done');
    n := hookgate_test.id();
    perform hookgate_test.same(hookgate_test.change(e, t, 2, 1, s, array[3], array[a], n), 'done 2', 'paused');
    perform hookgate_test.same(hookgate_test.state(a), 'cancelled', 'and its event cancelled');
    perform hookgate_test.same(hookgate_test.change(e, t, 2, 1, s, array[0], array[a], n), 'done 2', 'repeated');
    perform hookgate_test.same(hookgate_test.state(a) || ' ' || (select count(*) from hookgate.audit) - before, 'cancelled 1', 'and nothing changed');
    perform hookgate_test.same(hookgate_test.take(700, 9), array[n], 'with its notification');
    perform hookgate_test.same((select failures from hookgate.health where endpoint = e), 4, 'a pause keeps its health');
    perform hookgate_test.same(hookgate_test.change(e, t, 4, 2, null, array[0], array[a], null, '{}'), 'done 3', 'resumed by a job');
    perform hookgate_test.same(hookgate_test.state(a), 'pending', 'which replays');
    -- a success ends the streak, and the app is told
    perform hookgate_test.attempt(e, 0, 200);
    perform hookgate_test.same((select notified from hookgate.health where endpoint = e), 255::smallint, 'over');
    perform hookgate_test.same(hookgate_test.change(e, t, 2, 3, s, '{}', '{}'), 'conflict 3', 'it does not fail any more');
    perform hookgate_test.event(b, t, 'b', '\x01', array[e]);
    perform hookgate_test.attempt(e, 1, 500);
    perform hookgate_test.same((select failures || ' ' || notified || ' ' || (first = b) from hookgate.health where endpoint = e), '1 1 true', 'a new streak, before the app was told of the end of the last');
    perform hookgate_test.attempt(e, 1, 200); perform hookgate_test.attempt(e, 0, 200);
    select since into s from hookgate.health where endpoint = e;
    perform hookgate_test.same(hookgate_test.notified(e, s, 3, hookgate_test.id()), false, 'no warning about what is over');
    perform hookgate_test.same(hookgate_test.notified(e, s, null, hookgate_test.id()), true, 'told');
    perform hookgate_test.same((select count(*) from hookgate.health where endpoint = e), 0::bigint, 'and forgotten');
    perform hookgate_test.event(hookgate_test.id(), t, 'c', '\x01', array[e]);
    perform hookgate_test.attempt(e, 1, 500);
    perform hookgate_test.attempt(e, 0, 200);
    perform hookgate_test.same((select count(*) from hookgate.health where endpoint = e), 0::bigint, 'a success forgets what nobody was told of');
    perform hookgate_test.event(hookgate_test.id(), t, 'd', '\x01', array[e, e + 1]);
    perform hookgate_test.attempt(e + 1, 1, 500);
    perform hookgate_test.same((select count(*) from hookgate.health where endpoint = e + 1), 0::bigint, 'there is no such endpoint');
    perform hookgate_test.attempt(e, 1, 500);
    perform hookgate_test.same(hookgate_test.change(e, t, 0, 3, null, '{}', '{}'), 'done 4', 'it becomes active');
    perform hookgate_test.same((select count(*) from hookgate.health where endpoint = e), 0::bigint, 'and has no health');
    -- several outcomes of one endpoint in one call, in their order
    insert into hookgate.health values (e, s, 5, 1, s, 500, null, a, 0);
    perform hookgate.note_health(array[a, a, b], array[e, e, e], array[-1, 1, -1], array[500, 200, 502], array[null, null, null]::text[]);
    perform hookgate_test.same((select failures || ' ' || status from hookgate.health where endpoint = e), '1 502', 'the last begins a streak');
end $$;

-- Retention, days, maintenance, limits
do $$
declare a uuid; b uuid; c uuid; d uuid; r record; zero uuid := '00000000-0000-0000-0000-000000000000'; old date; n int; ids uuid[]; text1 text;
begin
    a := hookgate_test.id(); b := hookgate_test.id(); c := hookgate_test.id(); d := hookgate_test.id();
    perform hookgate_test.accept(a, 40, 1, 0); perform hookgate_test.accept(b, 40, 2); perform hookgate_test.accept(c, 40, 3, null, '\x99', null, true, null, '{}', 400); perform hookgate_test.accept(d, 40, 2);
    perform hookgate_test.same((select done from hookgate.sweep_1(40, 3600000, 7200000, null, true, zero, 99)), 0::bigint, 'young');
    perform hookgate_test.same((select concat_ws(' ', done, next, over) from hookgate.sweep_1(40, 3600000, 7200000, 3 * 518, false, zero, 99)), '1 f', 'the oldest that does not wait');
    perform hookgate_test.same(concat_ws(' ', hookgate_test.state(a), hookgate_test.state(b), hookgate_test.state(c), hookgate_test.state(d)), 'pending dead delivered', 'the others stay');
    perform hookgate_test.same((select concat_ws(' ', done, over) from hookgate.sweep_1(40, null, null, 518, false, zero, 99)), '1 t', 'dead ones outlive delivered ones');
    perform hookgate_test.same((select concat_ws(' ', done, over) from hookgate.sweep_1(40, null, null, 518, true, zero, 99)), '1 f', 'but not for ever');
    perform hookgate_test.same(hookgate_test.claim('\x99', 1), 'fresh', 'and they take their IDs with them');
    -- a delivery leaves the room of its attempts and versions too
    ids := array(select hookgate_test.id() from generate_series(1, 4));
    perform hookgate_test.accept(i, 48, 2, null, null, null, true, null, '{503,503}', null, 1, 'body', null, null, null, null, array['v1']::bytea[]) from unnest(ids) i;
    perform hookgate_test.same((select concat_ws(' ', done, over) from hookgate.sweep_1(48, null, null, 3 * (6 + 2 * 7 + 2 + 512), true, zero, 99)), '1 f', 'so one is enough');
    perform hookgate_test.same((select concat_ws(' ', done, next, over) from hookgate.sweep_1(48, null, null, 1000000, true, zero, 2)), '0 f', 'while no age counts, nothing is looked at in vain');
    -- age counts from the end
    a := hookgate_test.id(); perform hookgate_test.accept(a, 41, 0); perform hookgate_test.pass('50 min'); perform hookgate_test.settle(a, 41, 1, 1, 0, 0, 200);
    perform hookgate_test.pass('20 min');
    perform hookgate_test.same((select done from hookgate.sweep_1(41, 3600000, 7200000, null, true, zero, 99)), 0::bigint, 'it ended less than an hour ago');
    perform hookgate_test.pass('41 min');
    perform hookgate_test.same((select concat_ws(' ', done, next) from hookgate.sweep_1(41, 3600000, 7200000, null, true, zero, 99)), '1', 'over');
    perform hookgate_test.same(hookgate_test.sums(0, 41), '0/0', 'to the last byte');
    -- in steps
    ids := array(select hookgate_test.id() from generate_series(1, 9));
    perform hookgate_test.accept(i, 42, 2) from unnest(ids) i;
    perform hookgate_test.pass('2 h');
    select * into r from hookgate.sweep_1(42, 3600000, 3600000, null, true, zero, 4);
    perform hookgate_test.same((r.done, r.next)::text, format('(4,%s)', ids[4]), 'a step');
    perform hookgate_test.same((select done from hookgate.sweep_1(42, 3600000, 3600000, null, true, r.next, 99)), 5::bigint, 'the rest');
    perform hookgate_test.same((select count(*) from hookgate.origins_1(41, 1)), 1::bigint, 'origins with deliveries');
    perform hookgate_test.holds(not exists (select from hookgate.origins_1(0, 1000) where number = 42), 'but none without');
    -- a day ends: what waits, is dead, or ended lately stays
    old := (hookgate.store_time() at time zone 'UTC')::date - 20;
    perform hookgate_test.same(hookgate.days_make_1(7, old) >= 3, true, 'tables of a day');
    perform hookgate_test.same(hookgate.days_make_1(7, old), 0, 'once');
    ids := array(select overlay(hookgate.first_id(old)::text placing lpad(to_hex(i), 12, '0') from 25)::uuid from generate_series(1, 5) i);
    perform hookgate_test.accept(ids[1], 43, 0, 20000, '\xa1', null, true, null, '{}', null, 100000000000);
    perform hookgate_test.accept(ids[2], 43, 1, 1000, '\xa2');
    perform hookgate_test.accept(ids[3], 43, 3, null, '\xa3', null, true, null, '{400}', 400);
    perform hookgate_test.accept(ids[4], 43, 0, 20000, null, null, true, null, '{}', null, 1, 'body', null, null, null, null, array['v1']::bytea[]);
    perform hookgate_test.accept(ids[5], 44, 0);
    perform hookgate_test.settle(ids[1], 43, 1, 1, 0, 0, 200); perform hookgate_test.settle(ids[5], 44, 1, 1, 0, 0, 200);
    perform hookgate_test.pass('10 days');
    perform hookgate_test.settle(ids[4], 43, 1, 1, 0, 0, 200);
    perform hookgate_test.same((select array_agg(origin order by origin) from hookgate.days_1() where day = old and origin is not null), array[43, 44], 'origins of the day');
    set constraints all immediate;
    perform hookgate_test.same(hookgate.day_end_1(old, array[43], array[86400000::bigint], 864000001, 1), 'many 2', 'too many stay');
    perform hookgate_test.same(hookgate.day_end_1(old, array[43], array[86400000::bigint], 864000001, 9), 'kept 4', 'what ended less than its age ago stays too');
    perform hookgate_test.same(concat_ws(' ', hookgate_test.state(ids[1]), hookgate_test.state(ids[2]), hookgate_test.state(ids[3]), hookgate_test.state(ids[4]), hookgate_test.state(ids[5])), 'pending dead delivered delivered', 'one is gone');
    perform hookgate_test.same((select sum(rows) || '/' || sum(bytes) from hookgate.counter where kind = 0 and day = old), '4/49', 'its sums are right');
    perform hookgate_test.same((select (verdict, other)::text from hookgate_test.accept(hookgate_test.id(), 43, 1, 0, '\xa1')), '(1,)', 'its ID is remembered');
    perform hookgate_test.same(hookgate.version_1(ids[4], 1), 'v1'::bytea, 'versions stay with their deliveries');
    perform hookgate_test.pass('11 days');
    perform hookgate_test.same(hookgate.day_end_1(old, array[43], array[86400000::bigint], 86400000, 9), 'kept 2', 'later only what waits or is dead');
    perform hookgate_test.act(6, ids, false, true);
    perform hookgate_test.same((select count(*) from hookgate.days_1() where day = old), 1::bigint, 'a day without deliveries has a table');
    perform hookgate_test.same(hookgate.day_end_1(old, '{}', '{}', 86400000, 9), 'gone', 'then it is gone');
    perform hookgate_test.same(hookgate.day_end_1(old, '{}', '{}', 86400000, 9), 'gone', 'repeated');
    begin
        perform hookgate_test.accept(ids[1], 43, 1, 0);
        perform hookgate_test.holds(false, 'there is no table for it');
    exception when check_violation then perform nextval('hookgate_test.held'); end;
    -- tasks
    perform hookgate_test.same(hookgate.maintenance_1('rows', 60000), 0::bigint, 'due');
    perform hookgate_test.same(hookgate.maintenance_1('rows', 60000), null::bigint, 'another has it');
    perform hookgate.maintenance_set_1('rows', 77, 1000);
    perform hookgate_test.pass('1 s');
    perform hookgate_test.same(hookgate.maintenance_1('rows', 60000), 77::bigint, 'it goes on');
    perform hookgate_test.same(hookgate.maintenance_1('nothing', 60000), null::bigint, 'no such task');
    perform hookgate_test.same((select next from hookgate.ledger_sweep_1(0, 10000)), 0::bigint, 'the whole ledger');
    perform hookgate_test.same((select count(*) from hookgate.ledger l where (l.state = 2 and l.until <= hookgate.store_time() and not hookgate.waits(l.delivery)) or (l.state = 1 and l.until < hookgate.store_time() - interval '1 h')), 0::bigint, 'what has ended is gone');
    perform hookgate_test.holds(hookgate.size_1() > 100000, 'it has a size');
    -- gateways
    perform hookgate.keep_1(array['g'], array['\x01'::bytea]);
    select * into r from hookgate.heartbeat_1(hookgate_test.token(1), '0.2', 'x', 1, 'host-1', '{}');
    perform hookgate_test.same(concat_ws(' ', r.gates, r.hashes, r.versions, r.standby, r.writable, r.ledger_bytes > 0), '1 1 1 none t t', 'alone');
    perform hookgate_test.pass('10 s');
    select * into r from hookgate.heartbeat_1(hookgate_test.token(2), '0.3', 'y', 1, 'host-2', '{}');
    perform hookgate_test.same(concat_ws(' ', r.gates, r.hashes, r.versions, 'days' = any(r.due)), '2 2 2 t', 'two');
    perform hookgate_test.pass('20 s'); perform hookgate.heartbeat_1(hookgate_test.token(3), '0.2', 'x', 1, 'host-1', '{}');
    perform hookgate.keep_1(array['g'], array['\x01'::bytea]);
    perform hookgate_test.pass('35 s'); perform hookgate.heartbeat_1(hookgate_test.token(3), '0.2', 'x', 1, 'host-1', '{}');
    perform hookgate.keep_1(array['g'], array['\x01'::bytea]);
    perform hookgate_test.same((select complete_ms from hookgate.recall_1(array['g'], array['\x00'::bytea])), 0::bigint, 'the first vanished, although its host came back: a gap');
    perform hookgate_test.pass('10 s'); perform hookgate.heartbeat_1(hookgate_test.token(3), '0.2', 'x', 1, 'host-1', '{}');
    perform hookgate_test.same((select complete_ms from hookgate.recall_1(array['g'], array['\x00'::bytea])), 0::bigint, 'the second vanished: a gap');
    perform hookgate.goodbye_1(hookgate_test.token(3));
    perform hookgate_test.pass('30 s'); perform hookgate.keep_1(array['g'], array['\x01'::bytea]); perform hookgate_test.pass('35 s'); perform hookgate.heartbeat_1(hookgate_test.token(4), '0.2', 'x', 1, 'host-4', '{}');
    perform hookgate_test.same((select complete_ms from hookgate.recall_1(array['g'], array['\x00'::bytea])), 65000::bigint, 'who says goodbye leaves none');
    -- limits: a burst, then by time; what was spent ahead is charged
    select * into r from hookgate.reserve_1(array['\x01'::bytea], array[10000::bigint], array[100], array[60], array[0]);
    perform hookgate_test.same((r.granted, r.wait_us)::text, '(60,0)', 'of a burst');
    select * into r from hookgate.reserve_1(array['\x01'::bytea], array[10000::bigint], array[100], array[60], array[10]);
    perform hookgate_test.same((r.granted, r.wait_us)::text, '(30,10000)', 'the rest of it, without what was spent');
    perform hookgate_test.pass('250 ms');
    select * into r from hookgate.reserve_1(array['\x01'::bytea], array[10000::bigint], array[100], array[60], array[0]);
    perform hookgate_test.same(r.granted, 25, 'what came back since');
    perform hookgate_test.same(hookgate.buckets_sweep_1(), 0::bigint, 'it is not whole');
    perform hookgate_test.pass('2 s');
    perform hookgate_test.same(hookgate.buckets_sweep_1(), 1::bigint, 'now it is');
    -- matches of secrets: gateways add them up; a secret is watched anew after a gap, and forgotten after a while
    perform hookgate_test.same((select string_agg(s::text, ' ' order by ord) from hookgate.secret_matches_1(array['\x02'::bytea, '\x01'], array[0::bigint, 2],
        array[null::bigint, 500], 3600000, 7200000) s), '(1,0,,0) (2,2,500,0)', 'new secrets');
    perform hookgate_test.pass('1 s');
    perform hookgate_test.same((select string_agg(s::text, ' ' order by ord) from hookgate.secret_matches_1(array['\x01'::bytea], array[1::bigint],
        array[2000::bigint], 3600000, 7200000) s), '(1,3,1500,1000)', 'an earlier match of another gateway');
    perform hookgate_test.pass('3601 s');
    perform hookgate_test.same((select string_agg(s::text, ' ' order by ord) from hookgate.secret_matches_1(array['\x01'::bytea], array[0::bigint],
        array[null::bigint], 3600000, 7200000) s), '(1,3,3602500,0)', 'a gap');
    perform hookgate_test.pass('3600 s');
    perform hookgate.secret_matches_1(array['\x01'::bytea], array[0::bigint], array[null::bigint], 3600000, 7200000);
    perform hookgate_test.same((select count(*) from hookgate.secret_match), 1::bigint, 'the other is forgotten');
end $$;

-- The rules that hold at any time, after all of this
-- Returns sums that are not what the rows add up to.
create function hookgate_test.differences() returns table (kind int, number int, is_rows bigint, is_bytes bigint, rows bigint, bytes bigint) language sql as $$
    with k as (select kind::int, number, sum(rows)::bigint as r, sum(bytes)::bigint as b from hookgate.counter group by 1, 2),
    u as (select case when target >= 1073741824 then origin else target end as number, 1 as kind from hookgate.due
        union all select case when target >= 1073741824 then origin else target end, 2 from hookgate.dead
        union all select case when target >= 1073741824 then origin else target end, 3 from hookgate.dead where reason is null),
    s as (select kind, number, count(*) as r, 0::bigint as b from u group by 1, 2
        union all select 0, d.origin, count(*), sum(octet_length(d.record) + octet_length(d.body)
            + coalesce((select sum(octet_length(a.head) + octet_length(a.body) + coalesce(octet_length(a.facts), 0)) from hookgate.attempt a where a.id = d.id), 0)
            + coalesce((select sum(octet_length(v.body)) from hookgate.version v where v.id = d.id), 0))::bigint from hookgate.delivery d group by 2)
    select kind, number, k.r, k.b, s.r, s.b from k full join s using (kind, number) where coalesce(k.r, 0) <> coalesce(s.r, 0) or coalesce(k.b, 0) <> coalesce(s.b, 0)
$$;
do $$ begin
    perform hookgate_test.same((select count(*) from hookgate.due join hookgate.dead using (id, target)), 0::bigint, 'no unit is in both tables');
    perform hookgate_test.same((select count(*) from (select id from hookgate.due union all select id from hookgate.dead union all select id from hookgate.attempt union all select id from hookgate.version) u
        where not exists (select from hookgate.delivery d where d.id = u.id)), 0::bigint, 'nothing is without its delivery');
    perform hookgate_test.same((select count(*) from hookgate.lane y where waiting <> (select count(*) from hookgate.due d where d.target = y.target and d.lane = y.lane)), 0::bigint, 'lanes are counted');
    perform hookgate_test.same((select count(*) from hookgate_test.differences()), 0::bigint, 'sums are right');
end $$;
select 'self-test: ' || last_value || ' assertions held' as said from hookgate_test.held \gset
rollback;
\echo :said
