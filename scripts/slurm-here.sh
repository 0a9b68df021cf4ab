#!/usr/bin/env bash
# A SLURM of one node on this computer, for the tests. See --help.
set -euo pipefail

help() {
    cat <<'HELP'
Starts a SLURM of one node on this computer, for tests and for trying job scripts. Not for work.

    scripts/slurm-here.sh start      starts munged, slurmctld and slurmd, waits until the node is idle, prints what to export
    scripts/slurm-here.sh status     says whether it runs, and what to export; status 1 if it does not
    scripts/slurm-here.sh stop       cancels its jobs, ends its three daemons, removes its folder

    eval "$(scripts/slurm-here.sh start)"
    sbatch launch/slurm-srun.sh
    scripts/slurm-here.sh stop

All it has (configuration, key, logs, spool) is in one folder: $STACKPHYS_SLURM, or /tmp/stackphys-slurm-USER. A SLURM that
this computer has otherwise is left alone: other ports, another socket. The node claims to have 8 processors, so that several
jobs run at once also where there are fewer, and has two partitions: `short`, the default, and `long`. KillWait is 5 s, so
that what is cancelled ends soon.

Needs Debian's packages slurm-wlm and munge (scripts/install-deps.sh --with-cluster-tests) and, since the daemon of a node
starts jobs for all users, root.
HELP
}

fail() {
    printf 'slurm-here.sh: %s\n' "$1" >&2
    exit "${2:-2}"
}

user=$(id -un)
folder=${STACKPHYS_SLURM:-/tmp/stackphys-slurm-$user}
daemons=(slurmd slurmctld munged) # in the order in which they end

# Daemons are where root finds programs.
export PATH="$PATH:/usr/sbin:/sbin" SLURM_CONF="$folder/slurm.conf"

running() { # daemon: whether the process in its file is there, and is that daemon
    local pid
    pid=$(cat "$folder/$1.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]
}

exports() { printf 'export SLURM_CONF=%q\n' "$SLURM_CONF"; }

# A port that nobody listens on, from a number upwards.
free_port() {
    local port
    for port in $(seq "$1" "$(($1 + 99))"); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail "no free port from $1 on"
}

configure() {
    local host memory
    host=$(hostname -s)
    memory=$(awk '$1 == "MemTotal:" { print int($2 / 1024 * 0.9) }' /proc/meminfo)
    umask 077
    mkdir -p "$folder"/{state,spool,log}
    chmod 755 "$folder" "$folder/log" "$folder/spool" # the socket and the configuration are for everybody
    head -c 1024 /dev/urandom >"$folder/munge.key"
    cat >"$SLURM_CONF" <<CONF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
SlurmctldPort=$(free_port 17001)
SlurmdPort=$(free_port 17101)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
# nothing here needs cgroups: they may be missing in a container
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=$memory
PartitionName=short Nodes=$host Default=YES MaxTime=60 OverSubscribe=NO
PartitionName=long Nodes=$host MaxTime=INFINITE
CONF
    chmod 644 "$SLURM_CONF"
}

start() {
    local daemon missing=()
    for daemon in "${daemons[@]}" sbatch; do
        command -v "$daemon" >/dev/null 2>&1 || missing+=("$daemon")
    done
    [ ${#missing[@]} -eq 0 ] || fail "missing: ${missing[*]}; scripts/install-deps.sh --with-cluster-tests installs them" 3
    [ "$(id -u)" -eq 0 ] || fail "needs root: the daemon of a node starts jobs for all users" 3
    if running slurmctld && running slurmd && running munged; then
        exports
        return
    fi
    stop
    configure
    munged --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/log/munged" --seed-file="$folder/munge.seed" >&2
    slurmctld -f "$SLURM_CONF" >&2
    slurmd -f "$SLURM_CONF" >&2
    local try
    for try in $(seq 100); do
        if [ "$(sinfo --noheader --format=%T --partition=short 2>/dev/null)" = idle ]; then
            exports
            return
        fi
        sleep 0.1
    done
    tail -n 5 "$folder"/log/* >&2 || true
    fail "the node did not become idle within $((try / 10)) s; logs are in $folder/log" 1
}

stop() {
    local daemon pid
    if running slurmctld; then
        scancel --quiet --user="$user" 2>/dev/null || true
        for _ in $(seq 100); do
            [ -n "$(squeue --noheader 2>/dev/null)" ] || break
            sleep 0.1
        done
    fi
    for daemon in "${daemons[@]}"; do
        running "$daemon" || continue
        pid=$(cat "$folder/$daemon.pid")
        kill "$pid"
        for _ in $(seq 50); do
            [ -d "/proc/$pid" ] || break
            sleep 0.1
        done
        [ ! -d "/proc/$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    done
    # only what `configure` has made
    if [ -f "$SLURM_CONF" ] && grep -q '^ClusterName=here$' "$SLURM_CONF"; then
        rm -rf "$folder"
    fi
}

case "${1:-}" in
    -h | --help) help ;;
    start) start ;;
    stop) stop ;;
    status)
        for daemon in "${daemons[@]}"; do
            running "$daemon" || fail "$daemon does not run" 1
        done
        sinfo >&2
        exports
        ;;
    *) fail "expected start, status or stop, got '${1:-}'; see --help" ;;
esac
