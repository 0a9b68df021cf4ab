//! Promises about an `x` of several blocks: the rows R1, R5 to R7 of the acceptance table, methods on cut vectors, rows of
//! several operators. Each rank holds only what its operators read.

use std::rc::Rc;

use ndarray::{Array1, Array2};
use num_complex::Complex;
use stackphys::comm::{Comm, Kind, Solo, Summation, Team};
use stackphys::solver::{
    AnyMethod, CgParams, CglsParams, LanczosParams, LsmrParams, LsqrParams, NormSquared, NormSquaredEstimate,
    PowerParams, Progress, PseudoInverse, norm_squared, pseudo_inverse, stop,
};
use stackphys::space::{Placement, Vector};
use stackphys::stack::{Assignment, BlockPlan, Description, Factory, PlanOptions, Stack};
use stackphys::testing::{random as random_vector, stack_dot_tests};
use stackphys::{Fault, Scalar, Shape};

use super::promises::Promise;
use super::*;

/// These promises by name.
pub const ALL: &[Promise] = &[
    ("R1 parallel vector", r1_parallel_vector),
    ("R5 lone and unused components", r5_lone_and_unused_components),
    ("R6 errors of a factory with blocks", r6_errors_of_a_factory_with_blocks),
    ("R7 argument errors with blocks", r7_argument_errors),
    ("a stack on blocks is its dense matrix", a_stack_on_blocks_is_its_dense_matrix),
    ("blocks do not depend on the ranks", blocks_do_not_depend_on_the_ranks),
    ("methods work on blocks", methods_work_on_blocks),
    ("a block-diagonal stack sends nothing", a_block_diagonal_stack_sends_nothing),
    ("a shared block is summed by its readers only", a_shared_block_is_summed_by_its_readers_only),
];

/// Random matrices: of each the blocks that it reads and the row that it adds to.
#[derive(Clone)]
pub struct Grid {
    columns: Vec<usize>,
    /// Rows of measurements: how many numbers.
    rows: Vec<usize>,
    /// (row, blocks).
    tiles: Vec<(usize, Vec<usize>)>,
    named_rows: bool,
}

impl Grid {
    fn width(&self, tile: usize) -> usize {
        self.tiles[tile].1.iter().map(|block| self.columns[*block]).sum()
    }
    fn matrix<S: Scalar>(&self, tile: usize) -> Array2<S> {
        matrix(self.rows[self.tiles[tile].0], self.width(tile), 300 + tile as u64)
    }
    /// The whole matrix, in the order of rows and blocks.
    fn whole<S: Scalar>(&self) -> Array2<S> {
        let start = |sizes: &[usize], of: usize| sizes[..of].iter().sum::<usize>();
        let mut whole = Array2::zeros((self.rows.iter().sum(), self.columns.iter().sum()));
        for (tile, (row, blocks)) in self.tiles.iter().enumerate() {
            let (entries, mut from) = (self.matrix::<S>(tile), 0);
            for block in blocks {
                let (top, left) = (start(&self.rows, *row), start(&self.columns, *block));
                for i in 0..self.rows[*row] {
                    for j in 0..self.columns[*block] {
                        whole[[top + i, left + j]] += entries[[i, from + j]];
                    }
                }
                from += self.columns[*block];
            }
        }
        whole
    }
    pub fn stack<S: Scalar>(&self, comm: &Rc<dyn Comm>, options: PlanOptions) -> Result<Stack<S>, stackphys::Error> {
        Stack::build(Team::new(comm.clone()), self, options)
    }
}

fn line(size: usize) -> Shape {
    Shape::new([("x", size)])
}

impl<S: Scalar> Factory<S> for Grid {
    fn count(&self) -> usize {
        self.tiles.len()
    }
    fn blocks(&self) -> Vec<Shape> {
        self.columns.iter().map(|size| line(*size)).collect()
    }
    fn describe(&self, index: usize) -> Result<Description, Fault> {
        let (row, reads) = &self.tiles[index];
        let range = Shape::new([("row", self.rows[*row])]);
        Ok(Description {
            reads: reads.clone(),
            row: self.named_rows.then_some(*row),
            ..Description::new(format!("tile {index}"), line(self.width(index)), range)
        })
    }
    fn build(&self, index: usize) -> Result<Boxed<S>, Fault> {
        Ok(Box::new(Dense::new(line(self.width(index)), self.matrix::<S>(index))?))
    }
}

