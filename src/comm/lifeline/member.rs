//! The side of all ranks but rank 0: each speaks to rank 0's watch, and hears whether that one lives.
//!
//! If rank 0 is gone, the lowest living rank tells: each calls those below it in turn, and is silent if one of them answers.
//! So one message comes, whoever else has died with rank 0, and without help of the launcher.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use super::ending::{Ending, Who};
use super::hub::has_been_told;
use super::signs::Doing;
use super::wire::{Line, Secrets, Speaker, call, read_all, word};
use super::{ENDED, PANICKED};

/// Another rank than rank 0, connected to that one's watch.
pub struct Member {
    pub speaker: Speaker,
    pub secrets: Secrets,
    /// Rank 0.
    pub hub: Who,
    /// Where the watch of each rank takes calls, if it does.
    pub roster: Vec<Option<SocketAddr>>,
    pub listener: TcpListener,
    pub heard: f64,
}

/// What a rank heard from rank 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing that matters.
    Nothing,
    /// The job is over at once, with this status.
    End(u8),
    /// Rank 0 has done its work.
    Bye,
    /// The connection is broken.
    Lost,
}

impl Member {
    pub fn descriptor(&self) -> RawFd {
        self.speaker.stream.as_raw_fd()
    }

    pub fn listen(&mut self, now: f64) -> Heard {
        let mut words = Vec::new();
        let open = read_all(&self.speaker.stream, &mut words);
        if !words.is_empty() {
            self.heard = now;
        }
        let told = [(word::END, Heard::End(ENDED)), (word::PANICKED, Heard::End(PANICKED)), (word::BYE, Heard::Bye)];
        let told = told.into_iter().find(|(word, _)| words.contains(word)).map(|(_, heard)| heard);
        told.unwrap_or(if open { Heard::Nothing } else { Heard::Lost })
    }

    pub fn beat(&mut self, doing: Doing) {
        self.speaker.say(&Line::Beat(doing));
    }

    /// Without rank 0: tells, unless a lower rank lives that does. The process may end afterwards.
    pub fn without_hub(&mut self, me: &Who, tell: impl FnOnce()) {
        self.speaker.say(&Line::Told(ENDED)); // rank 0 may have been stopped only, and wake up when the others are gone
        let mut silent_hosts = BTreeSet::new();
        for address in self.roster.iter().take(me.rank).flatten() {
            if silent_hosts.contains(&address.ip()) {
                continue; // one that does not even refuse a call is off
            }
            match call(*address, self.secrets, me) {
                Ok(lower) if says_end(&lower) => return,
                Err(error) if error.kind() == ErrorKind::TimedOut => drop(silent_hosts.insert(address.ip())),
                _ => {}
            }
        }
        tell();
        has_been_told(&self.listener, self.secrets);
    }

    pub fn report(&mut self, ending: &Ending) {
        self.speaker.say(&Line::Trouble(ending.clone()));
    }
}

fn says_end(mut stream: &TcpStream) -> bool {
    let mut said = [0];
    stream.read_exact(&mut said).is_ok() && said == [word::END]
}
