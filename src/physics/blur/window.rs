//! The blur of a part of the model, as far as it reaches a part of the result.
//!
//! Where `x` is cut into blocks, the result is cut too: around each edge of a block lies a strip, one kernel wide, to which
//! the blocks on both sides add; what is left in the middle of a block belongs to it alone. So of two neighbours' data only
//! such strips are summed between their ranks, which is what an exchange of margins would send.
//!
//! A part is blurred on a small grid of its own, with zeros around that are as wide as the kernel reaches: nothing comes
//! round the circle there, and the grid is a model like any other.

use super::Blur;
use crate::error::Fault;
use crate::operator::{LinearOperator, Structure, Work};
use crate::scalar::Scalar;
use crate::space::{Selection, Shape, Tile};

/// The blur of a window of the model, on a part of the result.
pub(super) struct BlurWindow<S: Scalar> {
    domain: Shape,
    range: Shape,
    /// On the small grid.
    blur: Blur<S>,
    /// What of `x` goes where on the small grid, and what of `y` comes from where.
    reads: Rows,
    writes: Rows,
}

/// Rows of neighbours in two arrays.
struct Rows {
    len: usize,
    /// Where each begins outside, and on the small grid.
    begins: Vec<[usize; 2]>,
}

impl Rows {
    fn between(outside: &Tile, inside: &Tile) -> Self {
        let last = outside.selections().len() - 1;
        let begins_of = |tile: &Tile| -> Vec<usize> {
            let Selection { start, count, .. } = tile.selections()[last];
            tile.clone().with(last, Selection { start, step: 1, count: count.min(1) }).offsets().collect()
        };
        let begins = begins_of(outside).into_iter().zip(begins_of(inside)).map(|(outside, inside)| [outside, inside]);
        Rows { len: outside.selections()[last].count, begins: begins.collect() }
    }
    /// Hands each row, outside and on the small grid.
    fn each(&self, mut visit: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>)) {
        let run = |begin: usize| begin..begin + self.len;
        self.begins.iter().for_each(|[outside, inside]| visit(run(*outside), run(*inside)));
    }
    fn bytes(&self) -> usize {
        size_of_val(self.begins.as_slice())
    }
}

/// One dim of the small grid.
struct Line {
    size: usize,
    /// What of the window it takes, and where it puts that.
    taken: Selection,
    put: usize,
    /// Where the result lies.
    result: usize,
}

impl Line {
    /// For samples of the window and of the result along a dim of `size` samples, where the kernel reaches so far. `None`: it
    /// does not reach from one to the other.
    fn new(window: Selection, result: Selection, size: usize, reach: usize) -> Option<Self> {
        if window == Selection::all(size) {
            return Some(Line { size, taken: window, put: 0, result: result.start });
        }
        let [size, reach] = [size, reach].map(|number| number as isize);
        let begin_end =
            |of: Selection, shift: isize| [of.start as isize + shift, (of.start + of.count) as isize + shift];
        let [first, last] = begin_end(window, 0);
        // the model is a circle: the result may lie beyond an edge
        let turns = [0, -size, size].into_iter();
        let (from, to, [begin, end]) = turns.map(|turn| begin_end(result, turn)).find_map(|[begin, end]| {
            let (from, to) = (first.max(begin - reach), last.min(end + reach));
            (from < to).then_some((from, to, [begin, end]))
        })?;
        let (low, high) = (from.min(begin), to.max(end));
        let place = |at: isize| (at - low) as usize;
        Some(Line {
            size: (high - low + reach) as usize,
            taken: Selection { start: (from - first) as usize, step: 1, count: (to - from) as usize },
            put: place(from),
            result: place(begin),
        })
    }
}

