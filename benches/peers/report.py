"""Renders the results as one Markdown table, and puts it into docs/benchmarks.md."""
import datetime
import os
import re
import subprocess

from measure import median
from targets import BASELINE, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- benches/peers/run --write: begin -->", "<!-- end -->"


def first_line(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "unknown"


def number(text):
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else text


def heading(rounds, seconds, built_here):
    """Returns the paragraph above the table: date, machine, versions."""
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), os.uname().machine)
    commit = first_line("git", "describe", "--always", "--dirty", "--exclude=*")
    lua = first_line("dpkg-query", "-W", "-f=${Version}", "libnginx-mod-http-lua")
    return (f"Measured {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d} on {model}, {os.cpu_count()} CPUs, Linux {os.uname().release}.\n"
            f"{first_line(os.environ['HOOKGATE_BINARY'], '--version')} ({'commit ' + commit if built_here else 'a given binary, in a checkout at ' + commit}),\n"
            f"HAProxy {number(first_line('haproxy', '-v'))}, nginx {number(first_line('nginx', '-v'))} with lua module {number(lua)}, "
            f"{' '.join(first_line('openssl', 'version').split()[:2])}. {rounds} round{'s' * (rounds > 1)} of {seconds:g} s.\n")


def size_name(size):
    return f"{size // 1024} KiB" if size < 1 << 20 else f"{size >> 20} MiB"


def load_name(load):
    workers = "" if load.workers == 1 else f", {load.workers} workers"
    if load.h2:
        return f"{size_name(load.size)}, HTTP/2 over TLS, {load.connections} streams"
    return f"{size_name(load.size)}, " + (f"{load.rate:,} requests/s" if load.rate else f"{load.connections} connections") + workers


def row(name, targets, values, form):
    """Returns a row of cells with the ratio to the baseline. `values` maps a target's name to (value, whether it is reliable)."""
    base = values.get(BASELINE, (0, False))[0]
    cells = []
    for target in targets:
        if target.name not in values:
            cells.append("")
            continue
        value, reliable = values[target.name]
        ratio = f" ({value / base:.2f})" if base and target.name != BASELINE else ""
        cells.append(("" if reliable else "~") + form.format(value) + ratio)
    return f"| {name} | " + " | ".join(cells) + " |"


def table(targets, loads, idle, idle_tls):
    """Returns the table, with a column for each target and a row for each figure, and the known gaps below it."""
    lines = ["| | " + " | ".join(target.name for target in targets) + " |", "|---|" + "---|" * len(targets)]
    for load in dict.fromkeys(load for _, load in loads):
        figures = [("CPU µs a request", "cpu_us", "{:,.1f}")]
        if load.rate:
            figures += [("p50 ms", "p50_ms", "{:.2f}"), ("p99 ms", "p99_ms", "{:.2f}")]
        elif load.size == 1024 and not load.h2:
            figures += [("requests/s", "rps", "{:,.0f}"), ("p99 ms", "p99_ms", "{:.2f}")]
        for name, key, form in figures:
            values = {target.name: median(results, key) for (target, at), results in loads.items() if at == load}
            lines.append(row(f"{load_name(load)}: {name}", targets, values, form))
    for name, key, found in (("memory of an idle connection, KiB", "connection_kib", idle),
                             ("memory of an idle connection with TLS, KiB", "connection_kib", idle_tls),
                             ("wake-ups a second when idle", "wakeups", idle)):
        values = {target: (figures[key], True) for target, figures in found.items()}
        lines.append(row(name, targets, values, "{:.1f}"))
    gaps = [f"`{target.name}`: {gap}." for target in targets for gap in dict.fromkeys(target.gaps.values())]
    return "\n".join(lines) + "\n\nKnown gaps: " + " ".join(gaps)


def write(text):
    """Replaces what is between the marks of the page."""
    page = PAGE.read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
