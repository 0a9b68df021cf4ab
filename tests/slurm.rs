//! Job scripts: what `stackphys slurm` prints fits the plan, and real jobs go through a real SLURM of one node, which
//! `scripts/slurm-here.sh` starts: run, signal, requeue, resume with the same bytes; time limit; cancel.

#[path = "common/program.rs"]
mod program;

#[cfg(feature = "mpi")]
use std::path::Path;

use program::stackphys;

/// Six operators; goes on as long as it is let.
const JOB: &str = r#"version = 1
[model]
dims = { y = 64, x = 64 }
[[terms]]
name = "phantom"
data = { format = "phantom", name = "shepp_logan", noise = 0.01 }
operator = { kind = "parallel_ct", angles_deg = { start = 0.0, stop = 180.0, count = 60 }, columns = 93 }
split = { angle = { parts = 6, order = "interleaved" } }
[solve]
method = { kind = "landweber", max_iter = 100000000, weights = "sums" }
[run]
summation = "ordered"
"#;

fn folder_with_job() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.toml"), JOB).unwrap();
    folder
}

#[test]
fn a_printed_script_has_the_sizes_of_the_plan() {
    let folder = folder_with_job();
    let script = |arguments: &str| {
        let all = ["slurm", "job.toml", "--out", "out/it's", "--set", "run.seed=3"].into_iter();
        let ended = stackphys(all.chain(arguments.split_whitespace())).inside(folder.path()).end().expect(0);
        let checked = std::process::Command::new("bash").args(["-n", "-c", &ended.stdout]).status().unwrap();
        assert!(checked.success(), "{ended}");
        ended.stdout
    };
    let printed = script("--nodes 2 --tasks-per-node 3 --threads 4 --time 1-12 --partition long --sbatch account=me");
    for line in [
        "#!/usr/bin/env bash",
        "#SBATCH --job-name=job",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=3",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --time=1-12",
        "#SBATCH --signal=B:USR1@120",
        "#SBATCH --partition=long",
        "#SBATCH --account=me",
        "#SBATCH --requeue",
        &format!("program={}", env!("CARGO_BIN_EXE_stackphys")),
    ] {
        assert_eq!(printed.lines().filter(|other| *other == line).count(), 1, "{line}\n{printed}");
    }
    assert!(printed.contains("srun --mpi=pmix") && printed.contains("6 operators on 2 × 3 ranks"), "{printed}");
    assert!(printed.contains(r"out/it'\''s'") && printed.contains("--set run.seed=3)"), "{printed}");
    // a node holds three processes, and more where more ranks are on it
    let memory = |printed: &str| -> u64 {
        let line = printed.lines().find_map(|line| line.strip_prefix("#SBATCH --mem=")?.strip_suffix('M'));
        line.expect(printed).parse().unwrap()
    };
    let (three, six) = (memory(&printed), memory(&script("--nodes 1 --tasks-per-node 6")));
    assert!((100..500).contains(&three) && (2 * three - 30..2 * three + 30).contains(&six), "{three}, {six}");
    // at most a rank for each operator, also where nobody says how many
    let printed = script("--nodes 6 --time 5 --mpi mpirun");
    assert!(printed.contains("6 operators on 6 × 1 ranks") && printed.contains("USR1@30"), "{printed}");
    assert!(printed.contains("mpirun --map-by") && !printed.contains("srun --mpi"), "{printed}");
}

#[test]
fn what_cannot_be_asked_for_is_told() {
    let folder = folder_with_job();
    for (arguments, says) in [
        ("--nodes 0", "0 is not in 1.."),
        ("--nodes 1 --tasks-per-node 0", "0 is not in 1.."),
        ("", "--nodes"),
        ("--nodes 2 --tasks-per-node 4", "2 × 4 tasks are 8 ranks, the job has 6 operators"),
        ("--nodes 7", "7 × 1 tasks are 7 ranks, the job has 6 operators"),
        ("--nodes 1 --tasks-per-node 6 --memory-per-node 100M", "6 tasks on a node need"),
        ("--nodes 1 --memory-per-node plenty", "expected a whole number with K, M, G or T"),
        ("--nodes 1 --time soon", "expected minutes, MM:SS"),
        ("--nodes 1 --mpi mpiexec", "srun, mpirun"),
        ("--nodes 1 --submit", "cannot start `sbatch`: No such file"),
    ] {
        let all = ["slurm", "job.toml"].into_iter().chain(arguments.split_whitespace());
        // an empty PATH: no sbatch there
        let ended = stackphys(all).inside(folder.path()).with("PATH", folder.path()).end().expect(2);
        assert_eq!(ended.errors().len(), 1, "{arguments}\n{ended}");
        assert!(ended.stderr.contains(says), "{arguments}: no {says:?}\n{ended}");
        assert!(!ended.stderr.contains("panicked") && ended.stdout.is_empty(), "{ended}");
    }
}

