//! Matrix Market's coordinate format, plain or compressed by gzip.
//!
//! Reference: R. F. Boisvert, R. Pozo and K. A. Remington, "The Matrix Market exchange formats: initial design", NISTIR 5935
//! (1996).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use num_complex::Complex;

use super::{place_of, unreadable};
use crate::error::Fault;
use crate::io::COMPLETE;
use crate::physics::{SparseSizes, Triplets};
use crate::space::{Numbers, Selection};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Real,
    Complex,
    /// No number: each entry is 1.
    Pattern,
}

/// Which entries follow from others: those across the diagonal.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Symmetry {
    General,
    Symmetric,
    Skew,
    Hermitian,
}

/// A file whose header has been read.
struct Open<'a> {
    path: &'a Path,
    lines: Lines<'a>,
    field: Field,
    symmetry: Symmetry,
    sizes: [usize; 2],
    entries: usize,
}

/// The lines of a file that say something, with their numbers.
struct Lines<'a> {
    path: &'a Path,
    reader: Box<dyn BufRead>,
    number: usize,
    line: String,
}

impl Lines<'_> {
    /// The next line that is neither empty nor a comment.
    fn next(&mut self) -> Result<Option<&str>, Fault> {
        loop {
            self.line.clear();
            let read = self.reader.read_line(&mut self.line).map_err(|error| {
                let text = format!("{} after line {}: {error}", self.path.display(), self.number);
                Fault::new(text).hint(COMPLETE)
            })?;
            self.number += 1;
            let is_text = |line: &str| !(line.trim().is_empty() || line.starts_with('%') && self.number > 1);
            if read == 0 {
                return Ok(None);
            }
            if is_text(&self.line) {
                return Ok(Some(self.line.trim()));
            }
        }
    }
    fn wrong(&self, text: &str) -> Fault {
        Fault::new(format!("{} line {}: {text}, got `{}`", self.path.display(), self.number, self.line.trim()))
            .hint("is this a Matrix Market file that was written completely?")
    }
}

impl<'a> Open<'a> {
    fn new(path: &'a Path, gzip: bool) -> Result<Self, Fault> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let reader: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut lines = Lines { path, reader: Box::new(BufReader::new(reader)), number: 0, line: String::new() };
        let banner = lines.next()?.unwrap_or_default().to_lowercase();
        let words: Vec<&str> = banner.split_whitespace().collect();
        let ["%%matrixmarket", "matrix", layout, field, symmetry] = words[..] else {
            return Err(lines.wrong("expected `%%MatrixMarket matrix coordinate FIELD SYMMETRY`"));
        };
        if layout != "coordinate" {
            return Err(lines
                .wrong("expected the format `coordinate`")
                .hint("a dense matrix goes into an npy file, for the operator `dense`"));
        }
        let field = match field {
            "real" | "integer" | "double" => Field::Real,
            "complex" => Field::Complex,
            "pattern" => Field::Pattern,
            _ => return Err(lines.wrong("expected the field real, integer, complex or pattern")),
        };
        let symmetry = match symmetry {
            "general" => Symmetry::General,
            "symmetric" => Symmetry::Symmetric,
            "skew-symmetric" => Symmetry::Skew,
            "hermitian" => Symmetry::Hermitian,
            _ => return Err(lines.wrong("expected general, symmetric, skew-symmetric or hermitian")),
        };
        let numbers = lines.next()?.map(|line| line.split_whitespace().map(str::parse::<usize>).collect());
        let [rows, columns, entries] = match numbers {
            Some(Ok::<Vec<usize>, _>(numbers)) if numbers.len() == 3 => [numbers[0], numbers[1], numbers[2]],
            _ => return Err(lines.wrong("expected the numbers of rows, columns and entries")),
        };
        if symmetry != Symmetry::General && rows != columns {
            return Err(lines.wrong("expected as many rows as columns, for a matrix that is symmetric"));
        }
        Ok(Open { path, lines, field, symmetry, sizes: [rows, columns], entries })
    }

