//! Sums inside one node, in place, in memory that its ranks share. The only file with `unsafe` for it.
//!
//! **What is shared.** Ranks of one host map the same nameless file of `/dev/shm`: its leader makes it without a name, the
//! others open it through the leader's entry in `/proc`, so nothing is left behind however the job ends. Making it is
//! collective and agreed on (if one rank cannot have it, all do without); dropping it is local. A [`Slot`] is one rank's
//! part of such a segment and is what a [`Vector`](crate::space::Vector) that is summed into lives in.
//!
//! **In place, not copied.** On 2 ranks a sum of 2¹⁸ `f64` that fills, sums and then uses the vector took 0.13 ms in
//! place; with ordinary vectors and copies into and out of the segment 0.42 to 0.45 ms at best (2²²: 4.2 against 10 to
//! 12 ms), which is what the library takes too. So only vectors that live in a segment are summed here; others are short
//! enough to fit into a post (below), or go by messages.
//!
//! **The protocol.** Every rank has a *post*: a few words with a number of the turn, what it offers to sum, its fault flag
//! and its clock, and room for short vectors. To post is to write the words and then, with release order, the turn; to
//! wait is to see everybody's turn with acquire order. There are two posts per rank, used by turns: a post may be written
//! again only after everybody has posted the turn between, hence has read it.
//!
//! * Short vectors: post the numbers, wait, add everybody's in the order of ranks. One turn.
//! * Long ones: post the offer, wait. If all offer the same segment, each rank adds its slice of all slots, in the order
//!   of ranks (or as the ordered tree wants), and writes the sum into that slice of all slots; post, wait. Two turns.
//!   If not, all see the same offers, and all go by messages (or, if nobody has a slot and the numbers fit, by posts).
//! * Several nodes: between these two steps and the last wait, the leaders reduce by messages what their nodes have.
//!
//! **Why this is sound.** Before its first post of a sum and after its last wait, a rank touches its own slots only.
//! Between them it is inside a method that holds its slots by `&mut`, so no other reference of this rank to them lives;
//! and there rank r reads and writes slice r alone, of all slots (after the leaders' step: all read the leader's slot,
//! each writes its own). So no two ranks touch the same number without a post (release) and a wait (acquire) between, and
//! the memory model's happens-before holds across processes as it does across threads. To the compiler what other ranks
//! write comes from outside: every rank has a mapping of its own, and reads it through pointers that are made after the
//! wait. Posts themselves are atomics throughout.
//!
//! **Waiting** spins for some 50 µs (not at all with more ranks than cores), then yields between looks, then sleeps; from
//! then on it also lets the communicator look for lost ranks ([`Comm::breathe`]). Like the library it waits as long as the
//! job lives: a rank that dies ends the job.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memmap2::{MmapOptions, MmapRaw};

use super::{Buf, BufMut, Comm, Reduce};
use crate::scalar::{Real, Scalar};
use crate::space::{SPARE, add_both};

/// Where shared files are made: a file system in memory.
const FOLDER: &str = "/dev/shm";
/// Slots begin at multiples of this.
const PAGE: usize = 4096;
/// Elements of a slice are dealt in units of this, so that two ranks rarely write to one cache line.
const UNIT: usize = 16;
/// Elements that are added at a time, so that partial sums stay in the nearest cache.
const BLOCK: usize = 512;

/// How often a waiting rank looks before it leaves the core to others: some 50 µs.
const SPINS: u32 = 2000;
/// How long it then only yields.
const PATIENCE: Duration = Duration::from_millis(10);
/// It never sleeps longer between looks.
const LONGEST_NAP: Duration = Duration::from_millis(5);
/// After this it says so, once.
const WORRY: Duration = Duration::from_secs(60);

/// Words of a post: the turn, the offer, the fault flag, the clock, a short vector.
const POST: usize = 640;
/// A vector that could be summed in place is short if all ranks together have no more real numbers of it than this: then
/// every rank reads all posts, in one turn instead of two. Measured on 2 ranks: both take 0.21 µs at 32 each.
const SHORT: usize = 64;
/// A vector that could not is short up to this, and if it fits into a post. On 2 ranks 512 each take 1.1 µs and 1.2 µs by
/// messages, 1024 take 5.4 and 4.6.
const SHORT_OUTSIDE: usize = 1024;
const TURN: usize = 0;
const OFFER: usize = 1;
const FAULT: usize = 2;
const CLOCK: usize = 3;

