//! The transform itself: a fine grid with its Fourier transform, and the points, sorted by tiles of that grid.
//!
//! From the model to points (type 2): divide by the transform of the kernel, pad, transform, and for each point add up its
//! neighbours. From points to the model (type 1): the same backwards, with the very same weights, so the two are adjoints of
//! each other to rounding, whatever their accuracy.
//!
//! A tile of the grid is copied out (or added back) as a whole, so the inner loops stay in the fast caches and know no
//! edges. Tiles that have the same first index make a band. Bands that are two apart have no neighbours in common: threads
//! add the even ones, then the odd ones, then those at the end, so each number is summed in one order.

use std::ops::Range;

use num_complex::Complex;
use rayon::prelude::*;

use super::kernel::{Kernel, LANES, Taps};
use super::lanes::{self, Points};
use crate::error::Fault;
use crate::fourier::{Along, Planned, Way, cost, fast_size};
use crate::operator::Work;
use crate::physics::joseph::Instructions;
use crate::physics::threads;
use crate::scalar::{Real, Scalar, complex, complex_mut};

/// Samples of a tile along each dim, for 1, 2 and 3 dims: with margins it stays in the fast caches.
const TILES: [[usize; 3]; 3] = [[1, 1, 1024], [1, 32, 64], [16, 16, 16]];
/// Zeros that a row of weights may end with.
const MARGIN: usize = LANES / 2;

/// Points in a tile, and where that begins.
struct Tile {
    corner: [usize; 3],
    points: Range<usize>,
}

/// The fine grid as three dims, the slowest ones of size 1 where there are fewer.
struct Grid {
    sizes: [usize; 3],
    /// Neighbours of a point along each dim.
    width: [usize; 3],
    tile: [usize; 3],
    dims: usize,
}

impl Grid {
    /// Samples of a tile with its margin; rows have room for the zeros that weights end with.
    fn reach(&self) -> [usize; 3] {
        let reach: [usize; 3] = std::array::from_fn(|axis| self.tile[axis] + self.width[axis] - 1);
        [reach[0], reach[1], reach[2] + MARGIN]
    }
    /// The numbers of a tile with its margin.
    fn tile_len(&self) -> usize {
        self.reach().iter().product::<usize>() + MARGIN
    }
    fn len(&self) -> usize {
        self.sizes.iter().product()
    }
    /// The first dim that there is: bands are cut along it.
    fn first(&self) -> usize {
        3 - self.dims
    }
    /// The numbers of a sample of the first dim.
    fn row(&self) -> usize {
        self.sizes[self.first() + 1..].iter().product()
    }

    /// For each row of a tile its place in the tile, and its place in the grid counted from row `from` of the first dim.
    fn rows(&self, corner: [usize; 3], from: usize) -> impl Iterator<Item = (usize, usize)> {
        let [planes, rows, length] = self.reach();
        let (sizes, first) = (self.sizes, self.first());
        let wrapped = move |axis: usize, at: usize| {
            let at = (corner[axis] + at) % sizes[axis];
            if axis == first { (at + sizes[axis] - from) % sizes[axis] } else { at }
        };
        (0..planes).flat_map(move |z| {
            (0..rows).map(move |y| ((z * rows + y) * length, (wrapped(0, z) * sizes[1] + wrapped(1, y)) * sizes[2]))
        })
    }

    /// Copies a tile of the grid.
    fn copy<R: Copy>(&self, grid: &[Complex<R>], corner: [usize; 3], tile: &mut [Complex<R>]) {
        let (size, length) = (self.sizes[2], self.reach()[2]);
        for (to, row) in self.rows(corner, 0) {
            let row = &grid[row..row + size];
            let (mut at, mut rest) = (corner[2], &mut tile[to..to + length]);
            while !rest.is_empty() {
                let (run, after) = rest.split_at_mut((size - at).min(rest.len()));
                run.copy_from_slice(&row[at..at + run.len()]);
                (at, rest) = (0, after);
            }
        }
    }

    /// Adds a tile to the part of the grid that begins with row `from` of the first dim.
    fn add<R: Real>(&self, tile: &[Complex<R>], corner: [usize; 3], part: &mut [Complex<R>], from: usize) {
        let (size, length) = (self.sizes[2], self.reach()[2] - MARGIN);
        let before = if self.dims == 1 { from } else { 0 };
        for (of, row) in self.rows(corner, from) {
            let (mut at, mut rest) = (corner[2], &tile[of..of + length]);
            while !rest.is_empty() {
                let (run, after) = rest.split_at((size - at).min(rest.len()));
                for (sum, value) in part[row + at - before..].iter_mut().zip(run) {
                    *sum = Complex::new(sum.re + value.re, sum.im + value.im);
                }
                (at, rest) = (0, after);
            }
        }
    }
}

