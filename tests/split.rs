//! Splitting an operator along named dims, and which rank takes which tile: rows T20 to T28 of the table of behaviours.

#[macro_use]
mod common;

use std::sync::Arc;

use common::compositions::{all, assert_close, between, golden_weight, golden_x, matrix_of, named, volume_ct};
use common::{adjoint_of, random};
use ndarray::{Array1, Array2, ArrayD, array};
use num_complex::Complex;
use stackphys::operator::algebra::{Concat, Scale, Sum, Zero, adjoint, compose, normal, stacked};
use stackphys::operator::{
    Apply, Closure, Cut, Dims, LinearOperator, Role, SharedOperator, Work, part_of, split, tiled,
};
use stackphys::physics::{Dense, Diagonal, Identity};
use stackphys::space::{Ranges, Tile};
use stackphys::stack::ranks_of_tiles;
use stackphys::{Fault, Scalar, Shape};

fn shape(dims: &[(&str, usize)]) -> Shape {
    Shape::new(dims.iter().copied())
}

fn text<T>(outcome: Result<T, Fault>) -> String {
    outcome.err().expect("a fault").text
}

fn forward<S: Scalar>(operator: &SharedOperator<S>, x: &[S]) -> Vec<S> {
    let mut y = vec![S::from_parts(f64::NAN, f64::NAN); operator.range().len()];
    operator.forward(x, &mut y, &mut Work::default()).unwrap();
    y
}

fn part<S: Scalar>(values: &[S], tile: &Tile) -> Vec<S> {
    tile.offsets().map(|offset| values[offset]).collect()
}

/// The weights of the rows, and what they are applied to.
fn golden<S: Scalar>() -> (SharedOperator<S>, Vec<S>) {
    let (weights, domain) = (shape(&[("B", 10), ("M", 3), ("N", 7)]), shape(&[("B", 10), ("N", 7)]));
    let entries = (0..weights.len()).map(|place| S::from_f64(golden_weight(place))).collect();
    (Arc::new(Dense::named(weights, entries, domain, &["B", "M"]).unwrap()), golden_x())
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs().max(1.0)
}

fn tolerance<S: Scalar>() -> f64 {
    if S::NAME.ends_with("f64") { 1e-12 } else { 1e-5 }
}

#[test]
fn t20_split() {
    fn check<S: Scalar>() {
        let (w, x) = golden::<S>();
        let grid = split(&w, &[("N", Cut::Chunks(2)), ("M", Cut::Chunks(1))]).unwrap();
        assert_eq!((grid.extents(), grid.len()), (vec![4, 3], 12));
        assert_eq!(grid.dims().collect::<Vec<_>>(), [("N", Role::In), ("M", Role::Out)]);

        // tile (1, 2)
        let (input, output) = (grid.input(&[1, 2]).unwrap(), grid.output(&[1, 2]).unwrap());
        let ranges = |tile: &Tile| {
            let of = tile.selections().iter().map(|s| (s.start..s.start + s.count, s.step));
            of.inspect(|(_, step)| assert_eq!(*step, 1)).map(|(range, _)| range).collect::<Vec<_>>()
        };
        assert_eq!((ranges(&input), ranges(&output)), (vec![0..10, 2..4], vec![0..10, 2..3]));
        let tile = grid.operator(&[1, 2]).unwrap();
        assert_eq!((tile.domain(), tile.range()), (&input.shape(), &output.shape()));
        let y = forward(&tile, &part(&x, &input));
        assert!(close(y[4].re(), 0.6065044433563568, tolerance::<S>()), "{} {}", y[4], S::NAME);
        // the last tile of N has one sample
        let last = grid.operator(&[3, 0]).unwrap();
        assert_eq!((last.size("N"), grid.input(&[3, 0]).unwrap().shape()), (Some(1), shape(&[("B", 10), ("N", 1)])));

        // row-major, the axes in the order in which they were given
        assert_eq!(grid.indices().take(4).collect::<Vec<_>>(), [[0, 0], [0, 1], [0, 2], [1, 0]]);
        assert_eq!(split(&w, &[("M", Cut::Chunks(1)), ("N", Cut::Chunks(2))]).unwrap().extents(), [3, 4]);
        assert_eq!(split(&w, &[("N", Cut::Edges(vec![0, 1, 6, 7]))]).unwrap().extents(), [3]);
        assert!(text(grid.operator(&[4, 0])).contains("expected the index of a tile of the grid [4, 3], got [4, 0]"));
        assert!(text(grid.operator(&[1])).contains("got [1]"));
    }
    each_scalar!(check);
}

