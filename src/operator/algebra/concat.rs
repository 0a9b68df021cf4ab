//! Operators joined along dims that are there: one below the other, side by side, or as a block diagonal.

use std::ops::{AddAssign, Range};
use std::sync::Arc;

use super::renamed::with_range;
use super::{Compose, Sum, Zero, adjoint, normal};
use crate::error::Fault;
use crate::operator::dims::{Place, place};
use crate::operator::{Basis, Dims, LinearOperator, SharedOperator, Structure, Work, part_of};
use crate::scalar::Scalar;
use crate::space::{Dim, Ranges, Shape};

/// Members joined along a dim of `y`, of `x`, or of both; their sizes along it may differ.
///
/// | Joined along | | |
/// | --- | --- | --- |
/// | a dim of `y` | vertical | all read the same `x`, their outputs lie one after the other |
/// | a dim of `x` | horizontal | `x` is cut, their outputs are summed in the order of the members |
/// | a dim of each | block diagonal | both |
///
/// Collective: no. Cost: that of the members; scratch for the part of a member wherever its numbers do not lie together (the
/// dim is not the slowest). Faults when built: no members; no dim; a dim that a member does not have; other dims, or other
/// sizes of the rest, than those of the first member.
///
/// ```
/// use std::sync::Arc;
/// use stackphys::operator::{Apply, SharedOperator, Work, algebra::Concat};
/// use stackphys::physics::Diagonal;
/// let by = |factors: Vec<f64>| -> SharedOperator<f64> { Arc::new(Diagonal::new([("x", factors.len())], factors).unwrap()) };
/// let blocks = Concat::diagonal(vec![by(vec![1.0, 2.0]), by(vec![3.0])], "x", "x").unwrap();
/// let mut y = [0.0; 3];
/// blocks.forward(&[1.0, 1.0, 1.0], &mut y, &mut Work::default()).unwrap();
/// assert_eq!(y, [1.0, 2.0, 3.0]);
/// ```
pub struct Concat<X: Scalar, Y: Scalar<Real = X::Real> = X> {
    domain: Shape,
    range: Shape,
    /// The dims along which members are joined.
    input: Option<String>,
    output: Option<String>,
    members: Vec<Member<X, Y>>,
}

struct Member<X: Scalar, Y: Scalar<Real = X::Real>> {
    operator: SharedOperator<X, Y>,
    /// Its samples along the dim of `x`, and of `y`; empty where there is none.
    input: Range<usize>,
    output: Range<usize>,
    reads: Runs,
    writes: Runs,
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> Concat<X, Y> {
    /// `[A_0; A_1; …]`, outputs joined along a dim of `y`.
    pub fn vertical(members: Vec<SharedOperator<X, Y>>, output: &str) -> Result<Self, Fault> {
        Self::new(members, None, Some(output))
    }
    /// `[A_0 A_1 …]`, inputs joined along a dim of `x`, outputs summed.
    pub fn horizontal(members: Vec<SharedOperator<X, Y>>, input: &str) -> Result<Self, Fault> {
        Self::new(members, Some(input), None)
    }
    /// The block diagonal of `A_0, A_1, …`, joined along a dim of `x` and one of `y`, which may have the same name.
    pub fn diagonal(members: Vec<SharedOperator<X, Y>>, input: &str, output: &str) -> Result<Self, Fault> {
        Self::new(members, Some(input), Some(output))
    }

    /// Members joined along the dims that are given.
    pub fn new(members: Vec<SharedOperator<X, Y>>, input: Option<&str>, output: Option<&str>) -> Result<Self, Fault> {
        if input.is_none() && output.is_none() {
            return Err(Fault::new("Concat: expected a dim of the input, of the output, or of both, got none")
                .hint("operators of the same input and output are added by `Sum`"));
        }
        if members.is_empty() {
            return Err(super::no_members("Concat"));
        }
        let (domain, inputs) = joined(&members, |member| member.domain(), input, "domain")?;
        let (range, outputs) = joined(&members, |member| member.range(), output, "range")?;
        let places = inputs.into_iter().zip(outputs);
        let placed = members.into_iter().zip(places).map(|(operator, (input_at, output_at))| Member {
            reads: Runs::of(&domain, input, &input_at),
            writes: Runs::of(&range, output, &output_at),
            operator,
            input: input_at,
            output: output_at,
        });
        let members = placed.collect();
        Ok(Concat { members, domain, range, input: input.map(str::to_owned), output: output.map(str::to_owned) })
    }

    /// The members in order.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &SharedOperator<X, Y>> {
        self.members.iter().map(|member| &member.operator)
    }

