//! From counts to line integrals: the part of a scan that a rank wants, in pieces of bounded size.

use hdf5::{Dataset, Hyperslab, SliceOrIndex};
use ndarray::{Array2, ArrayView3, Ix3};

use super::data_set::name_of;
use super::{Frames, Scan};
use crate::error::Fault;
use crate::io::nan::{HINT, settle};
use crate::io::{Loaded, check_tile};
use crate::scalar::Scalar;
use crate::space::{Selection, Tile};

/// The file's numbers come in pieces of about so many (16 MiB).
const PIECE: usize = 1 << 21;

impl Scan<'_> {
    /// The line integrals of a tile.
    pub fn read<S: Scalar>(&self, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        let of = self.asked.path.display().to_string();
        check_tile(tile, &self.shape().sizes(), out.len(), &of)?;
        let selections = tile.selections();
        let (angles, columns) = (selections[0], selections[selections.len() - 1]);
        let rows: Vec<usize> = match selections {
            [_, rows, _] => rows.iter().map(|row| self.rows[row]).collect(),
            _ => self.rows.clone(),
        };
        let views: Vec<usize> = angles.iter().map(|view| self.views.which[view]).collect();
        let width = columns.count;
        let mut loaded = Loaded { numbers: out.len() as u64, ..Loaded::default() };
        for (place, run) in runs(&rows) {
            let white = self.mean(&self.white, run, columns)?;
            let dark = self.mean(&self.dark, run, columns)?;
            self.pieces(&self.views.data, &views, run, columns, |view, counts| {
                for (view, counts) in (view..).zip(counts.outer_iter()) {
                    for (row, counts) in counts.outer_iter().enumerate() {
                        let begin = (view * rows.len() + place + row) * width;
                        let fields = white.row(row).into_iter().zip(dark.row(row));
                        for ((out, counts), (white, dark)) in out[begin..][..width].iter_mut().zip(counts).zip(fields) {
                            let (value, clamped) = line_integral(*counts, *white, *dark, self.asked.clamp);
                            *out = S::from_f64(value);
                            loaded.clamped += u64::from(clamped);
                        }
                    }
                }
            })?;
        }
        loaded.not_finite = settle(out, self.asked.nan, tile, &of, |index| match *index {
            [angle, row, column] => format!("angle={angle}, row={}, column={column}", self.rows[row]),
            [angle, column] => format!("angle={angle}, row={}, column={column}", self.rows[0]),
            _ => format!("{index:?}"),
        })
        .map_err(|fault| fault.hint(HINT))?;
        Ok(loaded)
    }

    /// The mean over all frames, for some rows and columns.
    fn mean(&self, fields: &Frames, rows: Selection, columns: Selection) -> Result<Array2<f64>, Fault> {
        let mut sum = Array2::zeros((rows.count, columns.count));
        self.pieces(&fields.data, &fields.which, rows, columns, |_, piece| {
            piece.outer_iter().for_each(|frame| sum += &frame);
        })?;
        Ok(sum / fields.count() as f64)
    }

    /// Reads some frames of a data set in pieces of bounded size; `take` gets the place of the first among them.
    fn pieces(
        &self,
        from: &Dataset,
        frames: &[usize],
        rows: Selection,
        columns: Selection,
        mut take: impl FnMut(usize, ArrayView3<f64>),
    ) -> Result<(), Fault> {
        let each = (PIECE / (rows.count * columns.count).max(1)).max(1);
        for (mut place, run) in runs(frames) {
            let mut done = 0;
            // Nothing is read for an empty selection, of any dim.
            while done < run.count && rows.count > 0 && columns.count > 0 {
                let count = each.min(run.count - done);
                let part = Selection { start: run.start + done * run.step, step: run.step, count };
                let slab = Hyperslab::from(vec![slice(part), slice(rows), slice(columns)]);
                let piece = from.read_slice::<f64, _, Ix3>(slab).map_err(|error| {
                    let (of, name) = (self.asked.path.display(), name_of(from));
                    Fault::new(format!("{of}: cannot read `{name}`: {error}"))
                        .hint("is the file complete, and are its numbers integers or floats?")
                })?;
                take(place, piece.view());
                done += count;
                place += count;
            }
        }
        Ok(())
    }
}

