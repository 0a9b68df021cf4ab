#!/usr/bin/env bash
# Runs a program under one mpirun across two hosts, which are made on this computer. See --help.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

help() {
    cat <<'HELP'
Runs a program under one mpirun across two hosts, `alpha` and `beta`, which are made on this computer.

    scripts/two-hosts.sh [-n RANKS] [--delay MS] [--loss PERCENT] [--cut-after S] [--own-cores] -- PROGRAM ARGUMENTS

    scripts/two-hosts.sh -n 4 --delay 1 -- target/release/stackphys demo --out out/demo

-n RANKS        Processes; the first half are on alpha. Default: 2.
--delay MS      Each message takes so many milliseconds longer, either way.
--loss PERCENT  So much of what is sent is lost, and sent again by TCP.
--cut-after S   After so many seconds the two no longer reach each other.
--own-cores     Half of the cores are those of alpha, half those of beta, as hosts have it: to measure. Otherwise both have all.

A host is a network namespace with a name, a /dev/shm and shared memory of its own; files are the same on both. A pair of
virtual network devices joins them (10.77.0.1 and 10.77.0.2), nothing else does. All is gone when the program has ended;
several such pairs at a time do not see each other. Where the kernel has no netem, a program delays and loses packets. Ranks yield when they wait, as there may be more of them than cores.

Needs Linux, root, and `ip` and `tc` (Debian: iproute2); without netem python3. Works with Open MPI; MPICH is started, but its UCX has not found the other host yet. MPIRUN=... names another mpirun.
Exit status: that of mpirun; 3 if the hosts cannot be made here.
HELP
}

fail() {
    printf 'two-hosts.sh: %s\n' "$1" >&2
    exit "${2:-2}"
}

number() { # option, value
    case "$2" in
        '' | *[!0-9.]* | *.*.*) fail "$1 needs a number, got '$2'" ;;
    esac
}

ranks=2 delay='' loss='' cut='' own_cores=''
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) help; exit 0 ;;
        -n) ranks=${2:-}; case "$ranks" in '' | 0 | *[!0-9]*) fail "-n needs a whole number of at least 1, got '$ranks'" ;; esac; shift 2 ;;
        --delay) delay=${2:-}; number --delay "$delay"; shift 2 ;;
        --loss) loss=${2:-}; number --loss "$loss"; shift 2 ;;
        --cut-after) cut=${2:-}; number --cut-after "$cut"; shift 2 ;;
        --own-cores) own_cores=yes; shift ;;
        --) shift; break ;;
        *) fail "unknown argument '$1'; the program goes after --, see --help" ;;
    esac
