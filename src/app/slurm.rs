//! `slurm`: a job script, sized from the plan. The script is that of `launch/`, with other sizes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::cli::{Launcher, SlurmArgs};
use super::forecast::Forecast;
use super::resolve::Resolved;
use super::{Context, Ending, cores_of_host, read_config, read_job, say, with_scalar};
use crate::comm::{Hosts, Team};
use crate::error::{Error, Fault, Phase};
use crate::scalar::Scalar;
use crate::stack::human_bytes;

/// What is asked for beyond the forecast: buffers of MPI and of the file system, which SLURM counts too.
const MARGIN: f64 = 1.25;

/// How long before the end of its time a job is told, in seconds: a tenth of the time, within these.
const WARNING: [u64; 2] = [30, 120];

/// Prints a job script, or submits it. Collective: yes, but meant for one process.
pub fn slurm(context: &Context, args: &SlurmArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let mut job = read_job(context, &team, &read_config(&args.job.config), &args.job.common)?;
    if let Some(folder) = &args.out {
        job.output.folder.clone_from(folder);
    }
    let nodes = args.nodes as usize;
    let threads = job.run.threads.unwrap_or(1);
    let tasks = match args.tasks_per_node {
        Some(tasks) => tasks as usize,
        None => {
            let resolved = Resolved::open_for(&team, &job, &args.job.common, nodes)?;
            (resolved.operators() / nodes).clamp(1, (cores_of_host() / threads).max(1))
        }
    };
    let resolved = Resolved::open_for(&team, &job, &args.job.common, nodes * tasks)?;
    let sized = with_scalar!(job, S => size::<S>(&resolved, nodes, tasks, args));
    let script = sized.and_then(|size| write_script(&resolved, &size, threads, args));
    let script = team.agree(script.map_err(|fault| fault.in_phase(Phase::Plan)))?;
    let done = match (team.rank(), args.submit) {
        (0, true) => submit(&script).map(|answer| say!("{answer}")),
        (0, false) => {
            say!("{}", script.trim_end());
            Ok(())
        }
        _ => Ok(()),
    };
    team.agree(done.map_err(|fault| fault.in_phase(Phase::Write)))?;
    Ok(Ending::Done)
}

/// How much a job asks for.
struct Size {
    nodes: usize,
    tasks: usize,
    operators: usize,
    /// What the busiest node is forecast to need.
    node_bytes: u64,
}

impl Size {
    /// What is asked for, in SLURM's megabytes of 2²⁰.
    fn mebibytes(&self) -> u64 {
        (self.node_bytes as f64 * MARGIN / f64::from(1 << 20)).ceil() as u64
    }
}

/// The memory of a node from the plan, if the job fits.
fn size<S: Scalar>(resolved: &Resolved, nodes: usize, tasks: usize, args: &SlurmArgs) -> Result<Size, Fault> {
    let (operators, ranks) = (resolved.operators(), nodes * tasks);
    if ranks > operators {
        let text = format!("{nodes} × {tasks} tasks are {ranks} ranks, the job has {operators} operators");
        return Err(
            Fault::new(text).hint("ask for fewer nodes or --tasks-per-node, or `split` the terms into more parts")
        );
    }
    let plan = resolved.plan::<S>(ranks)?;
    let run = &resolved.job.run;
    let hosts = Hosts::even(ranks, tasks, tasks * resolved.job.run.threads.unwrap_or(1), run.reduction, run.summation);
    let forecast = Forecast::new(resolved, &plan, &hosts);
    let node_bytes = (0..hosts.count()).map(|node| forecast.host_bytes(node)).max().unwrap_or(0);
    let size = Size { nodes, tasks, operators, node_bytes };
    match args.memory_per_node {
        Some(Memory { bytes, .. }) if size.mebibytes() << 20 > bytes => {
            let asked = human_bytes(size.mebibytes() << 20);
            let text = format!("{tasks} tasks on a node need {asked}, --memory-per-node is {}", human_bytes(bytes));
            Err(Fault::new(text)
                .hint("fewer --tasks-per-node with more --threads, more nodes, or [blocks], which cuts x"))
        }
        _ => Ok(size),
    }
}