/// A planned transform. Memory: for each point two numbers of 4 bytes and a cell of 4, and its place along each dim; the
/// tables of the Fourier transforms.
pub(crate) struct Engine<R: Real> {
    sizes: [usize; 3],
    grid: Grid,
    taps: Taps<R>,
    fourier: Box<dyn Planned<R>>,
    /// For each dim one over the transform of the kernel, for each sample of the model, and over the root of their number.
    factors: [Vec<R>; 3],
    places: Vec<R>,
    cells: Vec<u32>,
    /// The points in the order of tiles, and where each one is in that order.
    order: Vec<u32>,
    rank: Vec<u32>,
    tiles: Vec<Tile>,
    instructions: Instructions,
}

/// What a transform will need: see [`Engine::needs`].
pub(super) struct Size {
    pub bytes: usize,
    pub scratch_bytes: usize,
    pub cost: f64,
}

/// The fine grid along one dim.
fn fine(size: usize, oversampling: f64, width: usize) -> usize {
    fast_size(((oversampling * size as f64).ceil() as usize).max(width + 1))
}

impl<R: Real> Engine<R> {
    /// A transform of a model of 1 to 3 dims at points in cycles per sample, one number for each dim in the model's order.
    pub fn new(sizes: &[usize], points: &[f64], accuracy: f64, oversampling: f64) -> Result<Self, Fault> {
        let kernel = kernel(sizes, accuracy, oversampling, R::EPSILON)?;
        Ok(Self::with_kernel(sizes, points, kernel, oversampling))
    }

    fn with_kernel(model: &[usize], points: &[f64], kernel: Kernel, oversampling: f64) -> Self {
        let (dims, width) = (model.len(), kernel.width);
        let first = 3 - dims;
        let of = |values: &dyn Fn(usize) -> usize| -> [usize; 3] {
            std::array::from_fn(|axis| if axis < first { 1 } else { values(axis - first) })
        };
        let sizes = of(&|dim| model[dim]);
        let fine_sizes = of(&|dim| fine(model[dim], oversampling, width));
        let grid = Grid { sizes: fine_sizes, width: of(&|_| width), tile: TILES[dims - 1], dims };
        let along: Vec<Along> = (first..3)
            .map(|axis| {
                let (size, samples) = (grid.sizes[axis], sizes[axis]);
                Along { size, live: [samples - samples / 2, samples / 2], transformed: true }
            })
            .collect();
        let factors = std::array::from_fn(|axis| {
            let (size, fine) = (sizes[axis], grid.sizes[axis]);
            let factor = |sample: usize| {
                let frequency = (sample as f64 - (size / 2) as f64) / fine as f64;
                R::from_f64(1.0 / (kernel.transform(frequency) * (size as f64).sqrt()))
            };
            if axis < first { vec![R::from_f64(1.0)] } else { (0..size).map(factor).collect() }
        });
        let mut engine = Engine {
            sizes,
            grid,
            taps: kernel.taps(),
            fourier: R::fourier_plan(&along),
            factors,
            places: Vec::new(),
            cells: Vec::new(),
            order: Vec::new(),
            rank: Vec::new(),
            tiles: Vec::new(),
            instructions: Instructions::detect(),
        };
        engine.sort(points);
        engine
    }

