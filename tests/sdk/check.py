"""What the Python SDKs sign the gate lets in; what `hookgate sign` makes the SDKs accept. One line a case: SDK, direction, case, verdict."""
import datetime
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid

import slack_sdk.signature
import standardwebhooks.webhooks
import stripe
import svix.webhooks

HOOKGATE, GATE, DIRECTORY = sys.argv[1:]
wrong = 0


def tell(sdk, direction, case, got, due):
    global wrong
    wrong += got != due
    print(f"  {'✓' if got == due else '✕'} {sdk:<28} {direction:<13} {case:<10} {got}" + ("" if got == due else f", not {due}"))


def secret_of(name):
    with open(f"{DIRECTORY}/secrets/{name}") as file:
        return file.read()


def body_of(name):
    moment = datetime.datetime.now(datetime.timezone.utc).isoformat()
    return json.dumps({"id": f"evt_{uuid.uuid4().hex}", "event_id": uuid.uuid4().hex, "object": "event", "type": "ping",
                       "timestamp": moment, "data": {"text": "grüße 💡"}}, ensure_ascii=False)


def post(name, headers, body):
    request = urllib.request.Request(f"{GATE}/{name}", body.encode(), {"Content-Type": "application/json", **headers}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def signed_by_hookgate(name, body):
    file = f"{DIRECTORY}/body.json"
    with open(file, "w") as out:
        out.write(body)
    command = [HOOKGATE, "sign", "--provider", name, "--secret-file", f"{DIRECTORY}/secrets/{name}", "--body", file, "--url", f"{GATE}/{name}", "--json"]
    made = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)
    return {key.lower(): value for key, value in made["headers"]}


def accepts(check, *arguments):
    try:
        return "refused" if check(*arguments) is False else "accepted"
    except Exception as error:  # each SDK has its own
        return "refused" if "erif" in type(error).__name__ or "ignature" in type(error).__name__ else repr(error)


def by_stripe(secret, body):
    now = int(time.time())
    return {"Stripe-Signature": f"t={now},v1={stripe.WebhookSignature._compute_signature(f'{now}.{body}', secret)}"}


def by_slack(secret, body):
    now = str(int(time.time()))
    signature = slack_sdk.signature.SignatureVerifier(secret).generate_signature(timestamp=now, body=body)
    return {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": signature}


def by_standard_webhooks(prefix, webhook):
    def sign(secret, body):
        message, now = f"msg_{uuid.uuid4().hex}", datetime.datetime.now(datetime.timezone.utc)
        return {f"{prefix}-Id": message, f"{prefix}-Timestamp": str(int(now.timestamp())), f"{prefix}-Signature": webhook(secret).sign(message, now, body)}
    return sign


SDKS = {
    "stripe": ("stripe", by_stripe, lambda secret, headers, body: stripe.WebhookSignature.verify_header(body, headers["stripe-signature"], secret, 300)),
    "slack_sdk": ("slack", by_slack, lambda secret, headers, body: slack_sdk.signature.SignatureVerifier(secret).is_valid_request(body, headers)),
    "standardwebhooks": ("standard-webhooks", by_standard_webhooks("Webhook", standardwebhooks.webhooks.Webhook),
                         lambda secret, headers, body: standardwebhooks.webhooks.Webhook(secret).verify(body, headers)),
    "svix": ("svix", by_standard_webhooks("Svix", svix.webhooks.Webhook), lambda secret, headers, body: svix.webhooks.Webhook(secret).verify(body, headers)),
}

for sdk, (name, sign, verify) in SDKS.items():
    secret, sdk = secret_of(name), f"{sdk} (Python)"
    body = body_of(name)
    headers = sign(secret, body)
    tell(sdk, "signs", "as it is", post(name, headers, body), 200)
    tell(sdk, "signs", "tampered", post(name, headers, body.replace("ping", "pong")), 401)
    body = body_of(name)
    headers = signed_by_hookgate(name, body)
    tell(sdk, "verifies ours", "as it is", accepts(verify, secret, headers, body), "accepted")
    tell(sdk, "verifies ours", "tampered", accepts(verify, secret, headers, body.replace("ping", "pong")), "refused")

sys.exit(1 if wrong else 0)
