//! UVFITS: visibilities as the random groups of a FITS file.
//!
//! A group has parameters (UU, VV, … in seconds) and an array of real part, imaginary part and weight for each polarisation and
//! frequency. Read here is Stokes I, or half the sum of the two parallel hands; each frequency of a group is a visibility of its
//! own, with u and v in its wavelengths. A weight is 1/σ² (as in files of AIPS, in 1/Jy²); those of zero or below mark what is
//! not to be used, which is left out. Where only one hand is good, it stands for both.
//!
//! Source: W. D. Pence et al., *Definition of the Flexible Image Transport System (FITS), version 3.0*, Astronomy & Astrophysics
//! 524 (2010), section 6 (random groups); E. W. Greisen, *AIPS FITS file format*, AIPS Memo 117 (2012), section 3.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use num_complex::Complex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::array::is_swapped;
use super::npy::opened;
use super::visibilities::Visibilities;
use super::{COMPLETE, Header, Loaded, resolve};
use crate::error::Fault;
use crate::scalar::Scalar;
use crate::space::Tile;

/// FITS counts in blocks of so many bytes, and in lines of 80.
const BLOCK: usize = 2880;
const CARD: usize = 80;
/// A header is not longer than this.
const BLOCKS_OF_HEADER: usize = 1000;

/// Visibilities in a UVFITS file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UvfitsParams {
    /// The file, in the data folder.
    pub path: PathBuf,
}

impl UvfitsParams {
    /// Dims, and where each visibility was measured.
    pub(super) fn header(&self, data_dir: &Path) -> Result<Header, Fault> {
        read(&resolve(data_dir, &self.path)?)?.header(&self.path)
    }
    /// Reads a tile.
    pub(super) fn read<S: Scalar>(&self, data_dir: &Path, tile: &Tile, out: &mut [S]) -> Result<Loaded, Fault> {
        read(&resolve(data_dir, &self.path)?)?.read(&self.path, tile, out)
    }
}

/// The keywords of a header.
struct Keywords {
    of: String,
    values: HashMap<String, String>,
}

impl Keywords {
    fn read(of: &str, file: &mut impl Read) -> Result<(Self, u64), Fault> {
        let fault = |text: &str| Fault::new(format!("{of} {text}"));
        let mut values = HashMap::new();
        let mut block = [0; BLOCK];
        for count in 1..=BLOCKS_OF_HEADER {
            file.read_exact(&mut block).map_err(|_| fault("ends within its header").hint(COMPLETE))?;
            if count == 1 && !block.starts_with(b"SIMPLE  =") {
                return Err(fault("is not a FITS file: it does not begin with `SIMPLE  =`"));
            }
            for card in block.chunks(CARD) {
                let (name, rest) = card.split_at(8);
                let name = String::from_utf8_lossy(name).trim_end().to_owned();
                if name == "END" {
                    return Ok((Keywords { of: of.to_owned(), values }, (count * BLOCK) as u64));
                }
                if let Some(value) = rest.strip_prefix(b"= ") {
                    values.entry(name).or_insert_with(|| value_of(&String::from_utf8_lossy(value)));
                }
            }
        }
        Err(fault("has a header without END").hint("is it a FITS file?"))
    }

    fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }
    fn number(&self, name: &str, default: Option<f64>) -> Result<f64, Fault> {
        let written = self.text(name);
        // Fortran writes exponents with D
        match (written.replace(['D', 'd'], "E").parse::<f64>(), default) {
            (Ok(number), _) if number.is_finite() => Ok(number),
            (_, Some(default)) if written.is_empty() => Ok(default),
            _ => Err(self.wrong(name, "a number")),
        }
    }
    fn count(&self, name: &str, default: Option<usize>) -> Result<usize, Fault> {
        match (self.text(name).parse::<usize>(), default) {
            (Ok(count), _) if count < 1 << 48 => Ok(count),
            (_, Some(default)) if self.text(name).is_empty() => Ok(default),
            _ => Err(self.wrong(name, "a whole number")),
        }
    }
    fn wrong(&self, name: &str, expected: &str) -> Fault {
        Fault::new(format!("{}: the keyword {name} is `{}`, expected {expected}", self.of, self.text(name)))
            .hint("is it a UVFITS file, as AIPS, CASA or ehtim write it?")
    }
}

