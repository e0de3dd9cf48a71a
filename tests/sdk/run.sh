#!/usr/bin/env bash
# Tests real SDKs against a real gateway: it forwards what they sign and refuses a changed byte. They accept what `hookgate sign` makes,
# deliveries that waited longer than their tolerance, or are replayed, and are signed again, what the gateway signs in its own name, and
# events for the customers of a sender, by the code of docs/for-your-customers.md too. Then tests/sdk/sending/run.sh tests a gateway that sends.
# The SDKs come from PyPI and npm into target/sdk; all requests stay on loopback. Usage: tests/sdk/run.sh [HOOKGATE]
set -euo pipefail
cd "$(dirname "$0")/../.."
hookgate=$(realpath "${1:-target/debug/hookgate}")
kept=$PWD/target/sdk
requirements=tests/sdk/requirements.txt
. tests/tools.sh
mkdir -p "$kept/node" && cp tests/sdk/package.json "$kept/node/"
(cd "$kept/node" && timeout 300 npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts)

gate=$(free_port) app=$(free_port) late=$(free_port) health=$(free_port) admin=$(free_port)
mkdir "$work/secrets" "$work/late"
random() { head -c 24 /dev/urandom | base64; }
random | tr -d '\n' > "$work/secrets/github"
random | tr -d '\n' > "$work/secrets/slack"
random | tr -d '\n' > "$work/secrets/admin"
for name in stripe standard-webhooks svix own next; do printf 'whsec_%s' "$(random)" > "$work/secrets/$name"; done
{
    printf 'listen: [{ address: 127.0.0.1:%s }]\nhealth: { address: 127.0.0.1:%s }\n' "$gate" "$health"
    printf 'admin: { address: 127.0.0.1:%s, token: { file: secrets/admin } }\n' "$admin"
    printf 'shutdown: { delay: 0s }\nstore: { path: store }\n'
    printf 'upstreams: { app: { url: http://127.0.0.1:%s }, late: { url: http://127.0.0.1:%s } }\nroutes:\n' "$app" "$late"
    for name in github slack stripe standard-webhooks svix; do
        printf '  - { name: %s, path: /%s, verify: { provider: %s, secrets: [{ file: secrets/%s }] }, dedupe: {}, forward: { upstream: app } }\n' \
            "$name" "$name" "$name" "$name"
    done
    # these accept deliveries that are older than the SDKs' tolerance, and deliver them at the second attempt
    for name in github slack stripe standard-webhooks svix; do
        tolerance=', tolerance: 1d'
        [ "$name" != github ] || tolerance=
        printf '  - { name: late-%s, path: /late/%s, verify: { provider: %s, secrets: [{ file: secrets/%s }]%s }, dedupe: {}, ' \
            "$name" "$name" "$name" "$name" "$tolerance"
        printf 'queue: { upstream: late, resign: true, retry: { schedule: [100ms, 1s, 1s] } } }\n'
    done
    printf '  - { name: own, path: /late/own, verify: { provider: stripe, secrets: [{ file: secrets/stripe }], tolerance: 1d }, dedupe: {}, '
    printf 'queue: { upstream: late, sign: { secret: { file: secrets/own } }, retry: { schedule: [100ms, 1s, 1s] } } }\n'
} > "$work/config.yaml"

"$hookgate" echo --quiet --listen "127.0.0.1:$app" 2>/dev/null & started+=($!)
python3 tests/sdk/app.py "$late" "$work/late" & started+=($!)
"$hookgate" run --config "$work/config.yaml" > "$work/gate.log" 2>&1 & started+=($!)
ready "127.0.0.1:$health" "$work/gate.log"

wrong=0
timeout 120 "$kept/venv/bin/python" tests/sdk/check.py "$hookgate" "http://127.0.0.1:$gate" "http://127.0.0.1:$admin" "$work" || wrong=1
SDK_MODULES=$kept/node timeout 120 node tests/sdk/check.mjs "$hookgate" "http://127.0.0.1:$gate" "http://127.0.0.1:$admin" "$work" || wrong=1
tests/sdk/sending/run.sh "$hookgate" || wrong=1
exit "$wrong"
