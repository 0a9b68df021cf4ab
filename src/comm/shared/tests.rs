//! Sums in shared memory as a team makes them: of any length, on any number of ranks and hosts, with faults and delays.

use std::rc::Rc;
use std::time::Duration;

use num_complex::Complex;

use super::NodeCell;
use crate::comm::{Buf, BufMut, Comm, Kind, Message, Reduce, Reduction, Team, Through, threads};
use crate::error::Fault;
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::space::{Shape, Space, Vector};

/// A communicator with other hosts than it has, or that cannot hear where a segment is.
struct Pretend {
    inner: Rc<dyn Comm>,
    host: String,
    deaf: bool,
    node: NodeCell,
}

impl Pretend {
    fn comm(inner: Rc<dyn Comm>, host: String, deaf: bool) -> Rc<dyn Comm> {
        Rc::new(Pretend { inner, host, deaf, node: NodeCell::default() })
    }
}

impl Comm for Pretend {
    fn rank(&self) -> usize {
        self.inner.rank()
    }
    fn size(&self) -> usize {
        self.inner.size()
    }
    fn host(&self) -> String {
        self.host.clone()
    }
    fn broadcast(&self, mut buffer: BufMut, root: usize) {
        match &mut buffer {
            BufMut::U64(address) if self.deaf && address.len() == 5 && self.rank() != root => {
                self.inner.broadcast(BufMut::U64(address), root);
                address[1] += 1000; // no such descriptor
            }
            _ => self.inner.broadcast(buffer, root),
        }
    }
    fn all_reduce(&self, buffer: BufMut, how: Reduce) {
        self.inner.all_reduce(buffer, how);
    }
    fn gather(&self, send: Buf, receive: BufMut, counts: &[usize], root: Option<usize>) {
        self.inner.gather(send, receive, counts, root);
    }
    fn exchange(&self, send: Buf, send_counts: &[usize], receive: BufMut, receive_counts: &[usize]) {
        self.inner.exchange(send, send_counts, receive, receive_counts);
    }
    fn messages(&self, send: Buf, to: &[Message], receive: BufMut, from: &[Message]) {
        self.inner.messages(send, to, receive, from);
    }
    fn barrier(&self) {
        self.inner.barrier();
    }
    fn split(&self, colour: Option<usize>, key: usize) -> Option<Rc<dyn Comm>> {
        self.inner.split(colour, key).map(|comm| Pretend::comm(comm, self.host.clone(), self.deaf))
    }
    fn abort(&self, status: i32) -> ! {
        self.inner.abort(status)
    }
    fn node(&self) -> Option<&NodeCell> {
        Some(&self.node)
    }
    fn breathe(&self) {
        self.inner.breathe();
    }
}

fn team(comm: Rc<dyn Comm>) -> Team {
    Team::new(comm).with_reduction(Reduction::Shared)
}

fn line(len: usize) -> std::sync::Arc<Space> {
    Space::replicated(Shape::new([("x", len)]))
}

/// Small whole numbers, so that sums are exact in any order.
fn term<S: Scalar>(rank: usize, k: usize) -> S {
    S::from_parts(((k * 7 + rank * 13) % 101) as f64, ((k + 3 * rank) % 17) as f64)
}

fn fill<S: Scalar>(vector: &mut Vector<S>, rank: usize) {
    vector.as_mut_slice().iter_mut().enumerate().for_each(|(k, value)| *value = term(rank, k));
}

fn assert_is_sum<S: Scalar>(vector: &Vector<S>, ranks: usize) {
    for (k, value) in vector.as_slice().iter().enumerate() {
        let expected = (0..ranks).map(|rank| term::<S>(rank, k)).sum::<S>();
        assert!(*value == expected, "element {k}: {value} for {expected}");
    }
}

fn sums_are_right<S: Scalar>(team: &Team, len: usize) {
    let (rank, ranks) = (team.rank(), team.size());
    let space = line(len);
    let mut inside = team.zero_sum::<S>(&space);
    let mut outside = Vector::zeros(&space);
    for _ in 0..3 {
        fill(&mut inside, rank);
        team.sum_vector(&mut inside).unwrap();
        assert_is_sum(&inside, ranks);
        fill(&mut outside, rank);
        team.sum_vector(&mut outside).unwrap();
        assert_is_sum(&outside, ranks);
        // one rank passes another vector than the others do: all go by messages
        let odd = if rank == 0 { &mut outside } else { &mut inside };
        fill(odd, rank);
        team.sum_vector(odd).unwrap();
        assert_is_sum(odd, ranks);
    }
    fill(&mut inside, rank);
    let copy = inside.clone();
    inside.fill(S::default());
    assert!(copy.as_slice().iter().enumerate().all(|(k, value)| *value == term(rank, k)));
}