/// The value of a card, without its comment; text without its quotes.
fn value_of(card: &str) -> String {
    let card = card.trim_start();
    match card.strip_prefix('\'') {
        Some(quoted) => quoted.split('\'').next().unwrap_or("").trim_end().to_owned(),
        None => card.split('/').next().unwrap_or("").trim().to_owned(),
    }
}

/// An axis of the array in each group.
struct Axis {
    kind: String,
    size: usize,
    /// Value at index 0, and from one index to the next.
    first: f64,
    step: f64,
    /// Numbers from one index to the next.
    stride: usize,
}

/// Where things are in a group.
struct Groups {
    count: usize,
    /// Bytes of a number, of which type, and how it is scaled.
    bits: i64,
    scale: f64,
    zero: f64,
    /// Place, scale and zero of the parameters that add up to u, and to v.
    uv: [Vec<(usize, f64, f64)>; 2],
    parameters: usize,
    axes: Vec<Axis>,
}

impl Groups {
    fn of(keywords: &Keywords) -> Result<Self, Fault> {
        let of = &keywords.of;
        if keywords.text("GROUPS") != "T" || keywords.text("NAXIS1") != "0" {
            let text = format!(
                "{of} has no random groups (NAXIS1 = {}, GROUPS = {}), expected NAXIS1 = 0 and GROUPS = T",
                keywords.text("NAXIS1"),
                keywords.text("GROUPS")
            );
            return Err(
                Fault::new(text).hint("visibilities of UVFITS are random groups; is it an image, or a FITS-IDI file?")
            );
        }
        let bits = keywords.number("BITPIX", None)?;
        if ![8.0, 16.0, 32.0, -32.0, -64.0].contains(&bits) {
            return Err(keywords.wrong("BITPIX", "8, 16, 32, -32 or -64"));
        }
        let mut axes = Vec::new();
        let mut stride = 1;
        for axis in 2..=keywords.count("NAXIS", None)?.min(999) {
            let size = keywords.count(&format!("NAXIS{axis}"), None)?;
            let of = |name: &str, default| keywords.number(&format!("{name}{axis}"), Some(default));
            let step = of("CDELT", 1.0)?;
            let first = of("CRVAL", 0.0)? + (1.0 - of("CRPIX", 1.0)?) * step;
            axes.push(Axis { kind: keywords.text(&format!("CTYPE{axis}")).to_owned(), size, first, step, stride });
            stride = stride.checked_mul(size).filter(|all| *all < 1 << 40).ok_or_else(|| {
                Fault::new(format!("{}: its axes hold more numbers than any file", keywords.of))
                    .hint("the header is damaged")
            })?;
        }
        let parameters = keywords.count("PCOUNT", None)?.min(999);
        let mut uv = [Vec::new(), Vec::new()];
        for place in 0..parameters {
            let name = format!("{}", place + 1);
            let kind = keywords.text(&format!("PTYPE{name}"));
            let of = |key: &str, default| keywords.number(&format!("{key}{name}"), Some(default));
            for (list, letters) in uv.iter_mut().zip(["UU", "VV"]) {
                if kind == letters || kind.strip_prefix(letters).is_some_and(|rest| rest.starts_with('-')) {
                    list.push((place, of("PSCAL", 1.0)?, of("PZERO", 0.0)?));
                }
            }
        }
        if uv.iter().any(Vec::is_empty) {
            return Err(Fault::new(format!("{of}: no parameter of its groups is called UU and VV (PTYPE1 …)"))
                .hint("is it a UVFITS file, as AIPS, CASA or ehtim write it?"));
        }
        let (scale, zero) = (keywords.number("BSCALE", Some(1.0))?, keywords.number("BZERO", Some(0.0))?);
        let groups =
            Groups { count: keywords.count("GCOUNT", None)?, bits: bits as i64, scale, zero, uv, parameters, axes };
        groups.check(of)
    }

