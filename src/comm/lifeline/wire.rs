//! How watches talk: a TCP connection from each rank to rank 0, beside MPI, which a watch must not use.
//!
//! A rank sends lines ([`Line`]), rank 0 answers with single bytes. Who connects says a secret that has travelled by MPI, and
//! gets another one back: a stranger cannot end a job, and an address that means another machine here (each host may have
//! its own 172.17.0.1) is not mistaken for rank 0.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::RawFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ending::{Ending, Who};
use super::signs::Doing;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What rank 0 tells all by MPI, so that they find its watch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invitation {
    pub host: String,
    pub addresses: Vec<IpAddr>,
    pub port: u16,
    pub secrets: Secrets,
}

/// What a caller says, and what it is answered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Secrets {
    pub question: u64,
    pub answer: u64,
}

/// What a rank says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Line {
    /// The first line.
    Hello { question: u64, who: Who },
    /// A sign of life.
    Beat(Doing),
    /// The job must end, for this reason.
    Trouble(Ending),
    /// It has told the user itself what is wrong; the job ends with this status.
    Told(u8),
    /// The work is done.
    Bye,
}

/// What rank 0 says.
pub mod word {
    /// A sign of life.
    pub const BEAT: u8 = b'.';
    /// The job is over at once; what is to be told has been told.
    pub const END: u8 = b'E';
    /// The same, after a panic.
    pub const PANICKED: u8 = b'P';
    /// The work is done.
    pub const BYE: u8 = b'B';
}

impl Secrets {
    pub fn new() -> Self {
        use std::hash::{BuildHasher, Hasher, RandomState};
        let draw = || RandomState::new().build_hasher().finish();
        Secrets { question: draw(), answer: draw() }
    }
}

/// A port of this host, on all its addresses.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)); // takes calls to addresses of both kinds
    let listener = listener.or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The addresses of this host, those that only itself can reach at the end.
pub fn addresses() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: fills in a list, which is read below and given back once
    if unsafe { libc::getifaddrs(&mut list) } == 0 {
        let mut next = list;
        while !next.is_null() {
            // SAFETY: an entry of the list
            let entry = unsafe { &*next };
            next = entry.ifa_next;
            if entry.ifa_addr.is_null() || entry.ifa_flags & libc::IFF_UP as libc::c_uint == 0 {
                continue;
            }
            // SAFETY: an address of a family is of the type of that family
            let address = unsafe {
                match i32::from((*entry.ifa_addr).sa_family) {
                    libc::AF_INET => {
                        let raw = (*entry.ifa_addr.cast::<libc::sockaddr_in>()).sin_addr.s_addr;
                        IpAddr::from(raw.to_ne_bytes())
                    }
                    libc::AF_INET6 => IpAddr::from((*entry.ifa_addr.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr),
                    _ => continue,
                }
            };
            let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
            if !link_local {
                found.push(address); // a link-local one would need the caller's interface
            }
        }
        // SAFETY: the list from above
        unsafe { libc::freeifaddrs(list) };
    }
    found.sort_by_key(|address| (address.is_loopback(), address.is_ipv6()));
    found
}

