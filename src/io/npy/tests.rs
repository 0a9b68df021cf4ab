//! What is read, against indexing of the same array by `ndarray`, for all element types and both orders.

use std::fs::File;

use ndarray::{Array, ArrayD, IxDyn, ShapeBuilder};
use num_complex::Complex;

use super::by_hand::{params, raw};
use super::open;
use crate::io::{NanPolicy, write_npy};
use crate::space::{Numbers, Selection, Shape, Tile};

#[test]
fn any_tile_in_either_order_is_what_indexing_gives() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [4, 3, 5];
    let array: ArrayD<f64> = Array::from_iter((0..60).map(f64::from)).into_shape_with_order(IxDyn(&sizes)).unwrap();
    let mut fortran = ArrayD::<f64>::zeros(IxDyn(&sizes).f());
    fortran.assign(&array);
    ndarray_npy::write_npy(folder.path().join("c.npy"), &array).unwrap();
    ndarray_npy::write_npy(folder.path().join("f.npy"), &fortran).unwrap();
    let choices = |size: usize| {
        let mut all = vec![Selection::all(size), Selection { start: size - 1, step: 1, count: 1 }];
        all.push(Selection { start: 1, step: 2, count: (size - 1).div_ceil(2) });
        all.push(Selection { start: 1, step: 1, count: size - 1 });
        all.push(Selection { start: 1, step: 7, count: 1 });
        all.push(Selection { start: 0, step: 1, count: 0 });
        all
    };
    for name in ["c.npy", "f.npy"] {
        let params = params(name, &["a", "b", "c"], NanPolicy::Error);
        let shape = params.header(folder.path()).unwrap().shape;
        for a in choices(4) {
            for b in choices(3) {
                for c in choices(5) {
                    let tile = Tile::whole(&shape).with(0, a).with(1, b).with(2, c);
                    let want: Vec<f64> = tile.offsets().map(|offset| offset as f64).collect();
                    let mut got = vec![f64::NAN; want.len()];
                    let loaded = params.read(folder.path(), &tile, &mut got).unwrap();
                    assert_eq!(got, want, "{name} {tile:?}");
                    assert_eq!(loaded.numbers, want.len() as u64);
                }
            }
        }
    }
}

#[test]
fn long_runs_come_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape::new([("a", 3), ("b", 100_000)]);
    let values: Vec<f32> = (0..300_000).map(|k| k as f32).collect();
    write_npy(&folder.path().join("a.npy"), &shape, &values).unwrap();
    let params = params("a.npy", &["a", "b"], NanPolicy::Error);
    for selection in [Selection::all(3), Selection { start: 0, step: 2, count: 2 }] {
        let tile = Tile::whole(&shape).with(0, selection);
        let mut got = vec![0f32; tile.shape().len()];
        params.read(folder.path(), &tile, &mut got).unwrap();
        assert!(got.iter().zip(tile.offsets()).all(|(value, offset)| *value == offset as f32));
    }
}

#[test]
fn only_the_tile_is_read() {
    // A file of 8 TiB: sparse, so it costs nothing, unless someone reads it.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.npy");
    raw(&path, "'<f8'", false, "(1048576, 1048576)", &[]);
    let full = 128 + (1u64 << 43);
    if File::options().write(true).open(&path).unwrap().set_len(full).is_err() {
        println!("skipped: the file system has no room for a sparse file of 8 TiB");
        return;
    }
    let params = params("big.npy", &["y", "x"], NanPolicy::Error);
    let shape = params.header(folder.path()).unwrap().shape;
    let tile = Tile::whole(&shape)
        .with(0, Selection { start: 7, step: 1 << 19, count: 2 })
        .with(1, Selection { start: 1 << 19, step: 1, count: 3 });
    let mut out = [1.0f64; 6];
    params.read(folder.path(), &tile, &mut out).unwrap();
    assert_eq!(out, [0.0; 6]);
}

