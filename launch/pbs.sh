#!/usr/bin/env bash
# A job under PBS (OpenPBS, PBS Pro). Edit what is between the two rules, then: qsub launch/pbs.sh   See docs/clusters.md.
# ----------------------------------------------------------------------------------------------------------------------
#PBS -N stackphys
#PBS -l select=1:ncpus=2:mpiprocs=2:ompthreads=1:mem=1gb
#PBS -l walltime=01:00:00
#PBS -j oe
#PBS -r y
seconds=3600 # the walltime; PBS does not warn, so we watch the clock
warning=120
program=target/release/stackphys
job=configs/tooth.toml
folder=out/tooth
options=()
# ----------------------------------------------------------------------------------------------------------------------

cd "${PBS_O_WORKDIR:-.}" || exit 2
threads=${OMP_NUM_THREADS:-1} # PBS sets it to ompthreads
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 # the program has threads of its own
# A node that is cut off is noticed after half a minute, not after eight.
export OMPI_MCA_oob_tcp_keepalive_time=15 OMPI_MCA_oob_tcp_keepalive_intvl=3 OMPI_MCA_oob_tcp_keepalive_probes=5
kept() { ls "$folder/checkpoints" 2>/dev/null; }
before=$(kept)

# When the time is nearly up (USR1, from our own clock), or the job is preempted or deleted (TERM), the ranks are told: they
# keep the state of the iteration and end with status 3.
asked=no
trap 'asked=clock; kill -USR1 $step 2>/dev/null' USR1
trap 'asked=pbs; kill -USR1 $step 2>/dev/null' TERM

mpirun -n "$(wc -l <"$PBS_NODEFILE")" --map-by "slot:PE=$threads" --bind-to core \
    "$program" run "$job" --out "$folder" --threads "$threads" --resume "${options[@]}" &
step=$!
(sleep $((seconds - warning)) && kill -USR1 $$) &
clock=$!
wait $step
status=$?
while kill -0 $step 2>/dev/null; do # a signal ends `wait` early
    wait $step
    status=$?
done
kill $clock 2>/dev/null

# Into the queue again, to go on from there; unless it would never get further.
if [ $status = 3 ] && [ $asked = clock ]; then
    if [ "$(kept)" = "$before" ]; then
        echo "error: not one iteration in the time of this job: ask for more" >&2
        exit 2
    fi
    qsub "$0"
fi
exit $status
