//! The ranks of a group that share a host, and whether they can share memory.

use std::cell::OnceCell;
use std::rc::Rc;

use super::facts::{FACTS, cores, facts};
use super::post::Posts;
use super::slot::Slot;
use crate::comm::{Buf, BufMut, Comm};
use crate::scalar::Scalar;

/// What the ranks of one group share on each host: empty until a sum first asks for it. A communicator that offers one
/// of these lets its sums run in shared memory; see [`Comm::node`].
#[derive(Default)]
pub struct NodeCell(OnceCell<Option<Node>>);

impl NodeCell {
    /// Collective: yes, the first time.
    pub(in crate::comm) fn get(&self, comm: &dyn Comm) -> Option<&Node> {
        self.0.get_or_init(|| Node::new(comm)).as_ref()
    }
}

/// The ranks of this host as one of the hosts of a group.
pub(crate) struct Node {
    /// The ranks of this host.
    pub(super) local: Rc<dyn Comm>,
    /// The first rank of each host, on these, if there are several hosts.
    pub(super) leaders: Option<Rc<dyn Comm>>,
    /// What the group calls the ranks of this host.
    here: Vec<usize>,
    pub(super) hosts: usize,
    /// The most ranks that one host has.
    pub(super) most: usize,
    crowded: bool,
    pub(super) posts: Posts,
    pub(super) id: u64,
}

impl Node {
    /// Finds out who shares a host, and whether they can share memory. Collective: yes.
    fn new(comm: &dyn Comm) -> Option<Node> {
        let (rank, size) = (comm.rank(), comm.size());
        let mut all = vec![0; FACTS * size];
        comm.gather(Buf::U64(&facts(&comm.host())), BufMut::U64(&mut all), &vec![FACTS; size], None);
        let all: Vec<&[u64]> = all.chunks_exact(FACTS).collect();
        let leader_of = |rank: usize| all.iter().position(|facts| facts[0] == all[rank][0]).unwrap_or(rank);
        let leaders: Vec<usize> = (0..size).filter(|rank| leader_of(*rank) == *rank).collect();
        if leaders.len() == size {
            return None; // nobody shares a host
        }
        let on = |leader: usize| (0..size).filter(move |rank| leader_of(*rank) == leader).map(|rank| all[rank]);
        let by_host: Vec<Vec<&[u64]>> = leaders.iter().map(|leader| on(*leader).collect()).collect();
        let crowded = by_host.iter().any(|ranks| ranks.len() > cores(ranks));
        let most = by_host.iter().map(Vec::len).max().unwrap_or(1);
        let local = comm.split(Some(leader_of(rank)), rank)?;
        let between = if leaders.len() > 1 { comm.split(leaders.contains(&rank).then_some(0), rank) } else { None };
        let posts = Posts::new(comm, &*local, crowded)?;
        let id = posts.id();
        let here = (0..size).filter(|other| leader_of(*other) == leader_of(rank)).collect();
        Some(Node { local, leaders: between, here, hosts: leaders.len(), most, crowded, posts, id })
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.hosts
    }
    /// Whether some host has more ranks than cores, so that the library's way of waiting is the better one.
    pub fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Room for `lens[r]` elements on rank r of this host, zeroed. `None` if any rank of the group cannot have it.
    ///
    /// Collective: yes, over the whole group: one broadcast on each host and one scalar reduction.
    pub fn allocate<S: Scalar>(&self, comm: &dyn Comm, len_of: impl Fn(usize) -> usize) -> Option<Slot<S>> {
        let lens: Vec<usize> = self.here.iter().map(|rank| len_of(*rank)).collect();
        Slot::new(comm, &*self.local, lens, self.id)
    }
}
