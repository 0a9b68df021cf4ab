#!/usr/bin/env bash
# All checks, as CI runs them. Stops at the first stage that fails. Tells the time of each stage.
# They are built with some optimisation and all of Rust's own checks; --release tests what is run in earnest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=()
case "${1:-}" in
    --release) profile=(--release) ;;
    '') ;;
    *)
        echo "test.sh: unknown option '$1', expected --release or none" >&2
        exit 2
        ;;
esac

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

# ${profile[@]+…}: an empty list counts as unset in older bash.
stage "format" cargo fmt --check
stage "lints" cargo clippy ${profile[@]+"${profile[@]}"} --all-targets -- -D warnings
stage "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc ${profile[@]+"${profile[@]}"} --no-deps
# Without MPI and HDF5 everything must build; what they are for is the program, so its tests run.
# Before the tests with both, so that these leave the program that knows MPI.
without=(--no-default-features --features openblas-system)
stage "lints without MPI and HDF5" cargo clippy ${profile[@]+"${profile[@]}"} "${without[@]}" --all-targets -- -D warnings
stage "tests without MPI and HDF5" cargo test ${profile[@]+"${profile[@]}"} "${without[@]}" \
    --test bad_input --test cli --test configs
stage "tests" cargo test ${profile[@]+"${profile[@]}"}

printf '\nAll passed.\n'
printf '%s\n' "${times[@]}"
