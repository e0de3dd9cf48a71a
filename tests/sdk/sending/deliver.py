"""Publishes events to a gateway, and writes the requests that its endpoints got to DIRECTORY/sent.json, with the secrets that each must verify by.
Usage: deliver.py API PORT DIRECTORY, where PORT is that of the endpoints."""
import base64
import http.server
import json
import secrets
import sys
import threading
import time
import urllib.request

API, PORT, DIRECTORY = sys.argv[1], int(sys.argv[2]), sys.argv[3]
DATA = {"text": "grüße 💡", "amount": 1.50, "paid": True}


class Endpoints(http.server.BaseHTTPRequestHandler):
    """All endpoints of the customers: the path of a request names one."""

    protocol_version = "HTTP/1.1"
    requests = {}

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.requests.setdefault(self.path[1:], []).append({"headers": headers, "body": base64.b64encode(body).decode()})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def call(method, path, body=None):
    with open(f"{DIRECTORY}/app-token") as file:
        headers = {"Authorization": f"Bearer {file.read()}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{API}/v1/tenants/acme{path}", data, headers, method=method), timeout=15) as answer:
        return json.load(answer)


def make(name, **fields):
    """Makes an endpoint. Returns its secret."""
    answer = call("PUT", f"/endpoints/{name}", {"url": f"http://127.0.0.1:{PORT}/{name}", "types": ["invoice.*"], **fields})
    return fields.get("secret") or answer["secret"]


def delivered(names, when):
    """Publishes an event, and waits until each of these endpoints has it. Returns their requests by name."""
    before = {name: len(Endpoints.requests.get(name, [])) for name in names}
    event = call("POST", "/events", {"type": "invoice.paid", "id": secrets.token_hex(8), "data": DATA})
    deadline = time.monotonic() + 20
    while any(len(Endpoints.requests.get(name, [])) == before[name] for name in names):
        assert time.monotonic() < deadline, f"not delivered ({when}): {before}"
        time.sleep(0.02)
    found = {name: Endpoints.requests[name][-1] for name in names}
    for name, request in found.items():
        # each form of the ID that a scheme writes is the event's own
        ids = [request["headers"].get(header) for header in ("webhook-id", "svix-id", "x-github-delivery", "x-acme-delivery")]
        assert [id for id in ids if id] in ([event["id"]], []), (name, ids, event["id"])
    return found


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Endpoints)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    call("PUT", "", {})
    given = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    olds = {
        "envelope": make("envelope"),
        "raw": make("raw", payload="raw"),
        "given": make("given", secret=given),
        "github": make("github", sign="github", payload="raw", secret=secrets.token_hex(20)),
        "slack": make("slack", sign="slack", payload="raw", secret=secrets.token_hex(16)),
        "stripe": make("stripe", sign="stripe", payload="raw", secret=f"whsec_{secrets.token_hex(16)}"),
        "svix": make("svix", sign="svix", secret=f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"),
        "acme-2019": make("acme-2019", sign="acme-2019", payload="raw", secret=secrets.token_hex(20)),
    }
    standard = ("envelope", "raw", "given")
    sent = []

    def note(when, accepted, refused):
        for name, request in delivered(olds, when).items():
            sign = "standard" if name in standard else name
            sent.append({"endpoint": name, "sign": sign, "when": when, "accepted": accepted(name), "refused": refused(name), **request})

    note("at first", lambda name: [olds[name]], lambda name: [olds["given" if name == "envelope" else "envelope"]])
    own = {"github", "slack", "stripe", "acme-2019"}
    news = {}
    for name in olds:
        fields = {"secret": secrets.token_hex(20)} if name in own else {}
        answer = call("POST", f"/endpoints/{name}/rotate", {"overlap": 3, **fields})
        news[name] = fields.get("secret") or answer["secret"]
    ends = time.monotonic() + 3.5
    # a scheme of the config has room for one signature: the old secret makes it until that ends
    note("rotating", lambda name: [olds[name], news[name]] if name in standard else [olds[name]],
         lambda name: [] if name in standard else [news[name]])
    time.sleep(max(0, ends - time.monotonic()))
    note("rotated", lambda name: [news[name]], lambda name: [olds[name]])
    lasts = {}
    for name in olds:
        fields = {"secret": secrets.token_hex(20)} if name in own else {}
        answer = call("POST", f"/endpoints/{name}/rotate", {"overlap": 0, **fields})
        lasts[name] = fields.get("secret") or answer["secret"]
    note("at once", lambda name: [lasts[name]], lambda name: [olds[name], news[name]])
    with open(f"{DIRECTORY}/sent.json", "w") as out:
        json.dump(sent, out)
    print(f"  ✓ {len(sent)} requests delivered")


main()