/// A grid of three rows and four blocks with holes, one row of a single tile, and one tile that reads two blocks out of order.
pub fn grid() -> Grid {
    Grid {
        columns: vec![3, 2, 4, 1],
        rows: vec![5, 3, 6],
        tiles: vec![(0, vec![0]), (0, vec![2, 1]), (1, vec![1]), (2, vec![2]), (2, vec![3]), (2, vec![0])],
        named_rows: true,
    }
}

/// One row for each operator, overlapping blocks.
pub fn matrix_of_blocks() -> Grid {
    Grid {
        columns: vec![2, 3, 1, 2],
        rows: vec![4, 3, 5, 6, 2],
        tiles: vec![(0, vec![0, 2]), (1, vec![1, 2]), (2, vec![0, 1]), (3, vec![3]), (4, vec![3, 0])],
        named_rows: false,
    }
}

/// One row for each operator, in another order than the operators.
fn rows_out_of_order() -> Grid {
    Grid {
        columns: vec![2, 3, 2],
        rows: vec![4, 3, 5, 2],
        tiles: vec![(2, vec![0]), (0, vec![0, 1]), (3, vec![1]), (1, vec![2])],
        named_rows: true,
    }
}

/// Operators that see the same of `x` and add to the same measurements.
fn sums_of_operators() -> Grid {
    Grid {
        columns: vec![3, 2],
        rows: vec![5, 4],
        tiles: vec![(0, vec![0]), (0, vec![0]), (1, vec![1]), (1, vec![0]), (1, vec![1])],
        named_rows: true,
    }
}

fn grids() -> [Grid; 4] {
    [grid(), matrix_of_blocks(), rows_out_of_order(), sums_of_operators()]
}

fn every_mode() -> impl Iterator<Item = PlanOptions> {
    [Summation::Fast, Summation::Ordered].into_iter().flat_map(|summation| {
        [Assignment::Contiguous, Assignment::RoundRobin].map(|assignment| PlanOptions {
            assignment,
            summation,
            ..PlanOptions::default()
        })
    })
}

/// A vector of numbers that all ranks know, and what this rank holds of it.
fn cut<S: Scalar>(zeros: Vector<S>, numbers: &Array1<S>) -> Vector<S> {
    let mut vector = zeros;
    let mut start = 0;
    let sizes: Vec<usize> = vector.space().blocks().iter().map(|block| block.shape.len()).collect();
    for (index, size) in sizes.into_iter().enumerate() {
        if let Some(block) = vector.block_slice_mut(index) {
            block.copy_from_slice(&numbers.as_slice().unwrap()[start..start + size]);
        }
        start += size;
    }
    vector
}

/// Whether this rank's blocks of a vector are those of numbers that all ranks know.
fn agrees<S: Scalar>(vector: &Vector<S>, numbers: &Array1<S>, tolerance: f64) -> bool {
    let scale = numbers.iter().map(|z| z.modulus_squared()).fold(0.0, f64::max).sqrt();
    let expected = cut(Vector::zeros(vector.space()), numbers);
    let mut pairs = vector.as_slice().iter().zip(expected.as_slice());
    pairs.all(|(a, b)| (*a - *b).modulus_squared().sqrt() <= tolerance * scale)
}

fn tolerance<S: Scalar>() -> f64 {
    if S::NAME.ends_with("f64") { 1e-12 } else { 2e-5 }
}

