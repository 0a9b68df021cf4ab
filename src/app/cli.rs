//! The command line: what can be typed, and the texts that teach it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::slurm::{Memory, Time};

/// Solves inverse problems whose forward model is a stack of operators, spread over MPI ranks.
///
/// A job is a TOML file: what x is ([model]), what was measured and by which operators ([[terms]]), how to solve
/// ([solve]). One process on a laptop, many under mpirun or srun: the answer is the same.
#[derive(Debug, Parser)]
#[command(name = "stackphys", version, arg_required_else_help = true, after_help = FIRST_STEPS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to say.
    #[command(flatten)]
    pub speech: Speech,
    /// Threads of each rank; overrules run.threads.
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

const FIRST_STEPS: &str = "\
First steps:
  stackphys demo                                   a reconstruction with no files needed
  launch/local.sh -n 4 -- run configs/tooth.toml   the same by four ranks, on real data
  stackphys plan configs/tooth.toml --ranks 4      who would own what, before it runs
  stackphys check my-job.toml                      is every adjoint the adjoint?
Exit status: 0 done as asked; 1 finished, but --require-converged or a check did not hold; 2 error; 3 stopped as asked by a
signal, with a checkpoint: `stackphys resume` goes on.";

const RESUME: &str = "\
The config is that of the checkpoint. What says when to stop, where and how to compute may be changed with --set; with ordered
summation the result has the same bits as that of a run that was never interrupted, on any number of ranks.
Example: mpirun -n 2 stackphys resume out/tooth --set solve.method.max_iter=60";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do a job: read the measurements, solve, write image, pictures and report.
    #[command(
        after_help = "Example: mpirun -n 4 stackphys run configs/tooth.toml --set solve.method.max_iter=10 --out out/tooth10"
    )]
    Run(RunArgs),
    /// Go on with a job that was stopped or killed, from its newest checkpoint, on any number of ranks.
    #[command(after_help = RESUME)]
    Resume(ResumeArgs),
    /// Reconstruct an embedded phantom: shows that the installation works, needs no files.
    Demo(SolveArgs),
    /// Say who owns what, bytes per rank, and messages per iteration. Allocates nothing, needs no mpirun.
    Plan(PlanArgs),
    /// Print a job script for SLURM, sized from the plan: ranks, threads, memory. It goes on where its time ended.
    #[command(
        after_help = "Example: stackphys slurm configs/tooth.toml --nodes 2 --tasks-per-node 6 --time 30 --out out/tooth > tooth.sh"
    )]
    Slurm(SlurmArgs),
    /// Dot tests of each operator and of the whole stack: is the adjoint the adjoint?
    Check(JobArgs),
    /// The squared spectral norm of the stack: by iteration, or as an interval that holds.
    Norm(NormArgs),
    /// Apply the stack once to an npy file, for debugging and for comparing with other software.
    Apply(ApplyArgs),
    /// Measure an image: A x with the noise of each term, written in the natural shapes.
    Simulate(SimulateArgs),
    /// Measure what messages and operators take here, for `plan --model`.
    Bench(BenchArgs),
    /// Make the dirty image and the dirty beam of an interferometer's visibilities.
    Dirty(DirtyArgs),
    /// Say what a file of data holds, and how a config reads it.
    Info(InfoArgs),
    /// Write an array in another format: npy, npz, cfl, TIFF, PNG.
    Convert(ConvertArgs),
    /// What a config can name.
    List(ListArgs),
    /// The JSON Schema of the config, for editors and for reading.
    Schema,
}

