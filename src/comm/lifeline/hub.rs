//! Rank 0's side: it hears all ranks, and says who is dead, silent or stuck.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::ending::{Ending, Who};
use super::limits::Limits;
use super::signs::Doing;
use super::wire::{Line, Secrets, read_all, take_lines, word};

/// Ranks that fall silent together are named together: how long to wait for the others.
const TOGETHER: f64 = 1.5;
/// Who calls and does not say who it is in so many seconds is a stranger.
const LONGEST_HELLO: f64 = 10.0;
/// So is one whose first line is longer.
const LONGEST_LINE: u64 = 4096;

/// Rank 0's watch as the one that all others are connected to.
pub struct Hub {
    listener: TcpListener,
    secrets: Secrets,
    ranks: usize,
    peers: Vec<Peer>,
    /// A rank has said goodbye: all have done their work, and that connections break is no news.
    is_over: bool,
}

/// Another rank, as rank 0 hears it.
struct Peer {
    stream: TcpStream,
    /// Known once it has said the secret.
    who: Option<Who>,
    inbox: Vec<u8>,
    doing: Doing,
    heard: f64,
    is_open: bool,
    has_left: bool,
}

/// What rank 0 heard and must act upon.
pub enum Heard {
    /// End the job, for this reason.
    Trouble(Ending),
    /// A rank has told what is wrong; the job ends with this status.
    Told(u8),
}

impl Hub {
    pub fn new(listener: TcpListener, secrets: Secrets, ranks: usize) -> Self {
        Hub { listener, secrets, ranks, peers: Vec::new(), is_over: false }
    }

    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        let open = self.peers.iter().filter(|peer| peer.is_open);
        open.map(|peer| peer.stream.as_raw_fd()).chain([self.listener.as_raw_fd()])
    }

    /// Takes calls and reads all lines.
    pub fn listen(&mut self, now: f64) -> Option<Heard> {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).and(stream.set_nodelay(true)).is_ok() {
                let (inbox, doing) = (Vec::new(), Doing::default());
                let (is_open, has_left) = (true, false);
                self.peers.push(Peer { stream, who: None, inbox, doing, heard: now, is_open, has_left });
            }
        }
        // twice: a goodbye that was sent before a connection broke is read before that is judged
        let lost: Vec<bool> = self.peers.iter_mut().map(|peer| !peer.hear(now)).collect();
        let again = lost.contains(&true);
        let mut heard = None;
        for peer in &mut self.peers {
            if again {
                peer.hear(now);
            }
            for line in take_lines(&mut peer.inbox) {
                match (line, peer.who.is_some()) {
                    (Some(Line::Hello { question, who }), false) if question == self.secrets.question => {
                        peer.is_open &= peer.stream.write_all(&self.secrets.answer.to_le_bytes()).is_ok();
                        peer.who = Some(who);
                    }
                    (Some(Line::Beat(doing)), true) => peer.doing = doing,
                    (Some(Line::Trouble(ending)), true) => heard = heard.or(Some(Heard::Trouble(ending))),
                    (Some(Line::Told(status)), true) => heard = Some(Heard::Told(status)),
                    (Some(Line::Bye), true) => (peer.has_left, self.is_over) = (true, true),
                    _ => peer.is_open = false, // a stranger
                }
            }
        }
        self.peers.retain(|peer| peer.who.is_some() || peer.is_open && now - peer.heard < LONGEST_HELLO);
        heard.or_else(|| self.dead(now))
    }

    /// The first rank whose connection has broken.
    fn dead(&self, now: f64) -> Option<Heard> {
        let gone = self.peers.iter().filter(|peer| !self.is_over && !peer.is_open && !peer.has_left);
        let (peer, who) = gone.filter_map(|peer| Some((peer, peer.who.as_ref()?))).min_by_key(|(_, who)| who.rank)?;
        Some(Heard::Trouble(Ending::dead(who.clone(), Some((&peer.doing, now - peer.heard)))))
    }

    /// Ranks that have been silent for too long, or all of them waiting for each other.
    pub fn look(&self, now: f64, me: &Who, mine: &Doing, limits: &Limits) -> Option<Ending> {
        if self.is_over {
            return None;
        }
        let here = || self.peers.iter().filter_map(|peer| Some((peer, peer.who.as_ref()?)));
        let limit = limits.silence_s;
        if limit > 0.0 && here().any(|(peer, _)| now - peer.heard > limit + TOGETHER) {
            let mut silent: Vec<_> = here().filter(|(peer, _)| now - peer.heard > limit).collect();
            silent.sort_by_key(|(_, who)| who.rank);
            let (peer, who) = silent.first()?;
            let others: Vec<usize> = silent[1..].iter().map(|(_, who)| who.rank).collect();
            return Some(Ending::silent((*who).clone(), &others, Some(&peer.doing), now - peer.heard, limit));
        }
        let limit = limits.network_s;
        let late = |doing: &Doing| limit > 0.0 && doing.waits && doing.seconds > limit;
        let all = late(mine) && here().count() + 1 == self.ranks && here().all(|(peer, _)| late(&peer.doing));
        all.then(|| Ending::all_wait(me.clone(), self.ranks, mine, limit))
    }

    /// Says a word to all.
    pub fn say(&mut self, word: u8) {
        for peer in self.peers.iter_mut().filter(|peer| peer.who.is_some() && peer.is_open) {
            // where it does not get through, the connection is broken or the rank is silent: seen elsewhere
            let _ = peer.stream.write(&[word]);
        }
    }

    /// A sign of life.
    pub fn beat(&mut self) {
        self.say(word::BEAT);
    }
}

impl Peer {
    /// Reads what is there; false if the connection has just broken.
    fn hear(&mut self, now: f64) -> bool {
        let before = self.inbox.len();
        let was_open = self.is_open;
        self.is_open = was_open && read_all(&self.stream, &mut self.inbox);
        if self.inbox.len() > before {
            self.heard = now;
        }
        if self.who.is_none() && self.inbox.len() as u64 > LONGEST_LINE {
            self.is_open = false;
        }
        self.is_open || !was_open
    }
}

/// How long the rank that has told in rank 0's place answers the others.
const ANSWERS: Duration = Duration::from_secs(3);

/// Tells those that call: what is to be told has been told.
pub fn has_been_told(listener: &TcpListener, secrets: Secrets) {
    let begin = Instant::now();
    while begin.elapsed() < ANSWERS {
        match listener.accept() {
            Ok((stream, _)) => drop(answer(stream, secrets)), // who does not get it tells by itself
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => return,
        }
    }
}

fn answer(mut stream: TcpStream, secrets: Secrets) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ANSWERS / 6))?;
    let mut hello = Vec::new();
    BufReader::new((&stream).take(LONGEST_LINE)).read_until(b'\n', &mut hello)?;
    if let Some(Some(Line::Hello { question, .. })) = take_lines(&mut hello).first()
        && *question == secrets.question
    {
        stream.write_all(&secrets.answer.to_le_bytes())?;
        stream.write_all(&[word::END])?;
    }
    Ok(())
}
