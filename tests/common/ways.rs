//! Promises about the three ways into a plan: a factory, a list of operators with a distribution matrix, one operator that is
//! split. The number in a name is that of a row in the project's table of behaviours.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayD, array};
use num_complex::Complex;
use stackphys::comm::{Comm, Kind, Solo, Summation, Team};
use stackphys::operator::algebra::{adjoint, compose};
use stackphys::operator::{Apply, Cut, Deferred, SharedOperator, Work, split};
use stackphys::solver::{CgParams, Progress, PseudoInverse, pseudo_inverse, stop};
use stackphys::space::Vector;
use stackphys::stack::{BlockPlan, Description, Factory, FromFn, Listed, PlanOptions, Stack, Tiles};
use stackphys::testing::{random as random_vector, stack_dot_tests};
use stackphys::{Error, Fault, Scalar, Shape};

use super::compositions::{golden_weight, golden_x, matrix_of, named, volume_ct};
use super::promises::{Promise, tolerance};
use super::*;

/// These promises by name.
pub const ALL: &[Promise] = &[
    ("three ways in give one plan and the same bits", three_ways_in_give_one_plan_and_the_same_bits),
    ("R4 distribution matrix", r4_distribution_matrix),
    ("R6 errors of a distribution matrix", r6_errors_of_a_distribution_matrix),
    ("T22 tiles are cut again on their own rank", t22_tiles_are_cut_again_on_their_own_rank),
    ("T23 tiles along an inner dim are summed", t23_tiles_along_an_inner_dim_are_summed),
    ("T27 a member is on the rank that it asks for", t27_a_member_is_on_the_rank_that_it_asks_for),
    ("T28 ranks that cannot be had", t28_ranks_that_cannot_be_had),
    ("T31 a rank makes its own tiles only", t31_a_rank_makes_its_own_tiles_only),
    ("T32 tiles do not depend on the ranks", t32_tiles_do_not_depend_on_the_ranks),
    ("tiles along a batch dim send nothing", tiles_along_a_batch_dim_send_nothing),
];

fn shape(dims: &[(&str, usize)]) -> Shape {
    Shape::new(dims.iter().copied())
}

/// The weights W[b, m, n] of the rows T20 and T21.
fn weights() -> Shape {
    shape(&[("B", 10), ("M", 3), ("N", 7)])
}

/// A part of W; numbers that are made are counted.
fn part_of_w<S: Scalar>([b, m, n]: [Range<usize>; 3], made: &AtomicUsize) -> Result<SharedOperator<S>, Fault> {
    let places = b.clone().flat_map(|b| m.clone().map(move |m| (b, m))).flat_map(|(b, m)| {
        let n = n.clone();
        n.map(move |n| (b * 3 + m) * 7 + n)
    });
    let entries: Vec<S> = places.map(|place| S::from_f64(golden_weight(place))).collect();
    made.fetch_add(entries.len(), Ordering::SeqCst);
    let (weights, x) =
        (shape(&[("B", b.len()), ("M", m.len()), ("N", n.len())]), shape(&[("B", b.len()), ("N", n.len())]));
    Ok(Arc::new(Dense::named(weights, entries, x, &["B", "M"])?))
}

/// All of W, of which nothing is made before it is asked for.
fn w<S: Scalar>(made: &Arc<AtomicUsize>) -> SharedOperator<S> {
    let made = made.clone();
    let (x, y) = (shape(&[("B", 10), ("N", 7)]), shape(&[("B", 10), ("M", 3)]));
    Arc::new(Deferred::new(x, y, &["B", "M", "N"], move |ranges| {
        let of = |dim, size| ranges.get(dim).unwrap_or(0..size);
        part_of_w([of("B", 10), of("M", 3), of("N", 7)], &made)
    }))
}

/// W in tiles, as a person would write them down.
#[derive(Clone)]
struct ByHand {
    /// Of each tile its ranges, the block of x that it reads, and the row that it adds to.
    tiles: Vec<([Range<usize>; 3], usize, usize)>,
    columns: Vec<Shape>,
    ranks: Option<Vec<usize>>,
    made: Arc<AtomicUsize>,
}