#[test]
fn t21_batched_is_the_whole() {
    fn check<S: Scalar>() {
        let (w, x) = golden::<S>();
        let cuts = [("N", Cut::Chunks(2)), ("M", Cut::Chunks(1))];
        let grid = split(&w, &cuts).unwrap();
        let whole = grid.assemble(grid.operators().unwrap()).unwrap();
        assert_eq!((whole.domain(), whole.range()), (w.domain(), w.range()));
        for operator in [&w, &whole] {
            let y = forward(operator, &x);
            let (sum, squares): (f64, f64) =
                (y.iter().map(|y| y.re()).sum(), y.iter().map(|y| y.modulus_squared()).sum());
            assert!(close(sum, 0.23090089912537015, tolerance::<S>()), "{sum} {}", S::NAME);
            assert!(close(squares.sqrt(), 3.290928953796922, tolerance::<S>()));
            assert!(close(y[4 * 3 + 2].re(), -0.47315145366121236, tolerance::<S>()));
        }
        assert_close(&matrix_of(&adjoint(&whole)), &matrix_of(&adjoint(&w)), "adjoint");
        assert_close(&matrix_of(&normal(&whole)), &matrix_of(&normal(&w)), "normal");
        let fault = text(grid.assemble(grid.operators().unwrap()[1..].to_vec()));
        assert!(fault.contains("expected 12 tiles for the grid [4, 3], got 11"), "{fault}");
    }
    each_scalar!(check);
}

#[test]
fn t22_nested_specs() {
    fn check<S: Scalar>() {
        let (w, _) = golden::<S>();
        let nested = [vec![("N", Cut::Chunks(2))], vec![("M", Cut::Chunks(1))]];
        let before = nested.clone();
        let both = tiled(&w, &[nested.concat()]).unwrap();
        let one_in_other = tiled(&w, &nested).unwrap();
        assert_eq!(nested, before, "the specs are unchanged");
        assert_close(&matrix_of(&one_in_other), &matrix_of(&w), "nested");
        assert_close(&matrix_of(&both), &matrix_of(&w), "at once");
        // the second is applied inside of each tile of the first: its ranges count from the tile
        let again =
            tiled(&w, &[vec![("N", Cut::Chunks(3))], vec![("N", Cut::Chunks(2)), ("B", Cut::Chunks(4))]]).unwrap();
        assert_close(&matrix_of(&again), &matrix_of(&w), "a dim twice");
        assert!(Arc::ptr_eq(&tiled::<_, _, &str>(&w, &[]).unwrap(), &w));
    }
    each_scalar!(check);
}

#[test]
fn t23_contracted_dim() {
    fn check<S: Scalar>() {
        // S then Sᴴ over C=5, chunk 2: coils, and without a dim that both share
        let coils = named::<S>(&[("C", 5), ("X", 4)], &[("X", 4)], &["C", "X"]);
        let dense = between::<S>(("C", 5), ("N", 4));
        for s in [coils, dense] {
            let a = compose(vec![s.clone(), adjoint(&s)]).unwrap();
            let grid = split(&a, &[("C", Cut::Chunks(2))]).unwrap();
            assert_eq!(grid.dims().collect::<Vec<_>>(), [("C", Role::Inner)]);
            let tiles = grid.operators().unwrap();
            assert_eq!(tiles.iter().map(|tile| tile.size("C")).collect::<Vec<_>>(), [Some(2), Some(2), Some(1)]);
            let whole = grid.assemble(tiles).unwrap();
            assert_eq!(whole.name(), "Sum");
            assert_close(&matrix_of(&whole), &matrix_of(&a), "sum of tiles");
            // all of x and y belong to each tile
            assert_eq!(grid.input(&[2]).unwrap(), Tile::whole(a.domain()));
        }
        // what is left whole in one member of a sum would count once for each tile
        let s = between::<S>(("C", 5), ("N", 4));
        let a = compose(vec![s.clone(), adjoint(&s)]).unwrap();
        let damped: SharedOperator<S> =
            Arc::new(Sum::new(vec![a, Arc::new(Identity::new(shape(&[("N", 4)])))]).unwrap());
        assert!(text(split(&damped, &[("C", Cut::Chunks(2))])).contains("Sum: dim `C` must stay whole"));
    }
    each_scalar!(check);
}