/// How much to say, and how.
#[derive(Debug, Clone, Args)]
pub struct Speech {
    /// Say more; twice: much more.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Say only what went wrong.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Lines for people, or one JSON object per line (and per iteration).
    #[arg(long, value_name = "FORM", default_value = "text", global = true)]
    pub log: LogForm,
    /// Let every rank log, with its rank; otherwise rank 0 speaks for all.
    #[arg(long, global = true)]
    pub log_all_ranks: bool,
    /// Let every rank write a log file too, DIR/rank-0000.log and so on, with what -v shows and the time of each line.
    #[arg(long, value_name = "DIR", global = true)]
    pub log_dir: Option<PathBuf>,
    /// Write a stream of events that a program can follow: one JSON object per line, by rank 0 (docs/events.md).
    #[arg(long, value_name = "FILE", global = true)]
    pub events: Option<PathBuf>,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// Lines for people; a progress bar on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// A config and how it is changed.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job: a TOML file. `stackphys schema` describes it.
    pub config: PathBuf,
    /// How it is read.
    #[command(flatten)]
    pub common: Common,
}

/// Options of everything that reads a config.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Overrule a key of the config, e.g. --set terms.scan.operator.center=297. Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where data files are; otherwise the environment's STACKPHYS_DATA, otherwise ./data.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl Common {
    /// The folder that data files are looked up in.
    pub fn data_dir(&self) -> PathBuf {
        let named = self.data_dir.clone().or_else(|| std::env::var_os("STACKPHYS_DATA").map(PathBuf::from));
        named.unwrap_or_else(|| PathBuf::from("data"))
    }
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The job: a TOML file. `stackphys schema` describes it.
    pub config: PathBuf,
    /// How it is solved.
    #[command(flatten)]
    pub solve: SolveArgs,
}

/// Options of what solves.
#[derive(Debug, Args)]
pub struct SolveArgs {
    /// How the config is read.
    #[command(flatten)]
    pub common: Common,
    /// The folder for the results; overrules output.folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Exit with status 1 if the tolerance of the config was not reached.
    #[arg(long)]
    pub require_converged: bool,
    /// Start even if the plan says that the memory of a node will not do.
    #[arg(long)]
    pub ignore_memory: bool,
    /// Go on from the newest checkpoint in the folder of results if there is one, otherwise start: for job scripts.
    #[arg(long)]
    pub resume: bool,
    /// Start over, although a run that was not finished has left checkpoints: they are removed.
    #[arg(long, conflicts_with = "resume")]
    pub discard_checkpoints: bool,
    /// Go on although the config, the measurements or the version of the program are others than those of the checkpoint.
    #[arg(long, requires = "resume")]
    pub force: bool,
    /// Whether it is an error that there is no checkpoint.
    #[arg(skip)]
    pub must_resume: bool,
}

/// Options of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The folder of results of the job.
    pub folder: PathBuf,
    /// How the config is read.
    #[command(flatten)]
    pub common: Common,
    /// Exit with status 1 if the tolerance of the config was not reached.
    #[arg(long)]
    pub require_converged: bool,
    /// Go on although the config, the measurements or the version of the program are others than those of the checkpoint.
    #[arg(long)]
    pub force: bool,
    /// Start even if the plan says that the memory of a node will not do.
    #[arg(long)]
    pub ignore_memory: bool,
}

impl ResumeArgs {
    /// As options of `run`.
    pub fn as_run(&self) -> SolveArgs {
        SolveArgs {
            common: self.common.clone(),
            out: Some(self.folder.clone()),
            require_converged: self.require_converged,
            resume: true,
            discard_checkpoints: false,
            force: self.force,
            must_resume: true,
            ignore_memory: self.ignore_memory,
        }
    }
}

/// Options of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The job, and how it is read.
    #[command(flatten)]
    pub job: JobArgs,
    /// For how many ranks.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub ranks: Option<u32>,
    /// How many of them run on each node. Left out: all on one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub ranks_per_node: Option<u32>,
    /// Predicts the time of an iteration, for 1, 2, 4 … ranks up to that many, from what `bench` measured.
    #[arg(long, value_name = "NET.toml")]
    pub model: Option<PathBuf>,
    /// Prints all of it as one JSON object, for programs.
    #[arg(long)]
    pub json: bool,
    /// Draws the plan too: which operator reads which block of x, adds to which measurements, and is on which rank.
    #[arg(long, value_name = "FILE.png")]
    pub png: Option<PathBuf>,
}

