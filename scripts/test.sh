#!/usr/bin/env bash
# All checks, as CI runs them. Stops at the first stage that fails. Tells the time of each stage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./scripts/install-deps.sh
source ./scripts/env.sh

# Real measurements and reference values, beside the repository where a developer has them.
find_beside() { # variable, folder, what
    if [ -z "${!1:-}" ] && [ -d "$2" ]; then
        export "$1=$(cd "$2" && pwd)"
    fi
    if [ -n "${!1:-}" ]; then
        echo "$3: ${!1}"
    else
        echo "$3: none, neither in \$$1 nor in $2; the tests that need them are skipped"
    fi
}
find_beside STACKPHYS_DATA ../shared/data "real measurements"
find_beside STACKPHYS_GOLDEN ../shared/golden "reference values"

times=()
stage() { # title, command ...
    local title=$1 start=$SECONDS took
    shift
    printf '\n== %s\n' "$title"
    "$@"
    took=$((SECONDS - start))
    times+=("$(printf '%5d s  %s' "$took" "$title")")
    printf '== %s: passed, %d s\n' "$title" "$took"
}

stage "format" cargo fmt --check
stage "lints" cargo clippy --release --all-targets -- -D warnings
stage "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --release
stage "tests" cargo test --release
# Without MPI and HDF5 everything must build; what they are for is the program and the library's own parts, so these run.
stage "lints without MPI and HDF5" cargo clippy --release --no-default-features --features openblas-system --all-targets -- -D warnings
stage "tests without MPI and HDF5" cargo test --release --no-default-features --features openblas-system --lib \
    --test bad_input --test cli --test configs --test examples
# That last stage has left its own binary at target/release/stackphys, under which mpirun would start N lone processes.
stage "binary" cargo build --release

printf '\nAll passed.\n'
printf '%s\n' "${times[@]}"
