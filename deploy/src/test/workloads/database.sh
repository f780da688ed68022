#!/bin/bash
# One big transaction of sqlite3, its script on standard input (a regular file). Arguments: STEPS PAUSE.
# Exit code: sqlite3's. Pauses no more once there is a file `hurry`.
set -eu
steps=${1:-400} pause=${2:-0.01}
{
  echo "PRAGMA cache_size = 50; CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT, n INTEGER); CREATE INDEX i ON t (n, text);"
  echo "BEGIN;"
  for ((step = 1; step <= steps; step++)); do
    echo "INSERT INTO t (text, n) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100)"
    echo "  SELECT hex(x * $step * 7919), (x * $step * 104729) % 65537 FROM c;"
    echo "SELECT 'step', $step, count(*), sum(n * id % 1009), max(text) FROM t;"
    echo ".shell test -e hurry || sleep $pause"
  done
  echo "COMMIT; PRAGMA integrity_check; SELECT 'end', $steps, count(*), sum(n) FROM t;"
} >script.sql
exec sqlite3 -separator ' ' table.db <script.sql
