//! What makes the members of a stack: `describe(i)` on all ranks, `build(i)` on the owner only.
//!
//! So a rank's memory follows its own share: an operator that a rank does not own is never built there.

use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::operator::{Basis, LinearOperator};
use crate::scalar::Scalar;
use crate::space::Shape;

/// What is known of a member before it is built. Cheap to make, and the same on all ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// What errors, plans and reports call it.
    pub name: String,
    /// The shape of what it reads: `x`, the same for all members; where `x` has several blocks, that of the block that it
    /// reads, or any shape of as many numbers as the blocks have that it reads one after the other.
    pub domain: Shape,
    /// The shape of its measurements.
    pub range: Shape,
    /// The blocks of `x` that it reads, in this order. Empty: all.
    pub reads: Vec<usize>,
    /// The block of measurements that it adds to: members that name the same one are summed, `y_r = Σ A_i x`. `None` in all
    /// members: each has a block of its own.
    pub row: Option<usize>,
    /// Bytes that the built operator holds.
    pub bytes: u64,
    /// Bytes of scratch that one application needs.
    pub scratch_bytes: u64,
    /// Relative cost of one application, for balancing.
    pub cost: f64,
    /// The basis in which its `AᴴA` is diagonal, if there is one: it is merged with other such members.
    pub normal: Option<Basis>,
    /// The group that it belongs to. The members of a group stay on one rank, and are solved as one where operators are
    /// solved by themselves. `None`: a group of its own.
    pub group: Option<String>,
    /// The rank that it asks for. The members of a group ask for the same one, or leave it to one of them. `None`: the
    /// [`Assignment`](super::Assignment) says.
    pub rank: Option<usize>,
}

impl Description {
    /// A member of a given name and shapes, of unit cost and no memory worth planning for.
    pub fn new(name: impl Into<String>, domain: Shape, range: Shape) -> Self {
        Description {
            name: name.into(),
            domain,
            range,
            reads: Vec::new(),
            row: None,
            bytes: 0,
            scratch_bytes: 0,
            cost: 1.0,
            normal: None,
            group: None,
            rank: None,
        }
    }

    /// The blocks that it reads of an `x` of that many.
    pub(super) fn reads_of(&self, blocks: usize) -> Vec<usize> {
        if self.reads.is_empty() { (0..blocks).collect() } else { self.reads.clone() }
    }

    /// A fault if what was built has other shapes than described.
    pub(super) fn expect_built(&self, domain: &Shape, range: &Shape) -> Result<(), Fault> {
        self.domain.expect(domain, &format!("domain of `{}` as built", self.name))?;
        self.range.expect(range, &format!("range of `{}` as built", self.name))
    }
}

/// What else is known of a member by its index, put into its description.
pub(super) type Tell<'a> = Box<dyn Fn(usize, Description) -> Description + 'a>;

/// Makes the members of a stack by their index. Ready-made ones: [`FromFn`], [`Listed`](super::Listed) and
/// [`Tiles`](super::Tiles); all lead to the same plan.
///
/// `describe` must answer alike on all ranks; a hash of the plan checks it. `build` is called by the owner only.
pub trait Factory<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    /// How many members there are.
    fn count(&self) -> usize;
    /// The blocks of `x`, where it has several: then a rank holds only those that its members read. Empty: one block, the
    /// domain of all members.
    fn blocks(&self) -> Vec<Shape> {
        Vec::new()
    }
    /// What member `index` looks like.
    fn describe(&self, index: usize) -> Result<Description, Fault>;
    /// Builds member `index`.
    fn build(&self, index: usize) -> Result<Box<dyn LinearOperator<X, Y>>, Fault>;
}

/// A factory from a count and two functions.
///
/// ```
/// use stackphys::{Shape, comm::Team, physics::Diagonal, stack::{Description, FromFn, Stack}};
/// let image = Shape::new([("x", 4)]);
/// let factory = FromFn::new(
///     3,
///     |i| Ok(Description::new(format!("weight {i}"), image.clone(), image.clone())),
///     |i| Ok(Box::new(Diagonal::new([("x", 4)], vec![1.0 + i as f64; 4])?) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let mut x = stack.zero_model();
/// x.fill(1.0);
/// let mut y = stack.zero_data();
/// stack.forward(&x, &mut y).unwrap();
/// assert_eq!(y.block_slice(2).unwrap(), [3.0; 4]);
/// ```
pub struct FromFn<D, B> {
    pub(super) count: usize,
    pub(super) describe: D,
    pub(super) build: B,
}

impl<D, B> FromFn<D, B> {
    /// `count` members, described and built by functions of the index.
    pub fn new(count: usize, describe: D, build: B) -> Self {
        FromFn { count, describe, build }
    }
}

impl<X, Y, D, B> Factory<X, Y> for FromFn<D, B>
where
    X: Scalar,
    Y: Scalar<Real = X::Real>,
    D: Fn(usize) -> Result<Description, Fault>,
    B: Fn(usize) -> Result<Box<dyn LinearOperator<X, Y>>, Fault>,
{
    fn count(&self) -> usize {
        self.count
    }
    fn describe(&self, index: usize) -> Result<Description, Fault> {
        (self.describe)(index)
    }
    fn build(&self, index: usize) -> Result<Box<dyn LinearOperator<X, Y>>, Fault> {
        (self.build)(index)
    }
}