/// The discrete Fourier transform of a line, as a user may bring it: y[k] = Σ x[j] exp(−2πi jk/n)/√n.
fn fft() -> SharedOperator<Complex<f64>> {
    let turn = |j: usize, k: usize, sign: f64| {
        Complex::from_polar(1.0 / 8.0_f64.sqrt(), sign * std::f64::consts::TAU * (j * k) as f64 / 8.0)
    };
    let action = move |from: &[Complex<f64>], to: &mut [Complex<f64>], sign: f64| {
        for (k, to) in to.iter_mut().enumerate() {
            *to = from.iter().enumerate().map(|(j, from)| turn(j, k, sign) * from).sum();
        }
        Ok(())
    };
    Arc::new(Closure::new(
        shape(&[("Nx", 8)]),
        shape(&[("Kx", 8)]),
        move |x, y| action(x, y, -1.0),
        move |y, x| action(y, x, 1.0),
    ))
}

#[test]
fn t24_split_errors() {
    let (w, _) = golden::<f64>();
    let unknown_dim = text(split(&w, &[("Z", Cut::Chunks(2))]));
    let chunk_0 = text(split(&w, &[("N", Cut::Chunks(0))]));
    // members of a vertical one, whose inner dims of one name have different sizes
    let chain = |k, m| compose(vec![between(("K", k), ("N", 4)), between(("M", m), ("K", k))]).unwrap();
    let two: SharedOperator<f64> = Arc::new(Concat::vertical(vec![chain(3, 2), chain(5, 4)], "M").unwrap());
    let unknown_size = text(split(&two, &[("K", Cut::Chunks(2))]));
    let edges = text(split(&w, &[("N", Cut::Edges(vec![0, 3, 3, 7]))]));
    let whole = text(split(&fft(), &[("Nx", Cut::Chunks(2))]));
    for (got, want) in [
        (&unknown_dim, "Dense: there is no dim `Z`; its dims are `B`, `N`, `M`"),
        (&chunk_0, "Dense: expected chunks of dim `N` of at least 1, got 0"),
        (&unknown_size, "Concat: the size of dim `K` is not known, the name stands for sizes 3 and 5"),
        (&edges, "Dense: edges of dim `N`: expected a partition of 0..7, got [0, 3, 3, 7]"),
        (&whole, "Closure: dim `Nx` must stay whole"),
    ] {
        assert_eq!(got, want);
    }
    for edges in [vec![], vec![0], vec![0, 3], vec![1, 7], vec![0, 5, 3, 7], vec![0, 8]] {
        assert!(text(split(&w, &[("N", Cut::Edges(edges))])).contains("expected a partition of 0..7"));
    }
    let empty: SharedOperator<f64> = Arc::new(Zero::new(shape(&[("N", 0)]), shape(&[("M", 2)])));
    assert_eq!(text(split(&empty, &[("N", Cut::Chunks(2))])), "Zero: dim `N` has no samples to cut");
    // one tile is no cut
    assert_eq!(split(&fft(), &[("Nx", Cut::Chunks(8)), ("Kx", Cut::Chunks(100))]).unwrap().extents(), [1, 1]);

    // within a chain (D6: never silently)
    let coils = named::<Complex<f64>>(&[("C", 3), ("Nx", 8)], &[("Nx", 8)], &["C", "Nx"]);
    let one_coil = compose(vec![part_of(&coils, &Ranges::new([("C", 0..1)])).unwrap(), over_coils()]).unwrap();
    let fault = split(&one_coil, &[("Nx", Cut::Chunks(4))]).err().unwrap();
    assert_eq!(fault.text, "Compose: dim `Nx` must stay whole");
    let transformed: SharedOperator<Complex<f64>> = Arc::new(Scale::new(Complex::new(0.0, 1.0), fft()));
    assert_eq!(text(split(&transformed, &[("Kx", Cut::Edges(vec![0, 1, 8]))])), "Scale: dim `Kx` must stay whole");
    assert_eq!(
        text(split(&adjoint(&fft()), &[("Kx", Cut::Chunks(2))])),
        "Adjoint of Closure: dim `Kx` must stay whole"
    );
    // the same names on both sides, but no diagonal
    let blur: SharedOperator<f64> = Arc::new(common::small_blur::<f64>());
    let dim = blur.dims().swap_remove(0);
    let fault = text(split(&blur, &[(&dim, Cut::Chunks(2))]));
    assert!(fault.contains(&format!("Blur: `{dim}` stands for two dims, one of x and one of y")), "{fault}");
    // what may be cut is told
    let ct = volume_ct::<f64>();
    let fault = split(&ct, &[("y", Cut::Chunks(2))]).err().unwrap();
    assert_eq!(fault.text, "ParallelCt: dim `y` must stay whole");
    assert_eq!(fault.hint.unwrap(), "it may be cut along `z`, `angle`, `row`");

    // a dim twice, by either of its names
    assert!(text(split(&w, &[("N", Cut::Chunks(2)), ("N", Cut::Chunks(3))])).contains("dim `N` is cut twice"));
    let fault = split(&ct, &[("z", Cut::Chunks(1)), ("row", Cut::Chunks(2))]).err().unwrap();
    assert!(fault.text.contains("dim `row` is cut twice") && fault.hint.unwrap().contains("diagonal in it and `z`"));
    // parts that are none
    assert!(
        text(part_of(&w, &Ranges::new([("N", 3..3)]))).contains("expected a range within 0..7 for dim `N`, got 3..3")
    );
    assert!(text(part_of(&w, &Ranges::new([("N", 3..8)]))).contains("got 3..8"));
    assert!(
        text(part_of(&ct, &Ranges::new([("z", 0..1), ("row", 1..2)]))).contains("ranges 1..2 and 0..1 at once")
            || text(part_of(&ct, &Ranges::new([("z", 0..1), ("row", 1..2)]))).contains("ranges 0..1 and 1..2 at once")
    );
    assert!(text(part_of(&fft(), &Ranges::new([("Nx", 0..4)]))).contains("must stay whole"));
}

