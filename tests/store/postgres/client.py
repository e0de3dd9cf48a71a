"""Calls of the store's functions, as a gateway makes them: arrays in, rows out, unnamed statements."""
import datetime
import os
import random
import threading
import time
import uuid

import psycopg

NOW = lambda: datetime.datetime.now(datetime.timezone.utc)
REPEATED = (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable, psycopg.errors.SerializationFailure,
            psycopg.errors.QueryCanceled)

ACCEPT = """select ord, verdict, other, ms, target, lease, attempt from hookgate.accept_1(%s::bytea[], %s::uuid[], %s::bigint[], %s::bool[], %s::bytea[],
    %s::uuid[], %s::int[], %s::bytea[], %s::text[], %s::text[], %s::bytea[], %s::bytea[],
    %s::int[], %s::int[], %s::bytea[], %s::smallint[], %s::bigint[], %s::int[], %s::int[],
    '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')"""
SETTLE = """select ord, verdict from hookgate.settle_1(%s::uuid[], %s::int[], %s::int[], %s::int[], %s::smallint[], %s::bigint[], %s::int[], %s::bool[],
    %s::smallint[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::text[], %s::text[], %s::bytea[], %s::bytea[], %s::bytea[])"""
SETTLE_LATE = """select ord, verdict from hookgate.settle_late_1(%s::uuid[], %s::int[], %s::int[], %s::int[], %s::smallint[], %s::timestamptz[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::text[], %s::text[], %s::bytea[], %s::bytea[], %s::bytea[])"""
LEASE = """select id, target, lease, attempt, attempt_count, lane, body from hookgate.lease_1(%s::int[], %s::int[], %s::bigint[], %s::smallint[], null, null,
    null, null, %s, 0, 33554432)"""
ACT = "select done, audit from hookgate.act_1(%s, %s::uuid[], null, %s::int[], 1::smallint, %s, 3, %s, %s, 'a', 'w', 'r', null)"


def connect():
    connection = psycopg.connect(os.environ["DSN"], autocommit=True)
    connection.prepare_threshold = None
    return connection


_last = [0]
_lock = threading.Lock()


def new_id(ms=None):
    """Draws a UUIDv7, later than the one before."""
    with _lock:
        _last[0] += 1
        number = _last[0]
    ms = int(time.time() * 1000) if ms is None else ms
    return uuid.UUID(int=(ms << 80) | (7 << 76) | ((number & 0xFFF) << 64) | (2 << 62) | random.getrandbits(62))


def accept(connection, items):
    """Accepts deliveries, each a dict: id, key, token, window, revive, digest, own, origin, body, and units: (target, lane, kind, ms)."""
    ids = [item["id"] for item in items]
    units = [(at, *unit) for at, item in enumerate(items, 1) for unit in item["units"]]
    column = lambda place: [unit[place] for unit in units]
    of = lambda name, default: [item.get(name, default) for item in items]
    parameters = (of("key", None), [item.get("token") or item["id"] for item in items], of("window", 3_600_000), of("revive", True), of("digest", None), ids,
                  [item.get("origin", item["units"][0][0]) for item in items], [None] * len(items), [item.get("own") or f"evt_{item['id']}" for item in items],
                  ["push"] * len(items), [b"\x01\x01" + b"h" * 200] * len(items), of("body", b"b" * 1024),
                  column(0), column(1), column(2), column(3), column(4), [None] * len(units), [0] * len(units))
    return connection.execute(ACCEPT, parameters, binary=True).fetchall()


def settle(connection, items):
    """Settles units: (id, target, lease, attempt, act, delay, reason, status); without a status no attempt was made."""
    count = len(items)
    column = lambda place: [item[place] for item in items]
    parameters = (column(0), column(1), column(2), column(3), column(4), column(5), column(6), [status is not None for status in column(7)],
                  [0] * count, [NOW()] * count, [12] * count, [None] * count, [None] * count, column(7), [None] * count, ["127.0.0.1:80"] * count,
                  [b"\0" * 100] * count, [b"answer"] * count, [b"\x05"] * count)
    rows = connection.execute(SETTLE, parameters, binary=True).fetchall()
    late = [items[ord - 1] for ord, verdict in rows if verdict == 3]
    if late:
        settle_late(connection, late)
    return rows


def settle_late(connection, items):
    count = len(items)
    column = lambda place: [item[place] for item in items]
    parameters = (column(0), column(1), column(2), column(3), [0] * count, [NOW()] * count, [12] * count, [None] * count, [None] * count, column(7),
                  [None] * count, ["127.0.0.1:80"] * count, [b"\0" * 100] * count, [b"answer"] * count, [b"\x05"] * count)
    return connection.execute(SETTLE_LATE, parameters, binary=True).fetchall()


