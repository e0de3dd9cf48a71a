#!/usr/bin/env bash
# Tests the events that a real gateway sends: SDKs and the code of docs/for-your-customers.md verify them, before, during and after a rotation,
# and refuse a changed byte, a changed header and an old time. Then it runs what docs/outbound.md says: the walk from nothing to a verified
# delivery, and publishing by Python and Node.js over a connection that loses answers.
# tests/sdk/run.sh has installed the SDKs; all requests stay on loopback. Usage: tests/sdk/sending/run.sh [HOOKGATE]
set -euo pipefail
cd "$(dirname "$0")/../../.."
hookgate=$(realpath "${1:-target/debug/hookgate}")
kept=$PWD/target/sdk
requirements=tests/sdk/requirements.txt
. tests/tools.sh

api=$(free_port) endpoints=$(free_port) gate=$(free_port) health=$(free_port) admin=$(free_port)
(umask 077 && openssl rand -base64 32 > "$work/store-key" && openssl rand -hex 32 | tr -d '\n' > "$work/app-token")
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
  tokens: [{ name: app, file: app-token, allow: [publish, read, manage] }]
  retry: { schedule: [100ms, 1s, 1s] }
  schemes:
    github: { provider: github }
    slack: { provider: slack }
    stripe: { provider: stripe }
    svix: { provider: svix }
    acme-2019:
      scheme: hmac
      algorithm: sha256
      signature: { header: X-Acme-Signature, prefix: "v1=", encoding: hex }
      signed_content: "{timestamp}.{body}"
      timestamp: { header: X-Acme-Timestamp, format: unix }
      delivery_id: { header: X-Acme-Delivery }
      event_type: { header: X-Acme-Event }
  egress: { allow: [127.0.0.0/8] }
  endpoints: { http: true, ports: [$endpoints] }
YAML
"$hookgate" run --config "$work/config.yaml" > "$work/gate.log" 2>&1 & started+=($!)
ready "127.0.0.1:$health" "$work/gate.log"

wrong=0
timeout 120 "$kept/venv/bin/python" tests/sdk/sending/deliver.py "http://127.0.0.1:$api" "$endpoints" "$work" || exit 1
timeout 120 "$kept/venv/bin/python" tests/sdk/sending/check.py "$work" || wrong=1
SDK_MODULES=$kept/node timeout 120 node tests/sdk/sending/check.mjs "$work" || wrong=1
timeout 300 "$kept/venv/bin/python" tests/sdk/sending/by_hand.py "$work" || wrong=1
timeout 120 "$kept/venv/bin/python" tests/sdk/sending/docs.py "$hookgate" "http://127.0.0.1:$api" "$work" || wrong=1
exit "$wrong"