impl ByHand {
    /// Chunks along B, N and M, in this order; with ranks, from the last one down along M.
    fn new([b, n, m]: [usize; 3], ranks: Option<usize>, made: &Arc<AtomicUsize>) -> Self {
        let chunks = |size: usize, chunk: usize| -> Vec<Range<usize>> {
            (0..size).step_by(chunk).map(|start| start..(start + chunk).min(size)).collect()
        };
        let (b, n, m) = (chunks(10, b), chunks(7, n), chunks(3, m));
        let (mut tiles, mut columns, mut rank_of) = (Vec::new(), Vec::new(), Vec::new());
        for (of_b, b) in b.iter().enumerate() {
            for (of_n, n_range) in n.iter().enumerate() {
                columns.push(shape(&[("B", b.len()), ("N", n_range.len())]));
                for (of_m, m_range) in m.iter().enumerate() {
                    let ranges = [b.clone(), m_range.clone(), n_range.clone()];
                    tiles.push((ranges, of_b * n.len() + of_n, of_b * m.len() + of_m));
                    rank_of.extend(ranks.map(|ranks| ranks - 1 - of_m % ranks));
                }
            }
        }
        ByHand { tiles, columns, ranks: ranks.map(|_| rank_of), made: made.clone() }
    }
    fn shapes(&self, index: usize) -> [Shape; 2] {
        let [b, m, n] = self.tiles[index].0.clone().map(|range| range.len());
        [shape(&[("B", b), ("N", n)]), shape(&[("B", b), ("M", m)])]
    }
}

impl<S: Scalar> Factory<S> for ByHand {
    fn count(&self) -> usize {
        self.tiles.len()
    }
    fn blocks(&self) -> Vec<Shape> {
        self.columns.clone()
    }
    fn describe(&self, index: usize) -> Result<Description, Fault> {
        let [domain, range] = self.shapes(index);
        let (ranges, column, row) = &self.tiles[index];
        Ok(Description {
            reads: vec![*column],
            row: Some(*row),
            rank: self.ranks.as_ref().map(|ranks| ranks[index]),
            bytes: bytes_of::<S>(ranges),
            ..Description::new(format!("tile {index}"), domain, range)
        })
    }
    fn build(&self, index: usize) -> Result<Boxed<S>, Fault> {
        Ok(Box::new(part_of_w::<S>(self.tiles[index].0.clone(), &self.made)?))
    }
}

fn bytes_of<S: Scalar>(ranges: &[Range<usize>; 3]) -> u64 {
    (ranges.iter().map(|range| range.len()).product::<usize>() * size_of::<S>()) as u64
}

/// The same tiles in the three ways.
fn three_ways<S: Scalar>(
    chunks: [usize; 3],
    ranks: Option<usize>,
    made: &Arc<AtomicUsize>,
) -> [Box<dyn Factory<S>>; 3] {
    let by_hand = ByHand::new(chunks, ranks, made);
    let tiles = by_hand.tiles.clone();
    let tell = move |index: usize, described: Description| Description {
        name: format!("tile {index}"),
        bytes: bytes_of::<S>(&tiles[index].0),
        ..described
    };

    let mut matrix = Array2::from_elem((by_hand.tiles.len(), by_hand.columns.len()), false);
    by_hand.tiles.iter().enumerate().for_each(|(tile, (_, column, _))| matrix[[tile, *column]] = true);
    let operator = |index: usize| -> SharedOperator<S> {
        let ([domain, range], of, made) = (by_hand.shapes(index), by_hand.tiles[index].0.clone(), made.clone());
        Arc::new(Deferred::new(domain, range, &[], move |_| part_of_w(of.clone(), &made)))
    };
    let operators = (0..by_hand.tiles.len()).map(operator).collect();
    let rows = by_hand.tiles.iter().map(|(_, _, row)| *row).collect();
    let listed = Listed::new(by_hand.columns.clone(), operators, &matrix).unwrap().adding_to(rows).unwrap();
    let listed = match &by_hand.ranks {
        Some(ranks) => listed.on_ranks(ranks.clone()).unwrap(),
        None => listed,
    };

    let [b, n, m] = chunks.map(Cut::Chunks);
    let cuts: Vec<_> = [("B", b), ("N", n), ("M", m)].into_iter().filter(|(_, cut)| *cut != Cut::Chunks(10)).collect();
    let split = Tiles::new(split(&w::<S>(made), &cuts).unwrap());
    let split = match ranks {
        Some(ranks) => split.on_ranks(&ArrayD::from_shape_fn(vec![ranks], |at| ranks - 1 - at[0]), ranks).unwrap(),
        None => split,
    };
    [Box::new(by_hand), Box::new(listed.telling(tell.clone())), Box::new(split.telling(tell))]
}