def lease(connection, wanted, ms=20_000):
    """Leases units: wanted has (target, count)."""
    count = len(wanted)
    parameters = ([target for target, _ in wanted], [number for _, number in wanted], [0] * count, [random.randint(0, 1) for _ in wanted], ms)
    return connection.execute(LEASE, parameters, binary=True).fetchall()


def claim(connection, keys, tokens, ms=20_000):
    statement = "select ord, verdict, ms from hookgate.claim_1(%s::bytea[], %s::uuid[], %s::bigint[])"
    return connection.execute(statement, (keys, tokens, [ms] * len(keys)), binary=True).fetchall()


def commit(connection, keys, tokens, ms=3_600_000):
    statement = "select ord, verdict from hookgate.commit_1(%s::bytea[], %s::uuid[], %s::bigint[])"
    return connection.execute(statement, (keys, tokens, [ms] * len(keys)), binary=True).fetchall()


def revive(connection, keys, of):
    statement = "select ord, raised from hookgate.revive_1(%s::bytea[], %s::uuid[], %s::bigint[])"
    return connection.execute(statement, (keys, of, [3_600_000] * len(keys)), binary=True).fetchall()


def act(connection, kind, ids, targets=(), delivered=False, waiting=False, lane=None):
    return connection.execute(ACT, (kind, list(ids), list(targets), delivered, lane, waiting)).fetchone()[0]


# The rules that hold at any time: each query finds nothing.
INVARIANTS = {
    "units in due and dead": "select id, target from hookgate.due join hookgate.dead using (id, target)",
    "units without their delivery": "select id from (select id from hookgate.due union all select id from hookgate.dead) u where not exists (select from hookgate.delivery d where d.id = u.id)",
    "attempts without their delivery": "select id from hookgate.attempt a where not exists (select from hookgate.delivery d where d.id = a.id)",
    "versions without their delivery": "select id from hookgate.version a where not exists (select from hookgate.delivery d where d.id = a.id)",
    "IDs of apps without their delivery": "select delivery from hookgate.own_id o where not exists (select from hookgate.delivery d where d.id = o.delivery)",
    "lanes with a wrong count": "select target, lane, waiting from hookgate.lane y where waiting <> (select count(*) from hookgate.due d where d.target = y.target and d.lane = y.lane)",
    "units in a lane without a row": "select target, lane from hookgate.due d where lane is not null and not exists (select from hookgate.lane y where y.target = d.target and y.lane = d.lane)",
    "lanes whose first unit is stuck": """select * from (select distinct on (target, lane) target, lane, id, run_at from hookgate.due where lane is not null order by target, lane, seq) h
        where run_at = 'infinity' and not exists (select from hookgate.due d where d.target >= 1073741824 and d.target = h.target and d.lane is null and d.id < h.id)""",
    "lanes with two units that are due": "select target, lane from hookgate.due where lane is not null and run_at < 'infinity' group by 1, 2 having count(*) > 1",
    "wrong sums": """with k as (select kind::int, number, sum(rows)::bigint as r, sum(bytes)::bigint as b from hookgate.counter group by 1, 2),
        u as (select case when target >= 1073741824 then origin else target end as number, 1 as kind from hookgate.due
            union all select case when target >= 1073741824 then origin else target end, 2 from hookgate.dead
            union all select case when target >= 1073741824 then origin else target end, 3 from hookgate.dead where reason is null),
        s as (select kind, number, count(*) as r, 0::bigint as b from u group by 1, 2
            union all select 0, d.origin, count(*), sum(octet_length(d.record) + octet_length(d.body)
                + coalesce((select sum(octet_length(a.head) + octet_length(a.body) + coalesce(octet_length(a.facts), 0)) from hookgate.attempt a where a.id = d.id), 0)
                + coalesce((select sum(octet_length(v.body)) from hookgate.version v where v.id = d.id), 0))::bigint from hookgate.delivery d group by 2)
        select kind, number, k.r, k.b, s.r, s.b from k full join s using (kind, number) where coalesce(k.r, 0) <> coalesce(s.r, 0) or coalesce(k.b, 0) <> coalesce(s.b, 0)""",
}


def broken(connection):
    """Returns the invariants that do not hold, with the first rows that break them."""
    found = {}
    for name, query in INVARIANTS.items():
        rows = connection.execute(query).fetchall()
        if rows:
            found[name] = rows[:3]
    return found