/// Options of `slurm`.
#[derive(Debug, Args)]
pub struct SlurmArgs {
    /// The job, and how it is read.
    #[command(flatten)]
    pub job: JobArgs,
    /// The folder for the results; overrules output.folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Computers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub nodes: u32,
    /// Ranks on each; otherwise as many as this computer has cores for, and at most one for each operator.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub tasks_per_node: Option<u32>,
    /// After so long SLURM ends the job, which then goes into the queue again: minutes, HH:MM:SS, D-HH:MM …
    #[arg(long, value_name = "TIME", default_value = "01:00:00")]
    pub time: Time,
    /// The memory that a node has, such as 64G: an error if the job needs more. It asks for what it needs.
    #[arg(long, value_name = "SIZE")]
    pub memory_per_node: Option<Memory>,
    /// The partition; otherwise the cluster's default.
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,
    /// Another option of sbatch, e.g. --sbatch account=physics. Repeatable.
    #[arg(long, value_name = "OPTION=VALUE")]
    pub sbatch: Vec<String>,
    /// What starts the ranks inside the job.
    #[arg(long, value_name = "LAUNCHER", default_value = "srun")]
    pub mpi: Launcher,
    /// Hand it to sbatch instead of printing it.
    #[arg(long)]
    pub submit: bool,
}

/// What starts ranks inside a job of SLURM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Launcher {
    /// SLURM itself, through PMIx.
    Srun,
    /// Open MPI's own.
    Mpirun,
}

/// Options of `norm`.
#[derive(Debug, Args)]
pub struct NormArgs {
    /// The job, and how it is read.
    #[command(flatten)]
    pub job: JobArgs,
    /// Only the interval that surely holds the value, from the operators alone; sends no vector.
    #[arg(long)]
    pub bounds: bool,
    /// Both ends of the singular values, and their ratio, the condition number; keeps a vector of the model per step.
    #[arg(long, conflicts_with = "bounds")]
    pub condition: bool,
}

/// Options of `apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
The measurements are in their natural shape, e.g. a sinogram (angle, column) in the angles' given order.
With several terms, each has a file of its own: Y.npy becomes Y.NAME.npy.
Example: stackphys apply configs/demo.toml --what forward --in x.npy --out sinogram.npy")]
pub struct ApplyArgs {
    /// The job, and how it is read.
    #[command(flatten)]
    pub job: JobArgs,
    /// Which operator.
    #[arg(long)]
    pub what: What,
    /// The vector that goes in.
    #[arg(long = "in", value_name = "X.npy")]
    pub input: PathBuf,
    /// The vector that comes out.
    #[arg(long = "out", value_name = "Y.npy")]
    pub output: PathBuf,
}

/// Options of `simulate`.
#[derive(Debug, Args)]
#[command(after_help = "\
The noise is that of each term: noise = { kind = \"poisson\", gain = 0.1 }; its draws follow from run.seed.
Example: stackphys simulate configs/demo.toml --set 'noise={ kind = \"gaussian\", sigma = 0.1 }' --out sinogram.npy")]
pub struct SimulateArgs {
    /// The job, and how it is read.
    #[command(flatten)]
    pub job: JobArgs,
    /// The image; if left out, the phantom that the config names.
    #[arg(long = "in", value_name = "X.npy")]
    pub input: Option<PathBuf>,
    /// The measurements. With several terms, each has a file of its own: Y.npy becomes Y.NAME.npy.
    #[arg(long = "out", value_name = "Y.npy")]
    pub output: PathBuf,
}

/// Which operator of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// A x.
    Forward,
    /// Aᴴ y.
    Adjoint,
    /// Aᴴ A x.
    Normal,
}

