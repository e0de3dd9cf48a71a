#!/usr/bin/env bash
# Tests the document of the app's API against a real gateway that sends, as tests/api/run.sh does it for the admin API: with a token for everything,
# on names that schemathesis makes up and on those of a tenant that has endpoints and events; then with a token that may only publish.
# Usage: tests/api/outbound.sh [HOOKGATE]
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
hookgate=$(realpath "${1:-target/debug/hookgate}")
kept=$PWD/target/api
requirements=tests/api/requirements.txt
. tests/tools.sh

api=$(free_port) gate=$(free_port) health=$(free_port) admin=$(free_port) customer=$(free_port)
head -c 32 /dev/urandom | base64 > "$work/store-key"
for name in app billing; do head -c 24 /dev/urandom | base64 | tr -d '/+=\n' > "$work/$name"; done
cat > "$work/config.yaml" <<YAML
listen: [{ address: 127.0.0.1:$gate }]
health: { address: 127.0.0.1:$health }
admin: { address: 127.0.0.1:$admin }
shutdown: { delay: 0s }
store: { path: store, key: { file: store-key } }
upstreams: { app: { url: http://127.0.0.1:9 } }
routes: [{ name: app, path: /app, verify: none, forward: { upstream: app } }]
outbound:
  listen: { address: 127.0.0.1:$api }
  tokens:
    - { name: app, file: app, allow: [publish, read, manage] }
    - { name: billing, file: billing }
  schemes: { github: { provider: github } }
  egress: { allow: [127.0.0.0/8] }
  endpoints: { http: true, ports: [$customer] }
YAML
"$hookgate" run --config "$work/config.yaml" > "$work/log" 2>&1 & started+=($!)
gateway=$!
"$hookgate" receive --listen "127.0.0.1:$customer" > "$work/received" 2>&1 & started+=($!)
ready "127.0.0.1:$health" "$work/log"

tenant=http://127.0.0.1:$api/v1/tenants/acme
call() { curl -fsS -H "Authorization: Bearer $(cat "$work/app")" -H 'Content-Type: application/json' "$@"; }
call -X PUT "$tenant" -d '{"name": "Acme"}' > "$work/answer"
for name in main other; do
    call -X PUT "$tenant/endpoints/$name" -d "{\"url\": \"http://127.0.0.1:$customer/\"}" > "$work/answer"
done
for number in $(seq 20); do
    call "$tenant/events" -d "{\"type\": \"invoice.paid\", \"id\": \"$number\", \"data\": {\"number\": $number}}" > "$work/event"
done
event=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["id"])' "$work/event")

# schemathesis writes its state into this directory, which is deleted
cd "$work"
# Arguments: the file with the token, then what schemathesis gets besides. Calls that send a test really send it: shapes.py has them.
explore() {
    local token=$1
    shift
    timeout 900 "$kept/venv/bin/schemathesis" "$@" run "http://127.0.0.1:$api/v1/openapi.json" --exclude-path-regex '/test$' \
        --header "Authorization: Bearer $(cat "$token")" --max-examples "${EXAMPLES:-40}" --seed "${SEED:-9}" --workers 1 --request-timeout 30 \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection,unsupported_method,ignored_auth \
        --suppress-health-check all --no-color
}
failed=''
python3 "$root/tests/api/shapes.py" "127.0.0.1:$api" "$work/app" "$event" || failed=yes
explore app || failed=yes
cat > known.toml <<TOML
[parameters]
"path.tenant" = "acme"
"path.endpoint" = "main"
"path.event" = "$event"
TOML
explore app --config-file known.toml || failed=yes
explore billing --config-file known.toml || failed=yes
if grep -q 'panicked' "$work/log"; then
    cat "$work/log"
    exit 1
fi
kill -0 "$gateway" || { echo 'the gateway has crashed'; exit 1; }
[ -z "$failed" ]
