"""The targets, and how one is started."""
import base64
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from processes import Process, free_port

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCRATCH = ROOT / "target" / "peers"
SECRET = "a-secret-of-32-bytes-for-a-bench"
KEY_B64 = base64.b64encode(SECRET.encode()).decode()
MAX_BODY = 1024 * 1024
PATH = "/hooks/github"
BASELINE = "haproxy-verify"
os.environ["PATH"] += ":/usr/sbin"


@dataclass(eq=False)
class Target:
    """A gateway under test. `command` and `variables` may contain {NAME}; the config file has @NAME@."""

    name: str
    command: list
    config: str = ""
    variables: dict = field(default_factory=dict)
    env: dict = field(default_factory=dict)
    # the cases of check.py that it cannot pass, each with the reason
    gaps: dict = field(default_factory=dict)
    verifies: bool = True
    # signed as Standard Webhooks does: the signature covers the delivery ID
    by_standard: bool = False
    # the keys for a listener with TLS and HTTP/2, for @TLS@ in its config
    tls: str = ""
    max_workers: int = 64
    # the loads to measure: "all", or "small" for 1 KiB alone
    loads: str = "all"

    def start(self, upstream_port, workers=1, rate=1000000, cpus=None, tls=False):
        """Starts it in a scratch folder of its own. It then listens on `port`.

        With TLS it forwards duplicates, since h2load sends the same delivery again and again.
        """
        run = SCRATCH / "run" / self.name
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        port = free_port()
        common = {
            "PORT": port, "UPSTREAM_PORT": upstream_port, "WORKERS": workers, "RATE": rate, "SECRET": SECRET, "KEY_B64": KEY_B64,
            "MAX_BODY": MAX_BODY, "BUFFER": MAX_BODY + 65536, "HERE": HERE, "RUN": run, "BIN": SCRATCH / "bin", "PEM": SCRATCH / "tls.pem",
            "HOOKGATE": os.environ.get("HOOKGATE_BINARY", ""), "USER": "root" if os.getuid() == 0 else os.environ.get("USER", "nobody"),
        }
        common["TLS"] = self.tls.format(**common) if tls else ""
        values = {**common, **{name: text.format(**common) for name, text in self.variables.items()}}
        if self.config:
            text = (HERE / "conf" / self.config).read_text()
            if tls:
                text = re.sub(r".*# dedupe\n", "", text)
            for name, value in values.items():
                text = text.replace(f"@{name}@", str(value))
            (run / "config").write_text(text)
        env = {name: text.format(**values) for name, text in self.env.items()}
        process = Process([part.format(**values) for part in self.command], port, run / "output.log", cpus, env)
        process.port = port
        return process


def start_upstream(cpus=None):
    """Starts the C upstream, which then listens on `port`."""
    port = free_port()
    (SCRATCH / "run").mkdir(parents=True, exist_ok=True)
    process = Process([str(SCRATCH / "bin" / "upstream"), str(port)], port, SCRATCH / "run" / "upstream.log", cpus)
    process.port = port
    return process


def nginx_modules():
    """Returns the folder of nginx's dynamic modules, as nginx itself names it."""
    said = subprocess.run(["nginx", "-V"], capture_output=True, text=True).stderr
    return said.split("--modules-path=")[1].split()[0] if "--modules-path=" in said else "modules"


HAPROXY = ["haproxy", "-db", "-f", "{RUN}/config"]
NGINX = ["nginx", "-p", "{RUN}", "-c", "config", "-e", "error.log"]
HOOKGATE = ["{HOOKGATE}", "run", "--config", "{RUN}/config"]
BY_GITHUB = {"PROVIDER": "github", "KEY": "{SECRET}", "LOG": "none", "STORE": ""}
# glibc would map and unmap HAProxy's large buffers for each request, which costs it a quarter more
LARGE_BUFFERS = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
NO_CHUNKS = "it accepts no chunked bodies (411)"


def all_targets():
    """Returns all targets by name, in the order of the table's columns."""
    targets = [
        Target(BASELINE, HAPROXY, "haproxy-verify.cfg", env=LARGE_BUFFERS, tls=" ssl crt {PEM} alpn h2,http/1.1"),
        Target("nginx-lua-verify", NGINX, "nginx-lua.conf", {"MODULES": nginx_modules()}, {"SECRET": "{SECRET}", "RATE": "{RATE}"},
               gaps={"two signatures": "nginx 1.22 gives Lua the first of two headers"}),
        Target("c-verify", ["{BIN}/floor", "{PORT}", "{UPSTREAM_PORT}"], env={"SECRET": "{SECRET}", "RATE": "{RATE}"}, max_workers=1,
               gaps={"chunked": NO_CHUNKS, "100 chunks": NO_CHUNKS}),
        Target("haproxy-plain", HAPROXY, "haproxy-plain.cfg", verifies=False),
        Target("hookgate", HOOKGATE, "hookgate.yaml", BY_GITHUB, tls=", tls: {{ certificate: {PEM}, key: {PEM} }}"),
        Target("hookgate-covered-id", HOOKGATE, "hookgate.yaml",
               {**BY_GITHUB, "PROVIDER": "standard-webhooks", "KEY": "whsec_{KEY_B64}"}, by_standard=True,
               gaps={"upper case": "base64 has no other case"}),
        Target("hookgate-log-store", HOOKGATE, "hookgate.yaml", {**BY_GITHUB, "LOG": "all", "STORE": "store: {{ path: {RUN}/store }}"}, loads="small"),
    ]
    return {target.name: target for target in targets}