fn build<S: Scalar>(comm: &Rc<dyn Comm>, factory: &dyn Factory<S>, summation: Summation) -> Result<Stack<S>, Error> {
    let reduction = REDUCTION.get().copied().unwrap_or_default();
    Stack::build(Team::new(comm.clone()), factory, PlanOptions { summation, reduction, ..PlanOptions::default() })
}

fn made() -> Arc<AtomicUsize> {
    Arc::default()
}

/// A vector's blocks as this rank has them, with where they are.
fn blocks_of<S: Scalar>(vector: &Vector<S>) -> Vec<Option<Vec<u8>>> {
    (0..vector.space().blocks().len()).map(|block| vector.block_slice(block).map(bytes)).collect()
}

/// Everything that a stack computes from the same numbers, block by block.
fn results<S: Scalar>(stack: &Stack<S>) -> Vec<Vec<Option<Vec<u8>>>> {
    let (x, y) = (random_vector(stack.domain(), 5, 1), random_vector(stack.range(), 5, 2));
    let (mut model, mut data, mut results) = (stack.zero_model(), stack.zero_data(), Vec::new());
    stack.forward(&x, &mut data).unwrap();
    results.push(blocks_of(&data));
    stack.forward_adjoint(&y, &mut data).unwrap();
    results.push(blocks_of(&data));
    stack.adjoint(&y, &mut model).unwrap();
    results.push(blocks_of(&model));
    stack.normal(&x, &mut model).unwrap();
    results.push(blocks_of(&model));
    let how = PseudoInverse::Exact(CgParams { damping: 0.1, ..CgParams::default() }.into());
    let solution = pseudo_inverse(stack, &y, &how, None, &*stop::iterations(4), &mut |_: &Progress| ()).unwrap();
    results.push(blocks_of(&solution.x));
    results
}

fn three_ways_in_give_one_plan_and_the_same_bits(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let alone: Rc<dyn Comm> = Rc::new(Solo);
        // chunks of B, N, M: that of T20, and one with a batch
        for chunks in [[10, 2, 1], [4, 3, 2]] {
            let [by_hand, ..] = three_ways::<S>(chunks, None, &made());
            let expected = results(&build(&alone, &*by_hand, Summation::Ordered).unwrap());
            for ranks in [None, Some(comm.size())] {
                let stacks = three_ways::<S>(chunks, ranks, &made())
                    .map(|factory| build(comm, &*factory, Summation::Ordered).unwrap());
                let [first, ..] = &stacks;
                for stack in &stacks {
                    assert_eq!(stack.plan(), first.plan());
                    assert_eq!(stack.plan().hash(), first.plan().hash());
                    for (what, (got, want)) in results(stack).iter().zip(&expected).enumerate() {
                        for (block, (got, want)) in got.iter().zip(want).enumerate() {
                            assert!(
                                got.is_none() || got == want,
                                "result {what}, block {block}, {} {ranks:?}",
                                S::NAME
                            );
                        }
                    }
                }
                let asked = |stack: &Stack<S>| stack.plan().entries()[0].description.rank;
                assert_eq!(asked(first), ranks.map(|ranks| ranks - 1));
            }
            // what differs makes another plan
            let [by_hand, listed, tiles] = three_ways::<S>(chunks, Some(comm.size()), &made());
            let plan = |factory: &dyn Factory<S>| build(comm, factory, Summation::Ordered).unwrap().plan().hash();
            let [_, unasked, _] = three_ways::<S>(chunks, None, &made());
            let hashes = [&*by_hand, &*listed, &*tiles].map(plan);
            assert_eq!(hashes, [hashes[0]; 3]);
            assert_ne!(plan(&*unasked), hashes[0], "the rank that a member asks for is part of the hash");
        }
    }
    check::<f32>(comm);
    check::<f64>(comm);
    check::<Complex<f64>>(comm);
}

