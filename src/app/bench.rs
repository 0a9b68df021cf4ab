//! `bench net` and `bench operators`: the measurements that the model of scale is made of.
//!
//! Medians of batches: calls in a row, as iterations make them, since a barrier before each would be measured too. What ranks
//! decide together (how long a batch is) follows from the clock of the slowest.

use std::path::Path;
use std::time::{Instant, SystemTime};

use super::cli::{BenchArgs, BenchNetArgs, BenchOperatorsArgs, BenchWhat};
use super::resolve::Resolved;
use super::scaling::{Collective, Curve, Level, Link, Model, Operators};
use super::share::Share;
use super::watch::median;
use super::{Context, Ending, cores_of_host, read_config, read_job, say, start_threads, with_scalar};
use crate::comm::{Hosts, Message, Reduction, Team, Through};
use crate::error::{Error, Fault, Phase};
use crate::io;
use crate::scalar::Scalar;
use crate::space::Space;

/// Bytes of the vectors that are measured. Close to each other where libraries go from one way to send to another.
const LENGTHS: [usize; 11] =
    [24, 512, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 2 << 20, 8 << 20];
/// Bytes of the messages between two ranks.
const MESSAGES: [usize; 2] = [8, 4 << 20];
/// Batches of which the median is taken.
const BATCHES: usize = 7;
/// Seconds that a batch should take, and its calls at least and at most.
const BATCH_S: f64 = 0.02;
const CALLS: [f64; 2] = [3.0, 2000.0];
/// Iterations of a method that are measured, after one that is not.
const STEPS: usize = 4;

/// Measures. Collective: yes.
pub fn bench(context: &Context, args: &BenchArgs) -> Result<Ending, Error> {
    match &args.what {
        BenchWhat::Net(args) => net(context, args),
        BenchWhat::Operators(args) => operators(context, args),
    }
}

fn net(context: &Context, args: &BenchNetArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let names = team.hosts();
    let hosts = Hosts::named(&names, Through::Messages);
    let writable = if team.rank() == 0 { io::atomic::check_replaceable(&args.out) } else { Ok(()) };
    team.agree(writable.map_err(|fault| fault.in_phase(Phase::Write)))?;
    team.agree(match team.size() {
        1 => Err(Fault::new("one rank has nobody to talk to")
            .hint("start it under mpirun: `mpirun -n 2 stackphys bench net`, one rank on each of two nodes or more")),
        _ => Ok(()),
    })?;
    let mut links = Vec::new();
    for (level, same) in [(Level::Node, true), (Level::Network, false)] {
        let peer = (1..team.size()).find(|rank| (hosts.of(*rank) == 0) == same);
        links.extend(peer.map(|peer| link(&team, level, peer)).transpose()?);
    }
    let mut curves = Vec::new();
    for group in groups(&hosts) {
        let on = hosts.among(&group);
        if let Some(team) = team.split(group.contains(&team.rank()).then_some(0)) {
            curves.extend(of_group(&team, on)?);
        }
        team.barrier();
    }
    let model = Model {
        version: Model::VERSION,
        measured: today(),
        library: library(),
        hosts: names,
        cores: cores_of_host(),
        operators: None,
        links,
        curves,
    };
    write(&team, &args.out, &model)?;
    if team.rank() == 0 {
        tell(&model);
        say!("model of the network: {}", args.out.display());
    }
    Ok(Ending::Done)
}

/// The groups that are measured, each with rank 0 in it: two ranks and all ranks of its host, one rank of each host, all.
fn groups(hosts: &Hosts) -> Vec<Vec<usize>> {
    let here: Vec<usize> = hosts.ranks_of(0).collect();
    let leaders = (0..hosts.ranks()).filter(|rank| hosts.leads(*rank)).collect();
    let mut groups = vec![here[..here.len().min(2)].to_vec(), here, leaders, (0..hosts.ranks()).collect()];
    groups.retain(|group| group.len() > 1);
    groups.sort();
    groups.dedup();
    groups
}