    /// `AᴴA` of a horizontal one as its P × P blocks `A_iᴴ A_j`, with the members' own normal operators on the diagonal.
    ///
    /// It says which parts of `x` talk to which. To apply it costs P² members where [`normal`](normal()) costs P.
    /// Collective: no. Fault: a vertical one or a block diagonal, which have no such form.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use stackphys::operator::{SharedOperator, algebra::Concat};
    /// use stackphys::{Shape, physics::Dense};
    /// let a: SharedOperator<f64> = Arc::new(Dense::new(Shape::new([("x", 2)]), ndarray::array![[1.0, 2.0]]).unwrap());
    /// let blocks = Concat::horizontal(vec![a.clone(), a], "x").unwrap().normal_blocks().unwrap();
    /// let blocks: SharedOperator<f64> = Arc::new(blocks);
    /// assert_eq!((blocks.domain().to_string(), blocks.range().to_string()), ("(x=4)".into(), "(x1=4)".into()));
    /// ```
    pub fn normal_blocks(&self) -> Result<Concat<X>, Fault> {
        let (Some(input), None) = (&self.input, &self.output) else {
            return Err(Fault::new("Concat: only of operators side by side the normal operator has blocks A_iᴴ A_j"));
        };
        let names = normal::range_of(self);
        let output = self.domain.axis(input).and_then(|axis| names.names().nth(axis)).unwrap_or(input);
        let row = |i: usize, left: &SharedOperator<X, Y>| {
            let block = |(j, right): (usize, &SharedOperator<X, Y>)| {
                let block = match i == j {
                    true => normal(right),
                    false => Arc::new(Compose::new(right.clone(), adjoint(left))?) as _,
                };
                Ok(with_range(block, &names))
            };
            let blocks = self.members().enumerate().map(block).collect::<Result<_, Fault>>()?;
            Ok(Arc::new(Concat::horizontal(blocks, input)?) as _)
        };
        let rows = self.members().enumerate().map(|(i, left)| row(i, left)).collect::<Result<_, Fault>>()?;
        Concat::vertical(rows, output)
    }

    /// The member inside which a sample lies, of a dim along which members are joined, and the place of the sample there.
    /// `None`: it is the first of a member.
    fn member_at(&self, here: &Place, dim: &str, at: usize) -> Option<(&Member<X, Y>, usize)> {
        let of_input = here.input.as_deref() == Some(dim);
        let samples = |member: &Member<X, Y>| if of_input { member.input.clone() } else { member.output.clone() };
        let member = self.members.iter().find(|member| samples(member).contains(&at))?;
        let inside = at - samples(member).start;
        (inside > 0).then_some((member, inside))
    }

    /// Whether members are joined along this dim.
    fn is_along(&self, here: &Place) -> bool {
        let along = |name: &Option<String>, of: &Option<String>| name.is_some() && name == of;
        along(&here.input, &self.input) || along(&here.output, &self.output)
    }

    /// `apply` on each member, from its part of `from` to its part of `to`. `apply` overwrites its output, or adds to it if
    /// told: it is where `add` says so, and where members share one output (`summed`) and the first has written it.
    fn run<F: Scalar, T: Scalar>(
        &self,
        (from, to): (&[F], &mut [T]),
        add: bool,
        summed: bool,
        work: &mut Work,
        sides: impl Fn(&Member<X, Y>) -> [Runs; 2],
        apply: impl Fn(&SharedOperator<X, Y>, &[F], &mut [T], bool, &mut Work) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.members.iter().enumerate().try_for_each(|(place, member)| {
            let [reads, writes] = sides(member);
            let add = add || (summed && place > 0);
            let gathered = reads.together().is_none().then(|| {
                let mut part = work.take::<F>("part of x", reads.len());
                reads.gather(from, &mut part);
                part
            });
            let source = match (&gathered, reads.together()) {
                (Some(part), _) => part,
                (None, together) => &from[together.unwrap_or_default()],
            };
            let done = match writes.together() {
                Some(together) => apply(&member.operator, source, &mut to[together], add, work),
                None => {
                    let mut part = work.take::<T>("part of y", writes.len());
                    let done = apply(&member.operator, source, &mut part, false, work);
                    writes.scatter(&part, to, add);
                    work.give("part of y", part);
                    done
                }
            };
            if let Some(part) = gathered {
                work.give("part of x", part);
            }
            done
        })
    }

