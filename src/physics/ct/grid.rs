//! The voxels that rays are summed over: the model, a block of it, or the part of one that a thread adds to.

use super::scan::{Line, Vec3};
use crate::error::Fault;
use crate::space::{Shape, Tile};

/// A box of voxels: how many along x, y and z, and where its first voxel stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Grid {
    /// Along x, y (down the rows) and z.
    pub sizes: [usize; 3],
    /// The middle of the whole model, counted in voxels of this box.
    middle: Vec3,
    /// Whether it is an image, not a volume: rays lie in its plane.
    pub flat: bool,
}

impl Grid {
    /// Faults: a model that is neither image nor volume; a part of it that is not a run of neighbours.
    pub fn of(window: &Tile) -> Result<Self, Fault> {
        let flat = expect_model(window.of())?;
        if let Some(gap) = window.selections().iter().find(|selection| selection.step > 1) {
            let text = format!("part of the model: expected neighbouring samples, got every {}th", gap.step);
            return Err(Fault::new(text).hint("cut the model into contiguous blocks"));
        }
        let along = |name: &str| {
            let (whole, part) = (window.of().size(name).unwrap_or(1), window.selection(name));
            let (first, count) = part.map_or((0, 1), |part| (part.start, part.count));
            (count, (whole as f64 - 1.0) / 2.0 - first as f64)
        };
        let [x, y, z] = ["x", "y", "z"].map(along);
        Ok(Grid { sizes: [x.0, y.0, z.0], middle: [x.1, y.1, z.1], flat })
    }

    /// How far voxels that are neighbours along x, y and z lie apart in memory.
    pub fn strides(&self) -> [usize; 3] {
        [1, self.sizes[0], self.sizes[0] * self.sizes[1]]
    }
    /// How many voxels.
    pub fn len(&self) -> usize {
        self.sizes.iter().product()
    }
    /// The dim that is slowest in memory.
    pub fn slowest(&self) -> usize {
        if self.flat { 1 } else { 2 }
    }
    /// A run of the slowest dim.
    pub fn slab(mut self, first: usize, count: usize) -> Self {
        let axis = self.slowest();
        self.sizes[axis] = count;
        self.middle[axis] -= first as f64;
        self
    }

    /// A line in voxels of this box: index 0 is the middle of the first voxel, y counts downwards.
    pub fn line(&self, Line { origin, direction }: Line) -> Line {
        let [x, y, z] = self.middle;
        Line {
            origin: [x + origin[0], y - origin[1], z + origin[2]],
            direction: [direction[0], -direction[1], direction[2]],
        }
    }
    /// Where a voxel stands.
    pub fn place(&self, x: usize, y: usize, z: usize) -> Vec3 {
        [x as f64 - self.middle[0], self.middle[1] - y as f64, z as f64 - self.middle[2]]
    }
    /// The corners of the box that its voxels reach into by Joseph's weights: as far as their neighbours' middles.
    pub fn corners(&self) -> impl Iterator<Item = Vec3> + use<> {
        let Grid { sizes, middle, .. } = *self;
        (0..8).map(move |corner| {
            let at = |axis: usize| if corner >> axis & 1 == 0 { -1.0 } else { sizes[axis] as f64 };
            [at(0) - middle[0], middle[1] - at(1), at(2) - middle[2]]
        })
    }
}

/// Whether a model is an image; else it is a volume.
pub(super) fn expect_model(model: &Shape) -> Result<bool, Fault> {
    match model.names().collect::<Vec<_>>()[..] {
        ["y", "x"] => Ok(true),
        ["z", "y", "x"] => Ok(false),
        _ => Err(Fault::new(format!("model: expected the dims (y, x) or (z, y, x), got {model}"))
            .hint("set model.dims = { y = …, x = … }, or { z = …, y = …, x = … } for a volume; the order counts")),
    }
}
