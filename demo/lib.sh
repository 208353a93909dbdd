# What demo/run is written in: steps, people, and a small printer. Sourced.
dir=/var/tmp/pg_architect-demo
port=54320
workload_seconds=12
rate=100
trap_index='create index on public.pgbench_history (mtime)'
current_step='beginning'
traffic_pid=
PGBIN=$("$(tools/pg-config)" --bindir)
export PAGER=cat PGCONNECT_TIMEOUT=10

bold='' plain=''
if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi

step() {
    current_step=$1
    printf '\n%s%s  %s%s\n' "$bold" "--- ${SECONDS} s ---" "$1" "$plain"
}

say() { printf '%s\n' "$*"; }

# as ROLE DATABASE ARGUMENT…
as() {
    local role=$1 database=$2
    shift 2
    psql -X -v ON_ERROR_STOP=1 -P pager=off -P footer=off -P format=wrapped -P columns=120 -U "$role" -d "$database" "$@" 2>&1
}

# show PERSON [-x] SQL: what the person types, and what comes back
show() {
    local person=$1 sql
    shift
    sql=${!#}
    printf '%s\n' "$bold$person@app=> $sql$plain"
    as "$person" app "${@:1:$#-1}" -c "$sql"
}

# report PERSON FILE [PROPOSAL]: a table for the reader, by a query of demo/
report() {
    as "$1" app -q -v proposal="${3:-0}" -f "demo/$2"
}

# query SQL [ROLE [DATABASE]]: one value, for the script itself
query() { psql -X -v ON_ERROR_STOP=1 -At -U "${2:-postgres}" -d "${3:-app}" -c "$1"; }

waiting() { query 'select max(proposal_id) from architect.pending_approvals' dana; }

# planned_cost SQL: total cost of the channel's queue as dana's session plans it after SQL
planned_cost() {
    local statement
    statement=$(grep '^select' demo/workload/channel_queue.sql)
    psql -X -v ON_ERROR_STOP=1 -At -U dana -d app ${1:+-c "$1"} -c "explain ${statement%;}" |
        sed -n 's/^Limit .*cost=[0-9.]*\.\.\([0-9]*\).*/\1/p'
}

# The application's transactions at a modest rate, ended by their own process id; they also end by themselves.
traffic() {
    pgbench -n -U app -c 2 -j 1 -R "$rate" -T 600 -b tpcb-like app >"$dir/traffic.log" 2>&1 &
    traffic_pid=$!
    say "$1"
}

end_traffic() {
    [[ -n $traffic_pid ]] || return 0
    kill "$traffic_pid" 2>/dev/null || true
    wait "$traffic_pid" 2>/dev/null || true
    traffic_pid=
}

failed() {
    local status=$?
    # a command substitution: the script itself fails next, and speaks
    [[ $BASH_SUBSHELL -eq 0 ]] || exit "$status"
    trap - ERR
    printf '\ndemo: failed at: %s\n' "$current_step" >&2
    for log in "$dir/pgbench.log" "$dir/log"; do
        [[ -s $log ]] && { printf -- '--- %s\n' "$log"; tail -n 15 "$log"; } >&2
    done
    printf 'demo: the cluster is left as it is; make demo-stop removes it\n' >&2
    exit "$status"
}