/// The transform of [`fft`] for one coil: (C, Nx) → (C, Kx), which knows that it is diagonal in C only.
fn over_coils() -> SharedOperator<Complex<f64>> {
    let (one, line) = (fft(), fft());
    Arc::new(Closure::new(
        shape(&[("C", 1), ("Nx", 8)]),
        shape(&[("C", 1), ("Kx", 8)]),
        move |x: &[Complex<f64>], y: &mut [Complex<f64>]| one.forward(x, y, &mut Work::default()),
        move |y: &[Complex<f64>], x: &mut [Complex<f64>]| line.adjoint(y, x, &mut Work::default()),
    ))
}

#[test]
fn t25_re_split_a_concat() {
    fn check<S: Scalar>() {
        let member = |stream: u64, p: usize, q: usize| -> SharedOperator<S> {
            let entries = random(p * q, stream);
            Arc::new(Dense::named(shape(&[("p", p), ("q", q)]), entries, shape(&[("q", q)]), &["p"]).unwrap())
        };
        // members 3+3, chunk 2
        let (first, second) = (member(1, 3, 4), member(2, 3, 4));
        let vertical: SharedOperator<S> = Arc::new(Concat::vertical(vec![first.clone(), second.clone()], "p").unwrap());
        let grid = split(&vertical, &[("p", Cut::Chunks(2))]).unwrap();
        let starts = [0, 1, 2].map(|at| grid.output(&[at]).unwrap().selections()[0].start);
        assert_eq!(starts, [0, 2, 4]);
        let tiles = grid.operators().unwrap();
        let names: Vec<String> = tiles.iter().map(|tile| tile.name()).collect();
        assert_eq!(names, ["Dense", "Concat", "Dense"], "the second one crosses");
        let whole = matrix_of(&vertical);
        for (at, tile) in tiles.iter().enumerate() {
            let rows = whole.slice(ndarray::s![2 * at..2 * at + 2, ..]).to_owned();
            assert_close(&matrix_of(tile), &rows, "each with its own rows");
        }
        assert_close(&matrix_of(&grid.assemble(tiles).unwrap()), &whole, "re-split");
        // {3..6} is member 2 itself, not a copy
        let lone = part_of(&vertical, &Ranges::new([("p", 3..6)])).unwrap();
        assert!(Arc::ptr_eq(&lone, &second));

        let side_by_side = vec![member(3, 3, 4), member(4, 3, 2), member(5, 3, 3)];
        let horizontal: SharedOperator<S> = Arc::new(Concat::horizontal(side_by_side, "q").unwrap());
        let blocks = vec![member(3, 3, 4), member(4, 1, 2), member(5, 2, 3)];
        let diagonal: SharedOperator<S> = Arc::new(Concat::diagonal(blocks, "q", "p").unwrap());
        for chunk in 1..10 {
            for operator in [&horizontal, &diagonal] {
                let again = tiled(operator, &[vec![("q", Cut::Chunks(chunk))]]).unwrap();
                assert_close(&matrix_of(&again), &matrix_of(operator), "columns");
                let again = tiled(operator, &[vec![("p", Cut::Chunks(2)), ("q", Cut::Chunks(chunk))]]).unwrap();
                assert_close(&matrix_of(&again), &matrix_of(operator), "rows and columns");
            }
        }
    }
    each_scalar!(check);

    // Members that must stay whole may be dealt, but not cut.
    let views: Vec<SharedOperator<Complex<f64>>> = vec![fft(), fft(), fft()];
    let dealt: SharedOperator<Complex<f64>> = Arc::new(Concat::vertical(views, "Kx").unwrap());
    let grid = split(&dealt, &[("Kx", Cut::Edges(vec![0, 8, 24]))]).unwrap();
    assert_eq!(grid.operator(&[0]).unwrap().name(), "Closure");
    let fault = text(split(&dealt, &[("Kx", Cut::Chunks(6))]));
    assert_eq!(fault, "Concat: dim `Kx` must stay whole around 6, where it lies inside a member that cannot be cut");
}

