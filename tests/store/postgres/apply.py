"""Makes the schema in a database anew, as `hookgate migrate` does. With the argument self_test, runs the self-test too."""
import os
import pathlib
import sys

import psycopg

# another name for the schema, as a config may have it
SCHEMA = os.environ.get("SCHEMA", "hookgate")
SQL = pathlib.Path(__file__).resolve().parents[3] / "src/store/postgres"

with psycopg.connect(os.environ["DSN"], autocommit=True) as connection:
    connection.execute("set client_min_messages = warning")
    connection.execute(f"drop schema if exists {SCHEMA} cascade")
    connection.execute(f"create schema {SCHEMA}")
    named = lambda text: text.replace("hookgate.", f'"{SCHEMA}".')
    # twice: the second time changes nothing
    for _ in range(2):
        with connection.transaction():
            for file in [SQL / "schema.sql", *sorted((SQL / "functions").glob("*.sql"))]:
                connection.execute(named(file.read_text()))
            connection.execute(named("select hookgate.days_make_1(7)"))
    if "self_test" in sys.argv:
        # lines that begin with a backslash, and what follows `\gset`, are for psql
        text = named((SQL / "self_test.sql").read_text())
        text = "\n".join(line for line in text.splitlines() if not line.startswith("\\"))
        begin, end = text.split("select 'self-test: ' || last_value")
        connection.execute(begin)
        held = connection.execute("select last_value from hookgate_test.held").fetchone()[0]
        connection.execute("rollback")
        version = connection.execute("show server_version").fetchone()[0]
        print(f"self-test on PostgreSQL {version}: {held} assertions held")