/// The script of `launch/` with other sizes.
fn write_script(resolved: &Resolved, size: &Size, threads: usize, args: &SlurmArgs) -> Result<String, Fault> {
    let Size { nodes, tasks, operators, node_bytes } = size;
    let absolute = |path: &Path| {
        let path = std::path::absolute(path);
        path.map(|path| quoted(&path.display().to_string()))
            .map_err(|why| Fault::new(format!("no current folder: {why}")))
    };
    let program =
        std::env::current_exe().map_err(|why| Fault::new(format!("cannot tell where this program is: {why}")))?;
    let common = &args.job.common;
    let mut options = format!("--data-dir {}", absolute(&common.data_dir())?);
    for set in &common.set {
        options += &format!(" --set {}", quoted(set));
    }
    let name = args.job.config.file_stem().map_or("stackphys".into(), |stem| stem.to_string_lossy());
    let name: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let warning = (args.time.seconds / 10).clamp(WARNING[0], WARNING[1]);
    let memory = human_bytes(*node_bytes);

    let mut script = Script(match args.mpi {
        Launcher::Srun => include_str!("../../launch/slurm-srun.sh").to_owned(),
        Launcher::Mpirun => include_str!("../../launch/slurm-mpirun.sh").to_owned(),
    });
    script.set(
        "# A job under SLURM, its ranks started by ",
        if args.mpi == Launcher::Srun { "srun." } else { "mpirun." },
    );
    let sizes = format!("{operators} operators on {nodes} × {tasks} ranks, {memory} a node and a quarter more");
    script.set("# Sized by ", &format!("`stackphys slurm`: {sizes}. See docs/clusters.md."));
    script.set("#SBATCH --job-name=", &name);
    script.set("#SBATCH --nodes=", &nodes.to_string());
    script.set("#SBATCH --ntasks-per-node=", &tasks.to_string());
    script.set("#SBATCH --cpus-per-task=", &threads.to_string());
    script.set("#SBATCH --mem=", &format!("{}M", size.mebibytes()));
    script.set("#SBATCH --time=", &args.time.text);
    script.set("#SBATCH --signal=B:USR1@", &warning.to_string());
    script.set("program=", &absolute(&program)?);
    script.set("job=", &absolute(&args.job.config)?);
    script.set("folder=", &absolute(&resolved.job.output.folder)?);
    script.set("options=", &format!("({options})"));
    let partition = args.partition.iter().map(|name| format!("partition={name}"));
    for option in partition.chain(args.sbatch.iter().cloned()) {
        script.add("#SBATCH --requeue", &format!("#SBATCH --{option}"));
    }
    Ok(script.0)
}

/// A text whose lines are known by how they begin.
struct Script(String);

impl Script {
    /// Gives a line another end; without one it is only what it begins with.
    fn set(&mut self, begin: &str, end: &str) {
        self.each(|line| if line.starts_with(begin) { format!("{begin}{end}") } else { line.to_owned() });
    }
    /// Puts a line behind another.
    fn add(&mut self, behind: &str, new: &str) {
        self.each(|line| if line == behind { format!("{line}\n{new}") } else { line.to_owned() });
    }
    fn each(&mut self, change: impl Fn(&str) -> String) {
        self.0 = self.0.lines().map(|line| change(line) + "\n").collect();
    }
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Hands a script to `sbatch` and returns its answer.
fn submit(script: &str) -> Result<String, Fault> {
    let hint = "is there a SLURM here? Without --submit the script is printed, to be submitted where there is one";
    let spawned = Command::new("sbatch").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut sbatch = spawned.map_err(|why| Fault::new(format!("cannot start `sbatch`: {why}")).hint(hint))?;
    if let Some(mut input) = sbatch.stdin.take() {
        let _ = input.write_all(script.as_bytes()); // if it does not read on, its own words say why
    }
    let ended = sbatch.wait_with_output().map_err(|why| Fault::new(format!("`sbatch` was lost: {why}")))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match ended.status.success() {
        true => Ok(said(&ended.stdout)),
        false => Err(Fault::new(format!("`sbatch` refused the job: {}", said(&ended.stderr)))
            .hint("without --submit the script is printed; --partition and --sbatch add what this cluster wants")),
    }
}

/// A limit of time as SLURM writes it.
#[derive(Debug, Clone)]
pub struct Time {
    text: String,
    seconds: u64,
}

impl std::str::FromStr for Time {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "expected minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS, above 0";
        let (days, clock) = match text.split_once('-') {
            Some((days, clock)) => (Some(days.parse::<u32>().map_err(|_| wrong)?), clock),
            None => (None, text),
        };
        let parts: Vec<u64> = clock
            .split(':')
            .map(|part| part.parse::<u32>().map(u64::from))
            .collect::<Result<_, _>>()
            .map_err(|_| wrong)?;
        let seconds = match (days, &parts[..]) {
            (None, [minutes]) => minutes * 60,
            (None, [minutes, seconds]) => minutes * 60 + seconds,
            (Some(_), [hours]) => hours * 3600,
            (Some(_), [hours, minutes]) => hours * 3600 + minutes * 60,
            (_, [hours, minutes, seconds]) => hours * 3600 + minutes * 60 + seconds,
            _ => return Err(wrong),
        };
        let seconds = seconds + u64::from(days.unwrap_or(0)) * 86_400;
        if seconds == 0 { Err(wrong) } else { Ok(Time { text: text.to_owned(), seconds }) }
    }
}

