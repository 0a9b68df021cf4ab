#!/usr/bin/env bash
# Builds with MPICH and keeps the promises under it: tests/mpi.rs, and a job with the bytes of one process. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

help() {
    cat <<'HELP'
Builds stackphys with MPICH, in target/mpich, and keeps the promises of tests/mpi.rs on 1 to 4 ranks.

    scripts/test-mpich.sh [--release]

Needs Debian's libmpich-dev and mpich, which may stand beside Open MPI: the compiler wrapper is mpicc.mpich and the launcher
mpirun.mpich. MPICC=... and MPIRUN=... name others, such as those of a module. Takes one more build.
HELP
}

profile=(--profile dev) built=debug
case "${1:-}" in
    -h | --help) help; exit 0 ;;
    --release) profile=(--release) built=release ;;
    '') ;;
    *) echo "test-mpich.sh: unknown option '$1', see --help" >&2; exit 2 ;;
esac
source ./scripts/env.sh
export MPICC=${MPICC:-mpicc.mpich} MPIRUN=${MPIRUN:-mpirun.mpich}
for tool in "$MPICC" "$MPIRUN"; do
    command -v "$tool" >/dev/null 2>&1 || { echo "test-mpich.sh: there is no $tool here; apt-get install libmpich-dev mpich" >&2; exit 2; }
done

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/mpich}
cargo build "${profile[@]}"
program=$CARGO_TARGET_DIR/$built/stackphys
ldd "$program" | grep -q libmpich || { echo "test-mpich.sh: $program is not linked with MPICH" >&2; exit 1; }
cargo test "${profile[@]}" --test mpi --no-run
promises=$(find "$CARGO_TARGET_DIR/$built/deps" -name 'mpi-*' -type f -executable -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
for ranks in 1 2 3 4; do
    "$MPIRUN" -n "$ranks" "$promises" | tail -n "$((ranks + 1))"
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$program" --quiet demo --set run.summation=ordered --out "$folder/alone"
for ranks in 2 4; do
    "$MPIRUN" -n "$ranks" "$program" --quiet demo --set run.summation=ordered --out "$folder/$ranks"
    cmp "$folder/alone/x.npy" "$folder/$ranks/x.npy"
    echo "the demo has the bytes of one process on $ranks ranks"
done
