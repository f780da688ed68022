"""The task `sqlite`: a database in memory of MIB, orders with an index.

    database.py MIB READY FILE       a copy of the database in FILE
    database.py --make MIB FILE      makes FILE
"""

import os
import signal
import sqlite3
import sys

ROWS_PER_MIB = 10_000


def make(mib, file):
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode = off")
    database.execute("PRAGMA synchronous = off")
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, amount REAL, state TEXT, note TEXT)")
    database.execute(
        """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        INSERT INTO orders
        SELECT i, printf('customer-%06d', abs(random()) % 500000), (abs(random()) % 1000000) / 100.0,
               CASE abs(random()) % 4 WHEN 0 THEN 'open' WHEN 1 THEN 'paid' WHEN 2 THEN 'sent' ELSE 'closed' END,
               'reference ' || hex(randomblob(6))
        FROM n
        """,
        (mib * ROWS_PER_MIB,),
    )
    database.execute("CREATE INDEX by_customer ON orders (customer)")
    database.commit()
    database.close()


def hold(file, ready):
    database = sqlite3.connect(":memory:")
    source = sqlite3.connect(file)
    source.backup(database)
    source.close()
    with open(ready, "w") as out:
        out.write(str(os.getpid()))
    while True:
        signal.pause()


if sys.argv[1] == "--make":
    make(int(sys.argv[2]), sys.argv[3])
else:
    hold(sys.argv[3], sys.argv[2])
