"""Measures targets: CPU time and latency under load, memory of idle connections, wake-ups of an idle process."""
import hashlib
import json
import os
import random
import re
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from check import Sender
from processes import busy_seconds
from targets import PATH, SCRATCH, SECRET, start_upstream

# A cell is measured again if other processes used more than this many cores meanwhile.
NOISE = 0.10
ATTEMPTS = 3
WARM_UP = 0.5
IDLE_CONNECTIONS = 1000


@dataclass(frozen=True)
class Load:
    """A load: closed loop, or open loop at a rate of requests a second."""

    size: int
    connections: int
    rate: int = 0
    workers: int = 1
    h2: bool = False  # HTTP/2 over TLS, two streams a connection


def cpus_for(workers):
    """Returns the CPUs of the target, and those of the load generator and the upstream. They differ if there are enough."""
    cpus = sorted(os.sched_getaffinity(0))
    if workers > len(cpus):
        return None
    others = cpus[workers:2 * workers]
    return set(cpus[:workers]), set(others if len(others) == workers else cpus[:workers])


def body_of(size):
    """Returns the file with the body of this size: JSON, the same in each run."""
    path = SCRATCH / f"body-{size}.json"
    start, end = '{"ref":"refs/heads/main","pad":"', '"}'
    pad, block = "", b""
    while len(pad) < size:
        block = hashlib.sha256(block).digest()
        pad += block.hex()
    path.write_text(start + pad[:size - len(start) - len(end)] + end)
    return path


class Quiet:
    """Waits until other processes leave the machine alone, `budget` seconds in all."""

    def __init__(self, budget):
        self.budget = budget

    def wait(self):
        while self.budget > 0:
            before = busy_seconds()
            time.sleep(0.25)
            if (busy_seconds() - before) / 0.25 <= NOISE:
                return
            time.sleep(1)
            self.budget -= 1.25


def generate(target, port, load, seconds, cpus):
    """Runs the load generator. Returns what it printed and the CPU seconds that it used."""
    if load.h2:
        return generate_h2(target, port, load, seconds, cpus)
    command = [str(SCRATCH / "bin" / "load"), "-p", str(port), "-b", str(body_of(load.size)), "-c", str(load.connections),
               "-d", str(seconds), "-i", str(random.getrandbits(60))]
    command += ["-r", str(load.rate)] if load.rate else []
    command += ["-w"] if target.by_standard else []
    printed, cpu = run_on(cpus, command)
    return json.loads(printed), cpu


def generate_h2(target, port, load, seconds, cpus):
    """Runs h2load, which sends the same delivery again and again, and returns the same as `generate`, without latencies."""
    body = body_of(load.size)
    headers = Sender(target, port, None).headers(body.read_bytes())
    command = ["h2load", "-c", str(load.connections // 2), "-m", "2", "-D", f"{seconds * 1000:.0f}ms", "-d", str(body)]
    command += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    printed, cpu = run_on(cpus, [*command, f"https://127.0.0.1:{port}{PATH}"])
    succeeded, failed, errored, timeouts = map(int, re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", printed).groups())
    return {"requests": succeeded, "rps": succeeded / seconds, "not_2xx": failed, "errors": errored, "timeouts": timeouts, "p50_us": 0, "p99_us": 0}, cpu


def run_on(cpus, command):
    """Runs a command to its end. Returns what it printed and the CPU seconds that it used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "SECRET": SECRET},
                          preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def requests_of(upstream):
    """Returns how many requests the upstream got since the last call."""
    with socket.create_connection(("127.0.0.1", upstream.port)) as s:
        s.sendall(b"GET /__count HTTP/1.1\r\nHost: x\r\n\r\n")
        return json.loads(s.recv(4096).partition(b"\r\n\r\n")[2])["requests"]


def under_load(target, load, seconds):
    """Measures one target under one load, with processes of its own."""
    own, others = cpus_for(load.workers)
    upstream = start_upstream(others)
    process = target.start(upstream.port, load.workers, cpus=own, tls=load.h2)
    try:
        generate(target, process.port, load, WARM_UP, others)
        requests_of(upstream)
        began, all_before = time.monotonic(), busy_seconds()
        cpu_before, upstream_before = process.cpu_seconds(), upstream.cpu_seconds()
        result, generator_cpu = generate(target, process.port, load, seconds, others)
        cpu = process.cpu_seconds() - cpu_before
        known = cpu + upstream.cpu_seconds() - upstream_before + generator_cpu
        foreign = (busy_seconds() - all_before - known) / (time.monotonic() - began)
        forwarded = requests_of(upstream)
        done = forwarded if load.h2 else result["requests"]  # h2load does not wait for the last answers
        wrong = result["not_2xx"] + result["errors"] + result["timeouts"] + abs(done - forwarded)
        return {"cpu_us": cpu / max(done, 1) * 1e6, "rps": result["rps"], "p50_ms": result["p50_us"] / 1e3, "p99_ms": result["p99_us"] / 1e3,
                "wrong": wrong, "foreign": foreign}
    finally:
        process.stop()
        upstream.stop()


def measure(cells, rounds, seconds, quiet):
    """Measures each (target, load) once a round, so that drift of the machine reaches all alike. Returns the results by cell."""
    results = {cell: [] for cell in cells}
    for number in range(rounds):
        for target, load in cells:
            for _ in range(ATTEMPTS):
                quiet.wait()
                result = under_load(target, load, seconds)
                if result["foreign"] <= NOISE or quiet.budget <= 0:
                    break
            results[target, load].append(result)
            print(f"  {number + 1}/{rounds} {target.name} {load}: {result['cpu_us']:.1f} µs, {result['rps']:.0f}/s, others {result['foreign']:.2f} cores",
                  file=sys.stderr)
    return results


def median(results, key):
    """Returns the median of the calm results, or of all if none is calm, and whether it is reliable."""
    calm = [result for result in results if result["foreign"] <= NOISE]
    value = statistics.median(result[key] for result in calm or results)
    return value, bool(calm) and not any(result["wrong"] for result in results)


def when_idle(target, seconds, tls=False):
    """Measures the memory of an idle keep-alive connection in KiB, and how often a second the idle process wakes up."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    own, others = cpus_for(1)
    upstream = start_upstream(others)
    process = target.start(upstream.port, cpus=own, tls=tls)
    connections = []
    try:
        # few connections, since the idle ones would reuse memory that many leave behind
        generate(target, process.port, Load(1024, 2, h2=tls), WARM_UP, others)
        time.sleep(3)  # an allocator may give memory back a moment later
        before = process.memory_kib()
        sender = Sender(target, process.port, None)
        for _ in range(IDLE_CONNECTIONS):
            lines = "".join(f"{name}: {value}\r\n" for name, value in sender.headers(b"{}").items())
            connection = socket.create_connection(("127.0.0.1", process.port))
            connections.append(context.wrap_socket(connection) if tls else connection)
            connections[-1].sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: 2\r\n\r\n{{}}".encode())
            if not connections[-1].recv(4096).startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{target.name} does not answer with 200")
        time.sleep(3)
        memory = (process.memory_kib() - before) / IDLE_CONNECTIONS
        for each in connections:
            each.close()
        time.sleep(1)
        slept = process.wakeups()
        time.sleep(seconds)
        return {"connection_kib": memory, "wakeups": (process.wakeups() - slept) / seconds}
    finally:
        process.stop()
        upstream.stop()
