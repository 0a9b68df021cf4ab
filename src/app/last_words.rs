//! What a rank does last when its lifeline ends it: clears up, and tells why if it is the one that tells.
//!
//! Other threads are stopped in the middle of something, perhaps with a lock in their hands, so nothing here waits for one.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::cli::{LogForm, Speech};
use crate::comm::{Ending, LastWords};
use crate::error::Fault;

/// Where the results of this process go.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();
/// Where it is said why a job ended if nobody listens to standard error any more: the launcher took that along.
pub const FILE: &str = "ended.txt";

/// Names the folder of the results, for words that nobody would hear otherwise. Those of an earlier run are removed by rank 0.
pub fn results_in(folder: &Path, rank: usize) {
    let _ = FOLDER.set(folder.to_owned()); // a second run in one process (tests) keeps the first
    if rank == 0 {
        let _ = std::fs::remove_file(folder.join(FILE));
    }
}

/// What to do last, in the form of the log.
pub fn last_words(speech: &Speech) -> LastWords {
    let form = speech.log;
    Box::new(move |ending| {
        crate::io::atomic::abandon();
        let Some(ending) = ending else { return };
        let text = in_form(form, ending);
        if write_to_stderr(&text).is_err()
            && let Some(folder) = FOLDER.get()
        {
            let _ = std::fs::write(folder.join(FILE), text);
        }
    })
}

/// In one piece, and without the lock on standard error.
fn write_to_stderr(text: &str) -> io::Result<()> {
    let begin = if io::stderr().is_terminal() { "\n" } else { "" }; // behind a progress bar
    File::from(io::stderr().as_fd().try_clone_to_owned()?).write_all(format!("{begin}{text}").as_bytes())
}

fn in_form(form: LogForm, ending: &Ending) -> String {
    match form {
        LogForm::Text => format!("error: {ending}\n"),
        LogForm::Json => {
            let Fault { text, hint, operator, phase } = &ending.fault;
            let line = serde_json::json!({
                "level": "ERROR",
                "message": "error",
                "text": format!("{} {text}", ending.who),
                "help": hint,
                "operator": operator,
                "phase": phase,
                "rank": ending.who.rank,
                "host": ending.who.host,
            });
            format!("{line}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::Who;

    #[test]
    fn the_json_form_is_one_line_with_the_rank() {
        let who = Who { rank: 2, host: "b".into(), process: 3 };
        let ending = Ending { who, fault: Fault::new("is gone").in_operator(7).hint("look") };
        let line = in_form(LogForm::Json, &ending);
        assert_eq!(line.matches('\n').count(), 1);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((line["rank"].as_u64(), line["operator"].as_u64()), (Some(2), Some(7)));
        assert_eq!(line["text"], "rank 2 on host b (process 3) is gone");
        let text = in_form(LogForm::Text, &ending);
        assert_eq!(text, "error: operator 7: rank 2 on host b (process 3) is gone\n  help: look\n");
    }
}
