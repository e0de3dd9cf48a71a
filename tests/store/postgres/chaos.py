"""Everything at once on 40 IDs: accepts, events, settlements, acts, changes of endpoints, forgetting, sweeps. At the end nothing is missing, doubled or stuck.

  chaos.py SECONDS [kill]     with kill, a connection of the others is ended every 20 ms"""
import collections
import sys

from client import *

SECONDS, KILLS = float(sys.argv[1]) if len(sys.argv) > 1 else 6, "kill" in sys.argv
TARGET, TENANT, ENDPOINTS = 9, 536870912 + 9, [1073741824 + 900, 1073741824 + 901]
keys = [os.urandom(16) for _ in range(40)]
lanes = [b"L%d" % number * 8 for number in range(4)]
lane_of = [random.choice(lanes + [None]) for _ in keys]
stats, lock, end = collections.Counter(), threading.Lock(), time.time() + SECONDS


def count(name, by=1):
    with lock:
        stats[name] += by


class Caller:
    """Repeats a call as the store does: after a lost connection, a deadlock, or a lock that was not to be had."""

    def __init__(self, seed):
        self.chance, self.connection = random.Random(seed), None

    def call(self, function, *arguments, **named):
        for _ in range(60):
            try:
                if self.connection is None or self.connection.closed:
                    self.connection = connect()
                return function(self.connection, *arguments, **named)
            except REPEATED as error:
                count(type(error).__name__)
            except psycopg.OperationalError:
                count("lost connection")
                self.connection = None
                time.sleep(0.01)
        raise RuntimeError("no answer after 60 calls")

    def query(self, statement, parameters=None):
        return self.call(lambda connection: connection.execute(statement, parameters).fetchall())


def gateway(number):
    caller = Caller(number)
    chance = caller.chance
    while time.time() < end:
        items = []
        for at in chance.sample(range(len(keys)), chance.randint(1, 8)):
            kind = chance.choice([0, 1, 1])
            items.append(dict(id=new_id(), key=keys[at], units=[(TARGET, lane_of[at], kind, 200 if kind == 0 else 0)], window=chance.choice([50, 50, 3_600_000])))
        rows = caller.call(accept, items)
        dead = [(items[row[0] - 1]["key"], row[2]) for row in rows if row[1] == 2]
        if dead:
            for _, raised in caller.call(revive, [key for key, _ in dead], [of for _, of in dead]):
                count("raised" if raised else "not raised")
        mine = []
        for row in rows:
            count(f"accept {row[1]}")
            if row[1] == 0 and row[4] is not None:
                mine.append((items[row[0] - 1]["id"], TARGET, row[5], row[6], chance.choice([0, 1, 3, 3]), 0, 1, 500))
        if mine and chance.random() < 0.8:
            for _, verdict in caller.call(settle, mine):
                count(f"settle of the acceptor {verdict}")


def publisher(number):
    """Publishes events under 30 IDs to two endpoints, one of which has lanes now and then."""
    caller = Caller(50 + number)
    chance = caller.chance
    while time.time() < end:
        names = chance.sample(range(30), chance.randint(1, 5))
        items = [dict(id=new_id(), own=f"own-{name}", digest=b"%d" % (name % 3), origin=TENANT, body=b"event",
                      units=[(ENDPOINTS[0], None, 1, 0), (ENDPOINTS[1], chance.choice(lanes[:2] + [None]), 1, 0)]) for name in names]
        for row in caller.call(accept, items):
            count(f"event {row[1]}")


def worker(number):
    caller = Caller(100 + number)
    chance = caller.chance
    while time.time() < end:
        rows = caller.call(lease, [(TARGET, 12)] + [(endpoint, 8) for endpoint in ENDPOINTS], 300)
        if not rows:
            time.sleep(0.003)
            continue
        items = []
        for row in rows:
            if chance.random() < 0.9:
                kind = chance.choice([0, 1, 2, 3, 3, 3, 4, 5])
                items.append((row[0], row[1], row[2], row[3], kind, chance.choice([0, 0, 30]), 1, None if kind == 5 else chance.choice([500, 200])))
        if not items:
            continue
        for _, verdict in caller.call(settle, items):
            count(f"settle {verdict}")
        if chance.random() < 0.3:
            for _, verdict in caller.call(settle, items):
                count(f"settle again {verdict}")
        if chance.random() < 0.2:
            caller.call(settle_late, [item for item in items if item[7] is not None][:3] or [items[0][:7] + (200,)])


