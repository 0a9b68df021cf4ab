//! Forward models, one file each (a folder where one would be too long). None of them communicates.
//!
//! A forward model is two things in one file: its **parameters** (the very struct that a config's `operator` table holds,
//! which implements [`Physics`]) and the **operator** that they build. The registry at the end of this file is the list of
//! all that a config can name; `docs/add-an-operator.md` walks through adding one.

mod along;
mod blur;
mod centred;
pub mod ct;
mod dense;
mod diagonal;
mod downsample;
mod fourier;
mod gradient;
mod identity;
mod intensity;
mod interferometer;
pub mod joseph;
mod mask;
mod mri;
pub mod noise;
mod nufft;
mod parallel_ct;
mod random_projection;
mod sampling;
mod sparse;
mod trajectory;
mod wavelet;

use std::fmt;
use std::path::Path;

pub use blur::{
    AiryKernel, Blur, BlurParams, BoxKernel, By, Convolution, DiscKernel, FileKernel, GaussianKernel, Kernel,
    KernelParams, MotionKernel, Padding, PerDim, VaryingBlur, VaryingBlurParams, Weigh,
};
pub use ct::{ConeCtParams, FanCtParams, VectorCtParams};
pub use dense::{Dense, DenseParams};
pub use diagonal::{Diagonal, DiagonalParams};
pub use downsample::{Downsample, DownsampleParams, Filter};
pub use fourier::{Fourier, FourierParams};
pub use gradient::{Boundary, Differences, Gradient, GradientParams};
pub use identity::{Identity, IdentityParams};
pub use intensity::Intensity;
pub use interferometer::{Interferometer, InterferometerParams, Weighting};
pub use mask::MaskParams;
pub use mri::{CartesianMri, MapsParams, MriParams, NonCartesianMri, birdcage};
pub use nufft::{NormalForm, Nufft, NufftAccuracy, NufftParams, ToeplitzNormal};
pub use parallel_ct::{AngleRange, Angles, Detector, ParallelCt, ParallelCtParams};
pub use random_projection::{Entries, RandomProjection, RandomProjectionParams};
pub use sampling::SamplingParams;
pub use sparse::{Sparse, SparseParams, SparseSizes, Triplets};
pub use trajectory::TrajectoryParams;
pub use wavelet::{Wavelet, WaveletParams};

use crate::error::Fault;
use crate::kinds::kinds;
use crate::operator::{Basis, LinearOperator};
use crate::scalar::Scalar;
use crate::space::{Coordinate, Numbers, Selection, Shape, Tile};
use crate::threads;

/// An operator whose type is known only when the job runs.
pub type BoxedOperator<S> = Box<dyn LinearOperator<S>>;

/// What parameters are resolved against: the model, and what the data's header says.
pub struct Setting<'a> {
    /// The dims of `x`.
    pub model: &'a Shape,
    /// The part of `x` that the operator is for, where `x` is cut into blocks; `None`: all of it.
    pub window: Option<&'a Tile>,
    /// All parts that `x` is cut into; none where it is not.
    pub blocks: &'a [Tile],
    /// The dims of the measurements, where there are any.
    pub data: Option<&'a Shape>,
    /// The angles that came with the measurements, in radians.
    pub angles: Option<&'a [f64]>,
    /// What else came with the measurements, along one of their dims: u and v of visibilities, …
    pub coordinates: &'a [Coordinate],
    /// Reads arrays that parameters name by path.
    pub files: &'a dyn Files,
}

impl<'a> Setting<'a> {
    /// All of a model, without measurements.
    pub fn new(model: &'a Shape, files: &'a dyn Files) -> Self {
        Setting { model, window: None, blocks: &[], data: None, angles: None, coordinates: &[], files }
    }
    /// What came with the measurements under this name.
    pub fn coordinate(&self, name: &str) -> Option<&'a Coordinate> {
        self.coordinates.iter().find(|coordinate| coordinate.name == name)
    }
    /// The part of `x` that the operator is for.
    pub fn window(&self) -> Tile {
        self.window.cloned().unwrap_or_else(|| Tile::whole(self.model))
    }
    /// The same, if it is not all of `x`.
    pub fn part(&self) -> Option<&Tile> {
        self.window.filter(|window| window.shape() != *self.model)
    }
    /// Where the blocks of `x` begin and end along a dim.
    pub fn edges(&self, axis: usize) -> Vec<usize> {
        let begins = self.blocks.iter().map(|block| block.selections()[axis].start);
        let mut edges: Vec<usize> = begins.chain([0, self.model.dims()[axis].size]).collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }
}

