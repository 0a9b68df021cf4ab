//! The watch of a rank: one small thread that looks at the signs of its own process and at the other ranks, and ends the
//! process where something has gone wrong for good.
//!
//! It must work while the main thread sits in a call that never returns. So it calls neither MPI nor anything that takes a
//! lock of others, and ends the process by `_exit`, which runs no handlers.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use super::ending::{Ending, Who};
use super::hub::{self, Hub};
use super::limits::Limits;
use super::member::{self, Member};
use super::signs::{Doing, Reader};
use super::wire::{Line, wait, word};
use super::{ENDED, LastWords, PANICKED};
use crate::error::Phase;

/// How often it looks if nobody calls.
const TICK: Duration = Duration::from_millis(250);
/// Seconds between two signs of life.
const BEAT: f64 = 1.0;
/// Seconds that others have to end the job, once all is told.
const GRACE: f64 = 5.0;
/// Seconds that MPI has to end.
const FAREWELL: f64 = 60.0;

/// What the process asks of its watch.
pub enum Order {
    /// Goes by other limits.
    Limit(Limits),
    /// MPI has started: this is who it is, and how it hears of others.
    Join(Who, Role),
    /// It has panicked, has told so and ends the job. Answered when the others know.
    Told(Sender<()>),
    /// The work is done. Answered when the others know.
    Leave(Sender<()>),
}

/// How a watch hears of other ranks.
pub enum Role {
    /// Not at all: there are none, or they cannot be reached.
    Alone,
    /// As rank 0.
    Hub(Hub),
    /// By rank 0.
    Member(Box<Member>),
}

#[derive(Debug)]
enum Stage {
    /// MPI starts; it may take so long.
    Starts(f64),
    Works,
    /// Rank 0 was told that the job must end; since when.
    Reported(f64, Ending),
    /// The process ends the job itself; since when.
    Told(f64),
    /// The work is done; since when.
    Leaves(f64),
}

/// Time as far as this process was there to see it: it stands still while the process is stopped or its host sleeps.
struct Clock {
    looked: Instant,
    now: f64,
}

impl Clock {
    fn tick(&mut self) -> f64 {
        self.now += self.looked.elapsed().as_secs_f64().min(1.0);
        self.looked = Instant::now();
        self.now
    }
}

pub struct Watch {
    who: Who,
    /// What has started this process, if it is a rank of several.
    launcher: Option<u32>,
    orders: Receiver<Order>,
    bell: UnixStream,
    last_words: LastWords,
    limits: Limits,
    reader: Reader,
    clock: Clock,
    /// When it last gave a sign of life, and of which phase.
    beaten: (f64, Option<Phase>),
    role: Role,
    stage: Stage,
    scratch: Vec<libc::pollfd>,
}

impl Watch {
    /// The watch of a process that has not found others yet; `start` is how long that may take, if it looks for any.
    pub fn new(who: Who, start: Option<f64>, orders: Receiver<Order>, bell: UnixStream, last_words: LastWords) -> Self {
        Watch {
            who,
            launcher: start.map(|_| parent_id()),
            orders,
            bell,
            last_words,
            limits: Limits::default(),
            reader: Reader::new(),
            clock: Clock { looked: Instant::now(), now: 0.0 },
            beaten: (0.0, None),
            role: Role::Alone,
            stage: start.map_or(Stage::Works, Stage::Starts),
            scratch: Vec::new(),
        }
    }