/// What travels with every sum.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spare {
    /// Whether any rank has a fault to tell.
    pub fault: bool,
    /// Rank 0's clock.
    pub clock: f64,
}

/// What the ranks of one group share on each host: empty until a sum first asks for it. A communicator that offers one
/// of these lets its sums run in shared memory; see [`Comm::node`].
#[derive(Default)]
pub struct NodeCell(OnceCell<Option<Node>>);

impl NodeCell {
    /// Collective: yes, the first time.
    pub(super) fn get(&self, comm: &dyn Comm) -> Option<&Node> {
        self.0.get_or_init(|| Node::new(comm)).as_ref()
    }
}

/// Offered by a rank whose vector lies in no segment of this node.
const OUTSIDE: u64 = 0;

/// How a sum that is not short is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Messages,
    /// The numbers are in the posts.
    Posts,
    /// All ranks' slots are of one segment.
    InPlace,
}

/// The ranks of this host as one of the hosts of a group.
pub(crate) struct Node {
    /// The ranks of this host.
    local: Rc<dyn Comm>,
    /// The first rank of each host, on these, if there are several hosts.
    leaders: Option<Rc<dyn Comm>>,
    /// What the group calls the ranks of this host.
    here: Vec<usize>,
    hosts: usize,
    /// The most ranks that one host has.
    most: usize,
    crowded: bool,
    posts: Posts,
    id: u64,
}

