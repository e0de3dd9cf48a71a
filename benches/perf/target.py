#!/usr/bin/env python3
"""Prints the yardstick's target for a release build: `target.py > hookgate.json`, then `./run.sh haproxy-verify hookgate --add hookgate.json`."""
import json
from pathlib import Path

here = Path(__file__).resolve().parent
binary = here.parent.parent / "target" / "release" / "hookgate"
print(json.dumps({
    "name": "hookgate", "kind": "own", "verifies": True, "port": 18120,
    "template": str(here / "hookgate.yaml.in"),
    "cmd": [str(binary), "run", "--config", "{run}/cfg"],
}))
