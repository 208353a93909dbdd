# What demo/run is written in: steps, people, and a small printer. Sourced.
dir=/var/tmp/pg_architect-demo
port=54320
workload_seconds=8
rate=100
trap_index='create index on public.pgbench_history (mtime)'
current_step='beginning'
traffic_pid=
PGBIN=$("$(tools/pg-config)" --bindir)
export PAGER=cat PGCONNECT_TIMEOUT=10 PGCLIENTENCODING=UTF8

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
    psql -X -v ON_ERROR_STOP=1 -P pager=off -P footer=off -U "$role" -d "$database" "$@" 2>&1 | wrap
}

# Long lines at words, within 118 columns: notices, and the values of one record a page (name, tab, value).
wrap() {
    awk '
        function put(head, text, indent,    words, n, i, line, sep) {
            n = split(text, words, " ")
            line = head
            sep = head == "" ? "" : " "
            for (i = 1; i <= n; i++) {
                if (length(line) + 1 + length(words[i]) > 118) { print line; line = sprintf("%*s", indent - 1, "") }
                line = line sep words[i]
                sep = " "
            }
            print line
        }
        { sub(/ +$/, "") }
        /\t/ { tab = index($0, "\t"); put(sprintf("  %-28s", substr($0, 1, tab - 1)), substr($0, tab + 1), 31); next }
        /^(psql:[^ ]* )?(NOTICE|WARNING|ERROR|HINT|DETAIL): / { put("", $0, 9); next }
        { print }'
}

# start_server OPTION…: the model for a server of one's own. The executor is let in because the server's own operating
# system user asks, and by no other line; who the others are is not looked at, as the folder is closed to other users.
start_server() {
    local server_user=postgres
    [[ $(id -u) -eq 0 ]] || server_user=$(id -un)
    tools/cluster start "$dir" --port "$port" "$@" --ident <(echo "architect $server_user architect_executor") \
        --hba <(printf '%s\n' 'local app architect_executor peer map=architect' 'local all architect_executor reject' \
            'local all all trust')
}

# show PERSON [-x|-q] SQL: what the person types, and what comes back; -x one value a line, -q without notices
show() {
    local person=$1 sql
    shift
    sql=${!#}
    printf '%s\n' "$bold$person@app=> $sql$plain"
    [[ $1 != -q ]] || local -x PGOPTIONS='-c client_min_messages=warning'
    case $1 in
        -x) as "$person" app -xtA -F $'\t' -c "$sql" && echo ;;
        *) as "$person" app "${@:1:$#-1}" -c "$sql" ;;
    esac
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

# workload SECONDS: 8 clients, pgbench's own transactions and the application's queries; prints transactions a second
workload() {
    pgbench -n -U app -c 8 -j 2 -T "$1" -b tpcb-like@40 -f demo/workload/account_history.sql@12 \
        -f demo/workload/branch_turnover.sql@2 -f demo/workload/teller_accounts.sql@2 -f demo/workload/disputed.sql@2 \
        app >"$dir/pgbench.log" 2>&1
    sed -n 's/^tps = \([0-9]*\).*/\1/p' "$dir/pgbench.log"
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
    for log in "$dir/pgbench.log" "$dir/log"; do
        [[ -s $log ]] && { printf -- '--- %s\n' "$log"; tail -n 15 "$log"; } >&2
    done
    printf '\ndemo: failed at: %s\ndemo: the cluster is left as it is; make demo-stop removes it\n' "$current_step" >&2
    exit "$status"
}