    /// One complex axis of three numbers, stokes and frequency; all others have one index.
    fn check(self, of: &str) -> Result<Self, Fault> {
        match self.axes.first() {
            Some(Axis { kind, size: 3, .. }) if kind == "COMPLEX" => {}
            _ => {
                return Err(Fault::new(format!(
                    "{of}: expected COMPLEX of size 3 (real, imaginary, weight) as the first axis"
                ))
                .hint("without weights nothing says how good the visibilities are"));
            }
        }
        let other = |axis: &&Axis| axis.size != 1 && !["COMPLEX", "STOKES", "FREQ"].contains(&axis.kind.as_str());
        if let Some(Axis { kind, size, .. }) = self.axes.iter().find(other) {
            let hint = "average them, or split them into a file each (AIPS: AVSPC, SPLIT; ehtim: avg_channels)";
            return Err(Fault::new(format!("{of}: the axis {kind} has {size} entries, expected 1")).hint(hint));
        }
        match self.axis("FREQ") {
            Some(axis) if axis.first > 0.0 => Ok(self),
            _ => Err(Fault::new(format!("{of}: there is no axis FREQ with a frequency above 0"))
                .hint("u and v are in seconds: without a frequency they are no wavelengths")),
        }
    }

    fn axis(&self, kind: &str) -> Option<&Axis> {
        self.axes.iter().find(|axis| axis.kind == kind)
    }
    /// Numbers in the array of a group.
    fn numbers(&self) -> usize {
        self.axes.iter().map(|axis| axis.size).product()
    }
    fn bytes(&self) -> Option<u64> {
        let each = (self.parameters + self.numbers()) as u64 * self.bits.unsigned_abs() / 8;
        each.checked_mul(self.count as u64)
    }

    /// The numbers of a group as they are stored.
    fn stored(&self, bytes: &[u8], out: &mut Vec<f64>) {
        macro_rules! each {
            ($type:ty, $bytes:literal) => {
                bytes.as_chunks::<$bytes>().0.iter().map(|bytes| <$type>::from_be_bytes(*bytes) as f64)
            };
        }
        out.clear();
        match self.bits {
            8 => out.extend(each!(u8, 1)),
            16 => out.extend(each!(i16, 2)),
            32 => out.extend(each!(i32, 4)),
            -32 => out.extend(each!(f32, 4)),
            _ => out.extend(each!(f64, 8)),
        }
    }
}

