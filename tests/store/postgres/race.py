"""Eight gateways accept the same 600 IDs, with repeats, while four deliver them, beside acts on another target.

Each ID is accepted once and delivered once, lanes keep their order, and repeated calls get the first answer."""
import collections
import sys

from client import *

IDS, GATEWAYS, TARGET, OTHER = 600, 8, 7, 8
keys = [os.urandom(16) for _ in range(IDS)]
lanes = [b"lane-%d" % number * 2 for number in range(5)]
lane_of = [random.choice(lanes) if random.random() < 0.7 else None for _ in range(IDS)]
stats, accepted, leased = collections.Counter(), collections.Counter(), collections.Counter()
lock, stop = threading.Lock(), threading.Event()


def count(name, by=1):
    with lock:
        stats[name] += by


def repeated(call):
    for _ in range(30):
        try:
            return call()
        except REPEATED as error:
            count(type(error).__name__)
    raise RuntimeError("no answer after 30 calls")


def gateway(number):
    chance, connection = random.Random(number), connect()
    waiting = list(range(IDS)) * 2
    chance.shuffle(waiting)
    while waiting:
        batch = list(dict.fromkeys(waiting.pop() for _ in range(min(len(waiting), chance.randint(1, 24)))))
        items = [dict(id=new_id(), key=keys[at], units=[(TARGET, lane_of[at], 1, 0)], body=b"%d" % at) for at in batch]
        rows = repeated(lambda: accept(connection, items))
        if chance.random() < 0.2:
            before, again = {row[0]: row[1] for row in rows}, {row[0]: row[1] for row in repeated(lambda: accept(connection, items))}
            for ord, verdict in before.items():
                if again[ord] != verdict and (verdict, again[ord]) != (2, 1):
                    count(f"repeated call: {verdict}, then {again[ord]}")
        with lock:
            for row in rows:
                stats[f"verdict {row[1]}"] += 1
                if row[1] == 0:
                    accepted[batch[row[0] - 1]] += 1
            stats["without an answer"] += len(batch) - len({row[0] for row in rows})


def worker(_):
    connection, idle = connect(), 0
    while idle < 40:
        rows = repeated(lambda: lease(connection, [(TARGET, 16)]))
        if not rows:
            idle += stop.is_set()
            time.sleep(0.005)
            continue
        idle = 0
        with lock:
            leased.update(row[0] for row in rows)
        for _, verdict in repeated(lambda: settle(connection, [(row[0], TARGET, row[2], row[3], 0, 0, None, 200) for row in rows])):
            count("delivered" if verdict == 1 else "lost")


def actor(_):
    connection = connect()
    while not stop.is_set():
        ids = [new_id() for _ in range(10)]
        repeated(lambda: accept(connection, [dict(id=id, units=[(OTHER, random.choice(lanes), 1, 0)]) for id in ids]))
        random.shuffle(ids)
        for kind in random.sample([0, 1, 2, 3, 6], 3):
            repeated(lambda: act(connection, kind, ids[:7], delivered=True, waiting=True))
            count("acts")


def other_worker(_):
    connection = connect()
    while not stop.is_set():
        rows = repeated(lambda: lease(connection, [(OTHER, 5)]))
        if rows:
            items = [(row[0], OTHER, row[2], row[3], random.choice([0, 1, 3, 5]), 0, 1, 200) for row in rows]
            repeated(lambda: settle(connection, items))
            count("settled beside", len(rows))
        else:
            time.sleep(0.002)


start, first = time.time(), connect()
# the order in which units entered their lanes
first.execute("create table hookgate.entered (id uuid, lane bytea, seq bigint)")
first.execute("create function hookgate.enter() returns trigger language plpgsql as $$ begin insert into hookgate.entered values (new.id, new.lane, new.seq); return null; end $$")
first.execute(f"create trigger entered after insert on hookgate.due for each row when (new.target = {TARGET} and new.lane is not null) execute function hookgate.enter()")
others = [threading.Thread(target=of, args=(n,)) for of, times in ((worker, 4), (actor, 3), (other_worker, 3)) for n in range(times)]
gateways = [threading.Thread(target=gateway, args=(n,)) for n in range(GATEWAYS)]
for thread in others + gateways:
    thread.start()
for thread in gateways:
    thread.join()
stop.set()
for thread in others:
    thread.join()
one = lambda query: first.execute(query).fetchone()[0]
out_of_order = one("""select count(*) from (select a.started, lag(a.started) over (partition by e.lane order by e.seq) as before
    from hookgate.entered e join hookgate.attempt a using (id)) x where before > started""")
found = {
    "accepted": len(accepted), "deliveries": one(f"select count(*) from hookgate.delivery where origin = {TARGET}"),
    "attempts": one(f"select count(*) from hookgate.attempt where target = {TARGET}"), "waiting": one(f"select count(*) from hookgate.due where target = {TARGET}"),
    "leased twice": sum(number > 1 for number in leased.values()), "out of order": out_of_order,
    "differing answers": sum(number for name, number in stats.items() if name.startswith("repeated call")), "without an answer": stats["without an answer"],
}
first.execute("drop trigger entered on hookgate.due; drop function hookgate.enter; drop table hookgate.entered")
wanted = {"accepted": IDS, "deliveries": IDS, "attempts": IDS, "waiting": 0, "leased twice": 0, "out of order": 0, "differing answers": 0, "without an answer": 0}
print(f"race: {time.time() - start:.1f} s", dict(sorted(stats.items())), found)
failures = broken(first)
if found != wanted or failures:
    sys.exit(f"race: wanted {wanted}, broken: {failures}")