    /// Sorts points by tiles.
    fn sort(&mut self, points: &[f64]) {
        let Grid { sizes, tile, dims, .. } = self.grid;
        let (first, width, count) = (self.grid.first(), self.taps.width, points.len() / dims);
        let tiles: [usize; 3] = std::array::from_fn(|axis| sizes[axis].div_ceil(tile[axis]));
        // the first neighbour, and where the point lies after it
        let place = |point: usize, axis: usize| {
            if axis < first {
                return (0, 0.0);
            }
            let at = points[point * dims + axis - first] * sizes[axis] as f64 - width as f64 / 2.0;
            let neighbour = at.ceil();
            (neighbour.rem_euclid(sizes[axis] as f64) as usize % sizes[axis], 2.0 * (neighbour - at) - 1.0)
        };
        let tile_of = |point: usize| (0..3).fold(0, |at, axis| at * tiles[axis] + place(point, axis).0 / tile[axis]);
        let numbers: Vec<u32> = (0..count).map(|point| tile_of(point) as u32).collect();
        let mut ends = vec![0; tiles.iter().product::<usize>() + 1];
        numbers.iter().for_each(|number| ends[*number as usize + 1] += 1);
        for k in 1..ends.len() {
            ends[k] += ends[k - 1];
        }
        for (number, points) in ends.windows(2).enumerate().filter(|(_, points)| points[1] > points[0]) {
            let at = [number / (tiles[1] * tiles[2]), number / tiles[2] % tiles[1], number % tiles[2]];
            let corner = std::array::from_fn(|axis| at[axis] * tile[axis]);
            self.tiles.push(Tile { corner, points: points[0]..points[1] });
        }
        (self.order, self.rank) = (vec![0; count], vec![0; count]);
        for (point, number) in numbers.iter().enumerate() {
            let next = &mut ends[*number as usize];
            (self.order[*next], self.rank[point]) = (point as u32, *next as u32);
            *next += 1;
        }
        let [_, rows, length] = self.grid.reach();
        for point in &self.order {
            let at: [(usize, f64); 3] = std::array::from_fn(|axis| place(*point as usize, axis));
            let [z, y, x] = std::array::from_fn(|axis| at[axis].0 % tile[axis]);
            self.cells.push(((z * rows + y) * length + x) as u32);
            self.places.extend(at[first..].iter().map(|(_, place)| R::from_f64(*place)));
        }
    }

    /// The number of points.
    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// `y_j = N^(−½) Σ_n m_n x_n exp(−2πi k_j·(n − ⌊N/2⌋))`, with `m` = 1 if there is none; adds to `y` if asked.
    pub fn forward<S: Scalar<Real = R>>(&self, map: Option<&[S]>, x: &[S], y: &mut [S], add: bool, work: &mut Work) {
        let mut grid = work.take::<S>("nufft grid", self.grid.len());
        let mut scratch = work.take::<S>("nufft scratch", self.fourier.scratch());
        self.embed(map, x, &mut grid);
        self.fourier.spread(complex_mut(&mut grid), Way::There, complex_mut(&mut scratch));
        work.give("nufft scratch", scratch);

        let mut values = work.take::<S>("nufft values", self.count());
        let (each, tasks) = self.tasks();
        let mut tiles = work.take::<S>("nufft tiles", tasks * self.grid.tile_len());
        let pieces = values.par_chunks_mut(each).zip(tiles.par_chunks_mut(self.grid.tile_len())).enumerate();
        let interpolate = |(task, (values, tile)): (usize, (&mut [S], &mut [S]))| {
            self.interpolate(complex(&grid), task * each, complex_mut(values), complex_mut(tile));
        };
        if tasks > 1 {
            pieces.for_each(interpolate);
        } else if !values.is_empty() {
            interpolate((0, (&mut values, &mut tiles)));
        }
        for (y, rank) in y.iter_mut().zip(&self.rank) {
            let value = values[*rank as usize];
            *y = if add { *y + value } else { value };
        }
        work.give("nufft tiles", tiles);
        work.give("nufft values", values);
        work.give("nufft grid", grid);
    }

    /// `x_n += N^(−½) Σ_j m̄_n y_j exp(+2πi k_j·(n − ⌊N/2⌋))`.
    pub fn adjoint_add<S: Scalar<Real = R>>(&self, map: Option<&[S]>, y: &[S], x: &mut [S], work: &mut Work) {
        let mut values = work.take::<S>("nufft values", self.count());
        for (value, point) in values.iter_mut().zip(&self.order) {
            *value = y[*point as usize];
        }
        let mut grid = work.take::<S>("nufft grid", self.grid.len());
        grid.fill(S::default());
        self.spread::<S>(complex(&values), complex_mut(&mut grid), work);
        work.give("nufft values", values);
        let mut scratch = work.take::<S>("nufft scratch", self.fourier.scratch());
        self.fourier.gather(complex_mut(&mut grid), Way::Back, complex_mut(&mut scratch));
        work.give("nufft scratch", scratch);
        self.extract(map, &grid, x);
        work.give("nufft grid", grid);
    }