#[test]
fn t26_off_diagonal_tile() {
    fn check<S: Scalar>() {
        // block diagonal (3×4, 3×4), tile in 0..4, out 3..6
        let block = || between::<S>(("P", 3), ("Q", 4));
        let diagonal: SharedOperator<S> = Arc::new(Concat::diagonal(vec![block(), block()], "Q", "P").unwrap());
        let tile = part_of(&diagonal, &Ranges::new([("Q", 0..4), ("P", 3..6)])).unwrap();
        assert_eq!(
            (tile.name(), tile.domain(), tile.range()),
            ("Zero".into(), &shape(&[("Q", 4)]), &shape(&[("P", 3)]))
        );
        let nan = S::from_parts(f64::NAN, f64::NAN);
        let (mut y, mut x, mut work) = (vec![nan; 3], vec![nan; 4], Work::default());
        tile.forward(&random(4, 1), &mut y, &mut work).unwrap();
        tile.adjoint(&random(3, 1), &mut x, &mut work).unwrap();
        assert_eq!((y, x), (vec![S::default(); 3], vec![S::default(); 4]));

        // one that is on the diagonal, and one that is partly
        let on = part_of(&diagonal, &Ranges::new([("Q", 4..8), ("P", 3..6)])).unwrap();
        assert_eq!(on.name(), "Dense");
        for (rows, columns) in [(0..6, 0..4), (0..3, 0..8), (1..5, 3..6), (2..4, 0..8), (0..1, 2..7), (4..6, 0..4)] {
            let ranges = Ranges::new([("Q", columns.clone()), ("P", rows.clone())]);
            let part = part_of(&diagonal, &ranges).unwrap();
            let want = matrix_of(&diagonal).slice(ndarray::s![rows, columns]).to_owned();
            let got = matrix_of(&part);
            assert!(got.dim() == want.dim() && got.iter().zip(&want).all(|(a, b)| (*a - *b).modulus_squared() < 1e-10));
            assert_eq!(matrix_of(&adjoint(&part)), adjoint_of(&got));
        }
        let zero: SharedOperator<S> = Arc::new(Zero::new(shape(&[("Q", 4), ("b", 2)]), shape(&[("P", 3), ("b", 2)])));
        let part = part_of(&zero, &Ranges::new([("P", 1..2), ("b", 0..1)])).unwrap();
        assert_eq!((part.domain(), part.range()), (&shape(&[("Q", 4), ("b", 1)]), &shape(&[("P", 1), ("b", 1)])));
    }
    each_scalar!(check);
}

/// The dims along which an operator may be cut somewhere.
fn cuttable<S: Scalar>(operator: &SharedOperator<S>) -> Vec<String> {
    let may = |dim: &String| {
        let size = operator.size(dim).unwrap_or(0);
        (1..size).any(|at| operator.may_be_cut(dim, at))
    };
    operator.dims().into_iter().filter(may).collect()
}