fn t32_tiles_do_not_depend_on_the_ranks(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        let alone: Rc<dyn Comm> = Rc::new(Solo);
        let near = |a: f64, b: f64| (a - b).abs() <= tolerance::<S>() * b.abs().max(1.0);
        let of = |comm: &Rc<dyn Comm>, summation| -> Vec<S> {
            let cuts = [("N", Cut::Chunks(2)), ("M", Cut::Chunks(1))];
            let tiles = Tiles::new(split(&w::<S>(&made()), &cuts).unwrap());
            let stack = build(comm, &tiles, summation).unwrap();
            let (mut x, mut y) = (stack.zero_model(), stack.zero_data());
            let (columns, rows) = (tiles.columns().unwrap(), tiles.rows().unwrap());
            assert_eq!((columns.tiles().len(), rows.tiles().len()), (4, 3));
            columns.scatter(&golden_x::<S>(), &mut x).unwrap();
            stack.forward(&x, &mut y).unwrap();
            let y = rows.join(&stack.gather(&y, None).unwrap()).unwrap();
            // the adjoint, as far as it is here
            let whole = w::<S>(&made());
            let (mut back, mut expected) = (stack.zero_model(), vec![S::default(); 70]);
            let mut data = stack.zero_data();
            rows.scatter(&y, &mut data).unwrap();
            stack.adjoint(&data, &mut back).unwrap();
            whole.adjoint(&y, &mut expected, &mut Work::default()).unwrap();
            let mut here = expected.clone();
            columns.gather(&back, &mut here).unwrap();
            assert!(distance(&here, &Array1::from(expected)) <= tolerance::<S>());
            y
        };
        let expected = of(&alone, Summation::Ordered);
        for summation in [Summation::Fast, Summation::Ordered] {
            let y = of(comm, summation);
            let (sum, squares): (f64, f64) =
                (y.iter().map(|y| y.re()).sum(), y.iter().map(|y| y.modulus_squared()).sum());
            assert!(near(sum, 0.23090089912537015), "{sum}");
            assert!(near(squares.sqrt(), 3.290928953796922));
            assert!(near(y[4 * 3 + 2].re(), -0.47315145366121236));
            assert!(distance(&y, &Array1::from(expected.clone())) <= tolerance::<S>());
            if summation == Summation::Ordered {
                assert_eq!(bytes(&y), bytes(&expected));
            }
        }
    }
    each_scalar!(check, comm);
}

fn t22_tiles_are_cut_again_on_their_own_rank(comm: &Rc<dyn Comm>) {
    let made = made();
    let grid = || split(&w::<f64>(&made), &[("N", Cut::Chunks(2))]).unwrap();
    let plain = build(comm, &Tiles::new(grid()), Summation::Ordered).unwrap();
    let before = made.load(Ordering::SeqCst);
    let specs = vec![vec![("M".to_owned(), Cut::Chunks(1))], vec![("B".to_owned(), Cut::Edges(vec![0, 3, 10]))]];
    let nested = build(comm, &Tiles::new(grid()).tiled_within(specs), Summation::Ordered).unwrap();
    // the cut of a tile changes neither the plan nor what a rank makes
    assert_eq!(nested.plan(), plain.plan());
    assert_eq!(made.load(Ordering::SeqCst), 2 * before);
    assert!(nested.local_operators().all(|(_, operator)| operator.name() == "Concat"));
    let x = random_vector(plain.domain(), 5, 1);
    let (mut a, mut b) = (plain.zero_data(), plain.zero_data());
    plain.forward(&x, &mut a).unwrap();
    nested.forward(&x, &mut b).unwrap();
    assert!(distance(b.as_slice(), &Array1::from(a.as_slice().to_vec())) < 1e-12 || a.as_slice().is_empty());
    // what cannot be is told by all, when the tile is built
    let specs = vec![vec![("Z".to_owned(), Cut::Chunks(1))]];
    let error = build(comm, &Tiles::new(grid()).tiled_within(specs), Summation::Fast).err().unwrap().to_string();
    assert!(error.contains("there is no dim `Z`"), "{error}");
}

