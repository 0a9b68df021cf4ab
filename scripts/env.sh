# shellcheck shell=bash
# The environment in which the program and its tests run; read by the other scripts with `source`.
# What you have set yourself is kept.

# cargo, where rustup has put it but this shell has not heard of it.
if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
    export PATH="$HOME/.cargo/bin:$PATH"
fi

# The program makes its own threads; with more inside the BLAS, ranks would fight for the cores.
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

# Open MPI refuses to start as root unless told twice that it is meant. In a container, root is the normal user.
# (PRTE_… are the names since Open MPI 5.)
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# Ranks on one node copy straight from each other's memory, which some containers forbid; Open MPI 4 then floods the
# terminal with "Read -1, expected …". It is only switched off where it may be forbidden (system calls are filtered and
# there is no right to trace: bit 19 of the capabilities), because without it an all-reduce takes three times as long.
if [ -z "${OMPI_MCA_btl_vader_single_copy_mechanism:-}" ] && [ -r /proc/self/status ]; then
    seccomp_mode=$(awk '$1 == "Seccomp:" { print $2 }' /proc/self/status)
    capabilities=$(awk '$1 == "CapEff:" { print $2 }' /proc/self/status)
    if [ -e /.dockerenv ] || [ -e /run/.containerenv ]; then
        if [ "${seccomp_mode:-0}" = 2 ] && [ $((0x${capabilities:-0} >> 19 & 1)) = 0 ]; then
            export OMPI_MCA_btl_vader_single_copy_mechanism=none
        fi
    fi
    unset seccomp_mode capabilities
fi