    /// Hands each entry, counted from zero.
    fn each(mut self, mut visit: impl FnMut([usize; 2], Complex<f64>)) -> Result<(), Fault> {
        let Open { path, field, symmetry, sizes, entries, .. } = self;
        let values = match field {
            Field::Real => 1,
            Field::Complex => 2,
            Field::Pattern => 0,
        };
        for read in 0..entries {
            let Some(line) = self.lines.next()? else {
                let text = format!("{} is truncated: its header says {entries} entries, it has {read}", path.display());
                return Err(Fault::new(text).hint(COMPLETE));
            };
            let mut words = line.split_whitespace();
            let place = |word: Option<&str>| word.and_then(|word| word.parse::<usize>().ok());
            let at = [place(words.next()), place(words.next())];
            let number = |word: Option<&str>| word.and_then(|word| word.parse::<f64>().ok()).filter(|x| x.is_finite());
            let value = match values {
                0 => Some(Complex::new(1.0, 0.0)),
                1 => number(words.next()).map(|re| Complex::new(re, 0.0)),
                _ => number(words.next()).zip(number(words.next())).map(|(re, im)| Complex::new(re, im)),
            };
            let ([Some(row), Some(column)], Some(value), None) = (at, value, words.next()) else {
                let text = format!("expected a row, a column and {values} finite numbers");
                return Err(self.lines.wrong(&text));
            };
            if row == 0 || column == 0 || row > sizes[0] || column > sizes[1] {
                let text = format!("expected a row from 1 to {} and a column from 1 to {}", sizes[0], sizes[1]);
                return Err(self.lines.wrong(&text));
            }
            let at = [row - 1, column - 1];
            visit(at, value);
            if at[0] != at[1] {
                match symmetry {
                    Symmetry::General => {}
                    Symmetry::Symmetric => visit([at[1], at[0]], value),
                    Symmetry::Skew => visit([at[1], at[0]], -value),
                    Symmetry::Hermitian => visit([at[1], at[0]], value.conj()),
                }
            }
        }
        if self.lines.next()?.is_some() {
            return Err(self.lines.wrong(&format!("the header says {entries} entries, here is one more")));
        }
        Ok(())
    }
}

pub(super) fn sizes(path: &Path, gzip: bool) -> Result<SparseSizes, Fault> {
    let open = Open::new(path, gzip)?;
    let twice = if open.symmetry == Symmetry::General { 1 } else { 2 };
    let [rows, columns] = open.sizes;
    Ok(SparseSizes { rows, columns, entries: twice * open.entries, is_complex: open.field == Field::Complex })
}

