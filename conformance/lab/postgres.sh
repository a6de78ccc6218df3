# PostgreSQL in a guest, on the mount: functions that the scenarios call. DATA is the cluster's folder there.
#
# The server runs as the package's own user. Its memory is small and checkpoints are frequent, so that pages are
# written and read back, and segments of the WAL recycled, in runs of a minute. Its log stays outside the mount.
export PATH="$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1):$PATH" HOME=/tmp PGHOST=/tmp PGUSER=postgres
LOG=/mnt/lab/postgres.log

as() { setpriv --reuid postgres --regid postgres --clear-groups -- "$@"; }

create() {
    : >"$LOG" && chmod 666 "$LOG"
    install -d -o postgres -g postgres -m 700 "$DATA"
    as initdb --data-checksums --auth=trust --locale=C --encoding=UTF8 "$DATA"
    as tee -a "$DATA/postgresql.conf" >/dev/null <<'END'
listen_addresses = ''
unix_socket_directories = '/tmp'
shared_buffers = 16MB
max_wal_size = 96MB
checkpoint_timeout = 30s
autovacuum_naptime = 5s
log_checkpoints = on
END
}

start() { as pg_ctl start -w -t 120 -D "$DATA" -l "$LOG"; }
stop() { as pg_ctl stop -w -t 120 -D "$DATA" -m "$1"; }
ask() { as psql -X -A -t -q -v ON_ERROR_STOP=1 -d postgres -c "$1"; }
wal() { ask 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())'; }
fill() { as pgbench -i -q -s 10 postgres; }

# Runs pgbench in slices until the file $1 exists; the last line is how many transactions were committed.
bench() {
    sum=0
    until [ -e "$1" ]; do
        as pgbench -n -c 6 -j 2 -T 10 postgres >/tmp/bench.log 2>&1 || { cat /tmp/bench.log; return 1; }
        sum=$((sum + $(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' /tmp/bench.log)))
    done
    echo "$sum"
}

# Transactions in the history, and whether its sum is that of all accounts, tellers and branches.
sums() {
    ask "SELECT (SELECT count(*) FROM pgbench_history), (SELECT coalesce(sum(delta), 0) FROM pgbench_history) = ALL (ARRAY[
        (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
        (SELECT sum(bbalance) FROM pgbench_branches)])"
}

# Every table and index, each row's entry in the indexes; nothing is written when all is well.
check() { as pg_amcheck --all --install-missing --heapallindexed --parent-check --rootdescend; }
# Every page's checksum; the server is stopped.
checksums() { as pg_checksums --check -D "$DATA"; }
# Lines of the log that tell of an error; nothing when there are none. A lock and a stop end an autovacuum, which is
# no fault.
complaints() {
    grep -E 'ERROR:|FATAL:|PANIC:|unexpected data|invalid page|relfrozenxid|could not [a-z]+ .*(file|directory|block)' "$LOG" |
        grep -vE 'canceling autovacuum task|terminating autovacuum process due to administrator' | head -20
}
