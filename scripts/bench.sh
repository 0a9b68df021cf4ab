#!/usr/bin/env bash
# Our times and those of what you would use instead, taken in one go, and the ratios of their medians. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

help() {
    cat <<'HELP'
Measures stackphys and, where they are installed, its rivals, in the same run; prints the ratios of medians.

    scripts/bench.sh [CASE ...]      cases: ct (default)

Absolute times drift from machine to machine and from hour to hour; only ratios from one run mean something.
The rivals' programs are those of $STACKPHYS_BENCH (default: ../shared/bench), run by $PEERS_PYTHON (default:
.venv-peers/bin/python). To make that:
    python3 -m venv .venv-peers && .venv-peers/bin/pip install numpy scipy astra-toolbox
All figures, one JSON object on a line, are kept in out/bench/figures.jsonl.
HELP
}

case "${1:-}" in
    -h | --help) help; exit 0 ;;
    -*) echo "bench.sh: unknown option '$1', see --help" >&2; exit 2 ;;
esac
cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=(ct)

source ./scripts/env.sh
python=${PEERS_PYTHON:-.venv-peers/bin/python}
peers=${STACKPHYS_BENCH:-../shared/bench}

mkdir -p out/bench
figures=out/bench/figures.jsonl
: >"$figures"
# Only the figures: cargo and the rivals may say other things too.
keep() { tee /dev/stderr | grep '^{' >>"$figures"; }

rival() { # the programs that know a case
    case "$1" in
        ct) echo peer_astra.py ;;
    esac
}

cargo bench --no-run
for name in "${cases[@]}"; do
    echo "== $name: stackphys" >&2
    cargo bench --quiet --bench "$name" | keep
    for program in $(rival "$name"); do
        if ! command -v "$python" >/dev/null 2>&1; then
            echo "== $name: no rivals, there is no $python (see --help)" >&2
        elif [ ! -e "$peers/$program" ]; then
            echo "== $name: no rivals, there is no $peers/$program (see --help)" >&2
        else
            echo "== $name: $program" >&2
            "$python" "$peers/$program" | keep
        fi
    done
done

# One table: for each figure of ours, its median, and each rival's median as a multiple of it.
awk '
function field(key,    at, rest) {
    at = index($0, "\"" key "\"")
    if (!at) return ""
    rest = substr($0, at + length(key) + 2)
    sub(/^[ \t]*:[ \t]*/, "", rest)
    if (rest ~ /^"/) { rest = substr(rest, 2); sub(/".*/, "", rest) } else sub(/[,} ].*/, "", rest)
    return rest
}
{
    who = field("who"); if (who == "") who = field("peer")
    figure = field("case") " " field("what")
    ranks = field("ranks"); if (ranks == "") ranks = 1
    median = field("median") + 0
    if (who == "" || median <= 0) next
    n++; whose[n] = who; what[n] = figure; by[n] = ranks; took[n] = median
}
END {
    if (n == 0) { print "no figures were printed" > "/dev/stderr"; exit 1 }
    printf "\n%-28s %5s  %-16s %12s  %s\n", "figure", "ranks", "who", "median, s", "ratio to stackphys on one rank"
    for (i = 1; i <= n; i++) if (whose[i] == "stackphys" && by[i] == 1) ours[what[i]] = took[i]
    for (i = 1; i <= n; i++) {
        ratio = (what[i] in ours) ? sprintf("%.2f", took[i] / ours[what[i]]) : "-"
        printf "%-28s %5s  %-16s %12.6f  %s\n", what[i], by[i], whose[i], took[i], ratio
    }
    print "\nA ratio of 6 means: takes six times as long as stackphys."
}' "$figures"
