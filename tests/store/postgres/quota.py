"""Eight gateways reserve tokens of one limit: never more than it has, and nearly all of them, if they ask for so many."""
import sys

from client import *

EACH_US, BURST, SECONDS = 1000, 200, 3
granted, asked, start = [0] * 8, [0] * 8, time.time()


def reserve(number):
    connection = connect()
    while time.time() < start + SECONDS:
        statement = "select granted from hookgate.reserve_1(%s::bytea[], %s::bigint[], %s::int[], %s::int[], %s::int[])"
        want = random.randint(1, 40)
        asked[number] += want
        granted[number] += connection.execute(statement, ([b"limit"], [EACH_US], [BURST], [want], [0])).fetchone()[0]
        time.sleep(random.random() * 0.02)


threads = [threading.Thread(target=reserve, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
most = BURST + (time.time() - start) * 1_000_000 / EACH_US
print(f"quota: {sum(granted)} of at most {most:.0f} tokens")
if not 0.8 * min(most, sum(asked)) <= sum(granted) <= most:
    sys.exit("quota: too many or too few")
