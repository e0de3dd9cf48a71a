#!/usr/bin/env bash
# Sourced by scripts that test against tools from PyPI: installs the tools, makes a directory for this run, and ends what the run started.
# The caller sets `hookgate` (the program), `kept` (the directory of the tools) and `requirements` (a file), and runs in the root of the repository.
: "${hookgate:?}" "${kept:?}" "${requirements:?}"
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

# Waits until a gateway is ready, for ten seconds at most. Then it prints the gateway's log and fails.
# Arguments: the address of its health listener, and the file with its log.
ready() {
    for _ in $(seq 100); do
        ! "$hookgate" health --address "$1" > /dev/null 2>&1 || return 0
        sleep 0.1
    done
    cat "$2" >&2
    return 1
}
