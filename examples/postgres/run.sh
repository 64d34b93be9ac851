#!/usr/bin/env bash
# A PostgreSQL database in a lake, from the first row to the last change: starts a server, exports what its tables hold, follows its
# changes with wal2json while pgbench changes them, and compares lake and database at the end.
#
# usage: run.sh [ACCOUNTS]
#
# It begins anew each time: `initial`, `changes` and `lake` in this folder are removed. PostgreSQL is where POSTGRES says, or where
# `./dev setup` has put it: a folder with its programs as `bin`, and `wal2json.so`.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

accounts=${1:-1000}
postgres=$(readlink -f "${POSTGRES:-../../.tools/postgres}")
[[ -x $postgres/bin/postgres && -f $postgres/wal2json.so ]] || {
  echo "run.sh: no PostgreSQL with wal2json in $postgres; run \`./dev setup\` first" >&2
  exit 1
}
bin=$(readlink -f "$postgres/bin")

# --- A server of our own, on a free port of loopback, gone at the end -----------------------------------------------------------

database=$(mktemp -d)
server= follower= holder=
end() {
  local process
  for process in "$follower" "$holder"; do [[ -z $process ]] || kill "$process" 2>/dev/null || true; done
  [[ -z $server ]] || { kill -INT "$server" 2>/dev/null && wait "$server" || true; }
  rm -rf "$database"
}
trap end EXIT

# PostgreSQL refuses to run as root.
as=()
if ((EUID == 0)); then
  user=$(id -u postgres 2>/dev/null || id -u nobody) group=$(id -g postgres 2>/dev/null || id -g nobody)
  as=(setpriv "--reuid=$user" "--regid=$group" --clear-groups)
  chown "$user:$group" "$database"
fi
cp "$postgres/wal2json.so" "$database/"
chmod a+r "$database/wal2json.so"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
(cd "$database" && "${as[@]}" "$bin/initdb" -D "$database/data" --no-sync --auth=trust --username=postgres --encoding=UTF8 \
  --locale=C >"$database/initdb.log")
cd "$database"
"${as[@]}" "$bin/postgres" -D "$database/data" -c wal_level=logical -c fsync=off -c port="$port" -c listen_addresses=127.0.0.1 \
  -c unix_socket_directories= -c dynamic_library_path="$database:\$libdir" 2>"$database/log" &
server=$!
cd "$OLDPWD"
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGDATABASE=postgres
until "$bin/pg_isready" -q; do
  kill -0 "$server" 2>/dev/null || { cat "$database/log" >&2; exit 1; }
  sleep 0.1
done
sql() { "$bin/psql" -X -A -t -q -v ON_ERROR_STOP=1 "$@"; }
# A transaction of pgbench each, in two sessions.
change() { "$bin/pgbench" -n -c 2 -t "$1" -D accounts="$accounts" -f changes.sql >/dev/null 2>"$database/pgbench.log"; }

echo "== tables with $accounts accounts"
sql -v accounts="$accounts" -f tables.sql

# --- What is there: the slot exports a snapshot, and COPY reads in it -----------------------------------------------------------

# Every change is then either in the snapshot or in the stream, and the session that made the slot keeps the snapshot open.
rm -rf initial changes lake
mkdir initial changes
coproc session { sql -d 'dbname=postgres replication=database'; }
holder=$session_PID
echo "CREATE_REPLICATION_SLOT lakeport LOGICAL wal2json EXPORT_SNAPSHOT;" >&"${session[1]}"
IFS='|' read -r _ _ snapshot _ <&"${session[0]}"
for table in accounts branches history; do
  # The oldest position that the slot decodes from is older than every change.
  sql >"initial/$table.ndjson" <<SQL
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET TRANSACTION SNAPSHOT '$snapshot';
\i initial.sql
SELECT pg_temp.copy_of('$table', restart_lsn) FROM pg_replication_slots WHERE slot_name = 'lakeport' \gexec
SQL
done
kill "$holder" && holder=

# --- What changes: pg_recvlogical appends a line a change -----------------------------------------------------------------------

touch changes/000001.ndjson
"$bin/pg_recvlogical" --dbname postgres --start --slot lakeport --file changes/000001.ndjson --fsync-interval 1 \
  -o format-version=2 -o include-lsn=1 -o include-timestamp=1 -o include-pk=1 -o include-types=1 -o include-typmod=1 \
  -o include-domain-data-type=1 2>"$database/follower.log" &
follower=$!

echo "== initial sync"
lakeport run lakeport.toml

echo "== changes, an added and a dropped column"
change 200
sql -c "ALTER TABLE accounts ADD COLUMN tier text" -c "UPDATE accounts SET tier = 'gold' WHERE aid % 3 = 0"
change 200
sql -c "ALTER TABLE accounts DROP COLUMN score" -c "UPDATE accounts SET owner = 'Owner -2', risk = 'NaN' WHERE aid = -2"
change 200

# A message in the log comes after all of that.
sql -c "SELECT pg_logical_emit_message(true, 'lakeport', 'the end')" >"$database/position"
until grep -q '"content":"the end"' changes/000001.ndjson; do
  kill -0 "$follower" 2>/dev/null || { cat "$database/follower.log" >&2; exit 1; }
  sleep 0.1
done
lakeport run --full bank lakeport.toml

echo "== lake and database"
sql -F '|' -f compare.sql | python3 compare.py