/// Reads arrays that an operator's parameters name. Implemented by [`io`](crate::io).
pub trait Files {
    /// The sizes of the array in a file.
    fn sizes(&self, path: &Path) -> Result<Vec<usize>, Fault>;
    /// The part `tile` of the array in a file; only this part is read.
    fn read(&self, path: &Path, tile: &Tile) -> Result<Numbers, Fault>;
    /// The sizes of the sparse matrix in a file. Left as it is: a fault.
    fn sparse_sizes(&self, path: &Path) -> Result<SparseSizes, Fault> {
        Err(Fault::new(format!("{}: sparse matrices cannot be read here", path.display())))
    }
    /// Some rows of the sparse matrix in a file. Left as it is: a fault.
    fn read_sparse(&self, path: &Path, _rows: Selection) -> Result<Triplets, Fault> {
        Err(Fault::new(format!("{}: sparse matrices cannot be read here", path.display())))
    }
}

/// What is known of an operator before it is built.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs {
    /// Bytes that the built operator holds.
    pub bytes: u64,
    /// Bytes of scratch that one application needs beside its input and output.
    pub scratch_bytes: u64,
    /// Floating-point operations of one forward application, for balancing.
    pub cost: f64,
}

/// Dims along which an operator may be cut; it keeps the others whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cuts {
    /// Every dim, whatever its name.
    All,
    /// These dims.
    Along(&'static [&'static str]),
}

impl Cuts {
    /// Whether a dim is among them.
    pub fn hold(self, dim: &str) -> bool {
        match self {
            Cuts::All => true,
            Cuts::Along(dims) => dims.contains(&dim),
        }
    }
}

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cuts::All => f.write_str("every dim"),
            Cuts::Along([]) => f.write_str("nothing"),
            Cuts::Along(dims) => f.write_str(&dims.join(", ")),
        }
    }
}

/// The parameters of a forward model, as a config holds them.
pub trait Physics {
    /// One line for `stackphys list operators`.
    const SUMMARY: &'static str;
    /// The dims of the range along which the operator may be cut; the others must stay whole.
    const MAY_BE_CUT: Cuts;
    /// The dims of the model along which it may be cut, where `x` is cut into blocks; the others must stay whole.
    const MODEL_MAY_BE_CUT: Cuts = Cuts::Along(&[]);
    /// The basis in which `AᴴA` is diagonal, if there is one.
    const NORMAL: Option<Basis> = None;

    /// [`MODEL_MAY_BE_CUT`](Self::MODEL_MAY_BE_CUT), where it is less for some parameters.
    fn model_may_be_cut(&self) -> Cuts {
        Self::MODEL_MAY_BE_CUT
    }
    /// [`NORMAL`](Self::NORMAL), where that is not so for some parameters.
    fn normal(&self) -> Option<Basis> {
        Self::NORMAL
    }

    /// The shape of all measurements of this operator. Checks the parameters; the place for errors that name keys.
    fn range(&self, setting: &Setting) -> Result<Shape, Fault>;
    /// What the operator on `setting.window` contributes to, of the part `tile` of the range. All of it, unless a dim of the
    /// model that is cut is one of the measurements too: then the parts that this window reaches. Those of different windows
    /// are the same or have nothing in common.
    fn contributes(&self, _setting: &Setting, tile: &Tile) -> Result<Vec<Tile>, Fault> {
        Ok(vec![tile.clone()])
    }
    /// The geometry of all rays, if the measurements are sums along rays: for what is known of those in closed form.
    fn scan(&self, _setting: &Setting) -> Result<Option<ct::Scan>, Fault> {
        Ok(None)
    }
    /// Memory and cost of the part `tile` of the range. Cheap: all ranks ask for all parts.
    fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault>;
    /// Builds the part `tile` of the range; only its owner does.
    fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault>;
}