/// An amount of memory as SLURM writes it.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    bytes: u64,
}

impl std::str::FromStr for Memory {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "expected a whole number with K, M, G or T, such as 64G";
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[number.len()..].to_ascii_uppercase().as_str() {
            "K" | "KB" => 10,
            "" | "M" | "MB" => 20,
            "G" | "GB" => 30,
            "T" | "TB" => 40,
            _ => return Err(wrong),
        };
        let bytes = number.parse::<u32>().map_err(|_| wrong)? as u64;
        if bytes == 0 { Err(wrong) } else { Ok(Memory { bytes: bytes << shift }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_scripts_have_each_line_that_is_set_once() {
        for text in [include_str!("../../launch/slurm-srun.sh"), include_str!("../../launch/slurm-mpirun.sh")] {
            for begin in [
                "nodes=",
                "ntasks-per-node=",
                "cpus-per-task=",
                "mem=",
                "time=",
                "job-name=",
                "signal=B:USR1@",
                "requeue",
            ] {
                assert_eq!(text.matches(&format!("\n#SBATCH --{begin}")).count(), 1, "{begin}");
            }
            for begin in
                ["# A job under SLURM, its ranks started by ", "# Sized by ", "program=", "job=", "folder=", "options="]
            {
                assert_eq!(text.matches(&format!("\n{begin}")).count(), 1, "{begin}");
            }
            // what sbatch reads ends with the first command
            let commands = text.find("\nprogram=").expect("is there");
            assert!(text[commands..].find("#SBATCH").is_none());
        }
    }

    #[test]
    fn times_are_those_of_slurm() {
        let seconds = |text: &str| text.parse::<Time>().map(|time| time.seconds);
        for (text, expected) in
            [("90", 5400), ("1:30", 90), ("02:00:01", 7201), ("1-0", 86_400), ("1-2:30", 95_400), ("0-0:0:5", 5)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for wrong in ["", "0", "00:00:00", "1:2:3:4", "-1", "1h", "1-2:3:4:5", "99999999999"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_is_that_of_slurm() {
        let bytes = |text: &str| text.parse::<Memory>().map(|memory| memory.bytes);
        assert_eq!(bytes("3"), Ok(3 << 20));
        assert_eq!(bytes("64G"), Ok(64 << 30));
        assert_eq!(bytes("2tb"), Ok(2 << 40));
        for wrong in ["", "G", "0G", "1.5G", "-1G", "64 G", "64P"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_shell_reads_words_as_they_are() {
        for word in ["", "plain/path.toml", "two words", "it's", "a=\"$HOME\"", "[1, 2]"] {
            let echoed =
                Command::new("bash").arg("-c").arg(format!("printf %s {}", quoted(word))).output().expect("bash");
            assert_eq!(String::from_utf8_lossy(&echoed.stdout), word);
        }
    }
}
