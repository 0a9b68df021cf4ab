//! The lifeline: what notices that a rank is dead, stopped, cut off or stuck, and ends the job with one message.
//!
//! MPI itself waits for ever for a rank that does not come. So beside it each rank has a **watch**, one small thread
//! (`watch`), with a connection of its own to rank 0's (`wire`), over which a sign of life goes each second, both ways.
//!
//! * A connection that breaks without a goodbye: that rank is dead, killed or crashed.
//! * No sign for `limits.silence_s`: it was stopped, or its host is dead or cut off. Both sides notice.
//! * The process lives, but what it does takes longer than its limit (`signs`, `limits`): it is stuck. Who waits for others in
//!   a collective call is not to blame; only if all ranks wait, the network is.
//! * Rank 0 is gone: the lowest living rank tells (`member`). The launcher is gone: all see that they have another parent.
//!
//! Rank 0 tells the user, once (`ending`), and all processes end with status 2, whatever their main threads wait for. A rank
//! that tells of its trouble in another way (a panic) says so first ([`told`]), so that no second story comes.
//!
//! Time counts only while a watch sees it pass: a job that was stopped as a whole, or a laptop that slept, goes on.

mod ending;
mod hub;
pub(crate) mod inject;
mod limits;
mod member;
pub(crate) mod signs;
mod watch;
mod wire;

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

pub use ending::{Ending, Who};
pub use limits::Limits;

use self::hub::Hub;
use self::member::Member;
use self::watch::{Order, Role, Watch};
use self::wire::{Invitation, Secrets, Speaker};
use super::{Buf, BufMut, Comm};

/// What is done last, once, before a watch ends its process: clears up, and tells the user of the ending if it is this rank
/// that tells. It runs on the watch's thread while all others are where they are, so it must wait for none of them.
pub type LastWords = Box<dyn Fn(Option<&Ending>) + Send>;

/// The environment variable with the seconds that ranks have to find together before they can read any config.
pub const START_VARIABLE: &str = "STACKPHYS_START_LIMIT_S";
/// The same if it is not set.
const START_LIMIT: f64 = 300.0;
/// How long the process waits for its watch to pass something on.
const PATIENCE: Duration = Duration::from_secs(2);

/// The status of a process that its watch ends.
const ENDED: u8 = 2;
/// The same after a panic, on whichever rank.
const PANICKED: u8 = 101;

/// The watch of this process, to talk to: also from a thread that panics.
static WATCH: OnceLock<Line> = OnceLock::new();

struct Line {
    orders: Sender<Order>,
    bell: UnixStream,
}

impl Line {
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
        let _ = (&self.bell).write(&[0]);
    }
    /// Waits until the watch has passed it on.
    fn pass_on(&self, order: impl FnOnce(Sender<()>) -> Order) {
        let (done, is_done) = mpsc::channel();
        self.order(order(done));
        let _ = is_done.recv_timeout(PATIENCE);
    }
}

/// This process, watched. Dropping it is the goodbye: do so when the work is done, before MPI ends.
pub struct Lifeline(());

