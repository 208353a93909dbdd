"""How long the gate takes for a verdict: every statement of the corpus, warm, in one session.

Prints figures, asserts nothing: build/venv/bin/python tests/bench/verdicts.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "plpython")]

from support.cluster import new_cluster  # noqa: E402  the path above comes first
from support.corpus import JUDGE, corpus_database, lines  # noqa: E402
from support.traps import Connection  # noqa: E402

LONGEST = 1000  # bytes: longer texts of the corpus test the limits


def milliseconds(connection: Connection, statement: str) -> float:
    started = time.perf_counter()
    connection.execute("select verdict from architect.judge_statement(%s)", (statement,)).fetchall()
    return 1e3 * (time.perf_counter() - started)


def main() -> None:
    cluster = new_cluster()
    try:
        cluster.make_template()
        with corpus_database(cluster) as name, cluster.connect(name, JUDGE) as connection:
            first = milliseconds(connection, "analyze app.orders")
            print(f"first verdict of a session  {first:8.1f} ms")
            for file in ("harmless", "risky", "hostile"):
                texts = [line.sql for line in lines(file) if len(line.sql) < LONGEST and line.sql.isprintable()]
                for text in texts:
                    milliseconds(connection, text)
                taken = sorted(milliseconds(connection, text) for text in texts)
                print(
                    f"{file:10} {len(taken):4} verdicts  median {median(taken):6.2f} ms  "
                    f"95 % {taken[int(0.95 * len(taken))]:6.2f} ms  {1e3 * len(taken) / sum(taken):6.0f}/s"
                )
    finally:
        cluster.remove()


if __name__ == "__main__":
    main()