pub(super) fn read(path: &Path, gzip: bool, rows: Selection) -> Result<Triplets, Fault> {
    let open = Open::new(path, gzip)?;
    let (sizes, is_complex) = (open.sizes, open.field == Field::Complex);
    let (mut places, mut values) = (Vec::new(), Vec::new());
    open.each(|[row, column], value| {
        if let Some(row) = place_of(row, rows) {
            places.push([row, column]);
            values.push(value);
        }
    })?;
    let values = match is_complex {
        true => Numbers::ComplexF64(values),
        false => Numbers::F64(values.into_iter().map(|value| value.re).collect()),
    };
    Ok(Triplets { rows: rows.count, columns: sizes[1], places, values })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mtx");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    /// All rows as a dense matrix.
    fn dense(text: &str) -> Result<Vec<Vec<Complex<f64>>>, String> {
        let (_folder, path) = file(text);
        let told = |fault: Fault| format!("{} | {}", fault.text, fault.hint.unwrap_or_default());
        let SparseSizes { rows, columns, .. } = super::super::sizes(&path).map_err(told)?;
        let triplets = super::super::read(&path, Selection::all(rows)).map_err(told)?;
        let mut matrix = vec![vec![Complex::default(); columns]; rows];
        let values = triplets.values.into_scalars::<Complex<f64>>().unwrap();
        triplets.places.iter().zip(values).for_each(|([row, column], value)| matrix[*row][*column] += value);
        Ok(matrix)
    }

    fn real(matrix: &[Vec<Complex<f64>>]) -> Vec<Vec<f64>> {
        matrix.iter().map(|row| row.iter().map(|z| z.re).collect()).collect()
    }

    #[test]
    fn all_fields_and_symmetries_are_read() {
        let general = "%%MatrixMarket matrix coordinate real general\n% a comment\n\n2 3 3\n1 1 1.5\n2 3 -2e1\n1 2 4\n";
        assert_eq!(real(&dense(general).unwrap()), [[1.5, 4.0, 0.0], [0.0, 0.0, -20.0]]);
        let symmetric = "%%MatrixMarket Matrix Coordinate Integer Symmetric\n2 2 2\n1 1 3\n2 1 7\n";
        assert_eq!(real(&dense(symmetric).unwrap()), [[3.0, 7.0], [7.0, 0.0]]);
        let skew = "%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n2 1 7\n";
        assert_eq!(real(&dense(skew).unwrap()), [[0.0, -7.0], [7.0, 0.0]]);
        let pattern = "%%MatrixMarket matrix coordinate pattern general\n1 2 1\n1 2\n";
        assert_eq!(real(&dense(pattern).unwrap()), [[0.0, 1.0]]);
        let hermitian = "%%MatrixMarket matrix coordinate complex hermitian\n2 2 2\n1 1 3 0\n2 1 1 5\n";
        let got = dense(hermitian).unwrap();
        assert_eq!([got[0][1], got[1][0]], [Complex::new(1.0, -5.0), Complex::new(1.0, 5.0)]);
    }

    #[test]
    fn some_rows_and_compressed_files_are_read() {
        let text = "%%MatrixMarket matrix coordinate real general\n4 2 4\n1 1 1\n2 1 2\n3 2 3\n4 2 4\n";
        let (folder, _path) = file(text);
        let path = folder.path().join("a.mtx.gz");
        let mut encoder = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
        assert_eq!(super::super::sizes(&path).unwrap().rows, 4);
        let some = super::super::read(&path, Selection { start: 1, step: 2, count: 2 }).unwrap();
        assert_eq!((some.rows, some.places), (2, vec![[0, 0], [1, 1]]));
        assert_eq!(some.values, Numbers::F64(vec![2.0, 4.0]));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 12]).unwrap();
        let fault = super::super::read(&path, Selection::all(4)).unwrap_err();
        assert!(fault.hint.unwrap().contains("completely"), "{}", fault.text);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let head = "%%MatrixMarket matrix coordinate real general\n";
        for (text, says) in [
            (format!("{head}2 2 3\n1 1 1\n2 2 1\n"), "is truncated: its header says 3 entries, it has 2"),
            (
                format!("{head}2 2 1\n1 1 1\n2 2 1\n"),
                "line 4: the header says 1 entries, here is one more, got `2 2 1`",
            ),
            (
                format!("{head}2 2 1\n3 1 1\n"),
                "line 3: expected a row from 1 to 2 and a column from 1 to 2, got `3 1 1`",
            ),
            (format!("{head}2 2 1\n0 1 1\n"), "expected a row from 1 to 2"),
            (format!("{head}2 2 1\n1 1\n"), "line 3: expected a row, a column and 1 finite numbers"),
            (format!("{head}2 2 1\n1 1 nan\n"), "1 finite numbers"),
            (format!("{head}2 2\n"), "line 2: expected the numbers of rows, columns and entries"),
            (head.to_owned(), "expected the numbers of rows, columns and entries"),
            (head.replace("coordinate", "array"), "expected the format `coordinate`"),
            (head.replace("real", "quaternion"), "expected the field"),
            (head.replace("general", "symmetric") + "2 3 0\n", "as many rows as columns"),
            ("%%MatrixMarket\n".to_owned(), "expected `%%MatrixMarket matrix"),
            ("1 2 3\n".to_owned(), "no sparse matrix in a format that is known"),
            (String::new(), "is empty (0 bytes)"),
        ] {
            let told = dense(&text).unwrap_err();
            assert!(told.contains(says), "{told}, not {says}");
        }
    }
}