    /// Points of one task, and tasks: of one thread all.
    fn tasks(&self) -> (usize, usize) {
        let threads = threads::count();
        let each = if threads == 1 { self.count() } else { threads::share(self.count(), threads, 1024) }.max(1);
        (each, self.count().div_ceil(each).max(1))
    }

    /// The rows of the model: where each begins in the model and in the grid, and its factor.
    fn rows(&self) -> impl Iterator<Item = (usize, usize, R)> + '_ {
        let [planes, rows, length] = self.sizes;
        let on_grid = |axis: usize, at: usize| {
            let (size, fine) = (self.sizes[axis], self.grid.sizes[axis]);
            (at + fine - size / 2) % fine
        };
        (0..planes).flat_map(move |z| {
            (0..rows).map(move |y| {
                let fine = (on_grid(0, z) * self.grid.sizes[1] + on_grid(1, y)) * self.grid.sizes[2];
                ((z * rows + y) * length, fine, self.factors[0][z] * self.factors[1][y])
            })
        })
    }

    /// The model onto the grid, with the middle of its samples at the origin.
    fn embed<S: Scalar<Real = R>>(&self, map: Option<&[S]>, x: &[S], grid: &mut [S]) {
        let (size, fine) = (self.sizes[2], self.grid.sizes[2]);
        for (from, to, factor) in self.rows() {
            for (samples, first) in [(size / 2..size, to), (0..size / 2, to + fine - size / 2)] {
                let range = from + samples.start..from + samples.end;
                let factors = self.factors[2][samples].iter().map(|along| factor * *along);
                let on_grid = grid[first..].iter_mut().zip(factors).zip(&x[range.clone()]);
                match map {
                    None => on_grid.for_each(|((value, factor), x)| *value = x.scale(factor)),
                    Some(map) => on_grid
                        .zip(&map[range])
                        .for_each(|(((value, factor), x), map)| *value = (*x * *map).scale(factor)),
                }
            }
        }
    }

    /// What [`embed`](Self::embed) does, backwards.
    fn extract<S: Scalar<Real = R>>(&self, map: Option<&[S]>, grid: &[S], x: &mut [S]) {
        let (size, fine) = (self.sizes[2], self.grid.sizes[2]);
        for (from, to, factor) in self.rows() {
            for (samples, first) in [(size / 2..size, to), (0..size / 2, to + fine - size / 2)] {
                let range = from + samples.start..from + samples.end;
                let factors = self.factors[2][samples].iter().map(|along| factor * *along);
                let on_grid = grid[first..].iter().zip(factors).zip(&mut x[range.clone()]);
                match map {
                    None => on_grid.for_each(|((value, factor), x)| *x += value.scale(factor)),
                    Some(map) => on_grid
                        .zip(&map[range])
                        .for_each(|(((value, factor), x), map)| *x += (*value * map.conj()).scale(factor)),
                }
            }
        }
    }

    /// Some sorted points as the inner loops want them.
    fn points(&self, range: Range<usize>) -> Points<'_, R> {
        let [_, rows, length] = self.grid.reach();
        let (Taps { width, single, double }, dims) = (&self.taps, self.grid.dims);
        let places = &self.places[range.start * dims..range.end * dims];
        let steps = [rows * length, length];
        Points { width: *width, single, double, dims, cells: &self.cells[range], places, steps }
    }

    /// The values at sorted points from `first` on.
    fn interpolate(&self, grid: &[Complex<R>], first: usize, values: &mut [Complex<R>], tile: &mut [Complex<R>]) {
        let end = first + values.len();
        let from = self.tiles.partition_point(|tile| tile.points.end <= first);
        for Tile { corner, points } in self.tiles[from..].iter().take_while(|tile| tile.points.start < end) {
            let points = points.start.max(first)..points.end.min(end);
            self.grid.copy(grid, *corner, tile);
            let out = &mut values[points.start - first..points.end - first];
            lanes::interpolate(self.instructions, self.points(points), tile, out);
        }
    }

    /// Adds values at sorted points to the grid.
    fn spread<S: Scalar<Real = R>>(&self, values: &[Complex<R>], grid: &mut [Complex<R>], work: &mut Work) {
        let (first, row, tile_len) = (self.grid.first(), self.grid.row(), self.grid.tile_len());
        let (size, height) = (self.grid.sizes[first], self.grid.tile[first]);
        let bands = size.div_ceil(height);
        // those whose margin goes round the edge, or reaches beyond the next band, come last
        let margin = self.taps.width - 1;
        let inner = if margin > height { 0 } else { size.saturating_sub(margin) / height };
        let of_band = |band: usize| {
            let of = |band: usize| self.tiles.partition_point(|tile| tile.corner[first] < band * height);
            &self.tiles[of(band)..of(band + 1)]
        };
        let add = |band: usize, part: &mut [Complex<R>], from: usize, tile: &mut [Complex<R>]| {
            for Tile { corner, points } in of_band(band) {
                tile.fill(Complex::default());
                lanes::spread(self.instructions, self.points(points.clone()), &values[points.clone()], tile);
                self.grid.add(tile, *corner, part, from);
            }
        };
        let parallel = threads::count() > 1 && inner > 1;
        let mut tiles = work.take::<S>("nufft tiles", if parallel { inner.div_ceil(2) } else { 1 } * tile_len);
        for odd in 0..2 {
            let pairs = inner.saturating_sub(odd).div_ceil(2);
            let from = odd * height;
            let part = &mut grid[(from * row).min(size * row)..];
            if parallel {
                let parts = part.par_chunks_mut(2 * height * row).zip(complex_mut(&mut tiles).par_chunks_mut(tile_len));
                parts.take(pairs).enumerate().for_each(|(pair, (part, tile))| {
                    let band = 2 * pair + odd;
                    add(band, part, band * height, tile);
                });
            } else {
                for (pair, part) in part.chunks_mut(2 * height * row).take(pairs).enumerate() {
                    let band = 2 * pair + odd;
                    add(band, part, band * height, complex_mut(&mut tiles[..tile_len]));
                }
            }
        }
        for band in inner..bands {
            add(band, grid, 0, complex_mut(&mut tiles[..tile_len]));
        }
        work.give("nufft tiles", tiles);
    }

    /// What a transform holds and costs. `scratch_bytes` on one thread.
    pub(super) fn needs(sizes: &[usize], points: usize, accuracy: f64, oversampling: f64) -> Result<Size, Fault> {
        let kernel = kernel(sizes, accuracy, oversampling, R::EPSILON)?;
        let (real, dims) = (size_of::<R>(), sizes.len());
        let fine_sizes: Vec<usize> = sizes.iter().map(|size| fine(*size, oversampling, kernel.width)).collect();
        let grid: usize = fine_sizes.iter().product();
        let tile: usize =
            TILES[dims - 1].iter().map(|tile| if *tile == 1 { 1 } else { tile + kernel.width + MARGIN }).product();
        let around = kernel.width.pow(dims as u32);
        Ok(Size {
            bytes: points * (12 + dims * real) + kernel.taps::<R>().bytes() + sizes.iter().sum::<usize>() * real,
            scratch_bytes: 2 * real * (grid + points + tile),
            // four operations for each neighbour and part of a complex number, and its weights
            cost: cost(&fine_sizes, sizes) + (points * (4 * around + 60 * dims)) as f64,
        })
    }
}

