//! A model of scale: how long an iteration takes on so many ranks, from the plan's own calls, measured collectives and measured
//! operators. docs/scaling.md explains it.
//!
//! A call takes what `bench net` measured for one of its kind and length, stretched to another number of ranks by the ratio of
//! two latency-bandwidth formulas: a message of n bytes takes α + nβ (R. W. Hockney, "The communication challenge for MPP:
//! Intel Paragon and Meiko CS-2", Parallel Computing 20, 1994), and a collective takes as many as its algorithm sends (R. Thakur,
//! R. Rabenseifner, W. Gropp, "Optimization of collective communication operations in MPICH", Int. J. High Performance Computing
//! Applications 19, 2005, section 4). So the formulas matter only where nothing was measured.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::forecast::Forecast;
use crate::comm::{Kind, Through};
use crate::error::Fault;
use crate::stack::Call;

/// What was measured: the file that `bench` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Of this file's grammar.
    pub version: u32,
    /// The day, year-month-day.
    pub measured: String,
    /// The MPI library.
    pub library: String,
    /// The host of each rank.
    pub hosts: Vec<String>,
    /// Cores of one host. With more threads than these, operators take turns.
    pub cores: usize,
    /// What a unit of work takes; `bench operators` adds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operators: Option<Operators>,
    /// Messages between two ranks.
    #[serde(default, rename = "link")]
    pub links: Vec<Link>,
    /// Collective calls.
    #[serde(default, rename = "curve")]
    pub curves: Vec<Curve>,
}

/// What a unit of work takes on one rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operators {
    /// The job that was measured.
    pub config: String,
    /// Ranks that worked at the same time, each for itself.
    pub ranks: usize,
    /// Threads of each.
    pub threads: usize,
    /// Seconds in operators in one iteration, for each unit of their cost.
    pub seconds_per_cost: f64,
    /// Seconds in the method's own vectors in one iteration, for each byte of a vector of the model.
    pub seconds_per_byte: f64,
}

/// Between which ranks messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Of one host.
    Node,
    /// Of two hosts.
    Network,
}

/// A message of n bytes takes α + nβ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Between which ranks.
    pub level: Level,
    /// α.
    pub latency_s: f64,
    /// β.
    pub seconds_per_byte: f64,
}

/// A collective that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collective {
    /// A sum by messages.
    AllReduce,
    /// A sum in memory that ranks share.
    SharedSum,
    /// Everybody's part to everybody.
    Gather,
    /// A piece from everybody to everybody.
    Exchange,
}

/// Seconds of a collective by its length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// Which one.
    pub call: Collective,
    /// Among how many ranks.
    pub ranks: usize,
    /// On how many hosts.
    pub hosts: usize,
    /// Bytes of the vector that is summed, or of all that a rank gets; rising.
    pub bytes: Vec<f64>,
    /// The median of what one call takes.
    pub seconds: Vec<f64>,
}

/// What one iteration is predicted to take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Seconds in operators of the busiest rank.
    pub operators: f64,
    /// Seconds in the method's vectors.
    pub vectors: f64,
    /// Seconds in collective calls.
    pub messages: f64,
    /// Whether there are more threads than cores: then messages take longer than is said here.
    pub crowded: bool,
}

impl Prediction {
    /// All of it.
    pub fn seconds(&self) -> f64 {
        self.operators + self.vectors + self.messages
    }
}

impl Model {
    /// The version of the grammar.
    pub const VERSION: u32 = 1;