fn all_scalars(team: &Team, len: usize) {
    sums_are_right::<f32>(team, len);
    sums_are_right::<f64>(team, len);
    sums_are_right::<Complex<f32>>(team, len);
    sums_are_right::<Complex<f64>>(team, len);
}

#[test]
fn sums_of_any_length_on_any_number_of_ranks() {
    for ranks in 1..=4 {
        threads::run(ranks, |comm| {
            let team = team(comm);
            assert_eq!(team.through() == Through::Shared, ranks > 1);
            for len in [0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 65, 255, 511, 513, 1000, 1537, 40_001] {
                all_scalars(&team, len);
            }
        });
    }
    threads::run(2, |comm| all_scalars(&team(comm), 1_000_000));
    threads::run(3, |comm| sums_are_right::<f32>(&team(comm), 1_000_000));
}

#[test]
fn sums_over_several_hosts() {
    for (ranks, per_host) in [(4, 2), (5, 2), (5, 3), (3, 2), (2, 1)] {
        threads::run(ranks, |comm| {
            let host = format!("host {}", comm.rank() / per_host);
            let team = team(Pretend::comm(comm, host, false));
            assert_eq!(team.through() == Through::SharedAndMessages, per_host > 1);
            for len in [0, 1, 16, 62, 125, 4001] {
                all_scalars(&team, len);
            }
            // a fault is told over hosts, too
            let mut vector = team.zero_sum::<f64>(&line(300));
            team.note(Fault::new("trouble").in_operator(team.rank()));
            assert_eq!(team.sum_vector(&mut vector).unwrap_err().fault().operator, Some(0));
            team.sum_vector(&mut vector).unwrap();
        });
    }
}

#[test]
fn if_one_rank_cannot_map_all_go_by_messages() {
    threads::run(3, |comm| {
        let deaf = comm.rank() == 2;
        let team = team(Pretend::comm(comm, "here".into(), deaf));
        assert_eq!(team.through(), Through::Messages);
        sums_are_right::<f64>(&team, 1000);
    });
}

#[test]
fn a_thousand_sums_with_delays_and_faults() {
    threads::run(3, |comm| {
        let team = team(comm);
        let (rank, ranks) = (team.rank(), team.size());
        let mut chance = vec![0.0; 4000];
        Stream::new(7, rank as u64).fill_normal(0, &mut chance);
        let (mut short, mut long) = (team.zero_sum::<f64>(&line(20)), team.zero_sum::<f32>(&line(700)));
        for turn in 0..1000 {
            if chance[4 * turn] > 1.5 {
                std::thread::sleep(Duration::from_micros((100.0 * chance[4 * turn]) as u64));
            }
            let faulty = turn % 17 == 3 && turn % ranks == rank;
            if faulty {
                team.note(Fault::new(format!("trouble in turn {turn}")).in_operator(turn));
            }
            let done = if turn % 3 == 0 {
                fill(&mut short, rank);
                team.sum_vector(&mut short)
            } else {
                fill(&mut long, rank);
                team.sum_vector(&mut long)
            };
            match done {
                Ok(()) if turn % 3 == 0 => assert_is_sum(&short, ranks),
                Ok(()) => assert_is_sum(&long, ranks),
                Err(error) => assert_eq!(error.fault().operator, Some(turn)),
            }
            assert_eq!(turn % 17 != 3, team.max([f64::from(u8::from(faulty))]) == [0.0]);
            if team.max([chance[4 * turn + 1]])[0] > 2.0 {
                long = team.zero_sum(&line(700));
            }
        }
    });
}

#[test]
fn all_ranks_get_the_same_bits() {
    for ranks in 2..=4 {
        for len in [15, 5000] {
            let results = threads::run(ranks, |comm| {
                let team = team(comm);
                let mut vector = team.zero_sum::<f32>(&line(len));
                Stream::new(3, team.rank() as u64).fill_normal(0, vector.as_mut_slice());
                team.sum_vector(&mut vector).unwrap();
                assert_eq!(team.meter().of(Kind::VectorReduction).bytes, 0);
                vector.as_slice().iter().map(|value| value.to_bits()).collect::<Vec<_>>()
            });
            assert!(results.iter().all(|result| *result == results[0]));
        }
    }
}

#[test]
#[should_panic(expected = "a deliberate panic")]
fn a_lost_rank_ends_those_that_wait_for_it() {
    threads::run(3, |comm| {
        let team = team(comm);
        let mut vector = team.zero_sum::<f64>(&line(1000));
        team.sum_vector(&mut vector).unwrap();
        assert!(team.rank() != 1, "a deliberate panic");
        let _ = team.sum_vector(&mut vector);
    });
}