    fn run_forward(&self, x: &[X], y: &mut [Y], add: bool, work: &mut Work) -> Result<(), Fault> {
        let summed = self.output.is_none();
        self.run(
            (x, y),
            add,
            summed,
            work,
            |member| [member.reads, member.writes],
            |operator, x, y, add, work| {
                if add { operator.apply_forward_add(x, y, work) } else { operator.apply_forward(x, y, work) }
            },
        )
    }
    fn run_adjoint(&self, y: &[Y], x: &mut [X], add: bool, work: &mut Work) -> Result<(), Fault> {
        let summed = self.input.is_none();
        self.run(
            (y, x),
            add,
            summed,
            work,
            |member| [member.writes, member.reads],
            |operator, y, x, add, work| {
                if add { operator.apply_adjoint_add(y, x, work) } else { operator.apply_adjoint(y, x, work) }
            },
        )
    }

    /// Numbers of the members, one for each of their columns, summed where they read the same `x` and joined elsewhere.
    fn of_columns(&self, of: impl Fn(&SharedOperator<X, Y>) -> Option<Vec<f64>>) -> Option<Vec<f64>> {
        let mut all = vec![0.0; self.domain.len()];
        for member in &self.members {
            member.reads.scatter(&of(&member.operator)?, &mut all, true);
        }
        Some(all)
    }
}

/// The shape of one side, and the samples of each member along the dim that is joined.
fn joined<'a, X: Scalar, Y: Scalar<Real = X::Real>>(
    members: &'a [SharedOperator<X, Y>],
    side: impl Fn(&'a SharedOperator<X, Y>) -> &'a Shape,
    dim: Option<&str>,
    name: &str,
) -> Result<(Shape, Vec<Range<usize>>), Fault> {
    let first = side(&members[0]);
    let (mut end, mut samples) = (0, Vec::with_capacity(members.len()));
    for (index, member) in members.iter().enumerate() {
        let shape = side(member);
        let of = || format!("Concat: {name} of member {index} ({})", member.name());
        let Some(dim) = dim else {
            first.expect(shape, &of())?;
            samples.push(0..0);
            continue;
        };
        let here = shape.names().filter(|name| *name == dim).count();
        if here != 1 {
            let text = format!("{}: expected one dim `{dim}`, got {here} in {shape}", of());
            return Err(Fault::new(text).hint("`operator::algebra::stacked` joins along a new dim"));
        }
        let size = shape.size(dim).unwrap_or(0);
        // but for the size along the dim all is as in the first
        resized(first, dim, size).expect(shape, &of())?;
        samples.push(end..end + size);
        end += size;
    }
    Ok((dim.map_or_else(|| first.clone(), |dim| resized(first, dim, end)), samples))
}

/// A shape with another size of one dim.
fn resized(shape: &Shape, dim: &str, size: usize) -> Shape {
    Shape::new(shape.dims().iter().map(|of| (of.name.clone(), if of.name == dim { size } else { of.size })))
}

