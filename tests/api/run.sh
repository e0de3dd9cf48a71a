#!/usr/bin/env bash
# Tests the document of the admin API against a real gateway with deliveries in its store: schemathesis sends what the document allows, and what it
# does not, and the document must name every answer. It comes from PyPI into target/api; all requests stay on loopback.
# Usage: tests/api/run.sh [HOOKGATE]
set -euo pipefail
cd "$(dirname "$0")/../.."
hookgate=$(realpath "${1:-target/debug/hookgate}")
kept=$PWD/target/api
requirements=tests/api/requirements.txt
. tests/tools.sh

gate=$(free_port) admin=$(free_port) health=$(free_port) nobody=$(free_port)
token=$(head -c 24 /dev/urandom | base64 | tr -d '/+=')
printf '%s' "$token" > "$work/token"
head -c 24 /dev/urandom | base64 | tr -d '\n' > "$work/secret"
cat > "$work/config.yaml" <<YAML
listen: [{ address: 127.0.0.1:$gate }]
health: { address: 127.0.0.1:$health }
admin: { address: 127.0.0.1:$admin, token: { file: token } }
shutdown: { delay: 0s }
store: { path: store }
upstreams: { app: { url: http://127.0.0.1:$nobody } }
routes:
  - name: github
    path: /github
    verify: { provider: github, secrets: [{ file: secret }] }
    dedupe: {}
    queue: { upstream: app }
YAML
"$hookgate" run --config "$work/config.yaml" > "$work/log" 2>&1 &
started+=($!)
ready "127.0.0.1:$health" "$work/log"

# deliveries that wait: no app listens
for number in $(seq 20); do
    body="{\"number\": $number}"
    signature=$(printf '%s' "$body" | openssl dgst -sha256 -hmac "$(cat "$work/secret")" -r | cut -d' ' -f1)
    curl -fsS -o /dev/null -H 'Content-Type: application/json' -H 'X-GitHub-Event: push' -H "X-GitHub-Delivery: id-$number" \
        -H "X-Hub-Signature-256: sha256=$signature" -d "$body" "http://127.0.0.1:$gate/github"
done
waiting=$(curl -fsS "http://127.0.0.1:$admin/-/deliveries?limit=100" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["deliveries"]))')
[ "$waiting" = 20 ] || { echo "the gateway has $waiting deliveries, not 20"; exit 1; }

# `/-/tail` has no end; `/-/drain` and `/-/reload` would end or change the gateway under test
# schemathesis writes its state into this directory, which is deleted
cd "$work"
timeout 900 "$kept/venv/bin/schemathesis" run "http://127.0.0.1:$admin/-/openapi.json" \
    --exclude-path /-/tail --exclude-path /-/drain --exclude-path /-/reload \
    --header "Authorization: Bearer $token" --max-examples "${EXAMPLES:-40}" --seed "${SEED:-9}" --workers 1 --request-timeout 30 \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection,ignored_auth \
    --suppress-health-check all --no-color
if grep -q 'panicked' "$work/log"; then
    cat "$work/log"
    exit 1
fi
kill -0 "${started[0]}" || { echo 'the gateway has crashed'; exit 1; }