/// Options of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example: mpirun -n 4 stackphys bench net --out net.toml
         mpirun -n 4 stackphys bench operators configs/tooth.toml --out net.toml
         stackphys plan configs/tooth.toml --model net.toml --ranks 64 --ranks-per-node 8")]
pub struct BenchArgs {
    /// What is measured.
    #[command(subcommand)]
    pub what: BenchWhat,
}

/// What `bench` measures.
#[derive(Debug, Subcommand)]
pub enum BenchWhat {
    /// Messages and sums: between two ranks, inside a node, in shared memory, between nodes. Needs two ranks at least.
    Net(BenchNetArgs),
    /// The operators and vectors of a job: each rank its own share, all at the same time. Added to the file.
    Operators(BenchOperatorsArgs),
}

/// Options of `bench net`.
#[derive(Debug, Args)]
pub struct BenchNetArgs {
    /// The file for what was measured.
    #[arg(long, value_name = "NET.toml")]
    pub out: PathBuf,
}

/// Options of `bench operators`.
#[derive(Debug, Args)]
pub struct BenchOperatorsArgs {
    /// The job, and how it is read.
    #[command(flatten)]
    pub job: JobArgs,
    /// The file that `bench net` wrote, to be added to.
    #[arg(long, value_name = "NET.toml")]
    pub out: PathBuf,
}

/// Options of `dirty`.
#[derive(Debug, Args)]
#[command(after_help = "\
Writes dirty.npy and dirty.png (Aᴴ W y / Σ w, in Jy per beam) and beam.npy and beam.png (the same of a point of 1 Jy in the
centre).
Example: stackphys dirty configs/m87_day.toml --weighting briggs --robust 0 --out out/dirty")]
pub struct DirtyArgs {
    /// The job, and how it is read.
    #[command(flatten)]
    pub job: JobArgs,
    /// The folder for the results; overrules output.folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How much each visibility counts.
    #[arg(long, value_name = "KIND", default_value = "natural")]
    pub weighting: WeightingKind,
    /// Briggs' R, from -2 (nearly uniform) to 2 (nearly natural). Left out: 0.
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub robust: Option<f64>,
}

/// How much a visibility counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeightingKind {
    /// By its variance: the least noise.
    Natural,
    /// Each cell of the (u, v) plane the same: the sharpest beam.
    Uniform,
    /// Between the two, by --robust.
    Briggs,
}

/// Options of `info`.
#[derive(Debug, Args)]
#[command(after_help = "Example: stackphys info maps.npz
         stackphys info tooth/tooth.h5")]
pub struct InfoArgs {
    /// The file; an array of several in an npz file is FILE.npz/NAME.
    pub file: PathBuf,
}

/// Options of `convert`.
#[derive(Debug, Args)]
#[command(after_help = "\
The extensions tell the formats. An array in an npz file is FILE.npz/NAME.
Example: stackphys convert ksp.cfl ksp.npy
         stackphys convert out/x.npy x.png --window 0 0.01")]
pub struct ConvertArgs {
    /// The file that is read: npy, npz, cfl, TIFF, PNG, JPEG.
    pub from: PathBuf,
    /// The file that is written: npy, npz, cfl, TIFF, PNG.
    pub to: PathBuf,
    /// What a PNG shows as black and as white. Left out: the 0.5th and the 99.5th percentile.
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"], allow_negative_numbers = true)]
    pub window: Option<Vec<f64>>,
}

/// Options of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// What to list; everything if left out.
    pub what: Option<Listing>,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// Forward models.
    Operators,
    /// Iterative methods.
    Methods,
    /// What makes conjugate gradients faster.
    Preconditioners,
    /// Formats of measurements.
    Formats,
    /// Noise of simulated measurements.
    Noise,
    /// Data fidelities.
    Fidelities,
    /// Rules that stop an iteration.
    StopRules,
}