impl Lifeline {
    /// Starts the watch of this process, with the default [`Limits`].
    ///
    /// `launched_as` is the rank by which a launcher started it, `None` for a process on its own. Of several, each then has
    /// 300 seconds (`STACKPHYS_START_LIMIT_S` says otherwise) to start MPI and to [`join`](Self::join).
    ///
    /// Collective: no. Cost: a thread that wakes four times a second. A second start in one process keeps the first watch.
    ///
    /// ```
    /// use stackphys::comm::{Lifeline, Limits, Solo};
    /// let lifeline = Lifeline::start(None, Box::new(|ending| {
    ///     if let Some(ending) = ending { // this rank tells
    ///         eprintln!("error: {ending}");
    ///     }
    /// }));
    /// lifeline.join(&Solo); // under MPI: `&*session.world()`
    /// lifeline.limit(&Limits { operator_s: 600.0, ..Limits::default() });
    /// // ... the work ...
    /// drop(lifeline);
    /// ```
    pub fn start(launched_as: Option<usize>, last_words: LastWords) -> Self {
        let lifeline = Lifeline(());
        let Ok((bell, rings)) = UnixStream::pair() else { return lifeline };
        if rings.set_nonblocking(true).and(bell.set_nonblocking(true)).is_err() {
            return lifeline;
        }
        let (orders, from_process) = mpsc::channel();
        if WATCH.set(Line { orders, bell }).is_ok() {
            let limit = std::env::var(START_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(START_LIMIT);
            let who = who(launched_as.unwrap_or(0), super::solo::host_name());
            let watch = Watch::new(who, launched_as.map(|_| limit), from_process, rings, last_words);
            // without a thread nothing is watched, and all else works
            let _ = std::thread::Builder::new().name("watch".into()).stack_size(1 << 18).spawn(|| watch.run());
        }
        lifeline
    }

    /// Connects the watches of all ranks; returns the ranks whose watch cannot reach rank 0's. Those are not watched by
    /// others: should one die, the launcher may notice.
    ///
    /// Collective: yes, two broadcasts and a gather, and a connection of each rank to rank 0.
    pub fn join(&self, comm: &dyn Comm) -> Vec<usize> {
        let Some(watch) = WATCH.get() else { return Vec::new() };
        let me = who(comm.rank(), comm.host());
        if comm.size() == 1 {
            watch.order(Order::Join(me, Role::Alone));
            return Vec::new();
        }
        let listener = wire::listen().ok();
        let port = listener.as_ref().and_then(|listener| Some(listener.local_addr().ok()?.port())).unwrap_or(0);
        let secrets = Secrets::new();
        let invitation = Invitation { host: me.host.clone(), addresses: wire::addresses(), port, secrets };
        let (hub, listener) = match (comm.rank(), listener) {
            (0, Some(listener)) => {
                wire::allow_connections(comm.size());
                // before anybody calls
                watch.order(Order::Join(me.clone(), Role::Hub(Hub::new(listener, secrets, comm.size()))));
                (true, None)
            }
            (_, listener) => (false, listener),
        };
        let (invitation, process) = broadcast(comm, &(invitation, std::process::id()))
            .unwrap_or_else(|| (Invitation { host: String::new(), addresses: Vec::new(), port: 0, secrets }, 0));
        let secrets = invitation.secrets;
        let stream = if comm.rank() == 0 { None } else { invitation.accept(&me).ok() };
        // that address by which it reaches rank 0 is the one to call it at
        let own = stream.as_ref().and_then(|stream| Some(SocketAddr::new(stream.local_addr().ok()?.ip(), port)));
        let roster = gather(comm, own);
        if let (Some(stream), Some(listener)) = (stream, listener)
            && let Ok(speaker) = Speaker::new(stream)
        {
            let hub = Who { rank: 0, host: invitation.host, process };
            let member = Member { speaker, secrets, hub, roster: roster.clone(), listener, heard: 0.0 };
            watch.order(Order::Join(me, Role::Member(Box::new(member))));
        } else if !hub {
            watch.order(Order::Join(me, Role::Alone));
        }
        (1..comm.size()).filter(|rank| roster[*rank].is_none()).collect()
    }

    /// Goes by these limits from now on. Collective: no.
    pub fn limit(&self, limits: &Limits) {
        if let Some(watch) = WATCH.get() {
            watch.order(Order::Limit(limits.clone()));
        }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if let Some(watch) = WATCH.get().filter(|_| !std::thread::panicking()) {
            watch.pass_on(Order::Leave);
        }
    }
}

/// To be called by who has panicked, has told so and is about to end the job: no watch tells another story. Collective: no.
#[cfg_attr(not(feature = "mpi"), allow(dead_code))] // without MPI nobody else ends a job
pub fn told() {
    if let Some(watch) = WATCH.get() {
        watch.pass_on(Order::Told);
    }
}

fn who(rank: usize, host: String) -> Who {
    Who { rank, host, process: std::process::id() }
}

/// What rank 0 has, on all.
fn broadcast<T: serde::Serialize + serde::de::DeserializeOwned>(comm: &dyn Comm, value: &T) -> Option<T> {
    let mut bytes = if comm.rank() == 0 { serde_json::to_vec(value).unwrap_or_default() } else { Vec::new() };
    let mut len = [bytes.len() as u64];
    comm.broadcast(BufMut::U64(&mut len), 0);
    bytes.resize(len[0] as usize, 0);
    comm.broadcast(BufMut::U8(&mut bytes), 0);
    serde_json::from_slice(&bytes).ok()
}

/// The address of each rank.
fn gather(comm: &dyn Comm, own: Option<SocketAddr>) -> Vec<Option<SocketAddr>> {
    const LEN: usize = 64; // the longest is `[…]:65535` with 39 characters between the brackets
    let mut mine = own.map(|address| address.to_string()).unwrap_or_default().into_bytes();
    mine.resize(LEN, b' ');
    let mut all = vec![0; LEN * comm.size()];
    comm.gather(Buf::U8(&mine), BufMut::U8(&mut all), &vec![LEN; comm.size()], None);
    all.chunks(LEN).map(|address| std::str::from_utf8(address).ok()?.trim().parse().ok()).collect()
}