/// −ln of the transmission, and whether the transmission was clamped. NaN where white equals dark.
fn line_integral(counts: f64, white: f64, dark: f64, clamp: f64) -> (f64, bool) {
    let transmission = (counts - dark) / (white - dark);
    if !transmission.is_finite() {
        return (f64::NAN, false); // `f64::max` would turn it into `clamp`
    }
    (-transmission.max(clamp).ln(), transmission < clamp)
}

/// Rows, or frames, with one distance from each to the next, so that one request reads them, and the place of the first.
fn runs(rows: &[usize]) -> Vec<(usize, Selection)> {
    let mut runs: Vec<(usize, Selection)> = Vec::new();
    for (place, &row) in rows.iter().enumerate() {
        match runs.last_mut() {
            Some((_, run)) if run.count == 1 && row > run.start => {
                *run = Selection { step: row - run.start, count: 2, ..*run };
            }
            Some((_, run)) if run.count > 1 && row == run.start + run.count * run.step => run.count += 1,
            _ => runs.push((place, Selection { start: row, step: 1, count: 1 })),
        }
    }
    runs
}

fn slice(selection: Selection) -> SliceOrIndex {
    let Selection { start, step, count } = selection;
    SliceOrIndex::SliceCount { start, step: step.max(1), count, block: 1 }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use ndarray::Array3;

    use super::runs;
    use crate::io::data_exchange::scan::by_hand::{params, small};
    use crate::io::{Loaded, NanPolicy};
    use crate::space::{Selection, Shape, Tile};

    #[test]
    fn any_tile_of_any_rows_is_what_the_formula_gives() {
        let folder = tempfile::tempdir().unwrap();
        small(folder.path(), |_| {});
        for rows in [None, Some(vec![3]), Some(vec![0, 2, 4]), Some(vec![4, 0, 1, 3]), Some(vec![1, 2])] {
            let params = params("a.h5", rows.clone());
            let header = params.header(folder.path()).unwrap();
            let rows = rows.unwrap_or_else(|| (0..5).collect());
            let axes = header.shape.dims().len();
            assert_eq!(axes, if rows.len() == 1 { 2 } else { 3 });
            for angles in [
                Selection::all(4),
                Selection { start: 1, step: 2, count: 2 },
                Selection { start: 2, step: 1, count: 0 },
            ] {
                for columns in [Selection::all(3), Selection { start: 0, step: 2, count: 2 }] {
                    let mut tile = Tile::whole(&header.shape).with(0, angles).with(axes - 1, columns);
                    if axes == 3 {
                        tile = tile.with(1, Selection { start: 1, step: 1, count: rows.len() - 1 });
                    }
                    let mut got = vec![f64::NAN; tile.shape().len()];
                    params.read(folder.path(), &tile, &mut got).unwrap();
                    for (value, offset) in got.iter().zip(tile.offsets()) {
                        let (angle, row, column) = (offset / 3 / rows.len(), rows[offset / 3 % rows.len()], offset % 3);
                        let want = -((100 + 20 * angle + 4 * row + column) as f64 / 200.0).ln();
                        assert_eq!(*value, want, "{tile:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn dark_pixels_are_clamped_and_dead_ones_are_not_finite() {
        let folder = tempfile::tempdir().unwrap();
        small(folder.path(), |exchange| {
            let mut data = Array3::from_elem((4, 5, 3), 100.0f32);
            data[[2, 3, 1]] = -50.0;
            data[[2, 3, 2]] = 0.0;
            exchange.dataset("data").unwrap(); // replaced
            exchange.unlink("data").unwrap();
            exchange.new_dataset_builder().with_data(&data).create("data").unwrap();
            let mut white = Array3::from_elem((1, 5, 3), 200.0f32);
            white[[0, 4, 2]] = 0.0;
            exchange.unlink("data_white").unwrap();
            exchange.new_dataset_builder().with_data(&white).create("data_white").unwrap();
        });
        let strict = params("a.h5", Some(vec![3]));
        let tile = Tile::whole(&strict.header(folder.path()).unwrap().shape);
        let mut out = [0f32; 12];
        let loaded = strict.read(folder.path(), &tile, &mut out).unwrap();
        assert_eq!(loaded, Loaded { numbers: 12, clamped: 2, not_finite: 0 });
        assert_eq!(out[2 * 3 + 1], -(1e-6f64.ln()) as f32);

        let mut both = params("a.h5", Some(vec![4, 3]));
        let tile =
            Tile::whole(&both.header(folder.path()).unwrap().shape).with(0, Selection { start: 1, step: 1, count: 3 });
        let fault = both.read(folder.path(), &tile, &mut [0f64; 18]).unwrap_err();
        assert!(
            fault.text.contains("3 of the 18") && fault.text.contains("angle=1, row=4, column=2"),
            "{}",
            fault.text
        );
        assert!(fault.hint.unwrap().contains("data.nan"));
        both.nan = NanPolicy::Zero;
        let mut out = [1f64; 18];
        let loaded = both.read(folder.path(), &tile, &mut out).unwrap();
        assert_eq!(loaded, Loaded { numbers: 18, clamped: 2, not_finite: 3 });
        assert_eq!(out[2], 0.0);
    }

    #[test]
    fn rows_at_one_distance_are_one_request() {
        let of = |rows: &[usize]| -> Vec<_> {
            runs(rows).into_iter().map(|(place, run)| (place, run.start, run.step, run.count)).collect()
        };
        assert_eq!(of(&[0, 1, 2, 3]), [(0, 0, 1, 4)]);
        assert_eq!(of(&[1, 4, 7, 8]), [(0, 1, 3, 3), (3, 8, 1, 1)]);
        assert_eq!(of(&[5, 2]), [(0, 5, 1, 1), (1, 2, 1, 1)]);
        assert_eq!(of(&[]), []);
    }

    /// The tooth scan, where it is here.
    fn tooth() -> Option<PathBuf> {
        let folder = std::env::var_os("STACKPHYS_DATA")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
        let here = folder.join("tooth/tooth.h5").is_file();
        if !here {
            println!("skipped: no tooth/tooth.h5 in {}", folder.display());
        }
        here.then_some(folder)
    }

    #[test]
    fn the_tooth_agrees_with_h5py_and_numpy() {
        let Some(folder) = tooth() else { return };
        let one = params("tooth/tooth.h5", Some(vec![0]));
        let header = one.header(&folder).unwrap();
        assert_eq!(header.shape, Shape::new([("angle", 181), ("column", 640)]));
        let angles = header.angles.unwrap();
        assert_eq!(angles[0], 0.0);
        assert_eq!(angles[180], 179.00552486187846f64.to_radians());
        println!("{}", header.about);
        assert_eq!(
            header.about,
            "tooth/tooth.h5: 181 angles (0.000° to 179.006°), row 0 of 2, 640 columns; 10 white and 10 dark frames"
        );

        let mut y = vec![0f64; 181 * 640];
        let loaded = one.read(&folder, &Tile::whole(&header.shape), &mut y).unwrap();
        assert_eq!(loaded, Loaded { numbers: 181 * 640, clamped: 0, not_finite: 0 });
        let sum: f64 = y.iter().sum();
        let norm = y.iter().map(|y| y * y).sum::<f64>().sqrt();
        // numpy: q = (data − dark.mean(0)) / (white.mean(0) − dark.mean(0)) in float64, row 0; v = −log(maximum(q, 1e-6))
        assert!((sum / 52377.69604624752 - 1.0).abs() < 1e-12, "{sum}");
        assert!((norm / 251.29689135042935 - 1.0).abs() < 1e-12, "{norm}");
        assert!((y[0] - 0.006105370611930768).abs() < 1e-15, "{}", y[0]);
        assert!((y[181 * 640 - 1] + 0.0011002437627647122).abs() < 1e-15, "{}", y[181 * 640 - 1]);

        let both = params("tooth/tooth.h5", None);
        let shape = both.header(&folder).unwrap().shape;
        assert_eq!(shape, Shape::new([("angle", 181), ("row", 2), ("column", 640)]));
        let part = Tile::whole(&shape).with(0, Selection { start: 5, step: 12, count: 15 });
        let mut got = vec![0f32; 15 * 2 * 640];
        both.read(&folder, &part, &mut got).unwrap();
        for (k, angle) in part.selections()[0].iter().enumerate() {
            let (got, want) = (&got[k * 2 * 640..][..640], &y[angle * 640..][..640]);
            assert!(got.iter().zip(want).all(|(got, want)| *got == *want as f32));
        }
    }
}
