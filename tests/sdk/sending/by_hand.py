"""Runs the code of docs/for-your-customers.md that verifies without a library, in each language that this machine has, on what a gateway delivered.
Usage: by_hand.py DIRECTORY"""
import base64
import json
import os
import shutil
import subprocess
import sys
import time

DIRECTORY = sys.argv[1]

# A program a language: its command, the heading of its code, what stands around the code, and the name of its file.
# It reads a list of {secret, headers, body as base64} from the file `cases.json`, and prints a list of booleans.
PYTHON = ("python3", "Python", "main.py", ["python3", "main.py"], """{code}

import json
print(json.dumps([verify(one["secret"], one["headers"], base64.b64decode(one["body"])) for one in json.load(open("cases.json"))]))
""")
NODE = ("node", "Node.js", "main.mjs", ["node", "main.mjs"], """{code}
import {{ readFileSync }} from "node:fs";
const cases = JSON.parse(readFileSync("cases.json", "utf8"));
console.log(JSON.stringify(cases.map((one) => verify(one.secret, one.headers, Buffer.from(one.body, "base64")))));
""")
GO = ("go", "Go", "webhook/webhook.go", ["go", "run", "."], "{code}")
GO_MAIN = """package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"page/webhook"
)

func main() {
	var cases []struct {
		Secret, Body string
		Headers      map[string]string
	}
	text, _ := os.ReadFile("cases.json")
	if err := json.Unmarshal(text, &cases); err != nil {
		panic(err)
	}
	verdicts := []bool{}
	for _, one := range cases {
		header := http.Header{}
		for name, value := range one.Headers {
			header.Set(name, value)
		}
		body, _ := base64.StdEncoding.DecodeString(one.Body)
		verdicts = append(verdicts, webhook.Verify(one.Secret, header, body))
	}
	out, _ := json.Marshal(verdicts)
	fmt.Println(string(out))
}
"""
PHP = ("php", "PHP", "main.php", ["php", "main.php"], """{code}
$cases = json_decode(file_get_contents('cases.json'), true);
echo json_encode(array_map(fn ($one) => verify($one['secret'], $one['headers'], base64_decode($one['body'])), $cases)), "\\n";
""")
RUBY = ("ruby", "Ruby", "main.rb", ["ruby", "main.rb"], """{code}
require "json"
puts JSON.generate(JSON.parse(File.read("cases.json")).map {{ |one| verify(one["secret"], one["headers"], one["body"].unpack1("m")) }})
""")


def code_of(heading):
    with open("docs/for-your-customers.md") as file:
        section = file.read().split("## Verify by hand")[1].split(f"### {heading}\n")[1]
    return section.split("```")[1].split("\n", 1)[1]


def cases():
    """The cases with their due verdicts, and what each is about."""
    with open(f"{DIRECTORY}/sent.json") as file:
        sent = [request for request in json.load(file) if request["sign"] == "standard"]
    for request in sent:
        where, headers = f"{request['endpoint']}, {request['when']}", request["headers"]
        body = base64.b64decode(request["body"])
        one = lambda secret, headers=headers, body=body: {"secret": secret, "headers": headers, "body": base64.b64encode(body).decode()}
        for secret in request["accepted"]:
            yield f"{where}: as it is", True, one(secret)
            yield f"{where}: a changed byte", False, one(secret, body=body.replace(b"paid", b"said"))
            yield f"{where}: a byte more", False, one(secret, body=body + b" ")
            sender = int(headers["webhook-timestamp"])
            for change in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(sender + 1)}, {"webhook-timestamp": str(sender - 900)},
                           {"webhook-timestamp": ""}, {"webhook-timestamp": "1e9"}, {"webhook-signature": ""}, {"webhook-signature": "v1,"},
                           {"webhook-signature": headers["webhook-signature"].replace("v1,", "v2,")},
                           {"webhook-signature": f"v1a,AAAA {'A' * 60}"}):
                yield f"{where}: {change}", False, one(secret, headers={**headers, **change})
            yield f"{where}: beside others", True, one(secret, headers={**headers, "webhook-signature": "v1a,x v1,AAAA= " + headers["webhook-signature"]})
            yield f"{where}: no headers", False, one(secret, headers={})
        for secret in request["refused"]:
            yield f"{where}: another secret", False, one(secret)
    # the example of the page is authentic, but too old
    yield "the example of the page", False, {
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "headers": {"webhook-id": "msg_01936f0c4e7a7d1e9b1f6a2c8d4e0b57", "webhook-timestamp": "1732449873",
                    "webhook-signature": "v1,w/f6cVZta54J6/lsujgRjRIJs2fVRYTD5XdC2yJQyls="},
        "body": base64.b64encode(b'{"type":"invoice.paid","timestamp":"2024-11-24T12:04:32Z","data":{"id":"in_1024","amount_cents":4200}}').decode(),
    }


def main():
    all_cases = list(cases())
    wrong, begun = 0, time.time()
    for program, heading, file, command, template in (PYTHON, NODE, GO, PHP, RUBY):
        if not shutil.which(program):
            print(f"  – {heading} is not on this machine")
            continue
        directory = f"{DIRECTORY}/by-hand-{program}"
        os.makedirs(os.path.dirname(f"{directory}/{file}"))
        with open(f"{directory}/{file}", "w") as out:
            out.write(template.format(code=code_of(heading)))
        with open(f"{directory}/cases.json", "w") as out:
            json.dump([case for _, _, case in all_cases], out)
        if program == "go":
            with open(f"{directory}/main.go", "w") as out:
                out.write(GO_MAIN)
            with open(f"{directory}/go.mod", "w") as out:
                out.write("module page\n\ngo 1.19\n")
        done = subprocess.run(command, cwd=directory, capture_output=True, timeout=120, text=True, env={**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off"})
        if done.returncode:
            wrong += 1
            print(f"  ✕ {heading}: {done.stderr}")
            continue
        verdicts = json.loads(done.stdout)
        bad = [what for (what, due, _), verdict in zip(all_cases, verdicts, strict=True) if verdict != due]
        wrong += len(bad)
        print(f"  {'✕' if bad else '✓'} by hand ({heading}): {len(verdicts)} cases" + "".join(f"\n      wrong: {what}" for what in bad))
    # the verdicts hold for requests that are not older than five minutes
    assert time.time() - begun < 200
    sys.exit(1 if wrong else 0)


main()
