//! The numbers of a file: their types, and how their bytes become scalars.

use crate::scalar::Scalar;

/// What one element of a file is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::io) enum Element {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
    ComplexF32,
    ComplexF64,
}

impl Element {
    /// From NumPy's type string without its byte order.
    pub fn parse(code: &str) -> Option<Self> {
        Some(match code {
            "b1" => Element::Bool,
            "i1" => Element::I8,
            "i2" => Element::I16,
            "i4" => Element::I32,
            "i8" => Element::I64,
            "u1" => Element::U8,
            "u2" => Element::U16,
            "u4" => Element::U32,
            "u8" => Element::U64,
            "f4" => Element::F32,
            "f8" => Element::F64,
            "c8" => Element::ComplexF32,
            "c16" => Element::ComplexF64,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Element::Bool => "bool",
            Element::I8 => "int8",
            Element::I16 => "int16",
            Element::I32 => "int32",
            Element::I64 => "int64",
            Element::U8 => "uint8",
            Element::U16 => "uint16",
            Element::U32 => "uint32",
            Element::U64 => "uint64",
            Element::F32 => "float32",
            Element::F64 => "float64",
            Element::ComplexF32 => "complex64",
            Element::ComplexF64 => "complex128",
        }
    }

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Element::Bool | Element::I8 | Element::U8 => 1,
            Element::I16 | Element::U16 => 2,
            Element::I32 | Element::U32 | Element::F32 => 4,
            Element::I64 | Element::U64 | Element::F64 | Element::ComplexF32 => 8,
            Element::ComplexF64 => 16,
        }
    }

    pub fn is_complex(self) -> bool {
        matches!(self, Element::ComplexF32 | Element::ComplexF64)
    }

    /// Bytes of what has a byte order: a complex number is two of them.
    pub fn bytes_of_part(self) -> usize {
        if self.is_complex() { self.bytes() / 2 } else { self.bytes() }
    }

    /// Decodes little-endian bytes into every `stride`-th number of `out`.
    pub fn decode<S: Scalar>(self, bytes: &[u8], out: &mut [S], stride: usize) {
        fn each<S: Scalar, const N: usize>(bytes: &[u8], out: &mut [S], stride: usize, number: impl Fn([u8; N]) -> S) {
            for (bytes, out) in bytes.as_chunks::<N>().0.iter().zip(out.iter_mut().step_by(stride)) {
                *out = number(*bytes);
            }
        }
        macro_rules! real {
            ($real:ty) => {
                each(bytes, out, stride, |bytes| S::from_f64(<$real>::from_le_bytes(bytes) as f64))
            };
        }
        macro_rules! complex {
            ($real:ty, $half:literal) => {
                each(bytes, out, stride, |bytes: [u8; 2 * $half]| {
                    let (mut re, mut im) = ([0; $half], [0; $half]);
                    re.copy_from_slice(&bytes[..$half]);
                    im.copy_from_slice(&bytes[$half..]);
                    S::from_parts(<$real>::from_le_bytes(re) as f64, <$real>::from_le_bytes(im) as f64)
                })
            };
        }
        match self {
            Element::Bool => each(bytes, out, stride, |[byte]| S::from_f64(f64::from(u8::from(byte != 0)))),
            Element::I8 => real!(i8),
            Element::I16 => real!(i16),
            Element::I32 => real!(i32),
            Element::I64 => real!(i64),
            Element::U8 => real!(u8),
            Element::U16 => real!(u16),
            Element::U32 => real!(u32),
            Element::U64 => real!(u64),
            Element::F32 => real!(f32),
            Element::F64 => real!(f64),
            Element::ComplexF32 => complex!(f32, 4),
            Element::ComplexF64 => complex!(f64, 8),
        }
    }
}