/// What a rank tells of itself when a node is made: a hash of its host's name, the cores it may count on, and which.
const CORE_WORDS: usize = 32;
const FACTS: usize = 2 + CORE_WORDS;

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
        let each = vec![2 * POST * size_of::<u64>(); local.size()];
        let segment = Segment::new(comm, &*local, &each)?;
        let id = segment.id;
        let posts = Posts::new(segment, local.rank(), if crowded { 0 } else { SPINS });
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
    /// Bytes that this rank sends to other hosts in a sum of `len` elements.
    pub fn bytes_sent<S: Scalar>(&self, len: usize) -> usize {
        let agreement = if self.is_short::<S>(len) { 0 } else { size_of::<u64>() };
        match self.leaders {
            Some(_) => size_of::<S>() * len + size_of::<S::Real>() * SPARE + agreement,
            None => 0,
        }
    }
    fn is_short<S: Scalar>(&self, len: usize) -> bool {
        len * reals_per::<S>() * self.most <= SHORT
    }

    /// Room for `lens[r]` elements on rank r of this host, zeroed. `None` if any rank of the group cannot have it.
    ///
    /// Collective: yes, over the whole group: one broadcast on each host and one scalar reduction.
    pub fn allocate<S: Scalar>(&self, comm: &dyn Comm, len_of: impl Fn(usize) -> usize) -> Option<Slot<S>> {
        let lens: Vec<usize> = self.here.iter().map(|rank| len_of(*rank)).collect();
        let bytes: Vec<usize> = lens.iter().map(|len| len * size_of::<S>()).collect();
        let segment = Segment::new(comm, &*self.local, &bytes)?;
        Some(Slot { segment, node: self.id, rank: self.local.rank(), lens, scalar: PhantomData })
    }

    /// `buffer ← Σ` over all ranks of all but its last [`SPARE`] elements. `None` if the vector is not short and not all
    /// ranks offer a slot of one segment: then nothing has changed, and all ranks get `None`. Collective: yes.
    pub fn sum<S: Scalar>(&self, comm: &dyn Comm, buffer: &mut Buffer<S>, spare: Spare) -> Option<Spare> {
        let len = buffer.len() - SPARE;
        if self.is_short::<S>(len) {
            return Some(self.sum_short(comm, buffer, spare));
        }
        let (way, spare) = self.offer(comm, buffer, spare);
        match (way, buffer) {
            (Way::Posts, buffer) => self.posts.add_up(&mut S::as_reals_mut(buffer)[..len * reals_per::<S>()]),
            (Way::InPlace, Buffer::Shared(slot)) => {
                self.add_slices(slot, len);
                self.posts.pass();
                self.posts.wait(comm);
                if self.hosts > 1 {
                    return Some(self.between_hosts(comm, slot, spare));
                }
            }
            (Way::InPlace, Buffer::Own(_)) | (Way::Messages, _) => return None,
        }
        Some(spare)
    }

    /// As [`sum`](Self::sum) on one host, but `top(leaves, sum)` says how the slots of all ranks are combined, a piece of
    /// the vector at a time. Leaf (r, 0) is rank r's `out`, leaf (r, k) the k-th vector of its `more`.
    pub fn combine<S: Scalar>(
        &self,
        comm: &dyn Comm,
        out: &mut Buffer<S>,
        more: &mut Buffer<S>,
        spare: Spare,
        top: impl FnMut(&Leaves<S>, &mut [S]),
    ) -> Option<Spare> {
        let len = out.len() - SPARE;
        let (Way::InPlace, spare) = self.offer(comm, out, spare) else { return None };
        let Buffer::Shared(out) = out else { return None };
        let more = if let Buffer::Shared(slot) = more { Some(&*slot) } else { None };
        self.combine_slices(out, more, len, top);
        self.posts.pass();
        self.posts.wait(comm);
        Some(spare)
    }

    /// First turn of a sum that is not short: everybody's offer, and the way that follows from all of them.
    fn offer<S: Scalar>(&self, comm: &dyn Comm, buffer: &Buffer<S>, spare: Spare) -> (Way, Spare) {
        let segment = match buffer {
            Buffer::Shared(slot) if slot.node == self.id => slot.segment.id,
            _ => OUTSIDE,
        };
        let numbers = &S::as_reals(buffer)[..(buffer.len() - SPARE) * reals_per::<S>()];
        let may_post = self.hosts == 1 && numbers.len() * self.most <= SHORT_OUTSIDE && numbers.len() <= POST - 4;
        let posted = if may_post && segment == OUTSIDE { numbers } else { &[] };
        self.posts.post(segment, spare, posted);
        self.posts.wait(comm);
        let spare = self.posts.spare();
        let way = match self.posts.offers().all(|offer| offer == segment) {
            true if segment != OUTSIDE => Way::InPlace,
            true if may_post => Way::Posts,
            _ => Way::Messages,
        };
        if self.hosts == 1 {
            return (way, spare);
        }
        // in place only if all hosts can
        let mut able = [u64::from(way == Way::InPlace)];
        if let Some(leaders) = &self.leaders {
            leaders.all_reduce(BufMut::U64(&mut able), Reduce::Min);
        }
        self.posts.post::<f64>(able[0], spare, &[]);
        self.posts.wait(comm);
        let leaders_word = self.posts.offers().next();
        (if leaders_word == Some(1) { Way::InPlace } else { Way::Messages }, spare)
    }

    /// Second step of a long sum: the sum of this rank's slice of all slots, in all of them.
    fn add_slices<S: Scalar>(&self, slot: &mut Slot<S>, len: usize) {
        let (rank, ranks) = (self.local.rank(), self.local.size());
        if ranks == 2 {
            let slice = slice(len, ranks, rank);
            // SAFETY: between the first wait and the second post; slice `rank` of both slots, which do not overlap
            let (a, b) = unsafe { (slot.of_mut(0, slice.clone()), slot.of_mut(1, slice)) };
            add_both(a, b);
            return;
        }
        self.combine_slices(slot, None, len, |leaves, sum| {
            sum.copy_from_slice(leaves.leaf(0, 0));
            (1..ranks).for_each(|rank| crate::space::add(leaves.leaf(rank, 0), sum));
        });
    }

    /// As [`add_slices`](Self::add_slices), with another way to combine.
    fn combine_slices<S: Scalar>(
        &self,
        out: &mut Slot<S>,
        more: Option<&Slot<S>>,
        len: usize,
        mut top: impl FnMut(&Leaves<S>, &mut [S]),
    ) {
        let slice = slice(len, self.local.size(), self.local.rank());
        let mut sum = [S::default(); BLOCK];
        for start in slice.clone().step_by(BLOCK) {
            let range = start..(start + BLOCK).min(slice.end);
            let sum = &mut sum[..range.len()];
            top(&Leaves { out, more, len, range: range.clone() }, sum);
            for rank in 0..self.local.size() {
                // SAFETY: between the first wait and the second post; within this rank's slice, and `Leaves` is gone
                unsafe { out.of_mut(rank, range.clone()) }.copy_from_slice(sum);
            }
        }
    }

    /// Third step, with several hosts: the leaders reduce their slots, and everybody takes over its leader's.
    fn between_hosts<S: Scalar>(&self, comm: &dyn Comm, slot: &mut Slot<S>, spare: Spare) -> Spare {
        let spare = self.leaders.as_deref().map_or(spare, |leaders| reduce_with_spare::<S>(leaders, slot, spare));
        self.posts.post::<f64>(0, spare, &[]);
        self.posts.wait(comm);
        let spare = self.posts.spare_of_leader();
        if self.leaders.is_none() {
            let all = 0..slot.len();
            // SAFETY: after the leaders' step everybody reads the leader's slot, whose owner waits, and writes its own
            let (from, to) = unsafe { (slot.of(0, all.clone()), slot.of_mut(slot.rank, all)) };
            to.copy_from_slice(from);
        }
        self.posts.pass();
        self.posts.wait(comm);
        spare
    }

    fn sum_short<S: Scalar>(&self, comm: &dyn Comm, buffer: &mut [S], spare: Spare) -> Spare {
        let len = (buffer.len() - SPARE) * reals_per::<S>();
        self.posts.post(0, spare, &S::as_reals(buffer)[..len]);
        self.posts.wait(comm);
        let spare = self.posts.spare();
        self.posts.add_up(&mut S::as_reals_mut(buffer)[..len]);
        if self.hosts == 1 {
            return spare;
        }
        let spare = self.leaders.as_deref().map_or(spare, |leaders| reduce_with_spare(leaders, buffer, spare));
        self.posts.post(0, spare, &S::as_reals(buffer)[..len]);
        self.posts.wait(comm);
        self.posts.of_leader(&mut S::as_reals_mut(buffer)[..len]);
        self.posts.spare_of_leader()
    }
}

