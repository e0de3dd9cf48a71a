"""The gateway accepts requests that the Python SDKs sign, and they accept requests that it signs. One line a case: SDK, direction, case, verdict."""
import base64
import datetime
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import slack_sdk.signature
import standardwebhooks.webhooks
import stripe
import svix.webhooks

HOOKGATE, GATE, ADMIN, DIRECTORY = sys.argv[1:]
# Older than any of the SDKs takes, in seconds.
AGE = 900
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


def signed_by_hookgate(name, body, secret=None, more=()):
    file = f"{DIRECTORY}/body.json"
    with open(file, "w") as out:
        out.write(body)
    command = [HOOKGATE, "sign", "--provider", name, "--secret-file", f"{DIRECTORY}/secrets/{secret or name}", "--body", file, "--url", f"{GATE}/{name}", "--json", *more]
    made = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)
    return {key.lower(): value for key, value in made["headers"]}


def accepts(check, *arguments):
    try:
        return "refused" if check(*arguments) is False else "accepted"
    except Exception as error:  # each SDK has its own
        return "refused" if "erif" in type(error).__name__ or "ignature" in type(error).__name__ else repr(error)


def after_the_queue(path, body, number=1):
    """Headers and body as the app got them at the second try; as number 2 at the replay."""
    name = hashlib.sha256(f"/{path}".encode() + b"\n" + body.encode()).hexdigest()
    file = f"{DIRECTORY}/late/{name}.{number}.json"
    deadline = time.monotonic() + 20
    while not os.path.exists(file):
        assert time.monotonic() < deadline, f"nothing came of {path}"
        time.sleep(0.02)
    with open(file) as kept:
        kept = json.load(kept)
    return kept["headers"], base64.b64decode(kept["body"]).decode()


def replayed(delivery_id):
    """Whether the admin API sets a delivery going again that was handed on; it says no until the last try is settled."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {secret_of('admin')}"}
    what = json.dumps({"reason": "the SDK shall take it again", "include_delivered": True}).encode()
    deadline = time.monotonic() + 20
    while True:
        request = urllib.request.Request(f"{ADMIN}/-/deliveries/{urllib.parse.quote(delivery_id)}/replay", what, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            if error.code != 409 or time.monotonic() > deadline:
                return error.code
        time.sleep(0.05)


def by_stripe(secret, body, age=0):
    now = int(time.time()) - age
    return {"Stripe-Signature": f"t={now},v1={stripe.WebhookSignature._compute_signature(f'{now}.{body}', secret)}"}


def by_slack(secret, body, age=0):
    now = str(int(time.time()) - age)
    signature = slack_sdk.signature.SignatureVerifier(secret).generate_signature(timestamp=now, body=body)
    return {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": signature}


def by_standard_webhooks(prefix, webhook):
    def sign(secret, body, age=0):
        message, now = f"msg_{uuid.uuid4().hex}", datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age)
        return {f"{prefix}-Id": message, f"{prefix}-Timestamp": str(int(now.timestamp())), f"{prefix}-Signature": webhook(secret).sign(message, now, body)}
    return sign


def event():
    """The body of an event as the customers of a sender get it."""
    moment = datetime.datetime.now(datetime.timezone.utc).isoformat()
    return json.dumps({"type": "invoice.paid", "timestamp": moment, "data": {"text": "grüße 💡"}}, ensure_ascii=False, separators=(",", ":"))


def sent(secrets, body, age=0):
    """The headers of an event with a signature by each of these secrets."""
    more = ["--id", "msg_01936f0c4e7a7d1e9b1f6a2c8d4e0b57", "--now", str(int(time.time()) - age)]
    made = [signed_by_hookgate("standard-webhooks", body, secret, more) for secret in secrets]
    return {**made[0], "webhook-signature": " ".join(headers["webhook-signature"] for headers in made)}


def code_of_the_page(language):
    with open("docs/for-your-customers.md") as file:
        section = file.read().split("## Verify with a library")[1]
    return section.split(f"```{language}\n")[1].split("```")[0]


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
    body = body_of(name)
    headers = sign(secret, body, AGE)
    tell(sdk, "15 min later", "as it came", accepts(verify, secret, {key.lower(): value for key, value in headers.items()}, body), "refused")
    tell(sdk, "15 min later", "queued", post(f"late/{name}", headers, body), 200)
    headers, handed_on = after_the_queue(f"late/{name}", body)
    tell(sdk, "15 min later", "anew", accepts(verify, secret, headers, handed_on), "accepted")
    tell(sdk, "15 min later", "same body", handed_on == body, True)
    tell(sdk, "15 min later", "tampered", accepts(verify, secret, headers, handed_on.replace("ping", "pong")), "refused")
    tell(sdk, "a replay", "asked for", replayed(headers["hookgate-delivery-id"]), 200)
    tell(sdk, "a replay", "anew", accepts(verify, secret, *after_the_queue(f"late/{name}", body, 2)), "accepted")

body = body_of("own")
tell("stripe (Python)", "to be signed", "queued", post("late/own", by_stripe(secret_of("stripe"), body, AGE), body), 200)
headers, handed_on = after_the_queue("late/own", body)
for sdk, webhook in [("standardwebhooks", standardwebhooks.webhooks.Webhook), ("svix", svix.webhooks.Webhook)]:
    own = lambda body: webhook(secret_of("own")).verify(body, headers)
    tell(f"{sdk} (Python)", "gate's own", "as it is", accepts(own, handed_on), "accepted")
    tell(f"{sdk} (Python)", "gate's own", "tampered", accepts(own, handed_on.replace("ping", "pong")), "refused")

# An event for the customers of a sender, by the library and by the code of the page that they get.
page = code_of_the_page("python")
for sdk, verify in [("standardwebhooks (Python)", SDKS["standardwebhooks"][2]),
                    ("the page (Python)", lambda secret, headers, body: exec(page, {"secret": secret, "headers": headers, "body": body}))]:
    body, old, new = event(), secret_of("own"), secret_of("next")
    check = lambda secret, headers, body: accepts(verify, secret, headers, body)
    headers = sent(["own"], body)
    tell(sdk, "an event", "as it is", check(old, headers, body), "accepted")
    tell(sdk, "an event", "tampered", check(old, headers, body.replace("paid", "void")), "refused")
    tell(sdk, "an event", "another ID", check(old, {**headers, "webhook-id": "msg_2"}, body), "refused")
    tell(sdk, "an event", "new secret", check(new, headers, body), "refused")
    tell(sdk, "an event", "too old", check(old, sent(["own"], body, AGE), body), "refused")
    headers = sent(["next", "own"], body)
    tell(sdk, "rotation", "old secret", check(old, headers, body), "accepted")
    tell(sdk, "rotation", "new secret", check(new, headers, body), "accepted")
    tell(sdk, "rotation", "tampered", check(new, headers, body.replace("paid", "void")), "refused")
    tell(sdk, "rotation", "another", check(secret_of("svix"), headers, body), "refused")

sys.exit(1 if wrong else 0)