fn a_stack_on_blocks_is_its_dense_matrix(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        for grid in grids() {
            let whole = grid.whole::<S>();
            let adjoint = adjoint_of(&whole);
            for options in every_mode() {
                let stack = grid.stack::<S>(comm, options).unwrap();
                let all_x = Array1::from(random::<S>(whole.ncols(), 7));
                let all_y = Array1::from(random::<S>(whole.nrows(), 8));
                let (x, y) = (cut(stack.zero_model(), &all_x), cut(stack.zero_data(), &all_y));
                let (mut out, mut data) = (stack.zero_model(), stack.zero_data());
                out.fill(S::from_f64(f64::NAN));
                data.fill(S::from_f64(f64::NAN));
                stack.forward(&x, &mut data).unwrap();
                assert!(agrees(&data, &whole.dot(&all_x), tolerance::<S>()));
                stack.adjoint(&y, &mut out).unwrap();
                assert!(agrees(&out, &adjoint.dot(&all_y), tolerance::<S>()));
                stack.normal(&x, &mut out).unwrap();
                assert!(agrees(&out, &adjoint.dot(&whole.dot(&all_x)), tolerance::<S>()));
                stack.forward_adjoint(&y, &mut data).unwrap();
                assert!(agrees(&data, &whole.dot(&adjoint.dot(&all_y)), tolerance::<S>()));
                let residual = whole.dot(&all_x) - &all_y;
                let squared = stack.residual(&x, &y, &mut out).unwrap();
                let expected: f64 = residual.iter().map(|z| z.modulus_squared()).sum();
                assert!((squared / expected - 1.0).abs() < tolerance::<S>());
                assert!(agrees(&out, &adjoint.dot(&residual), tolerance::<S>()));
                assert!(stack_dot_tests(&stack, 5).unwrap().iter().all(|(_, test)| test.passes::<S>()));
                // who shares a block holds the same numbers, and who does not read it holds none
                for (block, column) in stack.plan().columns().iter().enumerate() {
                    let reads = column.ranks.contains(&comm.rank());
                    assert_eq!(out.block_slice(block).is_some(), reads);
                }
                let norm = stack.team().norm(&x).unwrap();
                let expected: f64 = all_x.iter().map(|z| z.modulus_squared()).sum();
                assert!((norm * norm / expected - 1.0).abs() < tolerance::<S>(), "owners count once");
            }
        }
    }
    each_scalar!(check, comm);
}

fn blocks_do_not_depend_on_the_ranks(comm: &Rc<dyn Comm>) {
    let alone: Rc<dyn Comm> = Rc::new(Solo);
    for grid in grids() {
        let options = PlanOptions { summation: Summation::Ordered, ..PlanOptions::default() };
        let solve = |comm: &Rc<dyn Comm>| {
            let stack = grid.stack::<f64>(comm, options).unwrap();
            let y = random_vector(stack.range(), 5, 2);
            let how = PseudoInverse::Exact(CgParams { damping: 0.1, ..CgParams::default() }.into());
            let solution =
                pseudo_inverse(&stack, &y, &how, None, &*stop::iterations(6), &mut |_: &Progress| ()).unwrap();
            let residuals: Vec<u64> = solution
                .outcome
                .unwrap()
                .history
                .iter()
                .map(|step| step.relative_residual.unwrap().to_bits())
                .collect();
            (solution.x, residuals)
        };
        let ((x, residuals), (expected, expected_residuals)) = (solve(comm), solve(&alone));
        for block in 0..grid.columns.len() {
            if let Some(numbers) = x.block_slice(block) {
                assert_eq!(bytes(numbers), bytes(expected.block_slice(block).unwrap()));
            }
        }
        assert_eq!(residuals, expected_residuals);
    }
}

fn methods_work_on_blocks(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar + ndarray_linalg::Lapack>(comm: &Rc<dyn Comm>) {
        let double = S::NAME.ends_with("f64");
        for grid in grids() {
            let stack = grid.stack::<S>(comm, PlanOptions::default()).unwrap();
            let whole = grid.whole::<S>();
            let all_y = Array1::from(random::<S>(whole.nrows(), 8));
            let y = cut(stack.zero_data(), &all_y);
            use ndarray_linalg::{LeastSquaresSvd, SVD};
            let expected = whole.least_squares(&all_y).unwrap().solution;
            let rule =
                stop::any([stop::relative_normal_residual(if double { 1e-13 } else { 1e-6 }), stop::iterations(200)]);
            let methods: [AnyMethod; 4] = [
                CgParams::default().into(),
                CglsParams::default().into(),
                LsqrParams::default().into(),
                LsmrParams::default().into(),
            ];
            for method in methods {
                let how = PseudoInverse::Exact(method.into());
                let solution = pseudo_inverse(&stack, &y, &how, None, &*rule, &mut |_: &Progress| ()).unwrap();
                assert!(agrees(&solution.x, &expected, if double { 1e-9 } else { 5e-3 }), "{how:?}");
            }
            let (_, singular, _) = whole.svd(false, false).unwrap();
            let largest: f64 = singular[0].to_string().parse().unwrap();
            for how in [
                NormSquared::Exact(PowerParams { tolerance: 1e-13, max_iter: 5000, ..PowerParams::default() }),
                NormSquared::Lanczos(LanczosParams::default()),
            ] {
                let found = norm_squared(&stack, &how, &mut |_: &Progress| ()).unwrap();
                let NormSquaredEstimate::Value { value, .. } = found else { panic!("{found:?}") };
                assert!(
                    (value / (largest * largest) - 1.0).abs() < if double { 1e-6 } else { 1e-3 },
                    "{how:?}: {value}"
                );
            }
            let bounds = norm_squared(&stack, &NormSquared::Bounds, &mut |_: &Progress| ()).unwrap();
            let NormSquaredEstimate::Bounds { below, above, .. } = bounds else { panic!("{bounds:?}") };
            let squared = largest * largest;
            assert!(below <= squared * 1.00001 && squared <= above * 1.00001, "{below} {squared} {above}");
            let cancels = grid.tiles == sums_of_operators().tiles; // then no operator alone says anything
            assert_eq!(below > 0.0, !cancels);
        }
    }
    each_scalar!(check, comm);
}