/// A SLURM of our own, until it is dropped.
#[cfg(feature = "mpi")]
struct Site {
    folder: tempfile::TempDir,
}

#[cfg(feature = "mpi")]
impl Site {
    /// `None`, with the reason said, where there cannot be one.
    fn start() -> Option<Site> {
        let site = Site { folder: tempfile::tempdir().unwrap() };
        let started = site.script("start");
        match started.status.code() {
            Some(0) => Some(site),
            Some(3) => {
                println!("skipped: {}", String::from_utf8_lossy(&started.stderr).trim());
                None
            }
            _ => panic!("{started:?}"),
        }
    }
    fn script(&self, what: &str) -> std::process::Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/slurm-here.sh");
        let log = self.folder.path().join("script.log"); // not a pipe: the daemons keep it open
        let mut ran = std::process::Command::new(script);
        ran.arg(what).env("STACKPHYS_SLURM", self.at("slurm")).stdout(std::process::Stdio::null());
        let status = ran.stderr(std::fs::File::create(&log).unwrap()).status().unwrap();
        std::process::Output { status, stdout: Vec::new(), stderr: std::fs::read(log).unwrap() }
    }
    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
    /// What a program of SLURM says.
    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let asked = std::process::Command::new(program)
            .args(arguments)
            .env("SLURM_CONF", self.at("slurm/slurm.conf"))
            .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")])
            .env("OMPI_MCA_mpi_yield_when_idle", "1")
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(asked.status.success(), "{program} {arguments:?}: {asked:?}");
        String::from_utf8_lossy(&asked.stdout).into_owned()
    }
    /// Submits the job of a folder on two ranks, with what `stackphys slurm` prints but for one change.
    fn submit(&self, name: &str, arguments: &[&str], change: (&str, &str)) -> Job<'_> {
        let folder = self.at(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("job.toml"), JOB).unwrap();
        let all = ["slurm", "job.toml", "--out", "out", "--nodes", "1", "--tasks-per-node", "2"];
        let printed = stackphys(all.iter().chain(arguments)).inside(&folder).end().expect(0).stdout;
        assert!(printed.contains(change.0), "{printed}");
        let script = printed.replace(change.0, change.1).replace("%x-%j.log", &format!("{}/log", folder.display()));
        std::fs::write(folder.join("job.sh"), script).unwrap();
        let answer = self.ask("sbatch", &[folder.join("job.sh").to_str().unwrap()]);
        Job { site: self, folder, id: answer.trim().rsplit(' ').next().unwrap().to_owned() }
    }
}

#[cfg(feature = "mpi")]
impl Drop for Site {
    fn drop(&mut self) {
        let stopped = self.script("stop");
        if !stopped.status.success() {
            eprintln!("{stopped:?}");
        }
    }
}

/// A job that was submitted.
#[cfg(feature = "mpi")]
struct Job<'s> {
    site: &'s Site,
    folder: std::path::PathBuf,
    id: String,
}

