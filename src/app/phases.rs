//! How long each phase of a job took, and how much memory it needed at most.

use std::time::Instant;

use serde::Serialize;

use super::events::Events;
use crate::comm::Team;

/// A stopwatch with named laps, which the stream of events is told of.
pub struct Phases {
    laps: Vec<(&'static str, f64)>,
    since: Instant,
    events: Events,
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

impl Spread {
    /// Of one number of each rank.
    pub fn of(seconds: impl Iterator<Item = f64> + Clone) -> Self {
        Spread {
            min: seconds.clone().fold(f64::INFINITY, f64::min),
            mean: seconds.clone().sum::<f64>() / seconds.clone().count() as f64,
            max: seconds.fold(0.0, f64::max),
        }
    }
    /// The slowest rank against the mean: 1 where all take as long.
    pub fn imbalance(&self) -> f64 {
        if self.mean == 0.0 { 1.0 } else { self.max / self.mean }
    }
    /// What ranks wait for each other in calls that end together: the one that comes last waits least, so that what others take
    /// longer than it is waiting.
    pub fn waiting(&self) -> Spread {
        Spread { min: 0.0, mean: self.mean - self.min, max: self.max - self.min }
    }
}

impl Phases {
    /// Starts the first lap.
    pub fn start(events: &Events) -> Self {
        Phases { laps: Vec::new(), since: Instant::now(), events: events.clone() }
    }
    /// Ends a lap.
    pub fn lap(&mut self, name: &'static str) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.laps.push((name, seconds));
        self.since = Instant::now();
        self.events.tell("phase", serde_json::json!({ "name": name, "seconds": seconds }));
        tracing::debug!("phase {name}: {seconds:.3} s");
    }
    /// Adds a time that was taken elsewhere.
    pub fn add(&mut self, name: &'static str, seconds: f64) {
        self.laps.push((name, seconds));
    }

    /// Each phase over the ranks. Collective: yes, one gather.
    pub fn over_ranks(&self, team: &Team) -> Vec<(&'static str, Spread)> {
        let mine: Vec<f64> = self.laps.iter().map(|(_, seconds)| *seconds).collect();
        let all = team.gather_numbers(&mine);
        let spread = |lap: usize| Spread::of(all.iter().map(|rank| rank[lap]));
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