impl<S: Scalar> BlurWindow<S> {
    /// For a window of the model and a part of the result, where the kernel reaches so far along each dim. `blur` makes the
    /// blur of a grid. Fault: the kernel does not reach from one to the other.
    pub fn new(
        window: &Tile,
        result: &Tile,
        reach: &[usize],
        blur: impl FnOnce(&Shape) -> Result<Blur<S>, Fault>,
    ) -> Result<Self, Fault> {
        let sizes = window.of().sizes();
        let line = |axis: usize| {
            let (window, result) = (window.selections()[axis], result.selections()[axis]);
            Line::new(window, result, sizes[axis], reach[axis])
                .ok_or_else(|| Fault::new("the kernel of a blur does not reach from a part of x to a part of y"))
        };
        let lines = (0..sizes.len()).map(line).collect::<Result<Vec<_>, _>>()?;
        let small = Shape::new(window.of().names().zip(&lines).map(|(name, line)| (name, line.size)));
        let (domain, range) = (window.shape(), result.shape());
        let [mut taken, mut put, mut from] = [Tile::whole(&domain), Tile::whole(&small), Tile::whole(&small)];
        for (axis, line) in lines.iter().enumerate() {
            let run = |start, count| Selection { start, step: 1, count };
            taken = taken.with(axis, line.taken);
            put = put.with(axis, run(line.put, line.taken.count));
            from = from.with(axis, run(line.result, result.selections()[axis].count));
        }
        Ok(BlurWindow {
            blur: blur(&small)?,
            reads: Rows::between(&taken, &put),
            writes: Rows::between(&Tile::whole(&range), &from),
            domain,
            range,
        })
    }

    /// The blur on the small grid.
    pub fn into_blur(self) -> Blur<S> {
        self.blur
    }
    /// Bytes beside the blur.
    pub fn bytes(&self) -> usize {
        self.reads.bytes() + self.writes.bytes()
    }

    /// Blurs on the small grid what `fill` puts there, and hands the result to `take`.
    fn blurred(&self, work: &mut Work, fill: impl FnOnce(&mut [S]), take: impl FnOnce(&[S])) {
        let len = self.blur.shape.len();
        let (mut from, mut to) = (work.take::<S>("blur window", len), work.take::<S>("blur window, blurred", len));
        from.fill(S::default());
        fill(&mut from);
        self.blur.apply(&from, &mut to, false, work);
        take(&to);
        work.give("blur window, blurred", to);
        work.give("blur window", from);
    }
}

impl<S: Scalar> LinearOperator<S> for BlurWindow<S> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[S], y: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.blurred(
            work,
            |grid| self.reads.each(|outside, inside| grid[inside].copy_from_slice(&x[outside])),
            |grid| self.writes.each(|outside, inside| y[outside].copy_from_slice(&grid[inside])),
        );
        Ok(())
    }
    fn apply_adjoint(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        x.fill(S::default());
        self.apply_adjoint_add(y, x, work)
    }
    fn apply_adjoint_add(&self, y: &[S], x: &mut [S], work: &mut Work) -> Result<(), Fault> {
        self.blurred(
            work,
            |grid| self.writes.each(|outside, inside| grid[inside].copy_from_slice(&y[outside])),
            |grid| self.reads.each(|outside, inside| crate::space::add(&grid[inside], &mut x[outside])),
        );
        Ok(())
    }
    fn structure(&self) -> Structure {
        Structure { non_negative: true, ..Structure::default() }
    }
    fn norm_squared_bound(&self) -> Option<f64> {
        self.blur.norm_squared_bound()
    }
    fn name(&self) -> String {
        self.blur.name()
    }
    fn batch_dims(&self) -> Vec<[String; 2]> {
        Vec::new()
    }
}

/// The parts of a dim of the result to which blocks of the model add, where their edges are `edges` and the kernel reaches so
/// far: a strip around each edge, and what lies between. `None`: some block is too small for that.
pub(super) fn strips(edges: &[usize], reach: usize) -> Option<Vec<Selection>> {
    let size = *edges.last()?;
    if edges.windows(2).any(|pair| pair[1] - pair[0] < 2 * reach) {
        return None;
    }
    let around = edges.iter().flat_map(|edge| [edge.saturating_sub(reach), (edge + reach).min(size)]);
    let mut ends: Vec<usize> = around.chain([0, size]).collect();
    ends.sort_unstable();
    ends.dedup();
    Some(ends.windows(2).map(|pair| Selection { start: pair[0], step: 1, count: pair[1] - pair[0] }).collect())
}