/// A sum by messages of a buffer, with the flag and the clock behind it.
fn reduce_with_spare<S: Scalar>(comm: &dyn Comm, buffer: &mut [S], spare: Spare) -> Spare {
    let buffer = S::as_reals_mut(buffer);
    let at = buffer.len() - SPARE * reals_per::<S>();
    buffer[at] = S::Real::from_f64(f64::from(u8::from(spare.fault)));
    buffer[at + 1] = S::Real::from_f64(spare.clock);
    comm.all_reduce(S::Real::real_buf_mut(&mut buffer[..at + SPARE]), Reduce::Sum);
    Spare { fault: buffer[at].re() != 0.0, clock: buffer[at + 1].re() }
}

const fn reals_per<S: Scalar>() -> usize {
    size_of::<S>() / size_of::<S::Real>()
}

/// The slice of a vector that a rank combines.
fn slice(len: usize, ranks: usize, rank: usize) -> Range<usize> {
    let units = len.div_ceil(UNIT);
    let at = |rank: usize| (units * rank / ranks * UNIT).min(len);
    at(rank)..at(rank + 1)
}

/// The cores that some ranks of one host have together: those that any of them may run on, unless a quota allows less.
fn cores(ranks: &[&[u64]]) -> usize {
    let union = |word: usize| ranks.iter().fold(0, |union, facts| union | facts[2 + word]);
    let together: u32 = (0..CORE_WORDS).map(|word| union(word).count_ones()).sum();
    let most_alone = ranks.iter().map(|facts| facts[1] as usize).max().unwrap_or(1);
    let own = |facts: &[u64]| facts[2..].iter().map(|word| word.count_ones() as usize).sum::<usize>();
    let by_quota = ranks.iter().any(|facts| (facts[1] as usize) < own(facts));
    if together == 0 || by_quota { most_alone } else { together as usize }
}

fn facts(host: &str) -> [u64; FACTS] {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    let mut facts = [0; FACTS];
    facts[0] = hasher.finish();
    facts[1] = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    // hexadecimal words of 32 cores, the last word first: `Cpus_allowed: ff,ffffffff`
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:")).unwrap_or_default();
    for (k, word) in allowed.trim().rsplit(',').enumerate().take(2 * CORE_WORDS) {
        facts[2 + k / 2] |= u64::from_str_radix(word, 16).unwrap_or(0) << (32 * (k % 2));
    }
    facts
}

/// A mapped file that the ranks of one host share. It has no name.
struct Segment {
    map: MmapRaw,
    /// Where each rank's part begins, and where the last one ends.
    starts: Vec<usize>,
    /// The same number on all ranks of the host, and no other segment's; not zero.
    id: u64,
}