#[test]
fn every_kind_of_number_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let tile = Tile::whole(&Shape::new([("a", 2)]));
    macro_rules! check {
        ($($code:literal $real:ty: $a:expr, $b:expr;)*) => {$(
            for (order, bytes) in [
                ('<', [<$real>::to_le_bytes($a), <$real>::to_le_bytes($b)].concat()),
                ('>', [<$real>::to_be_bytes($a), <$real>::to_be_bytes($b)].concat()),
            ] {
                raw(&path, &format!("'{order}{}'", $code), false, "(2,)", &bytes);
                let mut out = [f64::NAN; 2];
                open(&path).unwrap().read_into(&tile, &mut out).unwrap();
                assert_eq!(out, [$a as f64, $b as f64], "{order}{}", $code);
            }
        )*};
    }
    check! {
        "i1" i8: -128, 127; "i2" i16: -300, 300; "i4" i32: -70_000, 1; "i8" i64: -(1_i64 << 40), 3;
        "u1" u8: 0, 255; "u2" u16: 7, 65_535; "u4" u32: 0, u32::MAX; "u8" u64: 1_u64 << 50, 2;
        "f4" f32: 1.5, -0.25; "f8" f64: 1e300, -1e-300;
    }
    raw(&path, "'|b1'", false, "(2,)", &[0, 1]);
    assert_eq!(open(&path).unwrap().read_numbers(&tile).unwrap(), Numbers::F64(vec![0.0, 1.0]));

    let z = [Complex::new(1.0f32, 2.0), Complex::new(-3.0, 4.5)];
    for order in ['<', '>'] {
        let part = |value: f32| if order == '<' { value.to_le_bytes() } else { value.to_be_bytes() };
        let bytes: Vec<u8> = z.iter().flat_map(|z| [part(z.re), part(z.im)].concat()).collect();
        raw(&path, &format!("'{order}c8'"), false, "(2,)", &bytes);
        assert_eq!(open(&path).unwrap().read_numbers(&tile).unwrap(), Numbers::ComplexF32(z.to_vec()));
    }
    let mut out = [Complex::new(0.0f64, 0.0); 2];
    open(&path).unwrap().read_into(&tile, &mut out).unwrap();
    assert_eq!(out[1], Complex::new(-3.0, 4.5));
    let fault = open(&path).unwrap().read_into(&tile, &mut [0f32; 2]).unwrap_err();
    assert!(fault.text.contains("complex64") && fault.hint.unwrap().contains("model.scalar"));
}

#[test]
fn an_array_without_dims_is_one_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    raw(&path, "'<f8'", false, "()", &7.0f64.to_le_bytes());
    let mut out = [0.0];
    open(&path).unwrap().read_into(&Tile::whole(&Shape::default()), &mut out).unwrap();
    assert_eq!(out, [7.0]);
}

#[test]
fn values_that_are_not_finite_follow_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape::new([("a", 3), ("b", 2)]);
    let values = [1.0, 2.0, 3.0, f64::NAN, f64::INFINITY, 1e300];
    write_npy(&folder.path().join("a.npy"), &shape, &values).unwrap();
    let tile = Tile::whole(&shape).with(0, Selection { start: 1, step: 1, count: 2 });
    let strict = params("a.npy", &["a", "b"], NanPolicy::Error);
    let fault = strict.read(folder.path(), &tile, &mut [0f64; 4]).unwrap_err();
    assert!(fault.text.contains("2 of the 4") && fault.text.contains("a=1, b=1"), "{}", fault.text);
    assert!(fault.hint.unwrap().contains("data.nan = \"zero\""));
    let lenient = params("a.npy", &["a", "b"], NanPolicy::Zero);
    let mut out = [0f64; 4];
    assert_eq!(lenient.read(folder.path(), &tile, &mut out).unwrap().not_finite, 2);
    assert_eq!(out, [3.0, 0.0, 0.0, 1e300]);
    // What f32 cannot hold is not finite either.
    assert_eq!(lenient.read(folder.path(), &tile, &mut [0f32; 4]).unwrap().not_finite, 3);
}

#[test]
fn names_must_fit_the_array() {
    let folder = tempfile::tempdir().unwrap();
    write_npy(&folder.path().join("a.npy"), &Shape::new([("a", 2), ("b", 2)]), &[0.0; 4]).unwrap();
    let fault = params("a.npy", &["a"], NanPolicy::Error).header(folder.path()).unwrap_err();
    assert!(fault.text.contains("has 2 dims") && fault.text.contains("names 1"), "{}", fault.text);
    let fault = params("a.npy", &["a", "a"], NanPolicy::Error).header(folder.path()).unwrap_err();
    assert!(fault.text.contains("`a` twice"), "{}", fault.text);
}
