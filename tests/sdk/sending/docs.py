"""Runs what docs/outbound.md says: its walk from nothing to a verified delivery, and its code that publishes.
Usage: docs.py HOOKGATE API DIRECTORY, where API has the token of DIRECTORY/app-token."""
import collections
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

HOOKGATE, API, DIRECTORY = sys.argv[1:]
with open("docs/outbound.md") as file:
    PAGE = file.read()
wrong = 0


def tell(what, got, due):
    global wrong
    wrong += got != due
    print(f"  {'✓' if got == due else '✕'} {what:<52} {got}" + ("" if got == due else f", not {due}"))


def block(heading, language):
    """The first block of a language below a heading, or below a line that begins so."""
    return PAGE.split(f"\n{heading}")[1].split(f"```{language}\n")[1].split("```")[0]


class LosesAnswers(http.server.BaseHTTPRequestHandler):
    """Stands between an app and the gateway: of each key the first answer is lost, and the second is 503."""

    protocol_version = "HTTP/1.1"
    count = collections.Counter()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = (self.headers["Idempotency-Key"], self.headers["User-Agent"])
        self.count[key] += 1
        if self.count[key] == 2:
            self.reply(503, b"{}", [("Retry-After", "1")])
            return
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type", "Idempotency-Key")}
        try:
            with urllib.request.urlopen(urllib.request.Request(API + self.path, body, headers), timeout=15) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        if self.count[key] == 1:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.reply(status, text, [])

    def reply(self, status, body, headers):
        self.send_response(status)
        for name, value in [("Content-Length", str(len(body))), ("Content-Type", "application/json"), *headers]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def published(name, command, file, code):
    """Runs the page's code, which publishes an event over a connection that loses answers, and then another one with its key."""
    with open(f"{DIRECTORY}/{file}", "w") as out:
        out.write(code)
    done = subprocess.run([*command, file], cwd=DIRECTORY, capture_output=True, text=True, timeout=60)
    if done.returncode:
        tell(f"publishing by {name}", done.stderr, "its answers")
        return
    first, again, other = json.loads(done.stdout)
    tell(f"{name}: the third request repeats the first", first["repeated"], True)
    tell(f"{name}: a later publish repeats it too", (again["repeated"], again["id"] == first["id"]), (True, True))
    tell(f"{name}: another event with the key is refused", "key_reused" in other, True)


def publish():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), LosesAnswers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    code = block("### Python", "python").replace("http://127.0.0.1:9400", address)
    published("Python", [sys.executable], "publish.py", code + """
one = publish("acme", "python-1", "invoice.paid", {"id": 1})
two = publish("acme", "python-1", "invoice.paid", {"id": 1})
try:
    publish("acme", "python-1", "invoice.paid", {"id": 2})
except RuntimeError as error:
    three = str(error)
print(json.dumps([one, two, three]))
""")
    code = block("### Node.js", "js").replace("http://127.0.0.1:9400", address)
    published("Node.js", ["node"], "publish.mjs", code + """
const one = await publish("acme", "node-1", "invoice.paid", { id: 1 });
const two = await publish("acme", "node-1", "invoice.paid", { id: 1 });
const three = await publish("acme", "node-1", "invoice.paid", { id: 2 }).catch((error) => String(error));
console.log(JSON.stringify([one, two, three]));
""")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def walk():
    """Runs the blocks of the page one after the other, in a directory of their own and on other ports."""
    directory = f"{DIRECTORY}/walk"
    os.makedirs(f"{directory}/bin")
    os.symlink(HOOKGATE, f"{directory}/bin/hookgate")
    ports = {port: str(free_port()) for port in ("8080", "9091", "9090", "9400", "4000", "3000")}
    moved = lambda text: re.sub(r"\b(8080|9091|9090|9400|4000|3000)\b", lambda found: ports[found[0]], text)
    with open(f"{directory}/config.yaml", "w") as out:
        out.write(moved(block("## The config", "yaml")))
    with open(f"{directory}/.curlrc", "w") as out:
        out.write("silent\nshow-error\n")
    start = moved(block("## The config", "sh"))
    steps = moved(block("The same as your app does it", "sh")).replace(
        "hookgate receive ", f"hookgate receive --listen 127.0.0.1:{ports['4000']} ")
    wait_for = lambda port: f"for _ in $(seq 200); do (: < /dev/tcp/127.0.0.1/{ports[port]}) 2>/dev/null && break; sleep 0.05; done\n"
    # what a person does not see: each server is there before the next command needs it
    at = steps.index("# 3: an event")
    again = next(line for line in reversed(steps.splitlines()) if line.startswith("curl ")) + "\n"
    script = f"set -e\n{start}{wait_for('9400')}{steps[:at]}{wait_for('4000')}{steps[at:]}sleep 2\necho\necho ANSWER\n{again}"
    process = subprocess.Popen(["bash", "-c", script], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, "CURL_HOME": directory, "PATH": f"{directory}/bin:{os.environ['PATH']}"}, start_new_session=True)
    try:
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
        reader.start()
        status = process.wait(timeout=60)
        time.sleep(0.2)
    finally:
        # the gateway and the receiver of the walk, which are in a group of their own
        os.killpg(process.pid, signal.SIGTERM)
    reader.join(timeout=10)
    text = "".join(lines)
    # the log of the gateway follows without a line end
    answer = json.JSONDecoder().raw_decode(text.split("ANSWER\n")[-1])[0] if status == 0 else {}
    attempts = answer.get("attempts", [])
    tell("the walk ends well", status, 0)
    tell("the walk: one attempt, answered 200", [attempt["status"] for attempt in attempts], [200])
    tell("the walk: the receiver says that it is signed", bool(re.search(r"✓.* invoice\.paid.*msg_", text)), True)
    if wrong:
        print(text)


publish()
walk()
sys.exit(1 if wrong else 0)