fn r1_parallel_vector(comm: &Rc<dyn Comm>) {
    // more operators than ranks, one x for all: the classic stack; its blocks are there too
    let stack = dense_stack::<f64>(comm, 7, 4, Assignment::Contiguous, Summation::Fast);
    assert_eq!((stack.plan().columns().len(), stack.plan().rows().len()), (1, 7));
    assert!(stack.domain().is_replicated());
    let x = random_vector(stack.domain(), 1, 1);
    let mut y = stack.zero_data();
    stack.forward(&x, &mut y).unwrap();
    let expected = assembled::<f64>(7, 4).dot(&Array1::from(x.as_slice().to_vec()));
    assert!(distance(&stack.gather(&y, None).unwrap(), &expected) < 1e-12);
}

fn r5_lone_and_unused_components(comm: &Rc<dyn Comm>) {
    // M = I with sizes 4 and 5
    let lone =
        Grid { columns: vec![4, 5], rows: vec![4, 5], tiles: vec![(0, vec![0]), (1, vec![1])], named_rows: false };
    let stack = lone.stack::<Complex<f64>>(comm, PlanOptions::default()).unwrap();
    assert!(stack_dot_tests(&stack, 3).unwrap().iter().all(|(_, test)| test.ratio < 1e-12));
    // a component that nobody reads: on rank 0, and its part of the adjoint is zero
    let unused = Grid { columns: vec![4, 5, 2], ..lone };
    for options in every_mode() {
        let stack = unused.stack::<f64>(comm, options).unwrap();
        let y = random_vector(stack.range(), 4, 2);
        let mut back = stack.zero_model();
        back.fill(f64::NAN);
        stack.adjoint(&y, &mut back).unwrap();
        assert_eq!(back.block_slice(2), (comm.rank() == 0).then_some(&[0.0, 0.0][..]));
        // only what is read is held, and nothing of it is sent
        let first = stack.plan().owners()[0];
        assert_eq!(back.block_slice(0).is_some(), first == comm.rank());
        assert_eq!(stack.team().meter().of(Kind::VectorReduction).calls, 0);
    }
}

fn r6_errors_of_a_factory_with_blocks(comm: &Rc<dyn Comm>) {
    let told = |grid: &Grid| grid.stack::<f64>(comm, PlanOptions::default()).err().unwrap().to_string();
    let right = matrix_of_blocks();
    let member = Description { reads: vec![0, 7], ..Description::new("t", line(5), line(4)) };
    let blocks = vec![line(2), line(3)];
    let fault = BlockPlan::with_blocks::<f64>(blocks, vec![member], comm.size(), PlanOptions::default()).unwrap_err();
    assert!(fault.text.contains("`t` reads block 7 of x, which has 2 blocks"), "{}", fault.text);
    assert_eq!(fault.operator, Some(0));

    let size = |domain: Shape, reads: Vec<usize>| {
        let member = Description { reads, ..Description::new("t", domain, line(4)) };
        BlockPlan::with_blocks::<f64>(vec![line(2), line(3)], vec![member], 2, PlanOptions::default()).unwrap_err().text
    };
    assert!(size(line(6), vec![0, 1]).contains("blocks [0, 1] of x have 5 numbers, (x=6) has 6"));
    assert!(size(line(3), vec![0]).contains("dim `x` should be 2, got 3"));
    assert!(size(line(4), vec![0, 0]).contains("reads block 0 of x twice"));

    let mut empty = grid();
    empty.tiles.retain(|(row, _)| *row != 1);
    assert!(told(&empty).contains("row 1 of the measurements has no operator"), "{}", told(&empty));
    let none = Grid { tiles: Vec::new(), ..right };
    assert!(told(&none).contains("the stack has no operators"), "{}", told(&none));
}

