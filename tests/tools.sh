# For scripts that test against tools from PyPI: where they are kept, a directory of the run's own, and what was started ends with it.
# The caller says `kept` (a directory) and `requirements` (a file), and stands in the repository.
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
