//! For tests: files of any header, and parameters in one line.

use std::path::Path;

use super::NpyParams;
use crate::io::NanPolicy;

pub fn params(path: &str, dims: &[&str], nan: NanPolicy) -> NpyParams {
    NpyParams { path: path.into(), dims: dims.iter().map(|&name| name.to_owned()).collect(), nan }
}

/// A file of any type string, as NumPy writes it.
pub fn raw(path: &Path, descr: &str, fortran: bool, sizes: &str, data: &[u8]) {
    let fortran = if fortran { "True" } else { "False" };
    let mut dict = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {sizes}, }}");
    while (10 + dict.len() + 1) % 64 != 0 {
        dict.push(' ');
    }
    dict.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((dict.len() as u16).to_le_bytes());
    bytes.extend(dict.as_bytes());
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}
