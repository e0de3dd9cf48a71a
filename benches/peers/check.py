"""Checks that a target does the job: 27 cases, each a few requests and what the upstream got of them."""
import base64
import hashlib
import hmac
import http.client
import http.server
import os
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from processes import free_port
from targets import MAX_BODY, PATH, SECRET

TIMEOUT = 8


class Upstream(http.server.ThreadingHTTPServer):
    """An application that records what it gets. `?fail=STATUS` and `?delay=MS` in the path change its answer."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.bodies, self.sockets = [], []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_):
        """Keeps silent: a target that is stopped resets its connections."""

    def stop(self):
        self.shutdown()
        self.server_close()
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.sockets.append(self.connection)

    def do_POST(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.bodies.append(body)
        query = dict(pair.split("=") for pair in self.path.partition("?")[2].split("&") if "=" in pair)
        time.sleep(int(query.get("delay", 0)) / 1000)
        self.send_response(int(query.get("fail", 200)))
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


class Sender:
    """Sends requests to a target, signed as it expects."""

    def __init__(self, target, port, upstream):
        self.by_standard, self.port, self.upstream = target.by_standard, port, upstream
        self.signature_header = "webhook-signature" if self.by_standard else "X-Hub-Signature-256"
        self.id_header = "webhook-id" if self.by_standard else "X-GitHub-Delivery"

    def headers(self, body, id=None, **changed):
        """Returns the headers of a signed delivery. `signature` or `prefix` replaces a part, `signed` is the body that is signed."""
        id, now = id or str(uuid.uuid4()), str(int(time.time()))
        signed = changed.get("signed", body)
        content = f"{id}.{now}.".encode() + signed if self.by_standard else signed
        digest = hmac.new(SECRET.encode(), content, hashlib.sha256)
        text = base64.b64encode(digest.digest()).decode() if self.by_standard else digest.hexdigest()
        prefix = changed.get("prefix", "v1," if self.by_standard else "sha256=")
        headers = {"Content-Type": "application/json", "X-GitHub-Event": "push", self.id_header: id,
                   self.signature_header: prefix + changed.get("signature", lambda right: right)(text)}
        return {**headers, "webhook-timestamp": now} if self.by_standard else headers

    def post(self, body=b'{"a":1}', path=PATH, method="POST", without="", **rest):
        """Sends one request and returns its status, or the name of the error."""
        headers = self.headers(body, **rest)
        headers.pop(without, None)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body=body, headers=headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()

    def raw(self, body, *pieces, framing=None, lines="", pause=0):
        """Sends a head for this body, then the pieces, and returns the status of the final answer."""
        framing = framing or f"Content-Length: {len(body)}\r\n"
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers(body).items())
        data = b""
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for piece in (f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{head}{framing}{lines}\r\n".encode(), *pieces):
                    s.sendall(piece)
                    time.sleep(pause)
            except OSError:
                pass  # it has answered already, and closed
            try:
                while True:
                    got = s.recv(65536)
                    data += got
                    while data.startswith(b"HTTP/1.1 100") and b"\r\n\r\n" in data:
                        data = data.partition(b"\r\n\r\n")[2]
                    if b"\r\n" in data:
                        return int(data[9:12])
                    if not got:
                        return "closed"
            except OSError as error:
                return type(error).__name__

    def forwarded(self, send):
        """Returns what `send` returns, and how many requests the upstream got of it."""
        before = len(self.upstream.bodies)
        result = send()
        time.sleep(0.02)
        return result, len(self.upstream.bodies) - before


def intact(s, size):
    body = os.urandom(size)
    result = s.forwarded(lambda: s.post(body))
    return (*result, "intact" if s.upstream.bodies[-1:] == [body] else "changed")


def without_id(s):
    """Returns two statuses of one body without an ID. It is refused, or recognised by its body."""
    body = os.urandom(20)
    return s.forwarded(lambda: [s.post(body, without=s.id_header) for _ in range(2)])


def thrice(s, **first):
    id = str(uuid.uuid4())
    return s.forwarded(lambda: [s.post(id=id, **first), s.post(id=id), s.post(id=id)])


def at_once(s):
    id = str(uuid.uuid4())

    def send():
        with ThreadPoolExecutor(6) as pool:
            return list(pool.map(lambda _: s.post(id=id, path=PATH + "?delay=400"), range(6)))

    return s.forwarded(send)[1]


def while_down(s):
    """Stops the upstream for one request. A proxy may still count it as failed for a while afterwards."""
    id, port = str(uuid.uuid4()), s.upstream.server_port
    s.upstream.stop()
    refused = s.post(id=id)
    s.upstream = Upstream(port)
    for _ in range(12):
        retried = s.forwarded(lambda: s.post(id=id))
        if retried[1] or retried[0] == 200:
            break
        time.sleep(0.5)
    return refused, retried


def over_the_rate(s):
    """Sends 80 requests, up to three times: a slow machine may need longer than the limit does."""
    with ThreadPoolExecutor(16) as pool:
        for _ in range(3):
            got = list(pool.map(lambda _: s.post(), range(80)))
            if 429 in got:
                break
    return {status: got.count(status) for status in got}


def two_signatures(s):
    other = f"{s.signature_header}: {'v1,' + 'A' * 43 + '=' if s.by_standard else 'sha256=' + '0' * 64}\r\n"
    return s.raw(b"q", b"q", lines=other)


CHUNKED = "Transfer-Encoding: chunked\r\n"
# name, description, the requests to send, the required result: mostly (status, requests that the upstream got)
CASES = [
    ("valid", "a signed delivery is forwarded once", lambda s: s.forwarded(s.post), (200, 1)),
    ("empty", "an empty body arrives", lambda s: intact(s, 0), (200, 1, "intact")),
    ("1 KiB", "1 KiB arrives", lambda s: intact(s, 1024), (200, 1, "intact")),
    ("100 KiB", "100 KiB arrive", lambda s: intact(s, 102400), (200, 1, "intact")),
    ("1 MiB", "1 MiB arrives", lambda s: intact(s, MAX_BODY), (200, 1, "intact")),
    ("2 MiB", "2 MiB are refused", lambda s: s.forwarded(lambda: s.raw(b"x" * 2 * MAX_BODY, b"x" * 2 * MAX_BODY)), (413, 0)),
    ("tampered", "another body was signed", lambda s: s.forwarded(lambda: s.post(signed=b"other")), (401, 0)),
    ("no signature", "no signature", lambda s: s.forwarded(lambda: s.post(without=s.signature_header)), (401, 0)),
    ("empty signature", "the prefix alone", lambda s: s.forwarded(lambda: s.post(signature=lambda _: "")), (401, 0)),
    ("wrong prefix", "another algorithm is named", lambda s: s.forwarded(lambda: s.post(prefix="sha1=")), (401, 0)),
    ("truncated", "half a signature", lambda s: s.forwarded(lambda: s.post(signature=lambda right: right[:32])), (401, 0)),
    ("two signatures", "two signature headers, the first is right", lambda s: s.forwarded(lambda: two_signatures(s)),
     lambda got: got in ((400, 0), (401, 0))),
    ("upper case", "the signature in upper case", lambda s: s.forwarded(lambda: s.post(signature=str.upper)), (200, 1)),
    ("chunked", "a chunked body",
     lambda s: s.forwarded(lambda: s.raw(b"hello world", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", framing=CHUNKED)), (200, 1)),
    ("100 chunks", "a body of 100 chunks",
     lambda s: s.forwarded(lambda: s.raw(b"z" * 102400, *[b"400\r\n" + b"z" * 1024 + b"\r\n"] * 100, b"0\r\n\r\n", framing=CHUNKED)), (200, 1)),
    ("slow", "a body in 8 pieces, 60 ms apart", lambda s: s.forwarded(lambda: s.raw(b"y" * 8000, *[b"y" * 1000] * 8, pause=0.06)), (200, 1)),
    ("expect", "Expect: 100-continue",
     lambda s: s.forwarded(lambda: s.raw(b"e" * 5000, b"e" * 5000, lines="Expect: 100-continue\r\n", pause=0.1)), (200, 1)),
    ("GET", "another method", lambda s: s.forwarded(lambda: s.post(b"", method="GET")), (405, 0)),
    ("unknown path", "another path", lambda s: s.forwarded(lambda: s.post(path="/hooks/none")), (404, 0)),
    ("no ID", "no delivery ID: refused, or recognised by its body", without_id,
     lambda got: got in (([400, 400], 0), ([401, 401], 0), ([200, 200], 1))),
    ("duplicate", "one ID three times is forwarded once", thrice, ([200, 200, 200], 1)),
    ("forged ID", "a forged request does not use up the ID", lambda s: thrice(s, signed=b"bad"), ([401, 200, 200], 1)),
    ("failed", "the upstream failed, so the retry is forwarded", lambda s: thrice(s, path=PATH + "?fail=500"), ([500, 200, 200], 2)),
    ("at once", "6 requests at once with one ID are forwarded once", at_once, 1),
    ("down", "the upstream is down, then up again", while_down, lambda got: got[0] in (502, 503, 504) and got[1] == (200, 1)),
    ("framing", "Content-Length and Transfer-Encoding: refused, or forwarded with one of them",
     lambda s: s.forwarded(lambda: s.raw(b"q", b"1\r\nq\r\n0\r\n\r\n", lines=CHUNKED)), lambda got: got[0] in (400, 411) or got[1] == 1),
    ("rate", "80 requests at once where 20 a second are allowed", over_the_rate,
     lambda got: set(got) == {200, 429} and got[200] >= 15),
]


def check(target):
    """Runs the cases against a target. Returns the result of each: "ok", the known gap, or the failure."""
    upstream = Upstream(free_port())
    results = {}
    try:
        for rate in (1000000, 20):
            process = target.start(upstream.server_port, rate=rate)
            sender = Sender(target, process.port, upstream)
            for name, _, send, expected in CASES:
                if (name == "rate") == (rate == 20) and (target.verifies or name in ("valid", "empty", "1 KiB", "100 KiB", "1 MiB")):
                    results[name] = judge(target, name, send, expected, sender)
            process.stop()
            upstream = sender.upstream
    except RuntimeError as error:
        results["start"] = f"FAILED: {error}"
    finally:
        upstream.stop()
    return results


def judge(target, name, send, expected, sender):
    try:
        got = send(sender)
    except (OSError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
    if expected(got) if callable(expected) else got == expected:
        return "ok"
    return f"gap: {target.gaps[name]}" if name in target.gaps else f"FAILED: {got}"


def check_all(targets):
    """Checks targets beside each other. Prints failures and known gaps, and returns whether there is no failure."""
    meanings = {name: meaning for name, meaning, _, _ in CASES}
    fine = True
    with ThreadPoolExecutor(len(targets)) as pool:
        for target, results in zip(targets, pool.map(check, targets)):
            passed = sum(result == "ok" for result in results.values())
            print(f"  {target.name}: {passed} of {len(results)} cases")
            for name, result in results.items():
                if result != "ok":
                    print(f"      {meanings.get(name, name)}: {result}")
                fine &= not result.startswith("FAILED")
    return fine