macro_rules! registry {
    ($( $kind:literal => $variant:ident($params:ty), )+) => {
        kinds! {
            /// The parameters of any forward model in the registry.
            pub enum AnyPhysics by "kind" { $( $kind => $variant($params), )+ }
        }

        impl AnyPhysics {
            /// Name, one line, and the dims of measurements and of the model along which it may be cut, for each forward
            /// model.
            pub const SUMMARIES: &'static [(&'static str, &'static str, [Cuts; 2])] = &[$((
                $kind,
                <$params as Physics>::SUMMARY,
                [<$params as Physics>::MAY_BE_CUT, <$params as Physics>::MODEL_MAY_BE_CUT],
            )),+];

            /// See [`Physics::MAY_BE_CUT`].
            pub fn may_be_cut(&self) -> Cuts {
                match self { $( Self::$variant(_) => <$params as Physics>::MAY_BE_CUT, )+ }
            }
            /// See [`Physics::model_may_be_cut`].
            pub fn model_may_be_cut(&self) -> Cuts {
                match self { $( Self::$variant(params) => params.model_may_be_cut(), )+ }
            }
            /// See [`Physics::contributes`].
            pub fn contributes(&self, setting: &Setting, tile: &Tile) -> Result<Vec<Tile>, Fault> {
                match self { $( Self::$variant(params) => params.contributes(setting, tile), )+ }
            }
            /// See [`Physics::normal`].
            pub fn normal(&self) -> Option<Basis> {
                match self { $( Self::$variant(params) => params.normal(), )+ }
            }
            /// See [`Physics::range`].
            pub fn range(&self, setting: &Setting) -> Result<Shape, Fault> {
                match self { $( Self::$variant(params) => params.range(setting), )+ }
            }
            /// See [`Physics::scan`].
            pub fn scan(&self, setting: &Setting) -> Result<Option<ct::Scan>, Fault> {
                match self { $( Self::$variant(params) => params.scan(setting), )+ }
            }
            /// See [`Physics::needs`].
            pub fn needs<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<Needs, Fault> {
                match self { $( Self::$variant(params) => params.needs::<S>(setting, tile), )+ }
            }
            /// See [`Physics::build`].
            pub fn build<S: Scalar>(&self, setting: &Setting, tile: &Tile) -> Result<BoxedOperator<S>, Fault> {
                match self { $( Self::$variant(params) => params.build::<S>(setting, tile), )+ }
            }
        }
    };
}

registry! {
    "parallel_ct" => ParallelCt(ParallelCtParams),
    "fan_ct" => FanCt(FanCtParams),
    "cone_ct" => ConeCt(ConeCtParams),
    "vector_ct" => VectorCt(VectorCtParams),

    "blur" => Blur(BlurParams),
    "varying_blur" => VaryingBlur(VaryingBlurParams),
    "mask" => Mask(MaskParams),
    "downsample" => Downsample(DownsampleParams),
    "gradient" => Gradient(GradientParams),
    "wavelet" => Wavelet(WaveletParams),
    "random_projection" => RandomProjection(RandomProjectionParams),
    "dense" => Dense(DenseParams),
    "sparse" => Sparse(SparseParams),
    "diagonal" => Diagonal(DiagonalParams),
    "fourier" => Fourier(FourierParams),
    "mri" => Mri(MriParams),
    "nufft" => Nufft(NufftParams),
    "identity" => Identity(IdentityParams),
    "interferometer" => Interferometer(InterferometerParams),
}

/// For tests of parameters that read nothing.
#[cfg(test)]
struct NoFiles;

#[cfg(test)]
impl Files for NoFiles {
    fn sizes(&self, path: &Path) -> Result<Vec<usize>, Fault> {
        Err(Fault::new(format!("there is no {}", path.display())))
    }
    fn read(&self, path: &Path, _: &Tile) -> Result<Numbers, Fault> {
        Err(Fault::new(format!("there is no {}", path.display())))
    }
}
