//! Puts a state back from a file. What several ranks hold is read by the rank that wrote such a piece, checked, and passed on;
//! what one rank holds it reads itself. So a file is read once, whatever the number of ranks.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::file::{Found, VectorEntry};
use super::pieces::{Cursor, Piece};
use crate::comm::Team;
use crate::error::{Error, Fault};
use crate::scalar::Scalar;
use crate::solver::{Memory, Numbers};
use crate::space::{Placement, Vector};

/// Reads the one vector of this name: the iterate of a state that does not fit as a whole. Collective: yes.
pub fn read_vector<S: Scalar>(
    team: &Team,
    found: &Found,
    name: &'static str,
    into: &mut Vector<S>,
) -> Result<(), Error> {
    let mut restore = Restore::from(team, found);
    for vector in found.table.vectors.iter().take_while(|vector| vector.name != name) {
        restore.cursor.pieces(vector.blocks.iter().map(|len| len * vector.width));
        restore.vectors += 1;
    }
    let memory: &mut dyn Memory = &mut restore;
    memory.vector(name, into);
    if restore.vectors > found.table.vectors.len() {
        restore.is_other(&format!("it has no vector `{name}`"));
    }
    (restore.vectors, restore.bits) = (found.table.vectors.len(), found.table.bits.len()); // the rest is not asked for
    restore.end().map_err(|refusal| match refusal {
        Refusal::Differs(error) | Refusal::Damaged(error) => error,
    })
}

/// The memory that a state is put back from.
pub(super) struct Restore<'a> {
    team: &'a Team,
    found: &'a Found,
    file: Option<File>,
    cursor: Cursor,
    vectors: usize,
    bits: usize,
    /// What of the method is another than in the file: alike on all ranks, since the table is.
    differs: Option<Fault>,
    /// What of the file cannot be read on this rank.
    damage: Option<Fault>,
}

/// Why a state was not put back.
pub(super) enum Refusal {
    /// The file is of another problem or method.
    Differs(Error),
    /// The file cannot be read, or is not what was written.
    Damaged(Error),
}

impl<'a> Restore<'a> {
    /// From a checkpoint whose table all ranks have. Collective: no.
    pub fn from(team: &'a Team, found: &'a Found) -> Self {
        let mut restore = Restore {
            team,
            found,
            file: None,
            cursor: Cursor::default(),
            vectors: 0,
            bits: 0,
            differs: None,
            damage: None,
        };
        match File::open(&found.path) {
            Ok(file) => restore.file = Some(file),
            Err(error) => restore.is_damaged(&format!("cannot be read: {error}")),
        }
        restore
    }

    fn is_damaged(&mut self, how: &str) {
        let hint = "all ranks must see the folder: is it on a file system that all nodes share?";
        self.damage.get_or_insert_with(|| Fault::new(format!("{}: {how}", self.found.path.display())).hint(hint));
    }

    fn is_other(&mut self, what: &str) {
        let hint = "a checkpoint goes on with the method, the precision and the sizes that it was made with";
        self.differs.get_or_insert_with(|| {
            Fault::new(format!("{} does not fit: {what}", self.found.path.display())).hint(hint)
        });
    }

    /// Whether all was put back. Collective: yes.
    pub fn end(mut self) -> Result<(), Refusal> {
        let table = &self.found.table;
        let (vectors, bits) = (table.vectors.len(), table.bits.len());
        if (self.vectors, self.bits) != (vectors, bits) {
            let (has, wants) = ((vectors, bits), (self.vectors, self.bits));
            self.is_other(&format!(
                "it has {} vectors and {} numbers, the method remembers {} and {}",
                has.0, has.1, wants.0, wants.1
            ));
        }
        self.team.agree(self.differs.map_or(Ok(()), Err)).map_err(Refusal::Differs)?;
        self.team.agree(self.damage.map_or(Ok(()), Err)).map_err(Refusal::Damaged)
    }

    /// Reads a piece and checks it.
    fn read(&mut self, piece: &Piece, into: &mut [u8]) {
        let Some(file) = &self.file else { return };
        let read = file.read_exact_at(into, piece.offset);
        let expected = self.found.table.checksums.get(piece.number);
        match read {
            Err(error) => self.is_damaged(&format!("cannot be read: {error}")),
            Ok(()) if Some(&crc32fast::hash(into)) != expected => {
                let Piece { number, offset, .. } = piece;
                self.is_damaged(&format!(
                    "piece {number}, from byte {offset} on, is damaged: the checksum does not fit"
                ));
            }
            Ok(()) => {}
        }
    }
}

impl Memory for Restore<'_> {
    fn numbers(&mut self, numbers: Numbers) {
        let here = VectorEntry::of(&numbers);
        let table = &self.found.table;
        match table.vectors.get(self.vectors) {
            Some(there) if *there == here => {}
            Some(there) => {
                let what = |entry: &VectorEntry| {
                    let (elements, blocks) = (entry.blocks.iter().sum::<usize>(), entry.blocks.len());
                    format!("`{}` of {elements} {} in {blocks} blocks", entry.name, entry.scalar)
                };
                self.is_other(&format!("it has a vector {}, the method one {}", what(there), what(&here)));
            }
            None => {} // told by the counts, at the end
        }
        self.vectors += 1;
        if self.differs.is_some() || self.vectors > table.vectors.len() {
            return;
        }
        let Numbers { space, width, bytes, .. } = numbers;
        let (rank, ranks) = (self.team.rank(), self.team.size());
        for piece in self.cursor.pieces(here.blocks.iter().map(|len| len * width)) {
            let Some(local) = space.local(piece.block) else { continue };
            let into = &mut bytes[local.start * width..][piece.bytes.clone()];
            match space.blocks()[piece.block].placement {
                Placement::Everywhere => {
                    let reader = piece.writer(space, ranks);
                    if reader == rank {
                        self.read(&piece, into);
                    }
                    self.team.broadcast_in_place(into, reader);
                }
                Placement::On(_) | Placement::Among(_) => self.read(&piece, into),
            }
        }
    }

    fn bits(&mut self, name: &'static str, bits: &mut u64) {
        match self.found.table.bits.get(self.bits) {
            Some((there, value)) if there == name => *bits = *value,
            Some((there, _)) => self.is_other(&format!("it has a number `{there}`, the method one `{name}`")),
            None => {}
        }
        self.bits += 1;
    }

    fn nothing(&mut self) {
        self.is_other("the method cannot be kept");
    }
}