/// The edges of a dim that are allowed, of those after every second sample.
fn edges<S: Scalar>(operator: &SharedOperator<S>, dim: &str) -> Cut {
    let size = operator.size(dim).unwrap();
    let inside = (1..size).filter(|at| (at % 2 == 0 || size == 2) && operator.may_be_cut(dim, *at));
    Cut::Edges([0].into_iter().chain(inside).chain([size]).collect())
}

/// Each tile is what stands at its place in the matrix of the whole, and all together are the whole.
fn tiles_are_the_parts_of_the_matrix<S: Scalar>(name: &str, operator: &SharedOperator<S>, cuts: &[(String, Cut)]) {
    let (whole, grid) = (matrix_of(operator), split(operator, cuts).unwrap());
    let tiles = grid.operators().unwrap_or_else(|fault| panic!("{name} {cuts:?}: {fault:?}"));
    let summed = grid.dims().any(|(_, role)| role == Role::Inner);
    for (index, tile) in grid.indices().zip(&tiles) {
        let (input, output) = (grid.input(&index).unwrap(), grid.output(&index).unwrap());
        assert_eq!((tile.domain(), tile.range()), (&input.shape(), &output.shape()), "{name} {cuts:?} {index:?}");
        if !summed {
            let (rows, columns): (Vec<_>, Vec<_>) = (output.offsets().collect(), input.offsets().collect());
            let want = Array2::from_shape_fn((rows.len(), columns.len()), |(i, j)| whole[[rows[i], columns[j]]]);
            let (got, size) = (matrix_of(tile), whole.iter().map(|z| z.modulus_squared()).fold(0.0, f64::max).sqrt());
            let worst = (&got - &want).iter().map(|z| z.modulus_squared().sqrt()).fold(0.0, f64::max);
            assert!(worst <= tolerance::<S>() * size, "{name} {cuts:?} {index:?}: {worst}");
        }
    }
    assert_close(&matrix_of(&grid.assemble(tiles).unwrap()), &whole, &format!("{name} {cuts:?}"));
}

#[test]
fn every_operator_can_be_cut_where_it_says_so() {
    fn check<S: Scalar>() {
        let mut table = all::<S>();
        table.push(("identity", Arc::new(Identity::new(shape(&[("y", 3), ("x", 4)])))));
        table.push(("diagonal", Arc::new(Diagonal::new([("y", 3), ("x", 4)], random(12, 7)).unwrap())));
        table.push(("matrix", Arc::new(Dense::new(shape(&[("y", 2), ("x", 3)]), common::matrix(5, 6, 8)).unwrap())));
        let mut roles = std::collections::BTreeMap::new();
        for (name, operator) in &table {
            for operator in [operator.clone(), adjoint(operator), normal(operator)] {
                let dims = cuttable(&operator);
                for dim in &dims {
                    *roles.entry(format!("{:?}", operator.role(dim).unwrap())).or_insert(0) += 1;
                    tiles_are_the_parts_of_the_matrix(name, &operator, &[(dim.clone(), edges(&operator, dim))]);
                }
                let paired = |a: &String, b: &String| {
                    operator.batch_dims().iter().any(|[x, y]| x != y && [x, y].contains(&a) && [x, y].contains(&b))
                };
                for (k, a) in dims.iter().enumerate() {
                    for b in dims[k + 1..].iter().filter(|b| !paired(a, b)) {
                        let cuts = [(a.clone(), edges(&operator, a)), (b.clone(), edges(&operator, b))];
                        tiles_are_the_parts_of_the_matrix(name, &operator, &cuts);
                    }
                }
            }
        }
        // all roles occur, and most operators of the table can be cut
        assert_eq!(roles.keys().map(String::as_str).collect::<Vec<_>>(), ["Batch", "In", "Inner", "Out"]);
        assert!(roles.values().all(|count| *count > 5), "{roles:?}");
        assert!(table.iter().filter(|(_, operator)| !cuttable(operator).is_empty()).count() + 3 > table.len());
    }
    check::<f32>();
    check::<f64>();
    check::<Complex<f64>>();
}