impl<X: Scalar, Y: Scalar<Real = X::Real>> LinearOperator<X, Y> for Concat<X, Y> {
    fn domain(&self) -> &Shape {
        &self.domain
    }
    fn range(&self) -> &Shape {
        &self.range
    }
    fn apply_forward(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.run_forward(x, y, false, work)
    }
    fn apply_adjoint(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.run_adjoint(y, x, false, work)
    }
    fn apply_forward_add(&self, x: &[X], y: &mut [Y], work: &mut Work) -> Result<(), Fault> {
        self.run_forward(x, y, true, work)
    }
    fn apply_adjoint_add(&self, y: &[Y], x: &mut [X], work: &mut Work) -> Result<(), Fault> {
        self.run_adjoint(y, x, true, work)
    }
    /// Member by member, but for operators side by side, whose outputs are summed before the adjoint.
    fn apply_normal_add(&self, x: &[X], out: &mut [X], work: &mut Work) -> Result<(), Fault> {
        if self.output.is_none() {
            let mut data = work.take::<Y>("A x", self.range.len());
            let done = self.run_forward(x, &mut data, false, work);
            let done = done.and_then(|()| self.run_adjoint(&data, out, true, work));
            work.give("A x", data);
            return done;
        }
        self.run(
            (x, out),
            true,
            true,
            work,
            |member| [member.reads, member.reads],
            |operator, x, out, add, work| {
                if !add {
                    out.fill(X::default());
                }
                operator.apply_normal_add(x, out, work)
            },
        )
    }
    fn structure(&self) -> Structure {
        let all = |flag: fn(Structure) -> bool| self.members().all(|member| flag(member.structure()));
        let diagonal = self.input.is_some() && self.output.is_some();
        // blocks on the diagonal of an array, not only of a list of numbers
        let square = self.domain.sizes() == self.range.sizes()
            && self.input.as_ref().and_then(|dim| self.domain.axis(dim))
                == self.output.as_ref().and_then(|dim| self.range.axis(dim));
        Structure {
            self_adjoint: diagonal && square && all(|of| of.self_adjoint),
            non_negative: all(|of| of.non_negative),
            isometry: diagonal && all(|of| of.isometry),
        }
    }
    /// The largest of the blocks of a diagonal; otherwise their sum.
    fn norm_squared_bound(&self) -> Option<f64> {
        let bounds = self.members().map(|member| member.norm_squared_bound());
        match (&self.input, &self.output) {
            (Some(_), Some(_)) => bounds.into_iter().try_fold(0.0, |largest: f64, bound| Some(largest.max(bound?))),
            _ => bounds.sum(),
        }
    }
    fn normal_diagonal(&self) -> Option<Vec<f64>> {
        self.of_columns(|member| member.normal_diagonal())
    }
    fn normal_spectrum(&self, basis: Basis) -> Option<Vec<f64>> {
        let knows = match (&self.input, &self.output) {
            (None, _) => true,
            (Some(_), Some(_)) => basis == Basis::Model, // the transform of a part is no part of the transform
            (Some(_), None) => false,
        };
        knows.then(|| self.of_columns(|member| member.normal_spectrum(basis))).flatten()
    }
    fn inner_dims(&self) -> Vec<Dim> {
        super::inner_dims_of(self.members(), &self.domain, &self.range)
    }
    fn batch_dims(&self) -> Vec<[String; 2]> {
        let mut pairs = super::batch_dims_of(self.members());
        // A pair along which members are joined stays one if they are joined along both of its dims.
        pairs.retain(|[a, b]| (self.input.as_ref() == Some(a)) == (self.output.as_ref() == Some(b)));
        pairs
    }
    /// Along the dims that are joined between members, and inside a member where it may be; along others where all may.
    fn may_be_cut(&self, dim: &str, at: usize) -> bool {
        let Ok(here) = place(self, dim) else { return false };
        let may = |member: &SharedOperator<X, Y>, at| {
            place(member, dim).is_ok_and(|there| there == here) && member.may_be_cut(dim, at)
        };
        if self.is_along(&here) {
            return self.member_at(&here, dim, at).is_none_or(|(member, at)| may(&member.operator, at));
        }
        self.size(dim).is_some() && self.members().all(|member| may(member, at))
    }
    /// Of each member the samples that lie in the ranges, counted from its own first one. A member of which the input or the
    /// output lies outside, but not both, leaves a zero; so does a block diagonal off its diagonal.
    fn part(&self, ranges: &Ranges) -> Result<SharedOperator<X, Y>, Fault> {
        let along = |dim: &Option<String>| dim.as_ref().and_then(|dim| ranges.get(dim));
        let (input, output) = (along(&self.input), along(&self.output));
        let mut others = ranges.clone();
        for dim in [&self.input, &self.output].into_iter().flatten() {
            others = others.without(dim);
        }
        let mut parts: Vec<SharedOperator<X, Y>> = Vec::new();
        let mut any = false;
        for member in &self.members {
            let reads = self.input.as_ref().map(|_| rebased(&member.input, &input));
            let writes = self.output.as_ref().map(|_| rebased(&member.output, &output));
            let is_empty = |samples: &Option<Range<usize>>| samples.as_ref().is_some_and(|samples| samples.is_empty());
            let mut own = others.clone();
            for (dim, cut, samples) in [(&self.input, &input, &reads), (&self.output, &output, &writes)] {
                if let (Some(dim), Some(_), Some(samples)) = (dim, cut, samples) {
                    own.set(dim, samples.clone());
                }
            }
            match (is_empty(&reads), is_empty(&writes)) {
                (false, false) => {
                    parts.push(part_of(&member.operator, &own)?);
                    any = true;
                }
                // a vertical or a horizontal one just leaves the member out
                (true, true) => {}
                (true, false) if self.output.is_none() => {}
                (false, true) if self.input.is_none() => {}
                _ => {
                    let (domain, range) = (member.operator.domain(), member.operator.range());
                    parts.push(Arc::new(Zero::new(own.shape(domain), own.shape(range))));
                }
            }
        }
        match parts.as_slice() {
            _ if !any => Ok(Arc::new(Zero::new(ranges.shape(&self.domain), ranges.shape(&self.range)))),
            [only] => Ok(only.clone()),
            _ => Ok(Arc::new(Concat::new(parts, self.input.as_deref(), self.output.as_deref())?)),
        }
    }
    /// The sum of the members' normal operators if they lie one below the other, their block diagonal if they are one; as
    /// soon as one of them is cheaper than by what the member does.
    fn normal_operator(&self) -> Option<SharedOperator<X>> {
        let merged: Vec<_> = match &self.output {
            Some(_) => self.members().map(normal::merged).collect(),
            None => return None, // see `normal_blocks`
        };
        if merged.iter().all(|merged| merged.is_none()) {
            return None;
        }
        let names = normal::range_of(self);
        let own = |(merged, member): (Option<_>, _)| merged.unwrap_or_else(|| normal::plain(member));
        let normals =
            merged.into_iter().zip(self.members()).map(own).map(|normal| with_range(normal, &names)).collect();
        let whole: SharedOperator<X> = match &self.input {
            None => Arc::new(Sum::new(normals).ok()?),
            Some(input) => {
                let axis = self.domain.axis(input)?;
                Arc::new(Concat::diagonal(normals, input, names.names().nth(axis)?).ok()?)
            }
        };
        Some(whole)
    }
}

