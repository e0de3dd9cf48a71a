"""Sends requests that no client library would send to each call of the app's API: other methods, paths that are not UTF-8, unknown query keys, and
bodies of wrong shapes. Each is refused with an error of the documented form, which repeats nothing of the request, and never with a 5xx
(but for 503 `slow_down` of the call that tests an endpoint).
Usage: shapes.py HOST:PORT TOKEN-FILE EVENT"""
import json
import socket
import sys

ADDRESS, TOKEN_FILE, EVENT = sys.argv[1:]
HOST, PORT = ADDRESS.split(":")
with open(TOKEN_FILE) as file:
    TOKEN = file.read()
# Stands for data of a customer, which no error may repeat.
PRIVATE = "an-amount-that-nobody-may-see"
count = 0
wrong = []


def send(method, target, body=None, headers=(), length=None):
    """Sends one request on a connection of its own. Returns status, headers and body of the answer."""
    given = {line.split(":")[0] for line in headers}
    own = [f"Host: {ADDRESS}", f"Authorization: Bearer {TOKEN}", "Connection: close"]
    head = [*(line for line in own if line.split(":")[0] not in given), *headers]
    if body is not None:
        head.append(f"Content-Length: {len(body) if length is None else length}")
        if not any(line.lower().startswith("content-type") for line in headers):
            head.append("Content-Type: application/json")
    raw = method.encode() + b" " + target + b" HTTP/1.1\r\n" + "\r\n".join(head).encode() + b"\r\n\r\n" + (body or b"")
    with socket.create_connection((HOST, int(PORT)), timeout=10) as stream:
        stream.sendall(raw)
        answer = b""
        while more := stream.recv(65536):
            answer += more
    head, _, rest = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    return int(lines[0].split(" ")[1]), {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:] if ": " in line)}, rest


def expect(what, due, method, target, *arguments, **more):
    """Checks that a request is refused with one of the statuses `due`, and that the error has the documented form."""
    global count
    count += 1
    target = target if isinstance(target, bytes) else target.encode()
    status, headers, body = send(method, target, *arguments, **more)
    problem = None
    if status not in due:
        problem = f"{status}, not {due}"
    elif method == "HEAD":
        problem = None if body == b"" else "a body after HEAD"
    elif status >= 400 and headers.get("content-length") != "0":
        try:
            error = json.loads(body)
            if not {"code", "error", "help"} <= error.keys() or error.keys() > {"code", "error", "help", "at"}:
                problem = "not the documented form"
            elif status == 503 and error["code"] != "slow_down":
                problem = "503 for another reason than the limit of tests"
        except ValueError:
            problem = "no JSON"
    if PRIVATE.encode() in body or TOKEN.encode() in body:
        problem = "it repeats what was sent"
    if problem:
        wrong.append(f"{what}: {method} {target[:80]!r}: {problem}: {body[:200]!r}")


def main():
    document = json.loads(send("GET", b"/v1/openapi.json")[2])
    known = {"{tenant}": "acme", "{endpoint}": "main", "{event}": EVENT, "{name}": "2026-11"}
    for template, calls in document["paths"].items():
        path = template
        for name, value in known.items():
            path = path.replace(name, value)
        methods = {method.upper() for method in calls}
        with_body = {method.upper() for method, call in calls.items() if "requestBody" in call}
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "get", "M-SEARCH"):
            # whoever reads may ask for the head alone
            if method not in methods and not (method == "HEAD" and "GET" in methods):
                expect("another method", (405,), method, path, b"{}")
        if "{" in template:
            for odd in (b"%ff", b"%c3%28", b"%00", b"%2e%2e", b"%2F", b"a%20b", b"%E2%80%AE", b"%", b"%zz", b"\xff", b"x" * 5000):
                at = template.encode().replace(b"{tenant}", odd, 1)
                for name, value in known.items():
                    at = at.replace(name.encode(), value.encode())
                for method in methods:
                    expect("an odd path", (400, 404, 414, 422), method, at, b"{}" if method in ("POST", "PUT", "PATCH") else None)
        for method in methods & {"GET", "DELETE"}:
            for query in ("?unknown=1", f"?unknown={PRIVATE}", "?limit=1&limit=2", "?limit=0", "?limit=501", "?limit=-1", "?limit=x", "?after=%ff", "?after=x%00y", "?%ff=1", "?&&=", "?=1"):
                if method == "GET" and template != "/v1/openapi.json":
                    due = (400, 422, 404) if not query.startswith(("?after", "?&&", "?=")) else (200, 400, 404, 422)
                    expect("an odd query", due, method, path + query)
        for method in with_body:
            bodies = [b"", b" ", b"null", b"true", b"1", b'"x"', b"[]", b"[{}]", b"{", b"{}}", b"{} {}", b"\xff", b'{"\xff": 1}', b"\xef\xbb\xbf{}", b"\x00{}",
                      b'{"unknown": "%s"}' % PRIVATE.encode(), b'{"a": 1, "a": 2}', b"[" * 100_000, b'{"data":' * 5_000 + b"1" + b"}" * 5_000, b"NaN", b"{'a': 1}",
                      b'{"a": 1e999999}', b'{"type": "' + PRIVATE.encode() + b'", "id": 1, "data": "' + PRIVATE.encode() + b'"}', b"\xff\xfe{\x00}\x00"]
            for body in bodies:
                # a call of which each field is optional takes no body at all, too
                due = (400, 409, 413, 422) if body.strip() else (200, 202, 400, 409, 422)
                # a body that is taken sends a test, and one endpoint is tested once a second at most
                due += (503,) if path.endswith("/test") else ()
                expect("a body of the wrong shape", due, method, path, body)
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json-seq", "text/json", ""):
                expect("another content type", (415,), method, path, b'{"a": 1}', [f"Content-Type: {kind}"])
            expect("no length", (411,), method, path, None, ["Transfer-Encoding: chunked", "Content-Type: application/json"])
            expect("a body that is too large", (413,), method, path, b"{}", length=1 << 40)
        for header in ("Authorization: Bearer x", "Authorization: Basic eDp5", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"):
            method = sorted(methods)[0]
            expect("a foreign caller", (400, 401, 403), method, path, b"{}" if method in ("POST", "PUT", "PATCH") else None, [header])
    for path in ("/", "/v1", "/v1/", "/v2/tenants", "/v1//tenants", "/v1/tenants/", "/v1/tenants/acme/", "/V1/tenants", "/v1/tenants/acme/nothing", "//v1/tenants", "/v1/../v1/tenants", "/-/status", "/metrics"):
        expect("a call that is not there", (404,), "GET", path)
    print(f"  {'✕' if wrong else '✓'} {count} requests that no library would send" + "".join(f"\n      {line}" for line in wrong[:40]))
    sys.exit(1 if wrong else 0)


main()
