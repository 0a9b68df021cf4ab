//! Numbers that lie one after another, in a file or in memory: a part is read, and no more than that.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};

use super::axes::file_axes;
use super::element::Element;
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Tile;

/// Short gaps between runs are read through the reader's buffer; longer ones are skipped.
const GAP_BYTES: usize = 1 << 13;
/// Long runs are decoded in pieces of this size.
const PIECE_BYTES: usize = 1 << 18;

/// How the numbers lie.
#[derive(Debug, Clone)]
pub(in crate::io) struct Layout {
    /// Where they begin.
    pub first: u64,
    pub sizes: Vec<usize>,
    pub element: Element,
    pub big_endian: bool,
    /// Whether the first dim is the fastest.
    pub fortran: bool,
}

trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// Numbers that are all there: who makes one has compared their sizes with the length of the file.
pub(in crate::io) struct Raw {
    /// What faults call the file.
    of: String,
    reader: BufReader<Box<dyn Source>>,
    /// Where `reader` stands.
    at: u64,
    pub layout: Layout,
}

impl Raw {
    /// In a file.
    pub fn in_file(of: String, file: File, layout: Layout) -> Self {
        Raw { of, reader: BufReader::with_capacity(GAP_BYTES, Box::new(file)), at: u64::MAX, layout }
    }
    /// In memory.
    pub fn in_memory(of: String, bytes: Vec<u8>, layout: Layout) -> Self {
        Raw { of, reader: BufReader::with_capacity(GAP_BYTES, Box::new(Cursor::new(bytes))), at: u64::MAX, layout }
    }

    /// Reads a tile that was checked into `out`, row-major. Values are as the file has them, finite or not.
    pub fn read_into<S: Scalar>(&mut self, tile: &Tile, out: &mut [S]) -> Result<(), Fault> {
        let element = self.layout.element;
        let axes = file_axes(tile, self.layout.fortran);
        let Some((inner, outer)) = axes.split_last() else { return Ok(()) };
        let bytes = element.bytes();
        // Step 1: one run. Otherwise each element is a run; what lies between comes through the reader's buffer.
        let (runs, run) = if inner.step == 1 { (1, inner.count) } else { (inner.count, 1) };
        let mut piece = vec![0; bytes * run.min((PIECE_BYTES / bytes).max(1))];
        for k in 0..outer.iter().map(|axis| axis.count).product::<usize>() {
            let (mut rest, mut from, mut to) = (k, inner.start * inner.file_stride, 0);
            for axis in outer.iter().rev() {
                let at = rest % axis.count;
                rest /= axis.count;
                from += (axis.start + at * axis.step) * axis.file_stride;
                to += at * axis.out_stride;
            }
            for _ in 0..runs {
                let mut left = run;
                self.seek(from)?;
                while left > 0 {
                    let count = left.min(piece.len() / bytes);
                    let piece = &mut piece[..count * bytes];
                    self.fill(piece)?;
                    element.decode(piece, &mut out[to..], inner.out_stride);
                    left -= count;
                    to += count * inner.out_stride;
                }
                from += inner.step * inner.file_stride;
            }
        }
        Ok(())
    }

    /// Goes to an element.
    fn seek(&mut self, element: usize) -> Result<(), Fault> {
        let target = self.layout.first + (element * self.layout.element.bytes()) as u64;
        let sought = match self.at {
            u64::MAX => self.reader.seek(SeekFrom::Start(target)).map(|_| ()), // not read yet
            at => self.reader.seek_relative(target as i64 - at as i64),        // both are within the file's length
        };
        sought.map_err(|error| self.wrong(&error))?;
        self.at = target;
        Ok(())
    }

    /// Reads whole elements, little-endian whatever the file is.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        self.reader.read_exact(bytes).map_err(|error| self.wrong(&error))?;
        self.at += bytes.len() as u64;
        if self.layout.big_endian {
            bytes.chunks_exact_mut(self.layout.element.bytes_of_part()).for_each(<[u8]>::reverse);
        }
        Ok(())
    }

    fn wrong(&self, error: &std::io::Error) -> Fault {
        Fault::new(format!("cannot read {} near byte {}: {error}", self.of, self.at))
    }
}
