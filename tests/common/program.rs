//! The real program as a process, alone or as ranks under `mpirun`; every one ends within a time limit.
#![allow(dead_code)] // each test file uses its part

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use wait_timeout::ChildExt;

/// Longer than any launch takes on a busy machine, much shorter than a hang.
const LIMIT: Duration = Duration::from_secs(120);

/// A process to be started.
pub struct Launch {
    ranks: Option<usize>,
    arguments: Vec<OsString>,
    folder: Option<PathBuf>,
    environment: Vec<(&'static str, OsString)>,
    other_rank_1: Option<Vec<OsString>>,
}

/// The program on its own, with arguments.
pub fn stackphys<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Launch {
    let arguments = arguments.into_iter().map(Into::into).collect();
    Launch { ranks: None, arguments, folder: None, environment: Vec::new(), other_rank_1: None }
}

/// The program as so many ranks under `mpirun`.
pub fn mpirun<A: Into<OsString>>(ranks: usize, arguments: impl IntoIterator<Item = A>) -> Launch {
    Launch { ranks: Some(ranks), ..stackphys(arguments) }
}

/// The program alone (`None`), or as so many ranks.
pub fn on<A: Into<OsString>>(ranks: Option<usize>, arguments: impl IntoIterator<Item = A>) -> Launch {
    Launch { ranks, ..stackphys(arguments) }
}

impl Launch {
    /// Starts in a folder.
    pub fn inside(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }
    /// Adds to the environment.
    pub fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }
    /// Gives rank 1, the last of two, arguments of its own: as if its node had another file system.
    pub fn where_rank_1_has<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        assert_eq!(self.ranks, Some(2));
        self.other_rank_1 = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// Starts the process and waits for its end. Panics if it is still running at the limit.
    pub fn end(self) -> Ended {
        self.begin().end()
    }

    /// Starts the process.
    pub fn begin(self) -> Running {
        let program = env!("CARGO_BIN_EXE_stackphys");
        let mut command = match self.ranks {
            None => Command::new(program),
            Some(ranks) => {
                let mut mpirun = Command::new("mpirun");
                let first = if self.other_rank_1.is_some() { 1 } else { ranks };
                mpirun.args(["--oversubscribe", "--bind-to", "none", "-n", &first.to_string(), program]);
                mpirun
            }
        };
        command.args(&self.arguments);
        if let Some(others) = &self.other_rank_1 {
            command.args([":", "-n", "1", program]).args(others);
        }
        for name in ["STACKPHYS_DATA", "STACKPHYS_LOG"] {
            command.env_remove(name);
        }
        let logs = tempfile::tempdir().unwrap();
        let log = |name: &str| File::create(logs.path().join(name)).unwrap();
        let begin = Instant::now();
        let child = command
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .env("OMPI_MCA_mpi_yield_when_idle", "1")
            .env("OMPI_MCA_odls_base_sigkill_timeout", "0") // a second for every job that ends with another status than 0
            .env("OPENBLAS_NUM_THREADS", "1")
            .env("RUST_BACKTRACE", "0")
            .envs(self.environment)
            .current_dir(self.folder.as_deref().unwrap_or(logs.path()))
            .stdin(Stdio::null())
            .stdout(log("stdout"))
            .stderr(log("stderr"))
            .spawn()
            .unwrap_or_else(|why| panic!("{command:?} cannot be started: {why}"));
        Running { what: format!("{:?} on {:?} ranks", self.arguments, self.ranks), child, logs, begin }
    }
}

/// A process that was started.
pub struct Running {
    what: String,
    child: Child,
    logs: tempfile::TempDir,
    begin: Instant,
}

impl Running {
    /// Waits for its end. Panics if it is still running at the limit.
    pub fn end(self) -> Ended {
        let Running { what, mut child, logs, begin } = self;
        let status = child.wait_timeout(LIMIT).unwrap();
        if status.is_none() {
            // asked politely, mpirun ends its ranks too
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            if child.wait_timeout(Duration::from_secs(5)).unwrap().is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
        let read = |name: &str| String::from_utf8_lossy(&std::fs::read(logs.path().join(name)).unwrap()).into_owned();
        let (stdout, stderr) = (read("stdout"), read("stderr"));
        match status {
            Some(status) => Ended { what, status, stdout, stderr, took: begin.elapsed() },
            None => panic!("{what}: still running after {LIMIT:?}\n{stdout}\n{stderr}"),
        }
    }
}

/// Processes that have a folder on their command line: a launcher and its ranks.
pub fn processes_of(folder: &Path) -> Vec<String> {
    let mark = folder.display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.map(|entry| entry.file_name().into_string().unwrap_or_default());
    let has_mark = |number: &String| {
        let line = std::fs::read(Path::new("/proc").join(number).join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&mark)
    };
    numbers.filter(has_mark).collect()
}

/// Sends a signal to processes.
pub fn send(signal: &str, processes: &[String]) {
    let _ = Command::new("kill").arg(format!("-{signal}")).args(processes).stderr(Stdio::null()).status();
}

/// What a process left behind.
pub struct Ended {
    pub what: String,
    status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    /// Panics, with all that was said, unless the exit status is this one.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status.code(), Some(status), "{self}");
        self
    }
    /// Panics, with all that was said, if the exit status is 0.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(!self.status.success(), "{self}");
        self
    }
    /// The lines that begin an error.
    pub fn errors(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("error:")).collect()
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ended { what, status, stdout, stderr, took } = self;
        write!(f, "{what}: {status} after {took:.1?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// The report in a folder of results.
pub fn report(folder: &Path) -> Json {
    let path = folder.join("report.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The numbers in a list of a report.
pub fn numbers(list: &Json) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Names of all that is in a folder; none where there is no folder.
pub fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The folder of real measurements, if this machine has one.
pub fn real_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("STACKPHYS_DATA").map_or(beside, PathBuf::from);
    folder.is_dir().then(|| folder.canonicalize().unwrap())
}