fn t23_tiles_along_an_inner_dim_are_summed(comm: &Rc<dyn Comm>) {
    fn check<S: Scalar>(comm: &Rc<dyn Comm>) {
        // S then Sᴴ over C=5, chunk 2
        let coils = named::<S>(&[("C", 5), ("X", 4)], &[("X", 4)], &["C", "X"]);
        let a = compose(vec![coils.clone(), adjoint(&coils)]).unwrap();
        for summation in [Summation::Fast, Summation::Ordered] {
            let tiles = Tiles::new(split(&a, &[("C", Cut::Chunks(2))]).unwrap());
            let stack = build(comm, &tiles, summation).unwrap();
            assert_eq!((stack.count(), stack.plan().columns().len(), stack.blocks()), (3, 1, 1));
            let x = random::<S>(4, 3);
            let (mut model, mut y) = (stack.zero_model(), stack.zero_data());
            tiles.columns().unwrap().scatter(&x, &mut model).unwrap();
            stack.forward(&model, &mut y).unwrap();
            let all = stack.gather(&y, None).unwrap();
            assert!(distance(&all, &matrix_of(&a).dot(&Array1::from(x))) <= tolerance::<S>());
            assert!(stack_dot_tests(&stack, 3).unwrap().iter().all(|(_, test)| test.passes::<S>()));
        }
    }
    each_scalar!(check, comm);
}

fn tiles_along_a_batch_dim_send_nothing(comm: &Rc<dyn Comm>) {
    let ct = volume_ct::<f64>();
    let tiles = Tiles::new(split(&ct, &[("row", Cut::Chunks(1)), ("angle", Cut::Chunks(3))]).unwrap());
    // both angle ranges of a slice on one rank
    let ranks = Array2::from_shape_fn((comm.size(), 1), |(row, _)| row).into_dyn();
    let tiles = tiles.on_ranks(&ranks, comm.size()).unwrap();
    let stack = build(comm, &tiles, Summation::Fast).unwrap();
    assert_eq!((stack.plan().columns().len(), stack.blocks()), (3, 6));
    let volume: Vec<f64> = random(ct.domain().len(), 4);
    let (mut x, mut y, mut out) = (stack.zero_model(), stack.zero_data(), stack.zero_model());
    tiles.columns().unwrap().scatter(&volume, &mut x).unwrap();
    let before = stack.team().meter().all();
    stack.forward_unsettled(&x, &mut y);
    stack.normal_unsettled(&x, &mut out).unwrap();
    assert_eq!(stack.team().meter().all(), before);
    stack.team().settle().unwrap();
    // the very bits of the whole scan: each ray is summed as before
    let mut whole = vec![f64::NAN; ct.range().len()];
    ct.forward(&volume, &mut whole, &mut Work::default()).unwrap();
    let rows = tiles.rows().unwrap();
    assert_eq!(rows.join(&stack.gather(&y, None).unwrap()).unwrap(), whole);
    assert_eq!(stack.team().meter().of(Kind::VectorReduction).calls, 0);
}