    /// Reads a file that `bench net` wrote.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let hint = "`mpirun … stackphys bench net --out net.toml` writes such a file";
        let text = std::fs::read_to_string(path)
            .map_err(|why| Fault::new(format!("cannot read the model {}: {why}", path.display())).hint(hint))?;
        let model: Model = toml::from_str(&text)
            .map_err(|why| Fault::new(format!("{}: {}", path.display(), why.to_string().trim_end())).hint(hint))?;
        model.check().map_err(|what| Fault::new(format!("{}: {what}", path.display())).hint(hint))?;
        Ok(model)
    }

    fn check(&self) -> Result<(), String> {
        if self.version != Self::VERSION {
            return Err(format!(
                "version {} of the grammar, this program reads version {}",
                self.version,
                Self::VERSION
            ));
        }
        for Curve { call, ranks, hosts, bytes, seconds } in &self.curves {
            let fits = bytes.len() == seconds.len() && !bytes.is_empty();
            let rises = bytes.windows(2).all(|pair| pair[0] < pair[1]);
            if !fits || !rises || !bytes.iter().chain(seconds).all(|number| *number > 0.0 && number.is_finite()) {
                return Err(format!(
                    "the curve of {call:?} on {ranks} ranks of {hosts} hosts: `bytes` must rise, and `seconds` be as many, all positive"
                ));
            }
        }
        Ok(())
    }

    /// Seconds of one iteration of a forecast with so many threads on each rank.
    pub fn predict(&self, forecast: &Forecast, threads: usize) -> Result<Prediction, Fault> {
        let Some(work) = &self.operators else {
            return Err(Fault::new("the model does not know how fast operators are")
                .hint("`stackphys bench operators CONFIG --out net.toml` adds that to it"));
        };
        let plan = forecast.plan;
        let crowd = forecast.hosts.most() as f64 * threads as f64 / self.cores.max(1) as f64;
        let turns = crowd.max(1.0);
        let mut prediction = Prediction { operators: 0.0, vectors: 0.0, messages: 0.0, crowded: crowd > 1.0 };
        for (rank, cost) in forecast.costs().into_iter().enumerate() {
            let vectors = plan.model_bytes(rank) as f64 * work.seconds_per_byte * turns;
            prediction.operators = prediction.operators.max(cost * work.seconds_per_cost * turns);
            prediction.vectors = prediction.vectors.max(vectors);
            let mut messages = 0.0;
            for call in forecast.iteration(rank).0 {
                messages += self.seconds_of(&call)? * call.times as f64;
            }
            prediction.messages = prediction.messages.max(messages);
        }
        Ok(prediction)
    }

    /// Seconds of one call.
    fn seconds_of(&self, call: &Call) -> Result<f64, Fault> {
        if call.ranks == 1 {
            return Ok(0.0);
        }
        let on = |what, ranks, hosts| self.measured(what, ranks, hosts, call.length as f64);
        let per_host = call.ranks.div_ceil(call.hosts);
        match (call.kind, call.through) {
            (Kind::VectorReduction, Through::Shared) => on(Collective::SharedSum, call.ranks, 1),
            (Kind::VectorReduction, Through::SharedAndMessages) => {
                // before the vector hosts agree that all of them can
                let agreement =
                    self.measured(Collective::AllReduce, call.hosts, call.hosts, size_of::<u64>() as f64)?;
                let between = on(Collective::AllReduce, call.hosts, call.hosts)?;
                Ok(on(Collective::SharedSum, per_host, 1)? + agreement + between)
            }
            (Kind::Gather, _) => on(Collective::Gather, call.ranks, call.hosts),
            (Kind::Exchange, _) => on(Collective::Exchange, call.ranks, call.hosts),
            _ => on(Collective::AllReduce, call.ranks, call.hosts),
        }
    }

    /// What the curve nearest to so many ranks on so many hosts says, stretched by the ratio of the formulas.
    fn measured(&self, call: Collective, ranks: usize, hosts: usize, bytes: f64) -> Result<f64, Fault> {
        let crosses = hosts > 1;
        let distance = |curve: &Curve| {
            let apart = |a: usize, b: usize| (a as f64 / b as f64).ln().abs();
            apart(curve.ranks, ranks) + apart(curve.hosts, hosts)
        };
        let fitting = self.curves.iter().filter(|curve| curve.call == call && (curve.hosts > 1) == crosses);
        let Some(curve) = fitting.min_by(|a, b| distance(a).total_cmp(&distance(b))) else {
            let where_to = if crosses { "between nodes" } else { "inside a node" };
            return Err(Fault::new(format!("the model has no measurement of {call:?} {where_to}"))
                .hint("run `bench net` on two ranks of one node at least, and on two nodes for several"));
        };
        let [wanted, known] =
            [(ranks, hosts), (curve.ranks, curve.hosts)].map(|(ranks, hosts)| self.formula(call, ranks, hosts, bytes));
        Ok(curve.at(bytes) * if known > 0.0 { wanted / known } else { 1.0 })
    }

    /// Seconds by the formulas of the algorithms: inside a host among its ranks, then between hosts.
    fn formula(&self, call: Collective, ranks: usize, hosts: usize, n: f64) -> f64 {
        let link = |level| {
            let known = self.links.iter().find(|link: &&Link| link.level == level).or(self.links.first());
            known.map_or((1e-6, 1e-10), |link| (link.latency_s, link.seconds_per_byte))
        };
        let (node, network) = (link(Level::Node), link(Level::Network));
        let per_host = ranks.div_ceil(hosts);
        let rounds = |p: usize| (p as f64).log2().ceil();
        let part = |p: usize| (p as f64 - 1.0) / p as f64;
        let both = |of: &dyn Fn(usize, (f64, f64)) -> f64| of(per_host, node) + of(hosts, network);
        match call {
            // recursive doubling, or halving and doubling after Rabenseifner: libraries take the faster
            Collective::AllReduce => both(&|p, (alpha, beta)| {
                let doubling = rounds(p) * (alpha + n * beta);
                doubling.min(2.0 * rounds(p) * alpha + 2.0 * part(p) * n * beta)
            }),
            Collective::Gather => both(&|p, (alpha, beta)| rounds(p) * alpha + part(p) * n * beta),
            // pairwise; all ranks of a host share its way out
            Collective::Exchange => {
                let (here, away) = (per_host as f64 - 1.0, (ranks - per_host) as f64);
                let piece = n / ranks as f64;
                here * (node.0 + piece * node.1) + away * (network.0 + per_host as f64 * piece * network.1)
            }
            // all ranks of a host share its memory
            Collective::SharedSum => per_host as f64,
        }
    }
}

