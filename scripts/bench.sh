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

# One table: each median, and each as a multiple of ours (one operator, f32, one rank) of the same case.
awk '
function field(key,    at, rest) {
    at = index($0, "\"" key "\"")
    if (!at) return ""
    rest = substr($0, at + length(key) + 2)
    sub(/^[ \t]*:[ \t]*/, "", rest)
    if (rest ~ /^"/) { rest = substr(rest, 2); sub(/".*/, "", rest) } else sub(/[,} ].*/, "", rest)
    return rest
}
function either(value, otherwise) { return value == "" ? otherwise : value }
{
    median = field("median") + 0
    if (median <= 0) next
    n++
    who[n] = either(field("peer"), "stackphys"); figure[n] = field("case") " " field("what")
    scalar[n] = either(field("scalar"), "-"); operators[n] = either(field("operators"), "-"); ranks[n] = either(field("ranks"), 1)
    took[n] = median
    if (who[n] == "stackphys" && scalar[n] == "f32" && operators[n] == 1 && ranks[n] == 1 && !(figure[n] in ours))
        ours[figure[n]] = median
}
END {
    if (n == 0) { print "no figures were printed" > "/dev/stderr"; exit 1 }
    line = "%-16s %-20s %-7s %9s %5s %12s %9s\n"
    printf "\n" line, "figure", "who", "scalar", "operators", "ranks", "median, s", "ratio"
    for (i = 1; i <= n; i++) {
        ratio = (figure[i] in ours) ? sprintf("%.2f", took[i] / ours[figure[i]]) : "-"
        printf line, figure[i], who[i], scalar[i], operators[i], ranks[i], sprintf("%.6f", took[i]), ratio
    }
    print "\nA ratio of 6 means: takes six times as long as stackphys with one operator, f32, on one rank."
}' "$figures"
