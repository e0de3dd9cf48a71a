"""Starts, measures and stops processes. All figures come from /proc, and are sums over a process and its descendants."""
import atexit
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
running = set()


# below the ports that the system gives to outgoing connections
candidates = iter(random.sample(range(20000, 32000), 12000))


def free_port():
    """Returns a port of loopback that nothing listens on. It is not returned again."""
    for port in candidates:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise RuntimeError("no free port")


def fields_of(path):
    """Returns the fields behind the program's name in a `stat` file of /proc, or none if the process has ended."""
    try:
        with open(path) as file:
            text = file.read()
    except OSError:
        return []
    return text[text.rindex(")") + 2:].split()


def busy_seconds():
    """Returns the CPU seconds that all processes of the machine have used."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, interrupts, soft, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + interrupts + soft) / TICK


class Process:
    """A process group of our own, on the given CPUs, that listens on a port."""

    def __init__(self, command, port, log, cpus=None, env=None):
        self.log = log
        pin = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent,
                env={**os.environ, **(env or {})}, start_new_session=True, preexec_fn=pin)
        running.add(self)
        deadline = time.monotonic() + 10
        while not self.listens(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{command[0]} does not listen: see {log}")
            time.sleep(0.02)

    @staticmethod
    def listens(port):
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return True
        except OSError:
            return False

    def tree(self):
        """Returns the IDs of the process and its descendants."""
        children = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            fields = fields_of(f"/proc/{name}/stat")
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
        found, todo = [], [self.process.pid]
        while todo:
            found.append(todo.pop())
            todo += children.get(found[-1], [])
        return found

    def cpu_seconds(self):
        """Returns user and system time, that of ended children included."""
        return sum(sum(map(int, fields_of(f"/proc/{pid}/stat")[11:15])) for pid in self.tree()) / TICK

    def memory_kib(self):
        """Returns the resident memory. Pages that several processes share count once."""
        return self.sum_of("smaps_rollup", "Pss:")

    def wakeups(self):
        """Returns how often its threads have slept and were woken."""
        return self.sum_of("task/*/status", "voluntary_ctxt_switches:")

    def sum_of(self, pattern, key):
        total = 0
        for pid in self.tree():
            for path in Path("/proc").glob(f"{pid}/{pattern}"):
                try:
                    lines = path.read_text().splitlines()
                except OSError:
                    continue
                total += sum(int(line.split()[1]) for line in lines if line.startswith(key))
        return total

    def stop(self):
        """Stops the process group."""
        running.discard(self)
        for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, None)):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(patience)
                except subprocess.TimeoutExpired:
                    pass


def stop_all():
    for process in list(running):
        process.stop()


atexit.register(stop_all)