    /// Watches until the process ends.
    pub fn run(mut self) {
        loop {
            self.sleep();
            let now = self.clock.tick();
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order, now);
            }
            self.listen(now);
            self.look(now);
        }
    }

    fn sleep(&mut self) {
        let bell = std::iter::once(self.bell.as_raw_fd());
        match &self.role {
            Role::Alone => wait(bell, &mut self.scratch, TICK),
            Role::Hub(hub) => wait(bell.chain(hub.descriptors()), &mut self.scratch, TICK),
            Role::Member(member) => wait(bell.chain([member.descriptor()]), &mut self.scratch, TICK),
        }
        let _ = self.bell.read(&mut [0; 64]);
    }

    fn obey(&mut self, order: Order, now: f64) {
        match order {
            Order::Limit(limits) => self.limits = limits,
            Order::Join(who, role) => {
                (self.who, self.role, self.stage) = (who, role, Stage::Works);
                if let Role::Member(member) = &mut self.role {
                    member.heard = now;
                }
            }
            Order::Told(done) => {
                match &mut self.role {
                    Role::Alone => {}
                    Role::Hub(hub) => hub.say(word::PANICKED),
                    Role::Member(member) => member.speaker.say(&Line::Told(PANICKED)),
                }
                (self.last_words)(None);
                self.stage = Stage::Told(now);
                let _ = done.send(());
            }
            Order::Leave(done) => {
                match std::mem::replace(&mut self.role, Role::Alone) {
                    Role::Alone => {}
                    Role::Hub(mut hub) => hub.say(word::BYE),
                    Role::Member(mut member) => member.speaker.say(&Line::Bye),
                }
                self.stage = Stage::Leaves(now);
                let _ = done.send(());
            }
        }
    }

    fn listen(&mut self, now: f64) {
        match &mut self.role {
            Role::Alone => {}
            Role::Hub(hub) => match hub.listen(now) {
                None => {}
                Some(hub::Heard::Told(status)) => {
                    hub.say(if status == PANICKED { word::PANICKED } else { word::END });
                    self.exit(None, status)
                }
                // ranks that have lost their launcher may die of it, so that is asked first
                Some(hub::Heard::Trouble(ending)) if matches!(self.stage, Stage::Works) => {
                    self.end(self.lost_launcher().unwrap_or(ending), now);
                }
                Some(hub::Heard::Trouble(_)) => {} // all is told
            },
            Role::Member(member) => match member.listen(now) {
                member::Heard::Nothing => {}
                member::Heard::End(status) => self.exit(None, status),
                member::Heard::Bye => self.role = Role::Alone, // the work is done, here too
                member::Heard::Lost => {
                    let dead = Ending::dead(member.hub.clone(), None);
                    match &self.stage {
                        Stage::Told(_) => self.role = Role::Alone,
                        Stage::Reported(_, ending) => self.without_hub(&ending.clone()),
                        _ => self.without_hub(&self.lost_launcher().unwrap_or(dead)),
                    }
                }
            },
        }
    }

    fn look(&mut self, now: f64) {
        match &self.stage {
            Stage::Works => self.look_around(now),
            // all ranks wait for the same: those behind rank 0 let it speak, and be heard
            Stage::Starts(limit) if now > limit + GRACE * self.who.rank.min(2) as f64 => {
                self.exit(Some(&Ending::not_started(self.who.clone(), *limit)), ENDED)
            }
            Stage::Reported(since, ending) if now > since + GRACE => self.without_hub(&ending.clone()),
            Stage::Told(since) if now > since + GRACE => self.exit(None, PANICKED),
            Stage::Leaves(since) if self.launcher.is_some() && now > since + FAREWELL => {
                self.exit(Some(&Ending::not_ended(self.who.clone(), FAREWELL)), ENDED)
            }
            _ => {}
        }
    }

    /// Looks at this process, then at the others.
    fn look_around(&mut self, now: f64) {
        let doing = self.reader.read(now);
        if let Some(limit) = self.limits.of(&doing).filter(|(_, limit)| doing.seconds > *limit) {
            return self.end(Ending::stuck(self.who.clone(), &doing, limit), now);
        }
        if let Some(ending) = self.lost_launcher() {
            return self.end(ending, now);
        }
        let beats = now >= self.beaten.0 + BEAT || doing.phase != self.beaten.1;
        if beats {
            self.beaten = (now, doing.phase);
        }
        match &mut self.role {
            Role::Alone => {}
            Role::Hub(hub) => {
                if beats {
                    hub.beat();
                }
                if let Some(ending) = hub.look(now, &self.who, &doing, &self.limits) {
                    self.end(ending, now);
                }
            }
            Role::Member(member) => {
                if beats {
                    member.beat(doing);
                }
                let (silence, limit) = (now - member.heard, self.limits.silence_s);
                // later than rank 0 would say so of this rank: where only one direction is cut, one of them tells
                if limit > 0.0 && silence > limit + 2.0 * BEAT {
                    let ending = Ending::silent(member.hub.clone(), &[], None, silence, limit);
                    self.without_hub(&ending);
                }
            }
        }
    }

    fn lost_launcher(&self) -> Option<Ending> {
        self.launcher.filter(|launcher| *launcher != parent_id())?;
        Some(Ending::without_launcher(self.who.clone(), &Doing::default()))
    }

    /// Ends the job: rank 0 tells and all others go; another rank asks rank 0 to.
    fn end(&mut self, ending: Ending, now: f64) {
        match &mut self.role {
            Role::Alone => self.exit(Some(&ending), ENDED),
            Role::Hub(hub) => {
                (self.last_words)(Some(&ending));
                hub.say(word::END);
                leave_at_once(ENDED)
            }
            Role::Member(member) => {
                member.report(&ending);
                self.stage = Stage::Reported(now, ending);
            }
        }
    }

    fn without_hub(&mut self, ending: &Ending) {
        if let Role::Member(member) = &mut self.role {
            member.without_hub(&self.who, || (self.last_words)(Some(ending)));
        }
        self.exit(None, ENDED)
    }

    fn exit(&self, ending: Option<&Ending>, status: u8) -> ! {
        (self.last_words)(ending);
        leave_at_once(status)
    }
}

fn leave_at_once(status: u8) -> ! {
    // SAFETY: ends the process. Handlers of exit are not run: those of MPI would wait for the main thread
    unsafe { libc::_exit(i32::from(status)) }
}