fn r4_distribution_matrix(comm: &Rc<dyn Comm>) {
    // X = R² ⊕ R³ ⊕ R¹; T0 = x0 + x2·1, T1 = 2 x1 − x2·1
    let line = |size| Shape::new([("x", size)]);
    let operator = |size: usize, diagonal: f64, last: f64| -> SharedOperator<f64> {
        let entry = |(i, j)| if j == size { last } else { diagonal * f64::from(u8::from(i == j)) };
        Arc::new(Dense::new(line(size + 1), Array2::from_shape_fn((size, size + 1), entry)).unwrap())
    };
    let blocks = vec![line(2), line(3), line(1)];
    let operators = vec![operator(2, 1.0, 1.0), operator(3, 2.0, -1.0)];
    let matrix = array![[true, false, true], [false, true, true]];
    for summation in [Summation::Fast, Summation::Ordered] {
        let listed = Listed::new(blocks.clone(), operators.clone(), &matrix).unwrap();
        let stack = build(comm, &listed, summation).unwrap();
        let fill = |vector: &mut Vector<f64>, parts: &[&[f64]]| {
            for (block, part) in parts.iter().enumerate() {
                vector.block_slice_mut(block).into_iter().for_each(|slice| slice.copy_from_slice(part));
            }
        };
        let holds = |vector: &Vector<f64>, parts: &[&[f64]]| {
            let here = |(block, part): (usize, &&[f64])| vector.block_slice(block).is_none_or(|slice| slice == *part);
            parts.iter().enumerate().all(here)
        };
        let (mut x, mut y, mut back) = (stack.zero_model(), stack.zero_data(), stack.zero_model());
        fill(&mut x, &[&[1.0, 2.0], &[3.0, 4.0, 5.0], &[10.0]]);
        stack.forward(&x, &mut y).unwrap();
        assert!(holds(&y, &[&[11.0, 12.0], &[-4.0, -2.0, 0.0]]), "{:?}", y.as_slice());
        y.fill(1.0);
        stack.adjoint(&y, &mut back).unwrap();
        assert!(holds(&back, &[&[1.0, 1.0], &[2.0, 2.0, 2.0], &[-1.0]]), "{:?}", back.as_slice());
        // each operator's rank holds what it reads, and nothing else
        let read_by_0 = stack.plan().owners()[0] == comm.rank();
        assert_eq!(back.block_slice(0).is_some(), read_by_0);
    }
}

fn r6_errors_of_a_distribution_matrix(comm: &Rc<dyn Comm>) {
    let line = |size| Shape::new([("x", size)]);
    let made = made();
    let operator = |rows: usize, columns: usize| -> SharedOperator<f64> {
        let made = made.clone();
        Arc::new(Deferred::new(line(columns), Shape::new([("row", rows)]), &[], move |_| {
            made.fetch_add(1, Ordering::SeqCst);
            Ok(Arc::new(dense::<f64>(rows, columns, 1)))
        }))
    };
    let told = |operators: Vec<SharedOperator<f64>>, matrix: &Array2<bool>| {
        // as a program does it: the trouble of making the list is agreed on
        let listed = Listed::new(vec![line(2), line(3), line(1)], operators, matrix);
        let listed = Team::new(comm.clone()).agree(listed);
        listed.and_then(|listed| build(comm, &listed, Summation::Fast)).err().unwrap().to_string()
    };
    let two = || vec![operator(4, 3), operator(5, 4)];
    let right = array![[true, false, true], [false, true, true]];

    let rows = told(vec![operator(4, 3)], &right);
    assert!(rows.contains("distribution matrix: expected 1 rows, got 2, in the shape [2, 3]"), "{rows}");
    let columns = told(two(), &array![[true, false], [false, true]]);
    assert!(columns.contains("distribution matrix: expected 3 columns, got 2, in the shape [2, 2]"), "{columns}");
    let empty = told(two(), &array![[true, false, true], [false, false, false]]);
    assert!(empty.contains("row 1 has no block, so operator 1 (Deferred) reads nothing"), "{empty}");
    let size = told(two(), &array![[false, true, false], [true, false, false]]);
    assert!(
        size.contains(
            "at (1, 0): domain of operator 1 (Deferred): expected shape (x=2), got (x=4); dim `x` should be 2"
        ),
        "{size}"
    );
    let joined = told(two(), &array![[true, false, true], [true, true, false]]);
    let want = "row 1 joins the blocks at (1, 0) (x=2), (1, 1) (x=3), which have 5 numbers, but the domain (x=4) of \
                operator 1 (Deferred) has 4";
    assert!(joined.contains(want), "{joined}");
    for (fault, index) in [(&empty, 1), (&size, 1), (&joined, 1)] {
        assert!(fault.contains(&format!("operator {index}")), "{fault}");
    }
    let none = told(Vec::new(), &Array2::from_elem((0, 3), true));
    assert!(none.contains("the stack has no operators"), "{none}");
    // lists beside the matrix
    let list = || Listed::new(vec![line(2), line(3), line(1)], two(), &right).unwrap();
    let ranks = list().on_ranks(vec![0]).err().unwrap().text;
    assert!(ranks.contains("expected 2 ranks, one for each operator, got 1"), "{ranks}");
    let rows = list().adding_to(vec![0, 1, 2]).err().unwrap().text;
    assert!(rows.contains("expected 2 rows of measurements, one for each operator, got 3"), "{rows}");
    let rows = build(comm, &list().adding_to(vec![0, 2]).unwrap(), Summation::Fast).err().unwrap().to_string();
    assert!(rows.contains("names no row, or one beyond the number of operators, 2"), "{rows}");
    let rows = build(comm, &list().adding_to(vec![1, 1]).unwrap(), Summation::Fast).err().unwrap().to_string();
    assert!(rows.contains("which adds to row 1 as operator 0 does: expected shape (row=4), got (row=5)"), "{rows}");
    assert_eq!(made.load(Ordering::SeqCst), 0, "no rank started work");
    // and the right one works
    let stack = build(comm, &list(), Summation::Fast).unwrap();
    stack.forward(&stack.zero_model(), &mut stack.zero_data()).unwrap();
    assert_eq!(made.load(Ordering::SeqCst), stack.local_indices().len());
}

