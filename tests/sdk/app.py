"""An app that is not there for the first try of each delivery and keeps what it gets at the second. Usage: app.py PORT DIRECTORY"""
import base64
import hashlib
import http.server
import json
import os
import sys

PORT, DIRECTORY = int(sys.argv[1]), sys.argv[2]


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = set()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name = hashlib.sha256(self.path.encode() + b"\n" + body).hexdigest()
        if name in self.seen:
            kept = {"headers": {key.lower(): value for key, value in self.headers.items()}, "body": base64.b64encode(body).decode()}
            with open(f"{DIRECTORY}/{name}.part", "w") as out:
                json.dump(kept, out)
            os.rename(f"{DIRECTORY}/{name}.part", f"{DIRECTORY}/{name}.json")
        self.send_response(200 if name in self.seen else 503)
        self.seen.add(name)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), App).serve_forever()
