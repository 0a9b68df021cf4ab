#!/usr/bin/env bash
# Runs stackphys on several MPI ranks of this computer. See --help.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

help() {
    cat <<'HELP'
Runs stackphys on several MPI ranks of this computer.

    launch/local.sh [-n RANKS] [-t THREADS] [--no-bind] [--dry-run] -- STACKPHYS ARGUMENTS

    launch/local.sh -n 2 -- demo --out out/demo
    launch/local.sh -n 4 -- run configs/tooth.toml
    launch/local.sh -n 2 -t 4 -- run configs/tooth.toml --set solve.method.max_iter=10

-n RANKS     Processes that share the operators of the stack. Default: 2. The answer does not depend on it.
-t THREADS   Threads of each rank; goes to the program as --threads. Default: 1. Start with one rank per core and one
             thread: fewer ranks with more threads need less memory, since each rank holds a copy of the image.
--no-bind    Do not tie ranks to cores. Ranks are tied when RANKS x THREADS fits the cores of this computer, because a
             rank that wanders loses its caches. Two jobs at a time would be tied to the same cores: then use this.
--dry-run    Show the mpirun command, do not run it.

Ctrl-C (or TERM) asks the job to stop after the iteration that it is in: it keeps its state, exits with status 3, and
`stackphys resume FOLDER` goes on, also on another number of ranks. A second Ctrl-C ends it at once. USR1 asks only.

With more ranks x threads than cores it still runs (Open MPI is told to --oversubscribe), only slower: good for trying
out, not for timing. Paths are relative to where you stand. -t wins over run.threads of the config.

The binary is target/release/stackphys of this repository, built first if it is missing; STACKPHYS_BIN=... names
another. Works with Open MPI and MPICH; MPIRUN=... names another mpirun. For clusters see docs/clusters.md.
HELP
}

fail() {
    printf 'launch/local.sh: %s\n' "$1" >&2
    exit 2
}

number() { # option, value
    case "$2" in
        '' | 0 | *[!0-9]*) fail "$1 needs a whole number of at least 1, got '$2'" ;;
    esac
}

ranks=2 threads=1 bind=yes dry_run=no
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) help; exit 0 ;;
        -n) ranks=${2:-}; number -n "$ranks"; shift 2 ;;
        -t) threads=${2:-}; number -t "$threads"; shift 2 ;;
        --no-bind) bind=no; shift ;;
        --dry-run) dry_run=yes; shift ;;
        --) shift; break ;;
        *) fail "unknown argument '$1'; what is for stackphys goes after --, see --help" ;;
    esac
done
[ $# -gt 0 ] || fail "nothing to run; for example: launch/local.sh -n 2 -- demo"
for argument in "$@"; do
    case "$argument" in
        --threads | --threads=*) fail "use -t instead of $argument: ranks and threads are placed together" ;;
    esac
done

# shellcheck source=scripts/env.sh
source "$root/scripts/env.sh"

binary=${STACKPHYS_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/stackphys}
if [ ! -x "$binary" ] && [ -z "${STACKPHYS_BIN:-}" ]; then
    echo "building stackphys, once ..." >&2
    cargo build --release --manifest-path "$root/Cargo.toml"
fi
[ -x "$binary" ] || fail "no program at $binary"

mpirun=${MPIRUN:-mpirun}
command -v "$mpirun" >/dev/null 2>&1 || fail "there is no $mpirun here; scripts/install-deps.sh installs Open MPI"

# Cores that this shell may use: hardware threads of one core count once, as MPI counts them.
cores() {
    local usable physical
    # (nproc counts at most OMP_NUM_THREADS, which means something else here.)
    usable=$(env -u OMP_NUM_THREADS nproc 2>/dev/null || sysctl -n hw.physicalcpu 2>/dev/null || echo 1)
    physical=$(lscpu --parse=CORE,SOCKET 2>/dev/null | grep -v '^#' | sort -u | wc -l || true)
    if [ "${physical:-0}" -gt 0 ] && [ "$physical" -lt "$usable" ]; then echo "$physical"; else echo "$usable"; fi
}
fits=no
[ $((ranks * threads)) -gt "$(cores)" ] || fits=yes
[ "$fits" = yes ] || bind=no # tied ranks that share a core would wait for each other

version=$("$mpirun" --version 2>&1 || true)
case "$version" in
    *"Open MPI"*)
        options=(-n "$ranks")
        if [ "$bind" = yes ]; then
            options+=(--map-by "slot:PE=$threads" --bind-to core)
        else
            options+=(--bind-to none)
        fi
        [ "$fits" = yes ] || options+=(--oversubscribe)
        ;;
    *HYDRA* | *MPICH* | *mpich*)
        options=(-n "$ranks") # MPICH does not count slots, so there is nothing to oversubscribe
        if [ "$bind" = yes ]; then options+=(-bind-to "core:$threads"); else options+=(-bind-to none); fi
        ;;
    *) # Intel MPI and others: their own placement
        options=(-n "$ranks")
        ;;
esac

command=("$mpirun" "${options[@]}" "$binary" "$@" --threads "$threads")
if [ "$dry_run" = yes ]; then
    printf '%q ' "${command[@]}"
    echo
    exit 0
fi

# mpirun would kill the ranks within a second of Ctrl-C, whatever they still have to write. So it is in a process group of
# its own, out of the terminal's reach, and we ask: USR1 goes to the ranks, which keep the state of the iteration.
set -m
"${command[@]}" </dev/null &
job=$!
asked=no
# shellcheck disable=SC2317 # called by the traps
stop() {
    if [ "$asked" = no ]; then
        asked=yes
        echo "launch/local.sh: stops after this iteration; once more: at once" >&2
        kill -USR1 "$job" 2>/dev/null || true
    else
        kill -TERM "$job" 2>/dev/null || true
    fi
}
trap stop INT TERM
trap 'kill -USR1 "$job" 2>/dev/null || true' USR1
status=0
wait "$job" || status=$?
while kill -0 "$job" 2>/dev/null; do # a signal ends `wait` early
    status=0
    wait "$job" || status=$?
done
exit "$status"