/// Members without weight, described by a function.
fn plan_of(
    count: usize,
    ranks: usize,
    describe: impl Fn(usize, Description) -> Description,
) -> Result<BlockPlan, Fault> {
    let line = Shape::new([("x", 3)]);
    let member = |index| describe(index, Description::new(format!("m{index}"), line.clone(), line.clone()));
    BlockPlan::new::<f64>((0..count).map(member).collect(), ranks, PlanOptions::default())
}

fn t27_a_member_is_on_the_rank_that_it_asks_for(comm: &Rc<dyn Comm>) {
    // some ask; the others are dealt as if they were all
    let plan = plan_of(7, 3, |index, member| Description { rank: [Some(2), None][index % 2], ..member }).unwrap();
    assert_eq!(plan.owners(), [2, 0, 2, 1, 2, 2, 2]);
    // one of a group may speak for all
    let plan = plan_of(5, 3, |index, member| Description {
        group: Some(format!("group {}", index % 2)),
        rank: (index == 3).then_some(2),
        ..member
    });
    assert_eq!(plan.unwrap().owners(), [0, 2, 0, 2, 0]);

    // by a rank matrix, and for real
    let made = made();
    let (last, size) = (comm.size() - 1, comm.size());
    let matrix = array![last, 0].into_dyn();
    let tiles = Tiles::new(split(&w::<f64>(&made), &[("N", Cut::Chunks(2))]).unwrap()).on_ranks(&matrix, size).unwrap();
    let stack = build(comm, &tiles, Summation::Fast).unwrap();
    assert_eq!(stack.plan().owners(), [last, 0, last, 0]);
    let mine: usize = [60, 60, 60, 30]
        .iter()
        .zip([last, 0, last, 0])
        .filter(|(_, owner)| *owner == comm.rank())
        .map(|(made, _)| made)
        .sum();
    assert_eq!(made.load(Ordering::SeqCst), mine);
    // the stack of a group by itself has one rank, whatever its members asked for
    let mean = |comm: &Rc<dyn Comm>, rank: usize| {
        let line = || Shape::new([("x", 4)]);
        let factory = FromFn::new(
            3,
            |index| {
                let described = Description::new(format!("{index}"), line(), Shape::new([("row", 5)]));
                Ok(Description { group: Some("all".into()), rank: Some(rank), ..described })
            },
            |index| Ok(Box::new(Dense::new(line(), super::matrix(5, 4, index as u64))?) as Boxed<f64>),
        );
        let stack = build(comm, &factory, Summation::Ordered).unwrap();
        assert_eq!(stack.plan().owners(), [rank; 3]);
        let y = random_vector(stack.range(), 3, 1);
        let how = PseudoInverse::LocalMean(CgParams::default().into());
        pseudo_inverse(&stack, &y, &how, None, &*stop::iterations(4), &mut |_: &Progress| ()).unwrap().x
    };
    let alone: Rc<dyn Comm> = Rc::new(Solo);
    assert_eq!(bytes(mean(comm, last).as_slice()), bytes(mean(&alone, 0).as_slice()));
}

