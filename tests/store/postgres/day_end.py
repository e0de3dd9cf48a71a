"""A day ends under load, with what waits or is dead in it; then what is left goes again, and the day is gone.

LONGEST_MS is the longest time that a call of others may take meanwhile.
"""
import datetime
import sys

from client import *

KEPT, DELIVERED = int(sys.argv[1]) if len(sys.argv) > 1 else 1000, 5000
LONGEST = float(os.environ.get("LONGEST_MS", "inf"))
day = datetime.date.today() - datetime.timedelta(days=20)
noon = int(datetime.datetime.combine(day, datetime.time(12), datetime.timezone.utc).timestamp() * 1000)
stamp, connection = day.strftime("%Y%m%d"), connect()
connection.execute("select hookgate.days_make_1(7, %s)", (day,))


def fill(count, act):
    for begin in range(0, count, 200):
        items = [dict(id=new_id(noon), key=os.urandom(16), units=[(3, None, 1 if act is None else 0, 3_600_000)]) for _ in range(min(200, count - begin))]
        accept(connection, items)
        if act is not None:
            settle(connection, [(item["id"], 3, 1, 1, act, 0, 1, 500) for item in items])


fill(DELIVERED, 0)
fill(KEPT, 3)
fill(100, None)
# attempts of this day were made long ago
connection.execute("update hookgate.attempt set at = at - interval '20 days' where id < hookgate.first_id(%s)", (day + datetime.timedelta(1),))
connection.execute("update hookgate.delivery set at = at - interval '20 days' where id < hookgate.first_id(%s)", (day + datetime.timedelta(1),))
times, errors, stop = [], [], threading.Event()


def load(number):
    own = connect()
    while not stop.is_set():
        items = [dict(id=new_id(), key=os.urandom(16), units=[(4 + number, None, 0, 20_000)]) for _ in range(8)]
        begin = time.time()
        try:
            accept(own, items)
            settle(own, [(item["id"], 4 + number, 1, 1, 0, 0, None, 200) for item in items])
            lease(own, [(4 + number, 5)])
        except Exception as error:
            errors.append(repr(error)[:200])
        times.append((time.time() - begin) * 1000)


threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
time.sleep(1)
# beside an open transaction it gives up soon
other = connect()
other.autocommit = False
other.execute("select count(*) from hookgate.delivery")
begin = time.time()
busy = connection.execute("select hookgate.day_end_1(%s, '{}', '{}', 86400000, 5000)", (day,)).fetchone()[0]
waited = (time.time() - begin) * 1000
other.rollback()
answers, begin = [], time.time()
while not answers or (answers[-1] == "busy" and len(answers) < 20):
    answers.append(connection.execute("select hookgate.day_end_1(%s, '{}', '{}', 86400000, 5000)", (day,)).fetchone()[0])
took = (time.time() - begin) * 1000 / len(answers)
time.sleep(0.5)
stop.set()
for thread in threads:
    thread.join()
one = lambda query: connection.execute(query).fetchone()[0]
left = one(f"select count(*) from hookgate.delivery_{stamp}")
failures = broken(connection)
# a dead delivery of that day goes again, and its attempt is recorded
id = one("select id from hookgate.dead order by id limit 1")
act(connection, 0, [id])
row = next(row for row in lease(connection, [(3, 500)]) if row[0] == id)
settled = settle(connection, [(id, 3, row[2], row[3], 0, 0, None, 200)])
act(connection, 3, [row[0] for row in connection.execute(f"select id from hookgate.due where id < hookgate.first_id('{day + datetime.timedelta(1)}')").fetchall()])
act(connection, 6, [row[0] for row in connection.execute(f"select id from hookgate.delivery_{stamp}").fetchall()], waiting=True)
last = [one(f"select hookgate.day_end_1('{day}', '{{}}', '{{}}', 86400000, 5000)") for _ in range(2)]
gone = one(f"select count(*) from pg_class where relname like '%{stamp}%' or relname like 'old%'")
print(f"day end: {busy} after {waited:.0f} ms beside an open transaction; {answers} in {took:.0f} ms; longest call of others {max(times):.0f} ms; then {last}")
good = busy == "busy" and answers[-1] == f"kept {KEPT + 100}" and left == KEPT + 100 and settled == [(1, 1)] and last == ["gone", "gone"] and gone == 0
if max(times) > LONGEST:
    sys.exit(f"day end: a call took {max(times):.0f} ms")
if failures or errors or not good or broken(connection):
    sys.exit(f"day end: broken: {failures or broken(connection)}, errors: {errors[:2]}, left {left}, settled {settled}, tables {gone}")