fn r7_argument_errors(comm: &Rc<dyn Comm>) {
    for options in every_mode() {
        for grid in grids() {
            let stack = grid.stack::<f64>(comm, options).unwrap();
            let (input, mut x, mut y) = (stack.zero_model(), stack.zero_model(), stack.zero_data());
            let wrong = Vector::zeros(&stackphys::space::Space::replicated(line(5)));
            // on one rank only: the others do what they should
            let last = comm.rank() + 1 == comm.size();
            let error = stack.forward(if last { &wrong } else { &x }, &mut y).unwrap_err();
            assert!(error.to_string().contains("x is a vector of another space"), "{error}");
            let error = stack.normal(if last { &wrong } else { &input }, &mut x).unwrap_err();
            assert!(error.to_string().contains("x is a vector of another space"), "{error}");
            let error = stack.adjoint(if last { &wrong } else { &y }, &mut x).unwrap_err();
            assert!(error.to_string().contains("y is a vector of another space"), "{error}");
            x.fill(1.0);
            stack.forward(&x, &mut y).unwrap(); // usable again
            let ones = Array1::from(vec![1.0; grid.columns.iter().sum()]);
            assert!(agrees(&y, &grid.whole::<f64>().dot(&ones), 1e-12));
        }
    }
}

fn a_block_diagonal_stack_sends_nothing(comm: &Rc<dyn Comm>) {
    let diagonal = Grid {
        columns: vec![4, 2, 3, 5],
        rows: vec![4, 3, 5, 6],
        tiles: (0..4).map(|k| (k, vec![k])).collect(),
        named_rows: false,
    };
    let stack = diagonal.stack::<f64>(comm, PlanOptions::default()).unwrap();
    let x = random_vector(stack.domain(), 3, 1);
    let (mut out, mut y) = (stack.zero_model(), stack.zero_data());
    let before = stack.team().meter().all();
    stack.forward_unsettled(&x, &mut y);
    stack.adjoint_unsettled(&y, &mut out).unwrap();
    stack.normal_unsettled(&x, &mut out).unwrap();
    if comm.size() > 1 {
        assert_eq!(stack.team().meter().all(), before);
    }
    assert!(comm.size() < 4 || matches!(stack.domain().blocks()[2].placement, Placement::On(2)));
}

fn a_shared_block_is_summed_by_its_readers_only(comm: &Rc<dyn Comm>) {
    // neighbours share a block
    let chain = Grid {
        columns: vec![4, 1, 4, 1, 4, 1, 4],
        rows: vec![5, 6, 6, 5],
        tiles: vec![(0, vec![0, 1]), (1, vec![1, 2, 3]), (2, vec![3, 4, 5]), (3, vec![5, 6])],
        named_rows: false,
    };
    let stack = chain.stack::<f64>(comm, PlanOptions::default()).unwrap();
    let y = random_vector(stack.range(), 3, 1);
    let mut out = stack.zero_model();
    let before = stack.team().meter().of(Kind::VectorReduction);
    stack.adjoint_unsettled(&y, &mut out).unwrap();
    let sent = stack.team().meter().of(Kind::VectorReduction);
    let shared: Vec<_> = stack.plan().columns().iter().filter(|column| column.ranks.len() > 1).collect();
    let mine = shared.iter().filter(|column| column.ranks.contains(&comm.rank())).count() as u64;
    if comm.size() > 1 {
        assert_eq!((sent.calls - before.calls, sent.bytes - before.bytes), (mine, 8 * mine));
    }
    if comm.size() == 4 {
        assert_eq!(mine, if [0, 3].contains(&comm.rank()) { 1 } else { 2 });
    }
}
