//! What an npy file says of itself, looked over with suspicion: any file may be named in a config.
//!
//! Source: NumPy Enhancement Proposal 1, *A simple file format for NumPy arrays*, and `numpy.lib.format`.

use std::fmt;
use std::io::{ErrorKind, Read};

use crate::error::Fault;
use crate::io::COMPLETE;
use crate::io::array::{Element, Layout};

/// Brackets in a header that is well formed nest three deep at most; the parser recurses.
const DEEPEST_HEADER: usize = 16;
/// NumPy's own limit is 10 000 unless the caller trusts the file.
const LONGEST_HEADER: usize = 1 << 20;

/// The layout that the header of a file of so many bytes tells; faults call the file `of`.
pub(in crate::io) fn layout(reader: &mut impl Read, bytes: u64, of: &impl fmt::Display) -> Result<Layout, Fault> {
    let head = header_bytes(reader).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => {
            Fault::new(format!("{of} ends within its header: {bytes} bytes in all")).hint(COMPLETE)
        }
        ErrorKind::InvalidData => {
            Fault::new(format!("{of} is not an npy file: {error}")).hint("write one with numpy.save(path, array)")
        }
        _ => Fault::new(format!("cannot read {of}: {error}")),
    })?;
    let header = ndarray_npy::npy::header::Header::from_reader(&mut head.as_slice())
        .map_err(|error| Fault::new(format!("{of} has no npy header that can be read: {error}")))?;

    let unsupported = |dtype: &dyn fmt::Display| {
        Fault::new(format!("{of} holds elements of type {dtype}, which are not numbers that can be read"))
            .hint("convert them: numpy.save(path, array.astype(\"float32\"))")
    };
    let dtype = &header.type_descriptor;
    let code = dtype.as_string().ok_or_else(|| unsupported(dtype))?;
    let (order, kind) = match code.chars().next() {
        Some(order @ ('<' | '>' | '|' | '=')) => (order, &code[1..]),
        _ => ('=', code.as_str()),
    };
    let element = Element::parse(kind).ok_or_else(|| unsupported(&format!("`{code}`")))?;
    let big_endian = order == '>' || (order == '=' && cfg!(target_endian = "big"));

    let sizes = header.shape;
    let first = head.len() as u64;
    let needed = sizes
        .iter()
        .try_fold(element.bytes() as u64, |product, &size| product.checked_mul(size as u64))
        .and_then(|numbers| numbers.checked_add(first));
    match needed {
        Some(needed) if needed == first => {
            return Err(Fault::new(format!("{of} holds no numbers: its sizes are {sizes:?}")));
        }
        Some(needed) if needed <= bytes => {}
        _ => {
            let needed = needed.map_or("more than 2^64".to_owned(), |needed| needed.to_string());
            return Err(Fault::new(format!(
                "{of} is truncated: {needed} bytes are needed for sizes {sizes:?} of {}, it has {bytes}",
                element.name()
            ))
            .hint(COMPLETE));
        }
    }
    let fortran = header.layout.is_fortran();
    Ok(Layout { first, sizes, element, big_endian, fortran })
}

/// Magic string, version, length and dictionary of a header, looked over before a parser sees them.
fn header_bytes(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let invalid = |text: &str| std::io::Error::new(ErrorKind::InvalidData, text);
    let mut head = vec![0; 10];
    // One byte at first: a short file that is no npy file should be told apart from a truncated one.
    reader.read_exact(&mut head[..1])?;
    if head[0] != 0x93 {
        return Err(invalid("it does not begin with \\x93NUMPY"));
    }
    reader.read_exact(&mut head[1..])?;
    if &head[..6] != b"\x93NUMPY" {
        return Err(invalid("it does not begin with \\x93NUMPY"));
    }
    let mut length = usize::from(u16::from_le_bytes([head[8], head[9]]));
    if head[6] >= 2 {
        let mut high = [0; 2];
        reader.read_exact(&mut high)?;
        head.extend(high);
        length |= usize::from(u16::from_le_bytes(high)) << 16;
    }
    if length > LONGEST_HEADER {
        return Err(invalid(&format!("it promises a header of {length} bytes")));
    }
    let prefix = head.len();
    head.resize(prefix + length, 0);
    reader.read_exact(&mut head[prefix..])?;
    let mut depth = 0usize;
    for byte in &head[prefix..] {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST_HEADER {
            return Err(invalid("the brackets of its header nest too deep"));
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::io::npy;
    use crate::io::npy::by_hand::raw;
    use crate::io::write_npy;
    use crate::space::{Shape, Tile};

    fn text_of(path: &Path) -> String {
        match npy::open(path) {
            Ok(_) => "opened".to_owned(),
            Err(fault) => fault.text,
        }
    }

    #[test]
    fn damaged_files_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let opening = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            text_of(&path)
        };
        assert!(opening(b"").contains("is empty"));
        assert!(opening(b"x").contains("not an npy file"));
        assert!(opening(b"PK\x03\x04 a zip file, as numpy.savez writes").contains("not an npy file"));
        assert!(opening(b"\x93NUM").contains("ends within its header"));
        assert!(opening(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").contains("promises a header of"));
        assert!(opening(b"\x93NUMPY\x09\x00\x03\x00\x00\x00{}\n").contains("no npy header"));
        let mut deep = b"\x93NUMPY\x01\x00\x40\x9c".to_vec();
        deep.extend([b'('; 40_000]);
        assert!(opening(&deep).contains("nest too deep"));

        let of = |descr: &str, sizes: &str, data: &[u8]| {
            raw(&path, descr, false, sizes, data);
            text_of(&path)
        };
        let text = of("'<f8'", "(2, 2)", &[0; 31]);
        assert!(
            text.contains("truncated") && text.contains("160 bytes are needed") && text.contains("has 159"),
            "{text}"
        );
        assert!(of("'<f8'", "(4294967296, 4294967296, 2)", &[]).contains("truncated"));
        assert!(of("'<f8'", "(2, 0)", &[]).contains("no numbers"));
        assert!(of("'<f8'", "(-2,)", &[]).contains("no npy header"));
        assert!(of("'<f2'", "(1,)", &[0; 2]).contains("`<f2`"));
        assert!(of("'|O'", "(1,)", &[0; 8]).contains("`|O`"));
        assert!(of("'é'", "(1,)", &[0; 8]).contains("no npy header"));
        assert!(of("''", "(1,)", &[0; 8]).contains("not numbers"));
        assert!(of("[('a', '<f4'), ('b', '<f4')]", "(1,)", &[0; 8]).contains("not numbers"));
    }

    #[test]
    fn no_flipped_byte_panics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let shape = Shape::new([("a", 2), ("b", 3)]);
        write_npy(&path, &shape, &[1.0f32; 6]).unwrap();
        let good = std::fs::read(&path).unwrap();
        for k in 0..good.len() {
            for value in [0, b'9', b'(', b'>', b'\'', good[k] ^ 1, good[k] ^ 0x80] {
                let mut bad = good.clone();
                bad[k] = value;
                std::fs::write(&path, bad).unwrap();
                if let Ok(mut file) = npy::open(&path) {
                    let _ = file.read_numbers(&Tile::whole(&shape));
                }
            }
        }
    }
}
