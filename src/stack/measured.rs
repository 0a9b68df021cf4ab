//! Measurements as a caller may have them: a vector of the stack, or plain numbers in one of two forms.
//!
//! The **global** form holds the measurements of all operators, as [`Frame::gather`](super::Frame::gather) gives them and
//! as files hold them; each rank takes its own. The **local** form holds those of this rank's operators only. Which one it
//! is follows from the number of blocks, or of numbers: where both are the same, so is what they mean.

use std::borrow::Cow;
use std::sync::Arc;

use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::{Space, Vector};

/// Something that holds the measurements of a stack: a [`Vector`] of its range; a list of blocks, one for each operator; or
/// all numbers one after the other. The last two in global or local form.
///
/// ```
/// use stackphys::{Shape, comm::Team, physics::Identity, stack::{Description, FromFn, Stack}};
/// let line = Shape::new([("x", 2)]);
/// let factory = FromFn::new(
///     2,
///     |_| Ok(Description::new("identity", line.clone(), line.clone())),
///     |_| Ok(Box::new(Identity::new(line.clone())) as _),
/// );
/// let stack = Stack::<f64>::build(Team::solo(), &factory, Default::default()).unwrap();
/// let mut x = stack.zero_model();
/// stack.adjoint(&vec![vec![1.0, 2.0], vec![3.0, 4.0]], &mut x).unwrap(); // a block for each operator
/// assert_eq!(x.as_slice(), [4.0, 6.0]);
/// stack.adjoint(&vec![1.0, 2.0, 3.0, 4.0], &mut x).unwrap(); // all numbers
/// assert_eq!(x.as_slice(), [4.0, 6.0]);
/// let error = stack.adjoint(&vec![vec![1.0, 2.0]], &mut x).unwrap_err();
/// assert!(error.to_string().contains("expected 2 blocks, one for each operator"));
/// ```
pub trait Measured<Y: Scalar> {
    /// This rank's measurements as a vector of `range`; `what` is their name in errors.
    ///
    /// Collective: no. Cost: a copy of this rank's measurements; none for a vector. Faults: another number of blocks than
    /// all operators or this rank's have; a block of another length; a vector of another space.
    fn on(&self, range: &Arc<Space>, what: &str) -> Result<Cow<'_, Vector<Y>>, Fault>;
}

impl<Y: Scalar> Measured<Y> for Vector<Y> {
    fn on(&self, range: &Arc<Space>, what: &str) -> Result<Cow<'_, Vector<Y>>, Fault> {
        expect(self.space(), range, what).map(|()| Cow::Borrowed(self))
    }
}

impl<Y: Scalar> Measured<Y> for [Vec<Y>] {
    fn on(&self, range: &Arc<Space>, what: &str) -> Result<Cow<'_, Vector<Y>>, Fault> {
        let all = range.blocks().len();
        let here: Vec<usize> = (0..all).filter(|index| range.local(*index).is_some()).collect();
        let form = match self.len() {
            count if count == all => Form::Global,
            count if count == here.len() => Form::Local,
            count => {
                let text = format!(
                    "{what}: expected {all} blocks, one for each operator (global form), or {}, one for each operator of \
                     this rank (local form), got {count}",
                    here.len()
                );
                return Err(Fault::new(text).hint("`zero_data` makes a vector with the blocks of this rank"));
            }
        };
        let mut vector = Vector::zeros(range);
        for (place, index) in here.into_iter().enumerate() {
            let block = &self[if form == Form::Global { index } else { place }];
            let shape = &range.blocks()[index].shape;
            if block.len() != shape.len() {
                let (want, got) = (shape.len(), block.len());
                let text = format!("{what}, in {form} form: expected {want} numbers for {shape}, got {got}");
                return Err(Fault::new(text).in_operator(index));
            }
            if let Some(to) = vector.block_slice_mut(index) {
                to.copy_from_slice(block);
            }
        }
        Ok(Cow::Owned(vector))
    }
}

impl<Y: Scalar> Measured<Y> for [Y] {
    fn on(&self, range: &Arc<Space>, what: &str) -> Result<Cow<'_, Vector<Y>>, Fault> {
        let mut vector = Vector::zeros(range);
        match self.len() {
            len if len == range.len() => {
                let mut start = 0;
                for (index, block) in range.blocks().iter().enumerate() {
                    if let Some(to) = vector.block_slice_mut(index) {
                        to.copy_from_slice(&self[start..start + block.shape.len()]);
                    }
                    start += block.shape.len();
                }
            }
            len if len == range.local_len() => vector.as_mut_slice().copy_from_slice(self),
            len => {
                let text = format!(
                    "{what}: expected {} numbers, those of all operators (global form), or {}, those of this rank's \
                     operators (local form), got {len}",
                    range.len(),
                    range.local_len()
                );
                return Err(Fault::new(text).hint("`gather` gives all of them, `zero_data` has those of this rank"));
            }
        }
        Ok(Cow::Owned(vector))
    }
}

impl<Y: Scalar> Measured<Y> for Vec<Vec<Y>> {
    fn on(&self, range: &Arc<Space>, what: &str) -> Result<Cow<'_, Vector<Y>>, Fault> {
        self.as_slice().on(range, what)
    }
}

impl<Y: Scalar> Measured<Y> for Vec<Y> {
    fn on(&self, range: &Arc<Space>, what: &str) -> Result<Cow<'_, Vector<Y>>, Fault> {
        self.as_slice().on(range, what)
    }
}

/// Whose measurements a list holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Global,
    Local,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Form::Global => "global",
            Form::Local => "local",
        })
    }
}

/// A fault if a space is not the one that is wanted.
pub(super) fn expect(got: &Space, want: &Space, what: &str) -> Result<(), Fault> {
    want.expect(got, what).map_err(|fault| {
        fault.hint("make vectors of the model with `zero_model`, of the data with `zero_data`, of this stack")
    })
}