/// Whether a kernel reaches from some samples to others along a dim of a size.
pub(super) fn reaches(window: Selection, result: Selection, size: usize, reach: usize) -> bool {
    Line::new(window, result, size, reach).is_some()
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::super::Padding;
    use super::super::gaussian::gaussian_reach;
    use super::*;
    use crate::operator::Apply;
    use crate::random::Stream;
    use crate::testing::{dot_test, structure_test};

    fn run(start: usize, count: usize) -> Selection {
        Selection { start, step: 1, count }
    }

    #[test]
    fn strips_are_around_edges() {
        assert_eq!(strips(&[0, 5, 12], 2).unwrap(), [run(0, 2), run(2, 1), run(3, 4), run(7, 3), run(10, 2)]);
        assert_eq!(strips(&[0, 4, 8], 2).unwrap(), [run(0, 2), run(2, 4), run(6, 2)]);
        assert_eq!(strips(&[0, 3, 8], 0).unwrap(), [run(0, 3), run(3, 5)]);
        assert!(strips(&[0, 3, 8], 2).is_none());
        // from the first samples to the last ones round the circle
        assert!(reaches(run(0, 4), run(6, 2), 8, 2) && !reaches(run(0, 4), run(6, 2), 9, 1));
    }

    /// What windows give to strips adds up to the blur of the whole.
    #[test]
    fn windows_add_up_to_the_whole() {
        fn check<S: Scalar>(tolerance: f64) {
            let model = Shape::new([("z", 3), ("y", 23), ("x", 19)]);
            let (sigmas, radius) = ([0.0, 1.1, 0.8], Some(3));
            let blur = |shape: &Shape| Blur::<S>::gaussian(shape, &sigmas, radius, Padding::Circular);
            let reach: Vec<usize> = sigmas.iter().map(|sigma| gaussian_reach(*sigma, radius)).collect();
            assert_eq!(reach, [0, 3, 3]);
            let edges = [vec![0, 1, 3], vec![0, 8, 17, 23], vec![0, 19]];
            let parts = |axis: usize| -> Vec<Selection> {
                edges[axis].windows(2).map(|pair| run(pair[0], pair[1] - pair[0])).collect()
            };
            let results = |axis: usize| match edges[axis].len() {
                2 => parts(axis), // not cut
                _ => strips(&edges[axis], reach[axis]).unwrap(),
            };
            let tiles = |of: &dyn Fn(usize) -> Vec<Selection>| -> Vec<Tile> {
                let mut tiles = vec![Tile::whole(&model)];
                for axis in 0..3 {
                    let cut = |tile: Tile| of(axis).into_iter().map(move |part| tile.clone().with(axis, part));
                    tiles = tiles.into_iter().flat_map(cut).collect();
                }
                tiles
            };
            let mut x = vec![S::default(); model.len()];
            Stream::new(3, 1).fill_normal(0, &mut x);
            let (mut want, mut sum) = (x.clone(), vec![S::default(); model.len()]);
            let mut work = Work::default();
            blur(&model).unwrap().forward(&x, &mut want, &mut work).unwrap();
            let mut pairs = 0;
            for window in tiles(&parts) {
                let here: Vec<S> = window.offsets().map(|at| x[at]).collect();
                for result in tiles(&results) {
                    let Ok(part) = BlurWindow::new(&window, &result, &reach, blur) else { continue };
                    let mut y = vec![S::from_f64(f64::NAN); result.shape().len()];
                    part.forward(&here, &mut y, &mut work).unwrap();
                    result.offsets().zip(y).for_each(|(at, y)| sum[at] += y);
                    assert!(dot_test(&part, 1).unwrap().passes::<S>());
                    structure_test(&part, 1).unwrap();
                    pairs += 1;
                }
            }
            // of each block its middle and the strips on both sides; that around the ends of the circle is two parts, of
            // which the last block, without a middle, and the first reach both
            assert_eq!(pairs, 2 * (4 + 3 + 3));
            let scale = want.iter().map(|value| value.modulus_squared()).sum::<f64>().sqrt();
            let apart = sum.iter().zip(&want).map(|(a, b)| (*a - *b).modulus_squared()).sum::<f64>().sqrt();
            assert!(apart < tolerance * scale, "{apart} of {scale}");
        }
        check::<f64>(1e-13);
        check::<f32>(1e-5);
        check::<Complex<f64>>(1e-13);
    }
}