impl Curve {
    /// Straight between measured points, of the logarithms; beyond the last in proportion to the length.
    fn at(&self, bytes: f64) -> f64 {
        let Curve { bytes: known, seconds, .. } = self;
        let last = known.len() - 1;
        if bytes <= known[0] {
            return seconds[0];
        }
        if bytes >= known[last] {
            return seconds[last] * bytes / known[last];
        }
        let right = known.partition_point(|known| *known <= bytes);
        let (x0, x1) = (known[right - 1].ln(), known[right].ln());
        let (y0, y1) = (seconds[right - 1].ln(), seconds[right].ln());
        (y0 + (bytes.ln() - x0) / (x1 - x0) * (y1 - y0)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let link = |level, latency_s, seconds_per_byte| Link { level, latency_s, seconds_per_byte };
        let curve = |call, ranks, hosts, seconds: [f64; 2]| Curve {
            call,
            ranks,
            hosts,
            bytes: vec![10.0, 1e6],
            seconds: seconds.to_vec(),
        };
        Model {
            version: 1,
            measured: String::new(),
            library: String::new(),
            hosts: Vec::new(),
            cores: 4,
            operators: None,
            links: vec![link(Level::Node, 1e-6, 1e-10), link(Level::Network, 1e-3, 1e-8)],
            curves: vec![
                curve(Collective::AllReduce, 2, 1, [1e-6, 1e-4]),
                curve(Collective::AllReduce, 2, 2, [2e-3, 0.03]),
                curve(Collective::SharedSum, 2, 1, [1e-7, 1e-4]),
            ],
        }
    }

    #[test]
    fn a_curve_goes_through_its_points() {
        let curve = &model().curves[0];
        assert_eq!((curve.at(10.0), curve.at(1.0), curve.at(1e6), curve.at(2e6)), (1e-6, 1e-6, 1e-4, 2e-4));
        let middle = curve.at((10.0f64 * 1e6).sqrt());
        assert!((middle / 1e-5 - 1.0).abs() < 1e-12, "{middle}");
    }

    /// Of what was measured it says what was measured; log₂ P rounds of short messages, twice the bytes at most of long ones.
    #[test]
    fn more_ranks_take_more_rounds() {
        let model = model();
        let of = |ranks, hosts, bytes| model.measured(Collective::AllReduce, ranks, hosts, bytes).unwrap();
        assert_eq!(of(2, 2, 10.0), 2e-3);
        assert!((of(4, 4, 10.0) / 4e-3 - 1.0).abs() < 1e-3);
        assert!((of(1024, 1024, 10.0) / 2e-2 - 1.0).abs() < 1e-2);
        let long = of(1024, 1024, 1e9) / of(2, 2, 1e9);
        assert!((1.9..2.1).contains(&long), "{long}"); // 2(P−1)/P against 1
        let shared = model.measured(Collective::SharedSum, 4, 1, 10.0).unwrap();
        assert!((shared / 2e-7 - 1.0).abs() < 1e-12);
        let missing = model.measured(Collective::Gather, 4, 1, 10.0).unwrap_err();
        assert!(missing.text.contains("no measurement of Gather inside a node"), "{}", missing.text);
    }

    #[test]
    fn a_file_that_cannot_be_is_refused() {
        let written = toml::to_string(&model()).unwrap();
        assert_eq!(toml::from_str::<Model>(&written).unwrap(), model());
        let mut broken = model();
        broken.curves[1].seconds[0] = -1.0;
        assert!(broken.check().unwrap_err().contains("AllReduce on 2 ranks of 2 hosts"));
        assert!(Model { version: 2, ..model() }.check().unwrap_err().contains("version 2"));
    }
}
