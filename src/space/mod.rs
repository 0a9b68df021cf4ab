//! What a vector looks like and who owns which part: plain data, no communication.

mod blas;
mod coordinate;
mod layout;
mod numbers;
mod partition;
mod ranges;
mod shape;
mod tile;
mod tiling;
mod vector;

pub use blas::dot;
pub(crate) use blas::{add, add_both};
pub use coordinate::Coordinate;
pub use layout::{Block, Placement, Space};
pub use numbers::Numbers;
pub use partition::Partition;
pub(crate) use partition::is_partition;
pub use ranges::Ranges;
pub use shape::{Dim, Shape};
pub use tile::{Order, Selection, Tile};
pub use tiling::Tiling;
pub(crate) use vector::SPARE;
pub use vector::Vector;
