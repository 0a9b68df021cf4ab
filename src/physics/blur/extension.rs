//! An image on a larger grid, as its padding goes on beyond its edges, and the adjoint: each sample of the grid is added to
//! the one that it is a copy of.

use super::Padding;

/// Where each sample of a grid comes from.
#[derive(Debug, Clone)]
pub(super) struct Extension {
    /// For each row of the grid the place of its row in the image; `None` is a row of zeros.
    rows: Vec<Option<usize>>,
    /// For each place of a row of the grid the place in a row of the image.
    row: Vec<Option<usize>>,
    /// Where the image itself lies in a row of the grid.
    begin: usize,
    /// The length of a row of the image.
    inner: usize,
}

/// One dim: the size of the image, how much of the grid lies before it, how far its padding goes behind it, and the size of the
/// grid, with zeros at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub size: usize,
    pub before: usize,
    pub behind: usize,
    pub grid: usize,
}

impl Line {
    fn sample(&self, at: usize, padding: Padding) -> Option<usize> {
        let Line { size, before, behind, .. } = *self;
        (at < before + size + behind).then(|| padding.sample(at as isize - before as isize, size)).flatten()
    }
    fn is_whole(&self) -> bool {
        self.grid == self.size
    }
}

impl Extension {
    /// For images and grids of at least one dim. `None`: the grid is the image.
    pub fn new(lines: &[Line], padding: Padding) -> Option<Self> {
        let (last, others) = lines.split_last()?;
        if lines.iter().all(Line::is_whole) {
            return None;
        }
        let mut rows = vec![Some(0)];
        for line in others {
            let places = (0..line.grid).map(|at| line.sample(at, padding)).collect::<Vec<_>>();
            let below = |row: Option<usize>| {
                places.iter().map(move |place| Some(row? * line.size + (*place)?)).collect::<Vec<_>>()
            };
            rows = rows.into_iter().flat_map(below).collect();
        }
        let row = (0..last.grid).map(|at| last.sample(at, padding)).collect();
        Some(Extension { rows, row, begin: last.before, inner: last.size })
    }

    /// Bytes that an extension of these lines takes.
    pub fn bytes(lines: &[Line]) -> usize {
        if lines.iter().all(Line::is_whole) {
            return 0;
        }
        let Some((last, others)) = lines.split_last() else { return 0 };
        (others.iter().map(|line| line.grid).product::<usize>() + last.grid) * size_of::<Option<usize>>()
    }

    /// How often a sample of the image stands in the grid, at most.
    pub fn copies(lines: &[Line], padding: Padding) -> usize {
        let of_line = |line: &Line| {
            let mut counts = vec![0; line.size];
            (0..line.grid).filter_map(|at| line.sample(at, padding)).for_each(|at| counts[at] += 1);
            counts.into_iter().max().unwrap_or(0)
        };
        lines.iter().map(of_line).product()
    }

    /// Fills the grid with what `get` makes of the image.
    pub fn extend<T: Copy, U: Copy + Default>(&self, image: &[T], grid: &mut [U], get: impl Fn(T) -> U) {
        let (begin, inner) = (self.begin, self.inner);
        for (grid, row) in grid.chunks_exact_mut(self.row.len()).zip(&self.rows) {
            let Some(row) = row else {
                grid.fill(U::default());
                continue;
            };
            let image = &image[row * inner..][..inner];
            for (grid, image) in grid[begin..begin + inner].iter_mut().zip(image) {
                *grid = get(*image);
            }
            for at in (0..begin).chain(begin + inner..grid.len()) {
                grid[at] = self.row[at].map_or(U::default(), |place| get(image[place]));
            }
        }
    }

    /// Hands each number of the grid to `put`, with the sample of the image that it is a copy of.
    pub fn fold<T, U: Copy>(&self, grid: &[U], image: &mut [T], put: impl Fn(&mut T, U)) {
        let (begin, inner) = (self.begin, self.inner);
        for (grid, row) in grid.chunks_exact(self.row.len()).zip(&self.rows) {
            let Some(row) = row else { continue };
            let image = &mut image[row * inner..][..inner];
            for (grid, image) in grid[begin..begin + inner].iter().zip(image.iter_mut()) {
                put(image, *grid);
            }
            for at in (0..begin).chain(begin + inner..grid.len()) {
                if let Some(place) = self.row[at] {
                    put(&mut image[place], grid[at]);
                }
            }
        }
    }
}