impl Invitation {
    /// Connects to rank 0's watch by the first of its addresses that leads there.
    pub fn accept(&self, who: &Who) -> io::Result<TcpStream> {
        let mut last = io::Error::new(ErrorKind::AddrNotAvailable, "it has no address");
        // a neighbour on the same host is nearest; on another one that address leads elsewhere, or nowhere
        let (near, far): (Vec<&IpAddr>, Vec<&IpAddr>) =
            self.addresses.iter().partition(|address| address.is_loopback());
        let order = if self.host == who.host { [near, far] } else { [far, near] };
        for address in order.into_iter().flatten() {
            match call(SocketAddr::new(*address, self.port), self.secrets, who) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Connects to a watch and makes sure that it is one of this job.
pub fn call(address: SocketAddr, secrets: Secrets, who: &Who) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&line(&Line::Hello { question: secrets.question, who: who.clone() }))?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    match u64::from_le_bytes(answer) == secrets.answer {
        true => Ok(stream),
        false => Err(io::Error::new(ErrorKind::InvalidData, format!("{address} is another program"))),
    }
}

fn line(what: &Line) -> Vec<u8> {
    let mut text = serde_json::to_vec(what).unwrap_or_default();
    text.push(b'\n');
    text
}

/// A rank's end of a connection.
pub struct Speaker {
    pub stream: TcpStream,
    rest: Vec<u8>,
}

impl Speaker {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Speaker { stream, rest: Vec::new() })
    }

    /// Sends a line, now or, if the other side is slow, with the next one.
    pub fn say(&mut self, what: &Line) {
        let is_beat = matches!(what, Line::Beat(_));
        if self.rest.is_empty() || !is_beat {
            self.rest.extend(line(what));
        }
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(sent) if sent > 0 => drop(self.rest.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return, // that it is broken is seen where it is read
            }
        }
    }
}

/// Reads what is there; false at the end of a connection.
pub fn read_all(mut stream: &TcpStream, into: &mut Vec<u8>) -> bool {
    let mut piece = [0; 512];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return false,
            Ok(count) => into.extend(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// Takes the whole lines off what was read. A line that is not understood becomes `None`.
pub fn take_lines(inbox: &mut Vec<u8>) -> Vec<Option<Line>> {
    let Some(end) = inbox.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
    let lines: Vec<u8> = inbox.drain(..=end).collect();
    lines
        .split(|byte| *byte == b'\n')
        .filter(|text| !text.is_empty())
        .map(|text| serde_json::from_slice(text).ok())
        .collect()
}

/// Waits until one of these can be read, at most so long.
pub fn wait(descriptors: impl Iterator<Item = RawFd>, scratch: &mut Vec<libc::pollfd>, longest: Duration) {
    scratch.clear();
    scratch.extend(descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }));
    // SAFETY: the descriptors are open, and the list is as long as it says
    unsafe { libc::poll(scratch.as_mut_ptr(), scratch.len() as libc::nfds_t, longest.as_millis() as libc::c_int) };
}

/// Lets this process have a connection to each of many ranks, as far as the system allows.
pub fn allow_connections(count: usize) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid struct
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            let wanted = limit.rlim_cur.max(count as libc::rlim_t + 512);
            limit.rlim_cur = wanted.min(limit.rlim_max);
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_addresses_and_that_of_its_own_is_last() {
        let found = addresses();
        assert!(found.iter().any(IpAddr::is_loopback), "{found:?}");
        assert!(found.is_sorted_by_key(|address| address.is_loopback()), "{found:?}");
    }

    #[test]
    fn lines_are_whole() {
        let mut inbox = line(&Line::Told(2));
        inbox.extend(b"nonsense\n");
        let bye = line(&Line::Bye);
        inbox.extend(&bye[..3]);
        assert!(matches!(take_lines(&mut inbox)[..], [Some(Line::Told(2)), None]));
        inbox.extend(&bye[3..]);
        assert!(matches!(take_lines(&mut inbox)[..], [Some(Line::Bye)]));
        assert!(inbox.is_empty() && take_lines(&mut inbox).is_empty());
    }

    #[test]
    fn only_a_watch_of_this_job_is_called() {
        let (secrets, who) = (Secrets::new(), Who { rank: 1, host: "here".into(), process: 1 });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = std::thread::spawn(move || {
            for answer in [secrets.answer, !secrets.answer] {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(&answer.to_le_bytes()).unwrap();
            }
        });
        let invitation =
            Invitation { host: "here".into(), addresses: vec!["127.0.0.1".parse().unwrap()], port, secrets };
        assert!(invitation.accept(&who).is_ok());
        assert_eq!(invitation.accept(&who).unwrap_err().kind(), ErrorKind::InvalidData);
        answers.join().unwrap();
    }
}
