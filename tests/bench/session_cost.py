"""What the extension costs a session: the thinnest body, the first call, the memory of a backend.

Prints figures, asserts nothing: build/venv/bin/python tests/bench/session_cost.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from support.cluster import TEMPLATE, new_cluster  # noqa: E402  the path above comes first

CALLS = 20_000
# Two lines like every body of ours, around a function that only formats a name.
BODY = """
api = GD.get("pg_architect 0.1.0") or plpy.execute("select architect._load()") and GD["pg_architect 0.1.0"]
return api.run(plpy, "improvement.cron", "step_job")
"""


def resident_mib(connection: Any) -> float:
    pid = connection.info.backend_pid
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def per_call_us(connection: Any, expression: str) -> float:
    """Microseconds per evaluation of ``expression``, the empty loop taken off."""

    def run(text: str) -> float:
        started = time.perf_counter()
        connection.execute(f"select count({text}) from generate_series(1, {CALLS}) as i")
        return time.perf_counter() - started

    return (min(run(expression) for _ in range(3)) - min(run("i") for _ in range(3))) / CALLS * 1e6


def main() -> None:
    cluster = new_cluster()
    try:
        cluster.make_template()
        name = cluster.create_database(TEMPLATE)
        with cluster.connect(name) as connection:
            connection.execute(f"create function thin(i int) returns text language plpython3u as $${BODY}$$")
            connection.execute("create function bare(i int) returns text language plpython3u as $$return None$$")
            before = resident_mib(connection)
            started = time.perf_counter()
            connection.execute("select architect._load()")
            print(f"first load of the code      {(time.perf_counter() - started) * 1e3:8.1f} ms")
            print(f"thinnest body of ours       {per_call_us(connection, 'thin(i)'):8.2f} us a call")
            print(f"empty PL/Python body        {per_call_us(connection, 'bare(i)'):8.2f} us a call")
            started = time.perf_counter()
            connection.execute("call architect.sp_autonomous_improvement()")
            print(f"first dry run, no workload  {(time.perf_counter() - started) * 1e3:8.1f} ms")
            print(f"backend memory              {before:8.1f} MiB before, {resident_mib(connection):.1f} MiB after")
    finally:
        cluster.remove()


if __name__ == "__main__":
    main()
