//! How long each phase of a job took, and how much memory it needed at most.

use std::time::Instant;

use serde::Serialize;

use crate::comm::Team;

/// A stopwatch with named laps.
pub struct Phases {
    laps: Vec<(&'static str, f64)>,
    since: Instant,
}

/// Seconds of one phase over the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The quickest rank.
    pub min: f64,
    /// The mean over ranks.
    pub mean: f64,
    /// The slowest rank.
    pub max: f64,
}

impl Phases {
    /// Starts the first lap.
    pub fn start() -> Self {
        Phases { laps: Vec::new(), since: Instant::now() }
    }
    /// Ends a lap.
    pub fn lap(&mut self, name: &'static str) {
        self.laps.push((name, self.since.elapsed().as_secs_f64()));
        self.since = Instant::now();
    }
    /// Adds a time that was taken elsewhere.
    pub fn add(&mut self, name: &'static str, seconds: f64) {
        self.laps.push((name, seconds));
    }

    /// Each phase over the ranks. Collective: yes, one gather.
    pub fn over_ranks(&self, team: &Team) -> Vec<(&'static str, Spread)> {
        let mine: Vec<f64> = self.laps.iter().map(|(_, seconds)| *seconds).collect();
        let all = team.gather_numbers(&mine);
        let spread = |lap: usize| {
            let seconds = all.iter().map(|rank| rank[lap]);
            Spread {
                min: seconds.clone().fold(f64::INFINITY, f64::min),
                mean: seconds.clone().sum::<f64>() / all.len() as f64,
                max: seconds.fold(0.0, f64::max),
            }
        };
        self.laps.iter().enumerate().map(|(lap, (name, _))| (*name, spread(lap))).collect()
    }
}

/// The most memory that this process had in use so far, in bytes; zero where the system does not tell.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