impl Segment {
    /// A zeroed segment with `bytes[r]` bytes for rank r of `local`. `None` on all ranks of `all` if any cannot have it.
    fn new(all: &dyn Comm, local: &dyn Comm, bytes: &[usize]) -> Option<Segment> {
        let mut starts = vec![0];
        for bytes in bytes {
            starts.push(starts[starts.len() - 1] + bytes.next_multiple_of(PAGE));
        }
        let total = starts[bytes.len()].max(PAGE);
        // the leader's process and descriptor, what must be found there, and the segment's number
        let mut address = [0; 5];
        let mut file = None;
        if local.rank() == 0 {
            file = make(total).map(|(file, found)| {
                address = found;
                file
            });
        }
        local.broadcast(BufMut::U64(&mut address), 0);
        if local.rank() > 0 && address[4] != 0 {
            file = open(&address, total);
        }
        let mine = starts[local.rank()]..starts[local.rank() + 1];
        let map = file.as_ref().and_then(|file| {
            reserve(file, mine).ok()?;
            MmapOptions::new().len(total).map_raw(file).ok()
        });
        let mut good = [u64::from(map.is_some())];
        all.all_reduce(BufMut::U64(&mut good), Reduce::Min);
        drop(file); // not before: the others find it through the leader's descriptor
        map.filter(|_| good[0] == 1).map(|map| Segment { map, starts, id: address[4] })
    }
}

/// A nameless file, and where to find it.
fn make(total: usize) -> Option<(File, [u64; 5])> {
    let file = tempfile::tempfile_in(FOLDER).ok()?;
    file.set_len(total as u64).ok()?;
    let found = file.metadata().ok()?;
    let id = RandomState::new().build_hasher().finish().max(1);
    let address = [u64::from(std::process::id()), file.as_raw_fd() as u64, found.dev(), found.ino(), id];
    Some((file, address))
}

/// The leader's file, if it can be seen from here and is the right one.
fn open(&[process, descriptor, device, inode, _]: &[u64; 5], total: usize) -> Option<File> {
    let path = format!("/proc/{process}/fd/{descriptor}");
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let found = file.metadata().ok()?;
    ((found.dev(), found.ino(), found.len()) == (device, inode, total as u64)).then_some(file)
}

/// Writes zeros, so that a full file system is noticed here and not by a signal later; and so that a rank's part lies in
/// the memory that is near to it.
fn reserve(file: &File, part: Range<usize>) -> std::io::Result<()> {
    let zeros = [0; 16 * PAGE];
    for start in part.clone().step_by(zeros.len()) {
        let len = zeros.len().min(part.end - start);
        file.write_all_at(&zeros[..len], start as u64)?;
    }
    Ok(())
}

/// This rank's part of a segment: `lens[rank]` numbers, which are [`Scalar`]s since [`Node::allocate`] alone makes slots.
/// Others touch it only inside a [`Node`]'s sums.
pub(crate) struct Slot<S> {
    segment: Segment,
    node: u64,
    rank: usize,
    lens: Vec<usize>,
    scalar: PhantomData<S>,
}

impl<S> Slot<S> {
    fn pointer(&self, rank: usize, range: &Range<usize>) -> *mut S {
        assert!(range.start <= range.end && range.end <= self.lens[rank], "a slot is shorter than that");
        // SAFETY: `allocate` made the part of each rank at least `lens[rank]` elements long, from a multiple of PAGE on
        unsafe { self.segment.map.as_mut_ptr().add(self.segment.starts[rank]).cast::<S>().add(range.start) }
    }

    /// Part of a rank's slot.
    ///
    /// # Safety
    ///
    /// No rank writes there while the result lives.
    unsafe fn of<'a>(&self, rank: usize, range: Range<usize>) -> &'a [S] {
        // SAFETY: in bounds and aligned, see `pointer`; any bytes are a number (scalars are `Pod`); the caller promises the rest
        unsafe { std::slice::from_raw_parts(self.pointer(rank, &range), range.len()) }
    }

    /// Part of a rank's slot, to be changed.
    ///
    /// # Safety
    ///
    /// Nothing else reads or writes there while the result lives, on any rank.
    unsafe fn of_mut<'a>(&self, rank: usize, range: Range<usize>) -> &'a mut [S] {
        // SAFETY: as in `of`
        unsafe { std::slice::from_raw_parts_mut(self.pointer(rank, &range), range.len()) }
    }
}

impl<S> Deref for Slot<S> {
    type Target = [S];
    fn deref(&self) -> &[S] {
        // SAFETY: outside of a sum, which holds the slot by `&mut`, only this rank touches its own slot
        unsafe { self.of(self.rank, 0..self.lens[self.rank]) }
    }
}

