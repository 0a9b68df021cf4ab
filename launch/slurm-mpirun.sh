#!/usr/bin/env bash
# A job under SLURM, its ranks started by mpirun. Edit what is between the two rules, then: sbatch launch/slurm-mpirun.sh
# Sized by hand; `stackphys slurm JOB --nodes N --mpi mpirun` prints it with the sizes that a plan says. See docs/clusters.md.
# ----------------------------------------------------------------------------------------------------------------------
#SBATCH --job-name=stackphys
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=1
#SBATCH --mem=1G
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
program=target/release/stackphys
job=configs/tooth.toml
folder=out/tooth
options=()
# ----------------------------------------------------------------------------------------------------------------------

export OPENBLAS_NUM_THREADS=1 # the program has threads of its own
threads=${SLURM_CPUS_PER_TASK:-1}
# A node that is cut off is noticed after half a minute, not after eight.
export OMPI_MCA_oob_tcp_keepalive_time=15 OMPI_MCA_oob_tcp_keepalive_intvl=3 OMPI_MCA_oob_tcp_keepalive_probes=5
kept() { ls "$folder/checkpoints" 2>/dev/null; }
before=$(kept)

# SLURM tells this shell that the time is nearly up (USR1), or that the job is preempted or cancelled (TERM). The ranks are
# told in turn: they keep the state of the iteration and end with status 3.
asked=no
trap 'asked=yes; kill -USR1 $step 2>/dev/null' USR1 TERM

mpirun --map-by "slot:PE=$threads" --bind-to core \
    "$program" run "$job" --out "$folder" --threads "$threads" --resume "${options[@]}" &
step=$!
wait $step
status=$?
while kill -0 $step 2>/dev/null; do # a signal ends `wait` early
    wait $step
    status=$?
done

# Into the queue again, to go on from there; unless somebody has cancelled the job, or it would never get further.
if [ $status = 3 ] && [ $asked = yes ] && [ "$(squeue --noheader --job="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    if [ "$(kept)" = "$before" ]; then
        echo "error: not one iteration in the time of this job: ask for more" >&2
        exit 2
    fi
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
