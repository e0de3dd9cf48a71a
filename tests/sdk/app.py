"""An app that is not there for the first try of each delivery and keeps what it gets after that: as HASH.1.json, HASH.2.json…
Usage: app.py PORT DIRECTORY"""
import base64
import collections
import hashlib
import http.server
import json
import os
import sys

PORT, DIRECTORY = int(sys.argv[1]), sys.argv[2]


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = collections.Counter()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name = hashlib.sha256(self.path.encode() + b"\n" + body).hexdigest()
        number = self.seen[name]
        self.seen[name] += 1
        if number > 0:
            kept = {"headers": {key.lower(): value for key, value in self.headers.items()}, "body": base64.b64encode(body).decode()}
            with open(f"{DIRECTORY}/{name}.part", "w") as out:
                json.dump(kept, out)
            os.rename(f"{DIRECTORY}/{name}.part", f"{DIRECTORY}/{name}.{number}.json")
        self.send_response(200 if number > 0 else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), App).serve_forever()