impl<S> DerefMut for Slot<S> {
    fn deref_mut(&mut self) -> &mut [S] {
        // SAFETY: as in `deref`, and there is one `Slot` to a rank's part
        unsafe { self.of_mut(self.rank, 0..self.lens[self.rank]) }
    }
}

/// All ranks' slots over a piece of this rank's slice, while a sum is under way.
pub(crate) struct Leaves<'a, S> {
    out: &'a Slot<S>,
    more: Option<&'a Slot<S>>,
    len: usize,
    range: Range<usize>,
}

impl<S: Scalar> Leaves<'_, S> {
    /// Vector `k` of a rank: its `out` for 0, then those of `more`.
    pub fn leaf(&self, rank: usize, k: usize) -> &[S] {
        let Range { start, end } = self.range;
        match (k, self.more) {
            // SAFETY: made only between the first wait and the second post, within this rank's slice, and nothing is
            // written there while it lives
            (0, _) => unsafe { self.out.of(rank, start..end) },
            (_, Some(more)) => {
                let at = (k - 1) * self.len;
                // SAFETY: as above; nobody writes into `more` during a sum
                unsafe { more.of(rank, at + start..at + end) }
            }
            (_, None) => panic!("a rank has no vector {k}"),
        }
    }
}

/// Numbers of a vector: its own, or this rank's part of a shared segment. A copy is always its own.
pub(crate) enum Buffer<S> {
    Own(Vec<S>),
    Shared(Slot<S>),
}

impl<S> Deref for Buffer<S> {
    type Target = [S];
    fn deref(&self) -> &[S] {
        match self {
            Buffer::Own(values) => values,
            Buffer::Shared(slot) => slot,
        }
    }
}

impl<S> DerefMut for Buffer<S> {
    fn deref_mut(&mut self) -> &mut [S] {
        match self {
            Buffer::Own(values) => values,
            Buffer::Shared(slot) => slot,
        }
    }
}

impl<S: Clone> Clone for Buffer<S> {
    fn clone(&self) -> Self {
        Buffer::Own(self.to_vec())
    }
}

impl<S: fmt::Debug> fmt::Debug for Buffer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Two posts for each rank of a host, as the head of this file describes.
struct Posts {
    segment: Segment,
    rank: usize,
    ranks: usize,
    turn: Cell<u64>,
    spins: u32,
}

impl Posts {
    fn new(segment: Segment, rank: usize, spins: u32) -> Self {
        Posts { rank, ranks: segment.starts.len() - 1, segment, turn: Cell::new(0), spins }
    }

    /// The post of a rank for the present turn.
    fn of(&self, rank: usize) -> &[AtomicU64] {
        let start = self.segment.starts[rank];
        // SAFETY: the part of each rank has room for two posts (`Node::new`), from a multiple of PAGE on, and all ranks
        // touch it through atomics only
        let both = unsafe {
            let first = self.segment.map.as_ptr().add(start).cast::<AtomicU64>();
            std::slice::from_raw_parts(first, 2 * POST)
        };
        &both[if self.turn.get().is_multiple_of(2) { 0..POST } else { POST..2 * POST }]
    }

    fn all(&self) -> impl Iterator<Item = &[AtomicU64]> {
        (0..self.ranks).map(|rank| self.of(rank))
    }

    /// Begins the next turn.
    fn post<R: Real>(&self, offer: u64, spare: Spare, numbers: &[R]) {
        let turn = self.turn.get() + 1;
        self.turn.set(turn);
        let mine = self.of(self.rank);
        mine[OFFER].store(offer, Ordering::Relaxed);
        mine[FAULT].store(u64::from(spare.fault), Ordering::Relaxed);
        mine[CLOCK].store(spare.clock.to_bits(), Ordering::Relaxed);
        for (word, number) in mine[CLOCK + 1..].iter().zip(numbers) {
            word.store(number.re().to_bits(), Ordering::Relaxed); // exact for f32, too
        }
        mine[TURN].store(turn, Ordering::Release);
    }

    /// Begins the next turn with nothing to say.
    fn pass(&self) {
        self.post::<f64>(0, Spare::default(), &[]);
    }