/// The indices of the polarisations that make Stokes I: itself, or two parallel hands.
fn polarisations(groups: &Groups, of: &str) -> Result<Vec<usize>, Fault> {
    let Some(axis) = groups.axis("STOKES") else { return Ok(vec![0]) };
    let codes: Vec<i64> = (0..axis.size).map(|at| (axis.first + at as f64 * axis.step).round() as i64).collect();
    let find = |code: i64| codes.iter().position(|known| *known == code);
    for wanted in [&[1][..], &[-1, -2], &[-5, -6]] {
        let found: Vec<usize> = wanted.iter().filter_map(|code| find(*code)).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(Fault::new(format!(
        "{of}: its polarisations are {codes:?}, expected I (1), RR and LL (-1, -2) or XX and YY (-5, -6)"
    ))
    .hint("the codes are those of the FITS axis STOKES"))
}

/// All good visibilities of a file.
fn read(path: &Path) -> Result<Visibilities, Fault> {
    let (of, file, bytes) = opened(path)?;
    let mut file: BufReader<File> = BufReader::with_capacity(1 << 18, file);
    let (keywords, header) = Keywords::read(&of, &mut file)?;
    let groups = Groups::of(&keywords)?;
    let needed = groups.bytes().and_then(|data| data.checked_add(header));
    if needed.is_none_or(|needed| needed > bytes) {
        let (count, needed) = (groups.count, needed.map_or("more than 2^64".to_owned(), |needed| needed.to_string()));
        let text = format!("{of} is truncated: {needed} bytes are needed for its {count} groups, it has {bytes}");
        return Err(Fault::new(text).hint(COMPLETE));
    }
    if groups.count == 0 {
        return Ok(Visibilities::default());
    }
    let polarisations = polarisations(&groups, &of)?;
    let (stokes, frequency) = (groups.axis("STOKES"), groups.axis("FREQ"));
    let mut found = Visibilities::default();
    let mut group = vec![0; (groups.parameters + groups.numbers()) * (groups.bits.unsigned_abs() / 8) as usize];
    let mut stored = Vec::new();
    for index in 0..groups.count {
        file.read_exact(&mut group).map_err(|error| Fault::new(format!("cannot read {of}: {error}")))?;
        if index == 0 && groups.bits == -32 && is_swapped(&group, true) {
            return Err(Fault::new(format!(
                "{of}: the numbers are little-endian, as their sizes tell; expected big-endian"
            ))
            .hint("all numbers of FITS are big-endian: write the file again with a FITS library"));
        }
        groups.stored(&group, &mut stored);
        let (parameters, array) = stored.split_at(groups.parameters);
        let sum =
            |of: &[(usize, f64, f64)]| of.iter().map(|(at, scale, zero)| parameters[*at] * scale + zero).sum::<f64>();
        let seconds = [sum(&groups.uv[0]), sum(&groups.uv[1])];
        for channel in 0..frequency.map_or(1, |axis| axis.size) {
            let hertz = frequency.map_or(0.0, |axis| axis.first + channel as f64 * axis.step);
            let mut good: Vec<(Complex<f64>, f64)> = Vec::with_capacity(2);
            for at in &polarisations {
                let at = at * stokes.map_or(0, |axis| axis.stride) + channel * frequency.map_or(0, |axis| axis.stride);
                let [re, im, weight] = [0, 1, 2].map(|part| array[at + part] * groups.scale + groups.zero);
                if weight > 0.0 && weight.is_finite() && re.is_finite() && im.is_finite() {
                    good.push((Complex::new(re, im), weight));
                }
            }
            if good.is_empty() {
                found.flagged += 1;
                continue;
            }
            if !(hertz > 0.0 && seconds.iter().all(|number| number.is_finite())) {
                return Err(
                    Fault::new(format!("{of}: group {index} has u, v = {seconds:?} s at {hertz} Hz")).hint(COMPLETE)
                );
            }
            let count = good.len() as f64;
            found.value.push(good.iter().map(|(value, _)| value).sum::<Complex<f64>>() / count);
            found.sigma.push(good.iter().map(|(_, weight)| 1.0 / weight).sum::<f64>().sqrt() / count);
            found.u.push(seconds[0] * hertz);
            found.v.push(seconds[1] * hertz);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UU, VV and BASELINE; re, im and weight by channel and hand.
    type Group = ([f32; 3], [[[f32; 3]; 2]; 2]);

    /// A file byte by byte, as the standard has it: header cards, and groups of UU, VV, BASELINE and 2 channels × 2 hands.
    struct ByHand {
        cards: Vec<String>,
        groups: Vec<Group>,
    }

    const HZ: f64 = 2.0e11;
    const STEP: f64 = 1.0e9;

    fn by_hand() -> ByHand {
        let card = |name: &str, value: &str| format!("{name:<8}= {value:>20} / a comment");
        let mut cards = vec![card("SIMPLE", "T"), card("BITPIX", "-32"), card("NAXIS", "6"), card("NAXIS1", "0")];
        for (axis, (size, kind, value, step)) in [
            (3, "COMPLEX", 1.0, 1.0),
            (2, "STOKES", -1.0, -1.0),
            (2, "FREQ", HZ, STEP),
            (1, "RA", 187.7, 1.0),
            (1, "DEC", 12.4, 1.0),
        ]
        .into_iter()
        .enumerate()
        {
            let axis = axis + 2;
            cards.push(card(&format!("NAXIS{axis}"), &size.to_string()));
            cards.push(card(&format!("CTYPE{axis}"), &format!("'{kind:<8}'")));
            cards.push(card(&format!("CRVAL{axis}"), &format!("{value:E}").replace('E', "D")));
            cards.push(card(&format!("CDELT{axis}"), &step.to_string()));
            cards.push(card(&format!("CRPIX{axis}"), "1.0"));
        }
        cards.push(card("GROUPS", "T"));
        cards.push(card("PCOUNT", "3"));
        cards.push(card("GCOUNT", "2"));
        for (place, kind) in ["UU---SIN", "VV---SIN", "BASELINE"].into_iter().enumerate() {
            cards.push(card(&format!("PTYPE{}", place + 1), &format!("'{kind}'")));
        }
        cards.push(card("PSCAL2", "2.0"));
        cards.push(card("PZERO2", "0.5E-3"));
        cards.push("HISTORY this is = no value".to_owned());
        let hands = |re: f32, weights: [f32; 2]| [[re, 1.0, weights[0]], [re + 2.0, 3.0, weights[1]]];
        let groups = vec![
            ([0.01, 0.02, 258.0], [hands(1.0, [4.0, 4.0]), hands(5.0, [16.0, -1.0])]),
            ([-0.03, 0.04, 259.0], [hands(7.0, [0.0, 1.0]), hands(9.0, [-4.0, 0.0])]),
        ];
        ByHand { cards, groups }
    }

    impl ByHand {
        fn bytes(&self) -> Vec<u8> {
            let mut bytes: Vec<u8> = Vec::new();
            for card in self.cards.iter().map(String::as_str).chain(["END"]) {
                bytes.extend(format!("{card:<80}").bytes());
            }
            bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
            for (parameters, array) in &self.groups {
                let numbers = parameters.iter().chain(array.iter().flatten().flatten());
                bytes.extend(numbers.flat_map(|number| number.to_be_bytes()));
            }
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
            bytes
        }
        fn with(mut self, name: &str, value: &str) -> Self {
            let place = self.cards.iter().position(|card| card.starts_with(&format!("{name:<8}="))).unwrap();
            self.cards[place] = format!("{name:<8}= {value}");
            self
        }
    }

    fn read_bytes(bytes: &[u8]) -> Result<Visibilities, Fault> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.uvfits"), bytes).unwrap();
        read(&folder.path().join("a.uvfits"))
    }

    #[test]
    fn groups_become_visibilities_with_u_and_v_in_wavelengths() {
        let all = read_bytes(&by_hand().bytes()).unwrap();
        let v0 = f64::from(0.02f32) * 2.0 + 0.5e-3;
        let close = |got: &[f64], want: &[f64]| {
            assert!(
                got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a / b - 1.0).abs() < 1e-12),
                "{got:?} {want:?}"
            );
        };
        close(&all.u, &[f64::from(0.01f32) * HZ, f64::from(0.01f32) * (HZ + STEP), f64::from(-0.03f32) * HZ]);
        close(&all.v, &[v0 * HZ, v0 * (HZ + STEP), (f64::from(0.04f32) * 2.0 + 0.5e-3) * HZ]);
        // both hands: their mean; one hand alone: itself, with its own sigma; none: left out
        assert_eq!(all.value, [Complex::new(2.0, 2.0), Complex::new(5.0, 1.0), Complex::new(9.0, 3.0)]);
        close(&all.sigma, &[(0.25_f64 + 0.25).sqrt() / 2.0, 0.25, 1.0]);
        assert_eq!(all.flagged, 1);
        let header = all.header(Path::new("a.uvfits")).unwrap();
        assert!(
            header.about.contains("(visibility=3, part=2)") && header.about.contains("1 flagged"),
            "{}",
            header.about
        );
    }

    #[test]
    fn stokes_i_is_taken_before_hands() {
        let with_i = by_hand().with("CRVAL3", "1.0").with("CDELT3", "1.0").bytes();
        assert_eq!(read_bytes(&with_i).unwrap().value[0], Complex::new(1.0, 1.0));
    }

    #[test]
    fn files_that_cannot_be_read_say_why() {
        let text = |bytes: &[u8]| read_bytes(bytes).unwrap_err().text;
        let good = by_hand().bytes();
        assert!(text(&good[..good.len() - BLOCK]).contains("truncated"));
        assert!(text(&good[..1000]).contains("ends within its header"));
        assert!(text(&[b"HELLO ", &good[..]].concat()).contains("not a FITS file"));
        assert!(text(&by_hand().with("GCOUNT", "100000").bytes()).contains("for its 100000 groups"));
        assert!(text(&by_hand().with("NAXIS1", "64").bytes()).contains("NAXIS1 = 64"));
        assert!(text(&by_hand().with("BITPIX", "7").bytes()).contains("BITPIX is `7`"));
        assert!(text(&by_hand().with("PTYPE1", "'WW'").bytes()).contains("UU and VV"));
        assert!(text(&by_hand().with("CRVAL3", "-3.0").bytes()).contains("[-3, -4]"));
        assert!(text(&by_hand().with("CTYPE4", "'IF'").bytes()).contains("the axis IF has 2"));
        assert!(text(&by_hand().with("CTYPE2", "'REAL'").bytes()).contains("COMPLEX of size 3"));
        let mut swapped = good.clone();
        let first = ((by_hand().cards.len() + 1) * CARD).next_multiple_of(BLOCK);
        swapped[first..].chunks_exact_mut(4).for_each(<[u8]>::reverse);
        assert!(text(&swapped).contains("little-endian"));
        for (at, value) in (0..good.len()).step_by(7).map(|at| (at, good[at] ^ 0x55)) {
            let mut bad = good.clone();
            bad[at] = value;
            let _ = read_bytes(&bad);
        }
    }
}
