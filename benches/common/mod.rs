//! What benches on several ranks share: they start themselves under `mpirun`, and time things by turns.

use std::rc::Rc;
use std::time::Instant;

use stackphys::comm::Comm;

#[allow(dead_code)] // each bench uses its part
/// Runs this program under `mpirun -n 2`, or `-n` of the number that is given.
pub fn launch() {
    let ranks = std::env::args().filter_map(|argument| argument.parse::<usize>().ok()).next().unwrap_or(2);
    let status = std::process::Command::new("mpirun")
        .args(["-n", &ranks.to_string(), "--oversubscribe"])
        .arg(std::env::current_exe().expect("this program"))
        .args(std::env::args().skip(1))
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OPENBLAS_NUM_THREADS", "1")
        .status();
    assert!(status.expect("mpirun can be started").success(), "the job failed");
}

#[allow(dead_code)] // as above
/// Whether the command line names a case, or none at all.
pub fn asked(case: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|word| word.chars().all(char::is_alphabetic)).peekable();
    names.peek().is_none() || names.any(|name| name == case)
}

/// Something to time: what it is, how it is done where that can be said, and one call of it.
pub struct Case<'a> {
    what: &'static str,
    how: &'static str,
    action: Box<dyn FnMut() + 'a>,
}

impl<'a> Case<'a> {
    pub fn new(what: &'static str, how: &'static str, action: impl FnMut() + 'a) -> Self {
        Case { what, how, action: Box::new(action) }
    }
}

/// Times the cases by turns, so that what else the machine does hits all alike; each time is that of `each` calls after one
/// that is not timed. Rank 0 prints the median and the least, with `about` beside them.
pub fn race(comm: &Rc<dyn Comm>, name: &str, about: &str, each: usize, rounds: usize, mut cases: Vec<Case>) {
    let mut times = vec![Vec::with_capacity(rounds); cases.len()];
    for _ in 0..rounds {
        for (times, case) in times.iter_mut().zip(&mut cases) {
            (case.action)(); // warm again
            comm.barrier();
            let start = Instant::now();
            (0..each).for_each(|_| (case.action)());
            times.push(start.elapsed().as_secs_f64() / each as f64);
        }
    }
    for (times, Case { what, how, .. }) in times.iter_mut().zip(&cases) {
        times.sort_by(f64::total_cmp);
        if comm.rank() == 0 {
            println!(
                "{{\"who\": \"stackphys\", \"case\": \"{name}\", \"what\": \"{what}\", \"how\": \"{how}\", \"ranks\": {}, \
                 {about}, \"median\": {:.3e}, \"least\": {:.3e}}}",
                comm.size(),
                times[rounds / 2],
                times[0]
            );
        }
    }
}