#[cfg(feature = "mpi")]
impl Job<'_> {
    /// What SLURM knows of it: `JobState=RUNNING Reason=None …`.
    fn state(&self) -> String {
        self.site.ask("scontrol", &["--oneliner", "show", "job", &self.id])
    }
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
    fn wait_for(&self, what: &str, seconds: u64, holds: impl Fn() -> bool) {
        let begin = std::time::Instant::now();
        while !holds() {
            assert!(begin.elapsed().as_secs() < seconds, "not {what}: {}\n{}", self.state(), self.log());
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
    fn wait_until(&self, state: &str, seconds: u64) {
        self.wait_for(state, seconds, || self.state().contains(&format!("JobState={state}")));
    }
    /// Waits until some iterations are done.
    fn wait_until_it_iterates(&self) {
        self.wait_for("iterating", 60, || self.log().matches("iteration ").count() >= 2);
    }
    /// After which iteration it was stopped.
    fn kept(&self) -> u64 {
        let names = program::names_in(&self.folder.join("out/checkpoints"));
        let last = names.last().unwrap_or_else(|| panic!("no checkpoint: {}", self.log()));
        last.rsplit('-').next().unwrap().parse().unwrap()
    }
    /// Waits until it is in the queue again, lets it go on for a few iterations, and returns their number in all.
    fn goes_on(&self, seconds: u64) -> u64 {
        self.wait_for("in the queue again", seconds, || {
            let state = self.state();
            state.contains("Restarts=1") && state.contains("JobState=PENDING")
        });
        assert!(self.log().contains("asked to stop"), "{}", self.log());
        assert!(!self.folder.join("out/x.npy").exists());
        let most = self.kept() + 7;
        std::fs::write(self.folder.join("job.toml"), JOB.replace("100000000", &most.to_string())).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(2)); // the node still tidies up
        self.site.ask("scontrol", &["update", &format!("job={}", self.id), "StartTime=now"]); // SLURM would wait two minutes
        self.wait_until("COMPLETED", 60);
        let report = program::report(&self.folder.join("out"));
        assert_eq!(report["ranks"], 2);
        assert_eq!(report["iterations"], most);
        assert_eq!(report["checkpoints"]["resumed_after"], most - 7);
        most
    }
}

/// One test, since one SLURM serves all: what waits for the clock goes on beside the others.
#[cfg(feature = "mpi")]
#[test]
fn real_jobs_go_through_a_real_slurm() {
    let Some(site) = Site::start() else { return };
    std::thread::scope(|scope| {
        // the time of a job is a minute at least; SLURM tells it up to 30 s earlier than asked
        scope.spawn(|| {
            let timed = site.submit("timed", &["--time", "1"], ("USR1@30", "USR1@5"));
            timed.goes_on(90);
            assert!(!timed.log().contains("DUE TO TIME LIMIT"), "{}", timed.log());
        });
        for launcher in ["srun", "mpirun"] {
            let job = site.submit(launcher, &["--mpi", launcher], ("", ""));
            job.wait_until_it_iterates();
            site.ask("scancel", &["--batch", "--signal=USR1", &job.id]); // what the end of its time does
            let most = job.goes_on(60);
            let out = job.folder.join("alone");
            let set = format!("solve.method.max_iter={most}");
            let arguments = ["run", "job.toml", "--set", &set, "--out", out.to_str().unwrap()];
            stackphys(arguments).inside(&job.folder).end().expect(0);
            let bytes = |out: &str| std::fs::read(job.folder.join(out).join("x.npy")).unwrap();
            assert!(bytes("out") == bytes("alone"), "{launcher}: x.npy of a job that was interrupted has other bytes");
        }
        for launcher in ["srun", "mpirun"] {
            let job = site.submit(&format!("{launcher}-cancelled"), &["--mpi", launcher], ("", ""));
            job.wait_until_it_iterates();
            site.ask("scancel", &[&job.id]);
            job.wait_for("gone", 30, || site.ask("squeue", &["--noheader", "--job", &job.id]).is_empty());
            assert!(
                job.state().contains("JobState=CANCELLED") && job.state().contains("Restarts=0"),
                "{}",
                job.state()
            );
            assert!(job.kept() > 0);
        }
        // `--submit` is the same without the file between
        let folder = site.at("submitted");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("job.toml"), JOB.replace("100000000", "3")).unwrap();
        let arguments = "slurm job.toml --out out --nodes 1 --tasks-per-node 2 --submit".split_whitespace();
        let conf = site.at("slurm/slurm.conf");
        let ended = stackphys(arguments).inside(&folder).with("SLURM_CONF", conf).end().expect(0);
        let id = ended.stdout.trim().strip_prefix("Submitted batch job ").expect("its number").to_owned();
        Job { site: &site, folder: folder.clone(), id }.wait_until("COMPLETED", 60);
        assert!(folder.join("out/x.npy").exists());
    });
}
