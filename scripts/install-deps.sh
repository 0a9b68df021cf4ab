#!/usr/bin/env bash
# Installs the system packages that stackphys is built on, if they are missing (Debian, Ubuntu and their kin).
# With --with-cluster-tests, or where $CI is set: also what the tests under SLURM and on two hosts need.
set -euo pipefail

packages=(
    build-essential pkg-config # a C compiler and linker
    libopenmpi-dev openmpi-bin # MPI: ranks as processes
    clang libclang-dev         # reads MPI's headers for Rust
    libopenblas-dev            # dense linear algebra
    libhdf5-dev                # Data Exchange files
)

case "${1:-}" in
    --with-cluster-tests) with_cluster_tests=yes ;;
    '') with_cluster_tests=${CI:+yes} ;;
    *)
        echo "install-deps.sh: unknown option '$1', expected --with-cluster-tests or none" >&2
        exit 2
        ;;
esac
if [ "$with_cluster_tests" = yes ]; then
    # a SLURM and its authentication, whose services are not started where there is no systemd; network namespaces
    packages+=(slurm-wlm munge iproute2 util-linux python3-minimal)
fi

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_packages() {
    local missing=() as_root=() package
    for package in "${packages[@]}"; do
        case "$package" in
            # Another MPI that is there already does as well, and two would be in each other's way.
            libopenmpi-dev | openmpi-bin) if installed libmpich-dev; then continue; fi ;;
        esac
        installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "Packages are missing, and without root or sudo this script cannot install them. Please ask for:" >&2
            echo "    apt-get install ${missing[*]}" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "Installing with apt-get: ${missing[*]}"
    # `${as_root[@]+…}`: an empty list counts as unset in older bash.
    ${as_root[@]+"${as_root[@]}"} apt-get update -qq
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}"
}

if command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1; then
    install_packages
else
    cat <<'OTHER'
This script knows Debian and Ubuntu. Elsewhere, please see that these are there:
    MPI (Open MPI or MPICH) with its compiler wrapper mpicc; clang with libclang; OpenBLAS; HDF5; pkg-config
    Fedora:  dnf install openmpi-devel clang-devel openblas-devel hdf5-devel pkgconf     (then: module load mpi)
    Arch:    pacman -S openmpi clang openblas hdf5 pkgconf
    macOS:   brew install open-mpi llvm openblas hdf5 pkg-config
Without MPI and HDF5: cargo build --release --no-default-features --features openblas-system
OTHER
fi

if ! command -v cargo >/dev/null 2>&1 && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
    echo "Rust is missing. Its installer is rustup, see https://rustup.rs:"
    echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    # A script never downloads a compiler unasked: only with a person at the terminal who says yes.
    if [ -t 0 ] && [ -z "${CI:-}" ] && command -v curl >/dev/null 2>&1; then
        read -r -p "Run this now? [y/N] " answer
        case "$answer" in
            y | Y | yes) curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default ;;
            *) exit 1 ;;
        esac
    else
        exit 1
    fi
fi