#[test]
fn ct_is_cut_by_angle_and_by_detector_row() {
    let ct = volume_ct::<f64>();
    let row = split(&ct, &[("row", Cut::Chunks(2))]).unwrap();
    assert_eq!((row.dims().collect::<Vec<_>>(), row.extents()), (vec![("row", Role::Batch)], vec![2]));
    // a tile of rows reads just the slices that they see
    assert_eq!(row.input(&[1]).unwrap().shape(), shape(&[("z", 1), ("y", 6), ("x", 7)]));
    assert_eq!(row.output(&[1]).unwrap().shape(), shape(&[("angle", 5), ("row", 1), ("column", 9)]));
    let slice = split(&ct, &[("z", Cut::Chunks(2))]).unwrap();
    assert_eq!(slice.output(&[1]).unwrap(), row.output(&[1]).unwrap());
    // the very same bits: each ray is summed as before
    let x: Vec<f64> = random(ct.domain().len(), 5);
    let y = forward(&ct, &x);
    for cuts in [vec![("angle", Cut::Chunks(2))], vec![("z", Cut::Chunks(1)), ("angle", Cut::Edges(vec![0, 1, 5]))]] {
        assert_eq!(forward(&tiled(&ct, &[cuts]).unwrap(), &x), y);
    }
}

#[test]
fn parts_of_a_stacked_one_are_its_members() {
    let member = |factor: f64| -> SharedOperator<f64> { Arc::new(Scale::new(factor, between(("m", 3), ("n", 4)))) };
    let stack: SharedOperator<f64> =
        Arc::new(stacked((1..=5).map(|k| member(f64::from(k))).collect(), None, Some(("view", 0))).unwrap());
    let grid = split(&stack, &[("view", Cut::Chunks(2))]).unwrap();
    let last = grid.operator(&[2]).unwrap();
    assert_eq!(last.range(), &shape(&[("view", 1), ("m", 3)]));
    let x = random(4, 1);
    let want: Vec<f64> = Array1::from(forward(&member(1.0), &x)).mapv(|y| 5.0 * y).to_vec();
    let got = forward(&last, &x);
    assert!(got.iter().zip(&want).all(|(a, b)| close(*a, *b, 1e-14)));
}

#[test]
fn t27_rank_matrix() {
    let of = |matrix: ArrayD<usize>, grid: &[usize]| ranks_of_tiles(&matrix, grid, 4).unwrap();
    assert_eq!(of(array![0, 1].into_dyn(), &[4]), array![0, 1, 0, 1].into_dyn());
    assert_eq!(of(array![0, 1, 2].into_dyn(), &[2]), array![0, 1].into_dyn());
    let row = [[0, 1, 0, 1, 0]; 3];
    assert_eq!(of(array![0, 1].into_dyn(), &[3, 5]), ndarray::arr2(&row).into_dyn());
    // (2,1) on (4,3): rows 0,1,0,1
    let rows = array![[0, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 1]];
    assert_eq!(of(array![[0], [1]].into_dyn(), &[4, 3]), rows.into_dyn());
    // one for all; both axes at once; no axes
    assert_eq!(of(array![3].into_dyn(), &[2, 2]), array![[3, 3], [3, 3]].into_dyn());
    let cut = array![[0, 1, 2], [3, 2, 1]];
    assert_eq!(of(cut.into_dyn(), &[3, 2]), array![[0, 1], [3, 2], [0, 1]].into_dyn());
    assert_eq!(of(ndarray::arr0(2).into_dyn(), &[2]), array![2, 2].into_dyn());
    assert_eq!(of(ndarray::arr0(2).into_dyn(), &[]), ndarray::arr0(2).into_dyn());
}

#[test]
fn t28_rank_matrix_errors() {
    let of = |matrix: ArrayD<usize>, grid: &[usize]| text(ranks_of_tiles(&matrix, grid, 4));
    let square = of(array![[0, 1], [2, 3]].into_dyn(), &[4]);
    assert!(square.contains("fits the grid of tiles [4], got [2, 2]: it has more axes than the grid"), "{square}");
    let list = of(array![0, 1, 2].into_dyn(), &[3, 1]);
    assert!(list.contains("fits the grid of tiles [3, 1], got [3]: axis 1 of the grid has a single tile"), "{list}");
    let missing = of(array![[0, 1], [7, 1]].into_dyn(), &[2, 2]);
    assert_eq!(missing, "rank matrix: expected ranks from 0 to 3, got 7 at [1, 0]");
    let none = of(ArrayD::from_shape_vec(vec![0], vec![]).unwrap(), &[2]);
    assert!(none.contains("got [0]: it has no entries"), "{none}");
    // pure: the same text whoever asks
    assert_eq!(square, of(array![[0, 1], [2, 3]].into_dyn(), &[4]));
}