/// Messages to and fro between rank 0 and another one. Collective: yes.
fn link(team: &Team, level: Level, peer: usize) -> Result<Link, Error> {
    let mut times = [0.0; MESSAGES.len()];
    for (time, bytes) in times.iter_mut().zip(MESSAGES) {
        let numbers = bytes / size_of::<f64>();
        let (send, mut into) = (vec![1.0f64; numbers], vec![0.0f64; numbers]);
        let to = |rank| [Message::of::<f64>(rank, 0..numbers)];
        let two_ways = median_of_batches(team, || match team.rank() {
            0 => {
                team.messages(&send, &to(peer), &mut [], &[]);
                team.messages::<f64>(&[], &[], &mut into, &to(peer));
            }
            rank if rank == peer => {
                team.messages::<f64>(&[], &[], &mut into, &to(0));
                team.messages(&send, &to(0), &mut [], &[]);
            }
            _ => {}
        });
        *time = two_ways / 2.0;
    }
    let [short, long] = times;
    let seconds_per_byte = ((long - short) / (MESSAGES[1] - MESSAGES[0]) as f64).max(f64::MIN_POSITIVE);
    Ok(Link { level, latency_s: short, seconds_per_byte })
}

/// All collectives among the ranks of a team. Collective: yes.
fn of_group(team: &Team, hosts: usize) -> Result<Vec<Curve>, Error> {
    let ranks = team.size();
    let curve = |call, time: &mut dyn FnMut(usize) -> f64| {
        let seconds = LENGTHS.iter().map(|bytes| time(*bytes)).collect();
        Curve { call, ranks, hosts, bytes: LENGTHS.iter().map(|bytes| *bytes as f64).collect(), seconds }
    };
    let mut curves = vec![
        curve(Collective::AllReduce, &mut |bytes| {
            let mut vector = vec![0.0f32; bytes / size_of::<f32>()];
            median_of_batches(team, || team.sum_slice(&mut vector))
        }),
        curve(Collective::Gather, &mut |bytes| {
            let numbers = (bytes / size_of::<f32>()).div_ceil(ranks);
            let (send, mut into) = (vec![0.0f32; numbers], vec![0.0f32; numbers * ranks]);
            let counts = vec![numbers; ranks];
            median_of_batches(team, || team.gather(&send, &mut into, &counts, None))
        }),
        curve(Collective::Exchange, &mut |bytes| {
            let numbers = (bytes / size_of::<f32>()).div_ceil(ranks);
            let (send, mut into) = (vec![0.0f32; numbers * ranks], vec![0.0f32; numbers * ranks]);
            let counts = vec![numbers; ranks];
            median_of_batches(team, || team.exchange(&send, &counts, &mut into, &counts))
        }),
    ];
    if hosts == 1
        && let Some(shared) = team.split(Some(0)).map(|team| team.with_reduction(Reduction::Shared))
        && shared.through() == Through::Shared
    {
        let mut trouble = Ok(());
        curves.push(curve(Collective::SharedSum, &mut |bytes| {
            let space = Space::replicated(crate::Shape::new([("x", bytes / size_of::<f32>())]));
            let mut vector = shared.zero_sum::<f32>(&space);
            median_of_batches(&shared, || {
                if let Err(error) = shared.sum_vector(&mut vector) {
                    trouble = Err(error);
                }
            })
        }));
        trouble?;
    }
    Ok(curves)
}

/// Seconds of one call, equal on all ranks: the median of batches of calls in a row, of the slowest rank. Collective: yes.
fn median_of_batches(team: &Team, mut call: impl FnMut()) -> f64 {
    let mut batch = |calls: usize| {
        team.barrier();
        call(); // ranks come out of a barrier one after the other, and out of calls as they come out of these
        let begin = Instant::now();
        (0..calls).for_each(|_| call());
        let [slowest] = team.max([begin.elapsed().as_secs_f64()]);
        slowest / calls as f64
    };
    batch(1); // the first makes connections and buffers
    let once = batch(2);
    let calls = (BATCH_S / once).clamp(CALLS[0], CALLS[1]) as usize;
    median((0..BATCHES).map(|_| batch(calls)))
}