fn t28_ranks_that_cannot_be_had(comm: &Rc<dyn Comm>) {
    let made = made();
    let size = comm.size();
    let grid = || split(&w::<f64>(&made), &[("N", Cut::Chunks(2))]).unwrap();
    let agreed = |matrix: ArrayD<usize>| {
        let tiles = Team::new(comm.clone()).agree(Tiles::new(grid()).on_ranks(&matrix, size));
        tiles.and_then(|tiles| build(comm, &tiles, Summation::Fast)).err().unwrap().to_string()
    };
    let shapes = agreed(array![[0, 0], [0, 0]].into_dyn());
    assert!(shapes.contains("fits the grid of tiles [4], got [2, 2]"), "{shapes}");
    let missing = agreed(array![0, 7].into_dyn());
    assert!(missing.contains(&format!("expected ranks from 0 to {}, got 7 at [1]", size - 1)), "{missing}");
    // of a member that asks for itself
    let asking = Tiles::new(grid()).telling(|index, member| Description {
        rank: (index == 2).then_some(7),
        name: format!("tile {index}"),
        ..member
    });
    let error = build(comm, &asking, Summation::Fast).err().unwrap().to_string();
    let want = format!("`tile 2` asks for rank 7, expected one from 0 to {}", size - 1);
    assert!(error.contains(&want) && error.contains("operator 2"), "{error}");
    assert_eq!(made.load(Ordering::SeqCst), 0, "nothing is made");
    // members of a group that ask for different ones
    let fault = plan_of(4, 3, |index, member| Description {
        group: Some("g".into()),
        rank: [None, Some(1), None, Some(0)][index],
        ..member
    });
    let fault = fault.unwrap_err();
    assert_eq!(fault.text, "group `g`: `m3` asks for rank 0, but `m1` for rank 1");
    assert_eq!(fault.operator, Some(3));
}

fn t31_a_rank_makes_its_own_tiles_only(comm: &Rc<dyn Comm>) {
    for chunks in [[10, 2, 1], [4, 3, 2]] {
        for ranks in [None, Some(comm.size())] {
            for way in 0..3 {
                let made = made();
                let factory = &three_ways::<f64>(chunks, ranks, &made)[way];
                let stack = build(comm, &**factory, Summation::Fast).unwrap();
                let x = random_vector(stack.domain(), 3, 1);
                let (mut y, mut out) = (stack.zero_data(), stack.zero_model());
                stack.forward(&x, &mut y).unwrap();
                stack.normal(&x, &mut out).unwrap();
                // the plan knows it beforehand
                let (mine, planned) = (made.load(Ordering::SeqCst) * 8, stack.plan().operator_bytes(comm.rank()));
                assert_eq!(mine as u64, planned, "way {way}");
                let all: f64 = stack.team().sum([mine as f64]).unwrap()[0];
                assert_eq!(all, 8.0 * 210.0, "all of W once");
            }
        }
    }
    // a part of a factory is not asked elsewhere
    let factory = FromFn::new(
        comm.size(),
        |index| {
            Ok(Description { rank: Some(index), ..Description::new("own", shape(&[("x", 2)]), shape(&[("x", 2)])) })
        },
        |index| {
            assert_eq!(index, comm.rank());
            Ok(Box::new(Identity::new(shape(&[("x", 2)]))) as Boxed<f64>)
        },
    );
    assert_eq!(build(comm, &factory, Summation::Fast).unwrap().local_indices(), [comm.rank()]);
}