    /// Waits until all have begun this turn.
    fn wait(&self, comm: &dyn Comm) {
        let turn = self.turn.get();
        for post in self.all() {
            let mut looks = 0;
            while post[TURN].load(Ordering::Acquire) != turn {
                looks += 1;
                if looks <= self.spins {
                    std::hint::spin_loop();
                } else {
                    return self.wait_long(comm);
                }
            }
        }
    }

    /// As [`wait`](Self::wait), leaving the core to others.
    #[cold]
    fn wait_long(&self, comm: &dyn Comm) {
        let turn = self.turn.get();
        let begin = Instant::now();
        let (mut nap, mut told) = (Duration::ZERO, false);
        while !self.all().all(|post| post[TURN].load(Ordering::Acquire) == turn) {
            let waited = begin.elapsed();
            if waited < PATIENCE {
                std::thread::yield_now();
                continue;
            }
            comm.breathe();
            std::thread::sleep(nap);
            nap = (waited / 1000).min(LONGEST_NAP); // a thousandth of what it has taken so far
            if waited > WORRY && !told {
                told = true;
                tracing::debug!("rank {} has waited {} s for others of its host", comm.rank(), WORRY.as_secs());
            }
        }
    }

    /// What all ranks offer in this turn, the leader's first.
    fn offers(&self) -> impl Iterator<Item = u64> {
        self.all().map(|post| post[OFFER].load(Ordering::Relaxed))
    }

    /// The flags and clocks of all ranks in this turn: any, and the sum (all but rank 0's are zero).
    fn spare(&self) -> Spare {
        self.all()
            .map(spare_in)
            .fold(Spare::default(), |sum, one| Spare { fault: sum.fault || one.fault, clock: sum.clock + one.clock })
    }

    fn spare_of_leader(&self) -> Spare {
        spare_in(self.of(0))
    }

    /// The sum of all ranks' short vectors in this turn, in the order of ranks.
    fn add_up<R: Real>(&self, out: &mut [R]) {
        self.of_leader(out);
        for post in self.all().skip(1) {
            for (out, word) in out.iter_mut().zip(&post[CLOCK + 1..]) {
                *out += number::<R>(word);
            }
        }
    }

    /// The leader's short vector in this turn.
    fn of_leader<R: Real>(&self, out: &mut [R]) {
        for (out, word) in out.iter_mut().zip(&self.of(0)[CLOCK + 1..]) {
            *out = number(word);
        }
    }
}

fn number<R: Real>(word: &AtomicU64) -> R {
    R::from_f64(f64::from_bits(word.load(Ordering::Relaxed)))
}

fn spare_in(post: &[AtomicU64]) -> Spare {
    let clock = f64::from_bits(post[CLOCK].load(Ordering::Relaxed));
    Spare { fault: post[FAULT].load(Ordering::Relaxed) != 0, clock }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::comm::{Reduction, Team, Through, threads};
    use crate::error::Fault;
    use crate::random::Stream;
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
                    assert_eq!(team.meter().of(crate::comm::Kind::VectorReduction).bytes, 0);
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

    #[test]
    fn cores_are_those_of_all_ranks_together() {
        let rank = |available: u64, mask: u64| {
            let mut facts = [0; FACTS];
            (facts[1], facts[2]) = (available, mask);
            facts
        };
        let count = |ranks: &[[u64; FACTS]]| cores(&ranks.iter().map(|facts| &facts[..]).collect::<Vec<_>>());
        assert_eq!(count(&[rank(1, 1), rank(1, 2)]), 2); // each is bound to a core of its own
        assert_eq!(count(&[rank(1, 1), rank(1, 1)]), 1);
        assert_eq!(count(&[rank(8, 0xff), rank(8, 0xff)]), 8);
        assert_eq!(count(&[rank(3, 0xff), rank(3, 0xff)]), 3); // a quota
        assert_eq!(count(&[rank(4, 0), rank(4, 0)]), 4); // a system that does not tell
        let here = facts("here");
        let allowed: u32 = here[2..].iter().map(|word| word.count_ones()).sum();
        assert!(!cfg!(target_os = "linux") || u64::from(allowed) >= here[1]);
    }

    #[test]
    fn slices_cover_a_vector_once() {
        for len in [0, 1, 15, 16, 17, 100, 1 << 20] {
            for ranks in 1..6 {
                let all: Vec<_> = (0..ranks).map(|rank| slice(len, ranks, rank)).collect();
                assert_eq!((all[0].start, all[ranks - 1].end), (0, len));
                assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
            }
        }
    }
}