fn tell(model: &Model) {
    for Link { level, latency_s, seconds_per_byte } in &model.links {
        let bandwidth = 1e-6 / seconds_per_byte;
        say!("{level:?}: {:.1} µs, {bandwidth:.0} MB/s between two ranks", latency_s * 1e6);
    }
    for Curve { call, ranks, hosts, bytes, seconds } in &model.curves {
        let last = bytes.len() - 1;
        let (short, long) = (seconds[0] * 1e6, seconds[last] * 1e3);
        let megabytes = bytes[last] * 1e-6;
        let on = if *hosts == 1 { "one host".to_owned() } else { format!("{hosts} hosts") };
        say!("{call:?} on {ranks} ranks of {on}: {short:.1} µs short, {long:.2} ms for {megabytes:.0} MB");
    }
}

/// Adds to the model file what operators and vectors of a job take. Each rank works on its share by itself, all that have cores
/// at the same time, as in an iteration, but sends nothing.
fn operators(context: &Context, args: &BenchOperatorsArgs) -> Result<Ending, Error> {
    let team = Team::new(context.comm.clone());
    let job = read_job(context, &team, &read_config(&args.job.config), &args.job.common)?;
    let mut model = team.from_rank_0(|| Model::read(&args.out))?;
    let threads = start_threads(context, &job);
    let resolved = Resolved::open(&team, &job, &args.job.common)?;
    let [per_cost, per_byte] = with_scalar!(job, S => unit_times::<S>(&team, &resolved, threads))?;
    model.operators = Some(Operators {
        config: args.job.config.display().to_string(),
        ranks: team.size(),
        threads,
        seconds_per_cost: per_cost,
        seconds_per_byte: per_byte,
    });
    write(&team, &args.out, &model)?;
    if team.rank() == 0 {
        say!(
            "operators: {per_cost:.3e} s per unit of cost; vectors: {per_byte:.3e} s per byte of a vector of the model"
        );
        say!("added to {}", args.out.display());
    }
    Ok(Ending::Done)
}

/// Seconds in operators for a unit of cost, and seconds in the rest of an iteration for a byte of a vector of the model: of the
/// slowest rank. Where a host has more threads than cores its ranks are measured one after the other, each as if it had its
/// cores to itself: that they take turns is counted by the model. Collective: yes.
fn unit_times<S: Scalar>(team: &Team, resolved: &Resolved, threads: usize) -> Result<[f64; 2], Error> {
    let plan = team.agree(resolved.plan::<S>(team.size()).map_err(|fault| fault.in_phase(Phase::Plan)))?;
    let share = Share::of(resolved, &plan, team.rank());
    let hosts = Hosts::named(&team.hosts(), Through::Messages);
    let [at_once] = team.min([(cores_of_host() / threads).max(1) as f64]);
    let at_once = at_once as usize;
    let before = hosts.ranks_of(hosts.of(team.rank())).take_while(|rank| *rank < team.rank()).count();
    let mut measured = Ok([0.0, 0.0]);
    for turn in 0..hosts.most().div_ceil(at_once) {
        if turn == before / at_once && !share.is_empty() {
            measured = share.unit_times::<S>(STEPS);
        }
        team.barrier();
    }
    let [per_cost, per_byte] = team.agree(measured)?;
    Ok(team.max([per_cost, per_byte]))
}

fn write(team: &Team, path: &Path, model: &Model) -> Result<(), Error> {
    let written = || {
        let text = toml::to_string(model).map_err(|why| Fault::new(format!("cannot write the model: {why}")))?;
        io::atomic::write(path, |file| {
            std::io::Write::write_all(file, b"# Written by `stackphys bench`; docs/scaling.md explains it.\n")?;
            std::io::Write::write_all(file, text.as_bytes())
        })
    };
    let written = if team.rank() == 0 { written() } else { Ok(()) };
    team.agree(written.map_err(|fault| fault.in_phase(Phase::Write)))
}

/// Year-month-day, of Greenwich (H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
fn today() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let days = since / 86400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153; // from March
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    format!("{}-{month:02}-{day:02}", year + era * 400 + u64::from(month <= 2))
}

#[cfg(feature = "mpi")]
use crate::comm::mpi::library;
#[cfg(not(feature = "mpi"))]
fn library() -> String {
    "none".into()
}
