"""Plans that were made while the tables were empty stay good when they are full: 100,000 waiting deliveries, never analyzed."""
import sys

from client import *

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
ENDPOINT = 1073741824 + 500
connection, other = connect(), connect()


def warm():
    for _ in range(7):
        items = [dict(id=new_id(), key=os.urandom(16), units=[(3, b"x", 0, 20_000)]) for _ in range(4)]
        rows = accept(connection, items)
        settle(connection, [(items[row[0] - 1]["id"], 3, row[5], row[6], 0, 0, None, 200) for row in rows if row[4]])
        events = [dict(id=new_id(), own=os.urandom(8).hex(), digest=b"1", origin=536870912, units=[(ENDPOINT, None, 1, 0)]) for _ in range(4)]
        accept(connection, events)
        claim(connection, [items[0]["key"], os.urandom(16)], [uuid.uuid4(), uuid.uuid4()])
        for target in (3, ENDPOINT):
            rows = lease(connection, [(target, 10)])
            if rows:
                settle(connection, [(row[0], target, row[2], row[3], 3, 0, 1, 500) for row in rows])
        for kind in (0, 3, 6):
            act(connection, kind, [items[0]["id"], events[0]["id"]], waiting=True)
        connection.execute("select * from hookgate.ready_1(-1, 2147483647, 64)").fetchall()
        connection.execute("select * from hookgate.sweep_1(3, 0, 0, null, true, '00000000-0000-0000-0000-000000000000', 5)").fetchall()
        connection.execute("select * from hookgate.rows_1(%s::uuid[], null, null)", ([items[1]["id"]],)).fetchall()


warm()
other.execute("vacuum analyze")
warm()
other.execute("alter system set autovacuum = off")
other.execute("select pg_reload_conf()")
other.execute("""with g as (select (substr(hookgate.first_id((now() at time zone 'UTC')::date)::text, 1, 24) || lpad(to_hex(i), 12, '0'))::uuid as id, i from generate_series(1, %d) i),
    x as (insert into hookgate.delivery select id, 1 + i %% 20, now(), substr(sha256(id::text::bytea), 1, 16), 'evt_' || i, 'push', '\\x0101', repeat('b', 300)::bytea from g),
    l as (insert into hookgate.ledger select substr(sha256(id::text::bytea), 1, 16), 2, id, id, now() + interval '1 h' from g),
    a as (insert into hookgate.attempt select id, 1 + i %% 20, 1, 1, 0, now(), 1, null, null, 200, null, null, false, '\\x00', 'x', null, now() from g),
    o as (insert into hookgate.own_id select 536870912, 'o' || i, id, 'x' from g)
    insert into hookgate.due (id, target, origin, run_at, lease, leased, attempt_count, cause, since, last_attempt) select id, 1 + i %% 20, 1 + i %% 20, now(), 1, false, i %% 2, 0, now(), 1 from g""" % ROWS)
measured = {}


def measure(name, call, times=10):
    taken = []
    for _ in range(times):
        begin = time.time()
        call()
        taken.append((time.time() - begin) * 1000)
    measured.setdefault(name, []).append(sorted(taken)[times // 2])


def all_calls():
    leased = []
    measure("accept 50", lambda: accept(connection, [dict(id=new_id(), key=os.urandom(16), units=[(random.randint(1, 20), None, 0, 20_000)]) for _ in range(50)]))
    measure("accept 20 events", lambda: accept(connection, [dict(id=new_id(), own=os.urandom(8).hex(), digest=b"1", origin=536870912, units=[(ENDPOINT, None, 1, 0)]) for _ in range(20)]))
    measure("claim 50", lambda: claim(connection, [os.urandom(16) for _ in range(50)], [uuid.uuid4() for _ in range(50)]))
    measure("lease 10 of 10", lambda: leased.append(lease(connection, [(target, 10) for target in range(1, 11)])))
    measure("settle 100", lambda: settle(connection, [(row[0], row[1], row[2], row[3], 0, 0, None, 200) for row in leased.pop()]))
    measure("ready", lambda: connection.execute("select * from hookgate.ready_1(-1, 2147483647, 64)").fetchall())
    ids = [row[0] for row in other.execute("select id from hookgate.due where not leased and target < 1000 limit 700").fetchall()]
    random.shuffle(ids)
    for name, kind in (("replay 20", 0), ("cancel 20", 3), ("purge 20", 6)):
        measure(name, lambda: act(connection, kind, [ids.pop() for _ in range(20)], waiting=True))
    measure("sweep 50", lambda: connection.execute("select * from hookgate.sweep_1(1, 0, 0, null, true, '00000000-0000-0000-0000-000000000000', 50)").fetchall(), 5)
    measure("rows of 100", lambda: connection.execute("select * from hookgate.rows_1(%s::uuid[], null, null)", (ids[:100],)).fetchall(), 5)
    measure("page", lambda: connection.execute("select * from hookgate.page_1('delivery', 'origin', 5, null, '00000000-0000-0000-0000-000000000000', false, 'ffffffff-ffff-ffff-ffff-ffffffffffff', true, 100, null, null)").fetchall(), 5)


all_calls()
other.execute("analyze")
all_calls()
other.execute("alter system reset autovacuum")
other.execute("select pg_reload_conf()")
slow = {name: times for name, (unanalyzed, analyzed) in measured.items() for times in [(unanalyzed, analyzed)] if unanalyzed > 3 * analyzed + 3}
print(f"plans: {ROWS} rows, milliseconds without and with statistics:", {name: f"{one:.1f} {two:.1f}" for name, (one, two) in measured.items()})
if slow:
    sys.exit(f"plans: slower than three times: {slow}")
