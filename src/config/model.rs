//! The `[model]` table: what `x` is.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::scalar::Scalar;
use crate::space::Shape;

/// What `x` is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Names and sizes of the dimensions, slowest first: `{ y = 640, x = 640 }`. Names tie operators and data together.
    #[serde(serialize_with = "write_dims", deserialize_with = "read_dims")]
    #[schemars(with = "std::collections::BTreeMap<String, std::num::NonZeroUsize>")]
    pub dims: Shape,
    /// The numbers that `x` and the measurements are computed with. `f64` costs twice the memory and time.
    #[serde(default)]
    pub scalar: ScalarKind,
}

/// The numbers that `x` and the measurements are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ScalarKind {
    /// Real, single precision.
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// Real, double precision.
    #[serde(rename = "f64")]
    F64,
    /// Complex, single precision.
    #[serde(rename = "complex_f32")]
    ComplexF32,
    /// Complex, double precision.
    #[serde(rename = "complex_f64")]
    ComplexF64,
}

impl ScalarKind {
    /// The name that configs, reports and errors use.
    pub fn name(self) -> &'static str {
        match self {
            ScalarKind::F32 => f32::NAME,
            ScalarKind::F64 => f64::NAME,
            ScalarKind::ComplexF32 => num_complex::Complex::<f32>::NAME,
            ScalarKind::ComplexF64 => num_complex::Complex::<f64>::NAME,
        }
    }
}

fn write_dims<S: Serializer>(dims: &Shape, to: S) -> Result<S::Ok, S::Error> {
    let mut table = to.serialize_map(Some(dims.dims().len()))?;
    for dim in dims.dims() {
        table.serialize_entry(&dim.name, &dim.size)?;
    }
    table.end()
}

// Not by way of a map type: the order written is the order in memory.
fn read_dims<'de, D: Deserializer<'de>>(from: D) -> Result<Shape, D::Error> {
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = Shape;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a table of dimension names and sizes, such as { y = 640, x = 640 }")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Shape, A::Error> {
            let mut dims = Vec::<(String, usize)>::new();
            while let Some(dim) = table.next_entry()? {
                dims.push(dim);
            }
            Ok(Shape::new(dims))
        }
    }
    from.deserialize_map(InOrder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dims_keep_the_order_written() {
        let model: Model = toml::from_str("dims = { z = 2, a = 3, y = 4 }").unwrap();
        assert_eq!(model.dims, Shape::new([("z", 2), ("a", 3), ("y", 4)]));
        let again: Model = toml::from_str(&toml::to_string(&model).unwrap()).unwrap();
        assert_eq!(again, model);
        let again: Model = serde_json::from_value(serde_json::to_value(&model).unwrap()).unwrap();
        assert_eq!(again, model);
    }

    #[test]
    fn a_config_names_scalars_as_the_scalars_do() {
        for kind in [ScalarKind::F32, ScalarKind::F64, ScalarKind::ComplexF32, ScalarKind::ComplexF64] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
