#!/usr/bin/env bash
# Sourced by scripts that test against tools from PyPI: installs the tools, makes a directory for this run, and ends what the run started.
# The caller sets `kept` (the directory of the tools) and `requirements` (a file), and runs in the root of the repository.
: "${kept:?}" "${requirements:?}"
work=$(mktemp -d)
started=()
leave() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap leave EXIT

[ -x "$kept/venv/bin/python" ] || python3 -m venv "$kept/venv"
timeout 300 "$kept/venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
