"""Verifies by the Python SDKs what a gateway delivered. One line a case: SDK, endpoint, case, verdict. Usage: check.py DIRECTORY"""
import base64
import datetime
import hashlib
import hmac
import json
import sys
import time

import freezegun
import slack_sdk.signature
import standardwebhooks.webhooks
import stripe
import svix.webhooks

with open(f"{sys.argv[1]}/sent.json") as file:
    SENT = json.load(file)
wrong = 0


def tell(sdk, request, case, got, due):
    global wrong
    wrong += got != due
    where = f"{request['endpoint']}, {request['when']}"
    print(f"  {'✓' if got == due else '✕'} {sdk:<28} {where:<22} {case:<24} {got}" + ("" if got == due else f", not {due}"))


def accepts(verify, *arguments):
    try:
        return "refused" if verify(*arguments) is False else "accepted"
    except Exception as error:  # each SDK has its own
        return "refused" if "erif" in type(error).__name__ or "ignature" in type(error).__name__ else repr(error)


def of_page():
    """The code of the page that customers get, as a function."""
    with open("docs/for-your-customers.md") as file:
        section = file.read().split("## Verify with a library")[1]
    code = section.split("```python\n")[1].split("```")[0]
    return lambda secret, headers, body: exec(code, {"secret": secret, "headers": headers, "body": body})


def by_acme(secret, headers, body):
    """The check that a customer of docs/outbound.md has in use: an older contract than Standard Webhooks."""
    sent = headers["x-acme-timestamp"]
    expected = hmac.new(secret.encode(), f"{sent}.".encode() + body, hashlib.sha256).hexdigest()
    event = (headers["x-acme-event"], headers["x-acme-delivery"].startswith("msg_"))
    return event == ("invoice.paid", True) and abs(time.time() - int(sent)) < 300 and headers["x-acme-signature"] == f"v1={expected}"


def another(value):
    """A value with another digit or letter, in front of the padding of a signature."""
    at = len(value) - 6
    return value[:at] + ("1" if value[at] != "1" else "2") + value[at + 1:]


by_standard = {
    "standardwebhooks (Python)": lambda secret, headers, body: standardwebhooks.webhooks.Webhook(secret).verify(body, headers),
    "svix (Python)": lambda secret, headers, body: svix.webhooks.Webhook(secret).verify(body, headers),
    "the page (Python)": of_page(),
}
# The SDKs of each signature, and the headers that it covers.
SDKS = {
    "standard": (by_standard, ["webhook-id", "webhook-timestamp", "webhook-signature"]),
    "svix": ({"svix (Python)": by_standard["svix (Python)"]}, ["svix-id", "svix-timestamp", "svix-signature"]),
    "stripe": ({"stripe (Python)": lambda secret, headers, body: stripe.WebhookSignature.verify_header(body.decode(), headers["stripe-signature"], secret, 300)},
               ["stripe-signature"]),
    "slack": ({"slack_sdk (Python)": lambda secret, headers, body: slack_sdk.signature.SignatureVerifier(secret).is_valid_request(body, headers)},
              ["x-slack-request-timestamp", "x-slack-signature"]),
    "acme-2019": ({"hmac (Python)": by_acme}, ["x-acme-timestamp", "x-acme-signature"]),
}

for request in SENT:
    sdks, covered = SDKS.get(request["sign"], ({}, []))
    headers, body = request["headers"], base64.b64decode(request["body"])
    for sdk, verify in sdks.items():
        for number, secret in enumerate(request["accepted"]):
            which = f"secret {number + 1}" if len(request["accepted"]) > 1 else "its secret"
            tell(sdk, request, which, accepts(verify, secret, headers, body), "accepted")
            tell(sdk, request, "a changed byte", accepts(verify, secret, headers, body.replace(b"paid", b"said")), "refused")
            tell(sdk, request, "a byte more", accepts(verify, secret, headers, body + b" "), "refused")
            for name in covered:
                changed = " ".join(map(another, headers[name].split(" ")))
                tell(sdk, request, name, accepts(verify, secret, {**headers, name: changed}, body), "refused")
            for minutes in (-10, 10):
                with freezegun.freeze_time(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)):
                    got = accepts(verify, secret, headers, body)
                # stripe does not refuse a time that is in the future for it
                if minutes > 0 or request["sign"] != "stripe":
                    tell(sdk, request, f"{minutes:+} minutes", got, "refused")
        for secret in request["refused"]:
            tell(sdk, request, "another secret", accepts(verify, secret, headers, body), "refused")

sys.exit(1 if wrong else 0)