def actor(number):
    caller = Caller(200 + number)
    chance = caller.chance
    while time.time() < end:
        ids = [row[0] for row in caller.query("select id from hookgate.delivery where origin = any(%s) order by random() limit 12", ([TARGET, TENANT],))]
        if not ids:
            time.sleep(0.01)
            continue
        kind = chance.choice([0, 0, 0, 1, 2, 3, 3, 4, 5, 6])
        targets = chance.choice([[], [], ENDPOINTS[:1], ENDPOINTS]) if kind != 5 else ENDPOINTS
        caller.call(act, kind, ids, targets, chance.random() < 0.3, chance.random() < 0.5, chance.choice([None, lanes[0]]))
        count("acts")
        if chance.random() < 0.2:
            caller.query("select hookgate.forget_1(%s::bytea[], 'a', 'w', 'r')", ([chance.choice(keys) for _ in range(3)],))
        if chance.random() < 0.3:
            caller.query("select hookgate.counters_fold_1(1000)")
            caller.query("select hookgate.lanes_sweep_1(100)")
            caller.query("select hookgate.removed_units_1(100)")
            caller.query("select done from hookgate.sweep_1(%s, 3600000, 3600000, 200000, %s, '00000000-0000-0000-0000-000000000000', 20)", (chance.choice([TARGET, TENANT]), chance.random() < 0.5))
        if chance.random() < 0.3:
            change(caller, ids)


def change(caller, ids):
    """Changes the state of an endpoint, with acts on its units and a notification."""
    chance, number = caller.chance, caller.chance.choice(ENDPOINTS)
    row = caller.query("select edition, state from hookgate.endpoints_of_1(array[%s])", (number,))[0]
    state, kind = chance.choice([0, 0, 1, 2, 4]), chance.choice([0, 3, 4, 2])
    notice = new_id() if chance.random() < 0.5 else None
    since = "2027-01-15 08:00:00+00"
    found = caller.query("""select verdict from hookgate.endpoint_change_1(%s, %s, %s, null, %s::smallint, %s::timestamptz, 'https://x', '{}', null, null, null,
        '{}', '{}', '{}', '{}', '{}', %s, null, array[%s], array[1::smallint], array[false], array[3], array[null::bytea], %s::int[], %s::uuid[],
        %s::uuid, 700, null, 'notice', '\\x0101', 'n', array[700], array[null::bytea], array[1::smallint], array[0::bigint], 'a', 'change', 'w', 'r')""",
                         (number, f"ep_{number}", TENANT, state, since, row[0], kind, [1] * len(ids), ids, notice))
    count(f"change {found[0][0]}")
    if chance.random() < 0.3:
        streak = caller.query("select since, notified from hookgate.health where endpoint = %s", (number,))
        if streak:
            told = caller.query("select hookgate.notified_1(%s, %s, %s::smallint, null, null, null, null, null, null, null, null, null, null)",
                                (number, streak[0][0], None if streak[0][1] == 255 else chance.choice([2, 3])))
            count(f"notified {told[0][0]}")


def claimer(number):
    caller = Caller(300 + number)
    chance = caller.chance
    while time.time() < end:
        wanted, tokens = [keys[at] for at in chance.sample(range(len(keys)), 3)], [uuid.uuid4() for _ in range(3)]
        rows = caller.call(claim, wanted, tokens, 100)
        for row in rows:
            count(f"claim {row[1]}")
        fresh = [row[0] - 1 for row in rows if row[1] == 0]
        if fresh and chance.random() < 0.7:
            caller.query("select hookgate.release_1(%s::bytea[], %s::uuid[])", ([wanted[at] for at in fresh], [tokens[at] for at in fresh]))
        elif fresh:
            caller.call(commit, [wanted[at] for at in fresh], [tokens[at] for at in fresh], 50)
        time.sleep(0.005)


def killer(_):
    connection = connect()
    while time.time() < end:
        time.sleep(0.02)
        count("kills", connection.execute("""select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity where pid <> pg_backend_pid()
            and backend_type = 'client backend' and datname = current_database() order by random() limit 1) x""").fetchone()[0])


with connect() as first:
    first.execute("insert into hookgate.tenant values (%s, 'chaos', now(), 1, null, '{}')", (TENANT,))
    for number in ENDPOINTS:
        first.execute("insert into hookgate.endpoint (number, id, tenant, edition, state, since, url, settings) values (%s, %s, %s, 1, 0, now(), 'https://x', '{}')", (number, f"ep_{number}", TENANT))
crew = [(gateway, 4), (publisher, 2), (worker, 3), (actor, 3), (claimer, 2)] + [(killer, 1)] * KILLS
failed = []


def guarded(function, number):
    try:
        function(number)
    except Exception as error:
        failed.append(repr(error)[:300])
        raise


threads = [threading.Thread(target=guarded, args=(function, number)) for function, times in crew for number in range(times)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
failures = broken(connect())
print(f"chaos: {SECONDS:.0f} s", dict(sorted(stats.items())))
deadlocks = stats["DeadlockDetected"]
if failures or failed or deadlocks > 1 + SECONDS / 60:
    sys.exit(f"chaos: broken: {failures}, failed: {failed}, {deadlocks} deadlocks")