/// The kernel that reaches an accuracy. Faults: there is none; the model has other than 1 to 3 dims.
fn kernel(sizes: &[usize], accuracy: f64, oversampling: f64, epsilon: f64) -> Result<Kernel, Fault> {
    if !(1..=3).contains(&sizes.len()) || sizes.contains(&0) {
        return Err(Fault::new(format!("the model: expected 1 to 3 dims that are not empty, got sizes {sizes:?}"))
            .hint("a transform at points goes over all dims of the model"));
    }
    if !(oversampling.is_finite() && (1.25..=4.0).contains(&oversampling)) {
        return Err(Fault::new(format!("`oversampling`: expected a number from 1.25 to 4, got {oversampling}"))
            .hint("2.0 is the usual one; 1.25 needs less memory, and more neighbours for each point"));
    }
    if !(accuracy > 0.0 && accuracy < 1.0) {
        return Err(Fault::new(format!("`accuracy`: expected a relative error between 0 and 1, got {accuracy}"))
            .hint("1e-6 is six digits"));
    }
    let (least, scalar) = if epsilon > 1e-10 { (1e-6, "single") } else { (1e-13, "double") };
    if accuracy < least {
        let text =
            format!("`accuracy`: expected at least {least:e}, what {scalar} precision can hold, got {accuracy:e}");
        return Err(Fault::new(text).hint(match scalar {
            "single" => "set model.scalar to \"complex_f64\", or ask for less",
            _ => "ask for less",
        }));
    }
    Kernel::reaching(accuracy, oversampling, sizes.len(), epsilon)
}
