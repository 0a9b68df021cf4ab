//! The named dims of an operator, and the part that each one plays.
//!
//! The role of a dim follows from where it stands. Cutting, gluing and distribution go by it: see [`split`](super::split()).
//! (Named dims as the one key for this: the package torch-named-linops by M. Nishimura.)

use super::LinearOperator;
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Shape;

/// The part that a named dim plays in an operator, and with it how tiles along it are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// On both sides, and the operator is diagonal in it: tiles are the blocks of a block diagonal.
    Batch,
    /// Of `y` only: tiles lie one below the other, their outputs are joined.
    Out,
    /// Of `x` only: tiles lie side by side, their outputs are summed.
    In,
    /// On neither side, summed inside: tiles are summed.
    Inner,
}

/// What the names of the dims of every [`LinearOperator`] say. Collective: no.
///
/// ```
/// use stackphys::{Shape, operator::{Dims, Role}, physics::Dense};
/// let weights = Shape::new([("b", 2), ("m", 3), ("n", 4)]);
/// let a = Dense::named(weights, vec![1.0; 24], Shape::new([("b", 2), ("n", 4)]), &["b", "m"]).unwrap();
/// assert_eq!(a.dims(), ["b", "n", "m"]);
/// assert_eq!((a.size("m"), a.size("z")), (Some(3), None));
/// assert_eq!(["b", "m", "n"].map(|dim| a.role(dim).unwrap()), [Role::Batch, Role::Out, Role::In]);
/// ```
pub trait Dims<X: Scalar, Y: Scalar<Real = X::Real>>: LinearOperator<X, Y> {
    /// The names of all dims, each once: those of `x`, of `y`, and the inner ones.
    fn dims(&self) -> Vec<String> {
        let inner = self.inner_dims();
        let sides = self.domain().names().chain(self.range().names());
        let mut names: Vec<String> = Vec::new();
        for name in sides.chain(inner.iter().map(|dim| dim.name.as_str())) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// The size of a dim. `None`: there is no such dim, or its name stands for several of different sizes.
    fn size(&self, dim: &str) -> Option<usize> {
        match sizes(self, dim)[..] {
            [size] => Some(size),
            _ => None,
        }
    }

    /// The part that a dim plays. Faults: there is no such dim; a name that stands on both sides for two dims, since the
    /// operator is not diagonal in it.
    fn role(&self, dim: &str) -> Result<Role, Fault> {
        place(self, dim).map(|place| place.role)
    }
}

impl<X: Scalar, Y: Scalar<Real = X::Real>, A: LinearOperator<X, Y> + ?Sized> Dims<X, Y> for A {}

/// A dim's role, and its name on either side where it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub role: Role,
    pub input: Option<String>,
    pub output: Option<String>,
}

/// Where a dim stands, by either of its names. Faults as of [`Dims::role`].
pub(super) fn place<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &(impl LinearOperator<X, Y> + ?Sized),
    dim: &str,
) -> Result<Place, Fault> {
    let (input, output) = (operator.domain().axis(dim).is_some(), operator.range().axis(dim).is_some());
    let pair = operator.batch_dims().into_iter().find(|[a, b]| (input && a == dim) || (output && b == dim));
    let own = || Some(dim.to_owned());
    match (input, output, pair) {
        (true, true, pair) if pair.as_ref().is_none_or(|[a, b]| a != b) => {
            let text = format!(
                "{}: `{dim}` stands for two dims, one of x and one of y, since the operator is not diagonal in it",
                operator.name()
            );
            Err(Fault::new(text).hint("give one of the two another name: see `operator::algebra::renamed`"))
        }
        (_, _, Some([a, b])) => Ok(Place { role: Role::Batch, input: Some(a), output: Some(b) }),
        (true, _, None) => Ok(Place { role: Role::In, input: own(), output: None }),
        (_, true, None) => Ok(Place { role: Role::Out, input: None, output: own() }),
        _ if operator.inner_dims().iter().any(|inner| inner.name == dim) => {
            Ok(Place { role: Role::Inner, input: None, output: None })
        }
        _ => {
            let known = operator.dims().join("`, `");
            Err(Fault::new(format!("{}: there is no dim `{dim}`; its dims are `{known}`", operator.name())))
        }
    }
}

/// The different sizes that a name stands for.
pub(super) fn sizes<X: Scalar, Y: Scalar<Real = X::Real>>(
    operator: &(impl LinearOperator<X, Y> + ?Sized),
    dim: &str,
) -> Vec<usize> {
    let inner = operator.inner_dims();
    let mut sizes = Vec::new();
    for other in operator.domain().dims().iter().chain(operator.range().dims()).chain(&inner) {
        if other.name == dim && !sizes.contains(&other.size) {
            sizes.push(other.size);
        }
    }
    sizes
}

/// The names that stand on both sides.
pub(super) fn shared_names(domain: &Shape, range: &Shape) -> Vec<[String; 2]> {
    domain.names().filter(|name| range.axis(name).is_some()).map(|name| [name.to_owned(), name.to_owned()]).collect()
}

/// A name with the next number that is not taken: `n`, `n1`, `n2`, …
pub(super) fn next_unused(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let mut number = name[stem.len()..].parse::<u32>().map_or(0, u64::from);
    loop {
        number += 1;
        let next = format!("{stem}{number}");
        if !taken(&next) {
            return next;
        }
    }
}

/// `Diagonal` of `stackphys::physics::diagonal::Diagonal<f64>`.
pub(super) fn name_of_type<T: ?Sized>() -> String {
    let path = std::any::type_name::<T>();
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physics::Diagonal;

    #[test]
    fn the_next_unused_name() {
        assert_eq!(next_unused("n", |_| false), "n1");
        assert_eq!(next_unused("n", |name| name == "n1"), "n2");
        assert_eq!(next_unused("k9", |_| false), "k10");
        assert_eq!(next_unused("7", |_| false), "8");
    }

    #[test]
    fn a_type_has_a_short_name() {
        assert_eq!(name_of_type::<Diagonal<f64>>(), "Diagonal");
    }
}
