#!/usr/bin/env bash
# Our times and those of what you would use instead, taken in one go, and the ratios of their medians. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

help() {
    cat <<'HELP'
Measures stackphys and, where they are installed, its rivals, in the same run; prints the ratios of medians.

    scripts/bench.sh [CASE ...]      default: all cases

    ct       parallel-beam CT, one thread          rival: ASTRA
    lanes    operators of one rank at once, on two threads
    reduce   sums over 2 ranks, by messages and in shared memory; a CG iteration, against one by hand on rsmpi;
             a stack of matrices with ordered sums rivals: PyLops-MPI, PETSc (for the matrices)
    blur     16 blurs of one image on 2 ranks      rival: DeepInverse
    mri      32 coils on 2 ranks                   rival: DeepInverse
    nufft    a million places on no grid, one thread   rival: FINUFFT
    checkpoint   one gigabyte by 2 ranks             rival: dd
    plan     the plan of 100,000 tiles on 10,000 ranks, and the memory that it holds

Absolute times drift from machine to machine and from hour to hour; only ratios from one run mean something, and only
if nothing else runs: 2 ranks wait for each other and want a core each. Takes some ten minutes, most of them `reduce`.

The rivals' programs are those of $STACKPHYS_BENCH (default: ../shared/bench), run by $PEERS_PYTHON (default:
.venv-peers/bin/python). To make that (DeepInverse brings PyTorch, some gigabytes):
    python3 -m venv .venv-peers && .venv-peers/bin/pip install numpy scipy astra-toolbox mpi4py pylops pylops-mpi deepinv finufft
PETSc is the system's, run by the system's Python: apt-get install python3-petsc4py
A rival that is missing or fails is left out.
All figures, one JSON object on a line, are kept in out/bench/figures.jsonl.
HELP
}

case "${1:-}" in
    -h | --help) help; exit 0 ;;
    -*) echo "bench.sh: unknown option '$1', see --help" >&2; exit 2 ;;
esac
cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=(ct lanes reduce blur mri nufft checkpoint plan)
for name in "${cases[@]}"; do
    case "$name" in
        ct | lanes | reduce | blur | mri | nufft | checkpoint | plan) ;;
        *) echo "bench.sh: unknown case '$name', expected ct, lanes, reduce, blur, mri, nufft, checkpoint or plan" >&2; exit 2 ;;
    esac
done

source ./scripts/env.sh
python=${PEERS_PYTHON:-.venv-peers/bin/python}
peers=${STACKPHYS_BENCH:-../shared/bench}

mkdir -p out/bench
figures=out/bench/figures.jsonl
: >"$figures"
# Only the figures: cargo and the rivals may say other things too.
keep() { tee /dev/stderr | grep '^{' >>"$figures"; }

# One rival: its name, its program (of the folder of peers, or by its path), and how to run that.
rival() {
    local who=$1 program=$peers/$2
    [[ $2 == */* ]] && program=$2
    shift 2
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "== without $who: there is no $1 (see --help)" >&2
    elif [ ! -e "$program" ]; then
        echo "== without $who: there is no $program (see --help)" >&2
    else
        echo "== $who" >&2
        "${@//PROGRAM/$program}" 2>out/bench/rival.log | keep ||
            { echo "== $who failed, see --help; it said last:"; tail -n 3 out/bench/rival.log; } >&2
    fi
}

cargo bench --no-run
for name in "${cases[@]}"; do
    echo "== $name: stackphys" >&2
    cargo bench --quiet --bench "$name" | keep
    case "$name" in
        ct) rival ASTRA peer_astra.py "$python" PROGRAM ;;
        reduce)
            rival PyLops-MPI peer_pylops_mpi.py mpirun -n 2 "$python" PROGRAM
            rival PETSc peer_petsc.py mpirun -n 2 python3 PROGRAM
            ;;
        blur)
            rival DeepInverse peer_deepinv.py \
                "$python" -m torch.distributed.run --nproc_per_node=2 PROGRAM blur
            ;;
        mri)
            rival DeepInverse peer_deepinv.py \
                "$python" -m torch.distributed.run --nproc_per_node=2 PROGRAM mri
            ;;
        nufft) rival FINUFFT benches/peer_nufft.py "$python" PROGRAM ;;
    esac
done

# Figures of one size: a line each, as multiples of our first of the same kind. Figures of many sizes: a table for each
# kind and a line for each size, as multiples of the first way to do it.
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
function in_units(seconds) {
    if (seconds < 1e-3) return sprintf("%.2f µs", seconds * 1e6)
    return seconds < 1 ? sprintf("%.2f ms", seconds * 1e3) : sprintf("%.3f s", seconds)
}
{
    median = field("median") + 0
    if (median <= 0) next
    kind = field("case") ": " field("what"); how = either(field("how"), field("instructions")); n = field("n")
    if (n == "") {
        lines++
        who[lines] = either(field("peer"), "stackphys"); figure[lines] = kind; way[lines] = either(how, "-")
        scalar[lines] = either(field("scalar"), "-"); operators[lines] = either(field("operators"), "-")
        ranks[lines] = either(field("ranks"), 1); took[lines] = median
        if (who[lines] == "stackphys" && !(kind in ours)) ours[kind] = median
        next
    }
    if (!(kind in ways)) kinds[++tables] = kind
    if (!((kind, how) in known)) { known[kind, how]; hows[kind, ++ways[kind]] = how }
    if (!((kind, n) in seen)) { seen[kind, n]; sizes[kind, ++rows[kind]] = n }
    time[kind, n, how] = median
}
END {
    if (!lines && !tables) { print "no figures were printed" > "/dev/stderr"; exit 1 }
    if (lines) {
        line = "%-30s %-11s %-26s %-7s %9s %5s %10s %7s\n"
        printf "\n" line, "figure", "who", "how", "scalar", "operators", "ranks", "median", "ratio"
        for (first = 1; first <= lines; first++) {
            if (figure[first] in printed) continue
            printed[figure[first]]
            for (i = first; i <= lines; i++) {
                if (figure[i] != figure[first]) continue
                ratio = (figure[i] in ours) ? sprintf("%.2f", took[i] / ours[figure[i]]) : "-"
                printf line, figure[i], who[i], way[i], scalar[i], operators[i], ranks[i], in_units(took[i]), ratio
            }
        }
        print "A ratio of 6 means: takes six times as long as the first line of stackphys with the same figure."
    }
    for (t = 1; t <= tables; t++) {
        kind = kinds[t]
        printf "\n%s (n numbers): time %s, the others as multiples of it\n", kind, hows[kind, 1]
        printf "%10s %18s", "n", hows[kind, 1]
        for (w = 2; w <= ways[kind]; w++) printf " %10s", hows[kind, w]
        print ""
        for (r = 1; r <= rows[kind]; r++) {
            n = sizes[kind, r]; base = time[kind, n, hows[kind, 1]]
            printf "%10d %18s", n, in_units(base)
            for (w = 2; w <= ways[kind]; w++) printf " %10.2f", time[kind, n, hows[kind, w]] / base
            print ""
        }
    }
}' "$figures"