done
[ $# -gt 0 ] || fail "nothing to run, see --help"

export PATH="$PATH:/usr/sbin:/sbin"
for tool in ip tc unshare nsenter setpriv taskset; do
    command -v "$tool" >/dev/null 2>&1 || fail "there is no $tool here; scripts/install-deps.sh --with-cluster-tests installs it" 3
done
[ "$(id -u)" -eq 0 ] || fail "needs root, for network namespaces" 3
mpirun=${MPIRUN:-mpirun}
command -v "$mpirun" >/dev/null 2>&1 || fail "there is no $mpirun here; scripts/install-deps.sh installs Open MPI"

folder=$(mktemp -d)
hosts=(alpha beta)
slow= # the process that delays
declare -A holder=() # the process that keeps a host alive
# shellcheck disable=SC2317 # called at the end
cleanup() {
    # what still runs there would keep a host alive for ever
    local host pid
    for host in "${!holder[@]}"; do
        for pid in $(inhabitants "${holder[$host]}"); do kill -KILL "$pid" 2>/dev/null || true; done
    done
    [ -z "$slow" ] || kill -KILL "$slow" 2>/dev/null || true
    rm -rf "$folder"
}
# shellcheck disable=SC2317 # called by it
inhabitants() { # processes in the network of a holder
    local place other
    place=$(readlink "/proc/$1/ns/net" 2>/dev/null) || return 0
    for other in /proc/[0-9]*; do
        if [ "$(readlink "$other/ns/net" 2>/dev/null)" = "$place" ]; then basename "$other"; fi
    done
}
trap cleanup EXIT

printf '127.0.0.1 localhost\n10.77.0.1 alpha\n10.77.0.2 beta\n' >"$folder/hosts"
cores=$(getconf _NPROCESSORS_ONLN)
declare -A own=([alpha]="0-$((cores - 1))" [beta]="0-$((cores - 1))")
if [ -n "$own_cores" ]; then
    [ "$cores" -gt 1 ] || fail "--own-cores needs two cores at least"
    own=([alpha]="0-$((cores / 2 - 1))" [beta]="$((cores / 2))-$((cores - 1))")
fi
for host in "${hosts[@]}"; do
    # what a host says of its processors
    awk -v first="${own[$host]%-*}" -v last="${own[$host]#*-}" \
        '/^processor/ { here = $3 >= first && $3 <= last } here' /proc/cpuinfo >"$folder/$host.cpuinfo"
done
for host in "${hosts[@]}"; do
    # its own /etc/hosts too: the names lead to the pair and nowhere else
    # shellcheck disable=SC2016 # expanded there
    setpriv --pdeathsig KILL taskset -c "${own[$host]}" unshare --net --uts --ipc --mount --propagation private bash -c '
        trap "" INT TERM # meant for mpirun, which still needs the hosts to end well
        echo 5 >/proc/sys/net/ipv4/tcp_retries2 # what is under way when a host goes is given up after 13 s, not 15 minutes
        hostname "$1" && mount -t tmpfs tmpfs /dev/shm && mount --bind "$2/hosts" /etc/hosts &&
        mount --bind "$2/$1.cpuinfo" /proc/cpuinfo && ip link set lo up &&
        : >"$2/$1.ready" && exec sleep infinity' host "$host" "$folder" &
    holder[$host]=$!
    disown # its end is no news
    echo $! >"$folder/$host"
done
for host in "${hosts[@]}"; do
    until [ -e "$folder/$host.ready" ]; do
        kill -0 "${holder[$host]}" 2>/dev/null || fail "no namespaces can be made here" 3
        sleep 0.01
    done
done

join() { # what joins the two: a pair of devices, slowed down by the kernel, or by a program of ours where it cannot
    local inside host
    ip link add pair netns "${holder[alpha]}" type veth peer name pair netns "${holder[beta]}" ||
        fail "no pair of network devices can be made here" 3
    [ -n "$delay$loss" ] || return 0
    for host in "${hosts[@]}"; do
        inside=(nsenter --net --target "${holder[$host]}")
        # a queue for what a fast sender has on the way meanwhile: the default of 1000 packets would lose some
        if ! "${inside[@]}" tc qdisc add dev pair root netem limit 100000 delay "${delay:-0}ms" loss "${loss:-0}%" 2>/dev/null
        then
            "${inside[@]}" ip link del pair
            join_by_program
            return
        fi
    done
}
join_by_program() {
    local host
    setpriv --pdeathsig KILL "$root/scripts/slow-pair.py" "alpha$$" "beta$$" "${delay:-0}" "${loss:-0}" >"$folder/slow" &
    slow=$!
    disown
    until [ -s "$folder/slow" ]; do
        kill -0 "$slow" 2>/dev/null || fail "this kernel has no sch_netem, and scripts/slow-pair.py does not run" 3
        sleep 0.01
    done
    for host in "${hosts[@]}"; do
        ip link set "$host$$" netns "${holder[$host]}" name pair mtu 65000 txqueuelen 10000
    done
}
join
address=1
for host in "${hosts[@]}"; do
    nsenter --net --target "${holder[$host]}" ip address add "10.77.0.$address/24" dev pair
    nsenter --net --target "${holder[$host]}" ip link set pair up
    address=$((address + 1))
done

# How a launcher reaches a host: like ssh, with a host and a command. The first argument that names a host is that.
cat >"$folder/reach" <<REACH
#!/usr/bin/env bash
while [ ! -e "$folder/\$1.ready" ]; do shift; done
holder=\$(cat "$folder/\$1")
cores=\$(taskset -pc "\$holder")
exec nsenter --net --uts --ipc --mount --target "\$holder" taskset -c "\${cores##* }" bash -c "\${*:2}"
REACH
chmod +x "$folder/reach"

# shellcheck source=scripts/env.sh
source "$root/scripts/env.sh"
on_alpha=$(((ranks + 1) / 2)) on_beta=$((ranks / 2))
places=alpha:$on_alpha
[ "$on_beta" -eq 0 ] || places+=,beta:$on_beta
version=$("$mpirun" --version 2>&1 || true)
case "$version" in
    *"Open MPI"*)
        export OMPI_MCA_plm_rsh_agent="$folder/reach" OMPI_MCA_plm=rsh OMPI_MCA_ras=^slurm
        export OMPI_MCA_btl_tcp_if_include=10.77.0.0/24 OMPI_MCA_oob_tcp_if_include=10.77.0.0/24
        export OMPI_MCA_mpi_yield_when_idle=1
        # a host that has gone is noticed after 10 s; otherwise mpirun waits for eight minutes
        export OMPI_MCA_oob_tcp_keepalive_time=5 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=5
        options=(--host "$places" --bind-to none -n "$ranks")
        ;;
    *HYDRA* | *MPICH* | *mpich*)
        options=(-launcher ssh -launcher-exec "$folder/reach" -hosts "$places" -n "$ranks")
        ;;
    *) fail "only Open MPI and MPICH are known here, $mpirun says: ${version%%$'\n'*}" ;;
esac

if [ -n "$cut" ]; then
    (sleep "$cut"; exec nsenter --net --target "${holder[alpha]}" ip link set pair down) &
fi
# A signal for this script is for mpirun.
setpriv --pdeathsig TERM "$folder/reach" alpha "$(printf '%q ' cd "$PWD")&& exec $(printf '%q ' "$mpirun" "${options[@]}" "$@")" &
job=$!
for signal in INT TERM USR1; do
    # shellcheck disable=SC2064 # known now
    trap "kill -$signal $job 2>/dev/null" "$signal"
done
status=0
wait "$job" || status=$?
while kill -0 "$job" 2>/dev/null; do # a signal ends `wait` early
    status=0
    wait "$job" || status=$?
done
exit "$status"