/// The samples of a member that lie in a range, counted from the member's first one.
fn rebased(samples: &Range<usize>, range: &Option<Range<usize>>) -> Range<usize> {
    let range = range.clone().unwrap_or(0..usize::MAX);
    let (start, end) = (samples.start.max(range.start), samples.end.min(range.end));
    if start >= end { 0..0 } else { start - samples.start..end - samples.start }
}

/// Where the numbers of a member lie among those of the whole: `count` runs of `each`, `stride` apart, from `first` on.
#[derive(Debug, Clone, Copy)]
struct Runs {
    first: usize,
    each: usize,
    stride: usize,
    count: usize,
}

impl Runs {
    /// Those of some samples of a dim, or of all.
    fn of(shape: &Shape, dim: Option<&str>, samples: &Range<usize>) -> Self {
        let Some(axis) = dim.and_then(|dim| shape.axis(dim)) else {
            return Runs { first: 0, each: shape.len(), stride: shape.len(), count: 1 };
        };
        let sizes = shape.sizes();
        let inner: usize = sizes[axis + 1..].iter().product();
        let count = sizes[..axis].iter().product();
        Runs { first: samples.start * inner, each: samples.len() * inner, stride: sizes[axis] * inner, count }
    }

    fn len(&self) -> usize {
        self.each * self.count
    }
    /// The one run that they are, if they lie together.
    fn together(&self) -> Option<Range<usize>> {
        (self.count == 1 || self.each == self.stride || self.len() == 0).then(|| self.first..self.first + self.len())
    }
    fn gather<T: Copy>(&self, whole: &[T], part: &mut [T]) {
        for (run, part) in part.chunks_mut(self.each).enumerate() {
            part.copy_from_slice(&whole[self.first + run * self.stride..][..self.each]);
        }
    }
    fn scatter<T: Copy + AddAssign>(&self, part: &[T], whole: &mut [T], add: bool) {
        for (run, part) in part.chunks(self.each.max(1)).enumerate() {
            let whole = &mut whole[self.first + run * self.stride..][..self.each];
            match add {
                true => whole.iter_mut().zip(part).for_each(|(whole, part)| *whole += *part),
                false => whole.copy_from_slice(part),
            }
        }
    }
}
