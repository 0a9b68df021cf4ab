//! How ranks of one host meet: posts.
//!
//! Every rank has a *post*: a few words with a number of the turn, what it offers to sum, what travels with every sum, and
//! room for short vectors. To post is to write the words and then, with release order, the turn; to wait is to see
//! everybody's turn with acquire order. There are two posts per rank, used by turns: a post may be written again only after
//! everybody has posted the turn between, hence has read it.
//!
//! **Waiting** spins for some 50 µs (not at all with more ranks than cores), then yields between looks, then sleeps; from
//! then on it also lets the communicator look for lost ranks ([`Comm::breathe`]). Like the library it waits as long as the
//! job lives: a rank that dies ends the job.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::segment::Segment;
use crate::comm::Comm;
use crate::comm::spare::Spare;
use crate::scalar::Real;
use crate::space::SPARE;

/// How often a waiting rank looks before it leaves the core to others: some 50 µs.
const SPINS: u32 = 2000;
/// How long it then only yields.
const PATIENCE: Duration = Duration::from_millis(10);
/// It never sleeps longer between looks.
const LONGEST_NAP: Duration = Duration::from_millis(5);
/// After this it says so, once.
const WORRY: Duration = Duration::from_secs(60);

/// Words of a post: the turn, the offer, the spare words, a short vector.
const POST: usize = 640;
const TURN: usize = 0;
const OFFER: usize = 1;
const SPARE_WORDS: Range<usize> = OFFER + 1..OFFER + 1 + SPARE;
const NUMBERS: usize = SPARE_WORDS.end;
/// Real numbers that a post has room for.
pub(super) const ROOM: usize = POST - NUMBERS;

/// Two posts for each rank of a host, as the head of this file describes.
pub(super) struct Posts {
    segment: Segment,
    rank: usize,
    ranks: usize,
    turn: Cell<u64>,
    spins: u32,
}

impl Posts {
    /// Posts of the ranks of `local`. `None` on all ranks of `all` if any cannot have them. Collective: yes.
    pub fn new(all: &dyn Comm, local: &dyn Comm, crowded: bool) -> Option<Self> {
        let (rank, ranks) = (local.rank(), local.size());
        let segment = Segment::new(all, local, &vec![2 * POST * size_of::<u64>(); ranks])?;
        Some(Posts { segment, rank, ranks, turn: Cell::new(0), spins: if crowded { 0 } else { SPINS } })
    }

    /// A number that no other posts and no slots have.
    pub fn id(&self) -> u64 {
        self.segment.id()
    }

    /// The post of a rank for the present turn.
    fn of(&self, rank: usize) -> &[AtomicU64] {
        let first = self.segment.part(rank).cast::<AtomicU64>();
        // SAFETY: the part of each rank has room for two posts (`new`), from a multiple of PAGE on, and all ranks touch it
        // through atomics only
        let both = unsafe { std::slice::from_raw_parts(first, 2 * POST) };
        &both[if self.turn.get().is_multiple_of(2) { 0..POST } else { POST..2 * POST }]
    }

    fn all(&self) -> impl Iterator<Item = &[AtomicU64]> {
        (0..self.ranks).map(|rank| self.of(rank))
    }

    /// Begins the next turn.
    pub fn post<R: Real>(&self, offer: u64, spare: Spare, numbers: &[R]) {
        let turn = self.turn.get() + 1;
        self.turn.set(turn);
        let mine = self.of(self.rank);
        mine[OFFER].store(offer, Ordering::Relaxed);
        for (word, number) in mine[SPARE_WORDS].iter().zip(spare.words::<f64>()) {
            word.store(number.to_bits(), Ordering::Relaxed);
        }
        for (word, number) in mine[NUMBERS..].iter().zip(numbers) {
            word.store(number.re().to_bits(), Ordering::Relaxed); // exact for f32, too
        }
        mine[TURN].store(turn, Ordering::Release);
    }

    /// Begins the next turn with nothing to say.
    pub fn pass(&self) {
        self.post::<f64>(0, Spare::default(), &[]);
    }

    /// Waits until all have begun this turn.
    pub fn wait(&self, comm: &dyn Comm) {
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
    pub fn offers(&self) -> impl Iterator<Item = u64> {
        self.all().map(|post| post[OFFER].load(Ordering::Relaxed))
    }

    /// What all ranks say in this turn.
    pub fn spare(&self) -> Spare {
        self.all().map(spare_in).fold(Spare::default(), Spare::and)
    }

    pub fn spare_of_leader(&self) -> Spare {
        spare_in(self.of(0))
    }

    /// The sum of all ranks' short vectors in this turn, in the order of ranks.
    pub fn add_up<R: Real>(&self, out: &mut [R]) {
        self.of_leader(out);
        for post in self.all().skip(1) {
            for (out, word) in out.iter_mut().zip(&post[NUMBERS..]) {
                *out += number::<R>(word);
            }
        }
    }

    /// The leader's short vector in this turn.
    pub fn of_leader<R: Real>(&self, out: &mut [R]) {
        for (out, word) in out.iter_mut().zip(&self.of(0)[NUMBERS..]) {
            *out = number(word);
        }
    }
}

fn number<R: Real>(word: &AtomicU64) -> R {
    R::from_f64(f64::from_bits(word.load(Ordering::Relaxed)))
}

fn spare_in(post: &[AtomicU64]) -> Spare {
    Spare::of_words(std::array::from_fn(|word| number::<f64>(&post[SPARE_WORDS.start + word])))
}
