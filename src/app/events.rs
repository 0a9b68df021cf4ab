//! A stream of events that a dashboard can follow: `--events FILE`, one JSON object per line, flushed line by line, by rank 0.
//!
//! The log (`--log json`) is all that the program says, in words, to whoever reads standard error. The stream has few kinds
//! of lines with fixed keys, and nothing else: docs/events.md is its schema. Both are told of iterations by one observer
//! ([`Watch`](super::watch::Watch)).

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::error::Fault;

/// Where events go: to a file, or nowhere. Copies go to the same file.
#[derive(Clone, Default)]
pub struct Events(Option<Rc<Stream>>);

struct Stream {
    /// None once a line could not be written.
    file: RefCell<Option<File>>,
    begin: Instant,
}

impl Events {
    /// A new file for them.
    pub fn to(path: &Path) -> Result<Self, Fault> {
        let file = File::create(path).map_err(|why| {
            Fault::new(format!("cannot write events to {}: {why}", path.display()))
                .hint("name a file in a folder that exists and may be written, or leave out --events")
        })?;
        Ok(Events(Some(Rc::new(Stream { file: RefCell::new(Some(file)), begin: Instant::now() }))))
    }

    /// Writes one event: an object, to which its kind and the seconds since the start are added. A full disk ends the stream,
    /// not the job.
    pub fn tell(&self, event: &str, keys: Value) {
        let Some(stream) = &self.0 else { return };
        let mut line = Map::new();
        line.insert("event".into(), event.into());
        line.insert("at_s".into(), json!(stream.begin.elapsed().as_secs_f64()));
        if let Value::Object(keys) = keys {
            line.extend(keys);
        }
        let mut file = stream.file.borrow_mut();
        let written = file.as_mut().map(|file| writeln!(file, "{}", Value::Object(line)).and_then(|()| file.flush()));
        if let Some(Err(why)) = written {
            tracing::warn!("no more events are written: {why}");
            *file = None;
        }
    }
}
