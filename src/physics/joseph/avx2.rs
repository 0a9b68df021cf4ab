//! Registers of 32 bytes. `vpermps` looks values up in one of them; two look-ups and a blend make a table of two.

use std::arch::x86_64::*;

use super::columns::{self, AdjointColumn, ForwardColumn};
use super::lanes::{self, Lanes};
use super::{AdjointChunk, ForwardBand, Instructions};

struct Single;
struct Double;

macro_rules! entry {
    ($name:ident: $task:ident<$number:ty> by $kernel:path) => {
        pub(super) fn $name(task: $task<'_, $number>) {
            #[target_feature(enable = "avx2,fma")]
            fn run(task: $task<'_, $number>) {
                // SAFETY: this function enables the instructions.
                unsafe { $kernel(task) }
            }
            debug_assert!(Instructions::Avx2.supported());
            // SAFETY: an operator takes a set only if the machine has it.
            unsafe { run(task) }
        }
    };
}
entry!(forward_f32: ForwardBand<f32> by lanes::forward::<Single>);
entry!(forward_f64: ForwardBand<f64> by lanes::forward::<Double>);
entry!(adjoint_f32: AdjointChunk<f32> by lanes::adjoint::<Single, 2>);
entry!(adjoint_f64: AdjointChunk<f64> by lanes::adjoint::<Double, 2>);
entry!(forward_column_f32: ForwardColumn<f32> by columns::forward::<Single>);
entry!(forward_column_f64: ForwardColumn<f64> by columns::forward::<Double>);
entry!(adjoint_column_f32: AdjointColumn<f32> by columns::adjoint::<Single>);
entry!(adjoint_column_f64: AdjointColumn<f64> by columns::adjoint::<Double>);

/// Four-byte values at `places` 0..16 of two registers. `vpermps` heeds the lowest three bits, the blend the sign.
#[inline(always)]
unsafe fn look_up(low: __m256, high: __m256, places: __m256i) -> __m256 {
    unsafe {
        let (low, high) = (_mm256_permutevar8x32_ps(low, places), _mm256_permutevar8x32_ps(high, places));
        _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(places)))
    }
}

// SAFETY of all the blocks below: each method is a few instructions, with the contract of `Lanes`.
impl Lanes for Single {
    type Number = f32;
    type Fixed = u32;
    type Vector = __m256;
    type Positions = __m256i;
    type Places = __m256i;
    const LANES: usize = 8;
    const UNIT: f64 = 1.0 / (1u64 << 27) as f64;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m256) {
        unsafe { _mm256_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn splat_fixed(value: u32) -> __m256i {
        unsafe { _mm256_set1_epi32(value as i32) }
    }
    #[inline(always)]
    unsafe fn load_fixed(from: *const u32) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn add_fixed(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn places(at: __m256i) -> __m256i {
        unsafe { _mm256_srli_epi32::<27>(at) }
    }
    #[inline(always)]
    unsafe fn next(places: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(places, _mm256_set1_epi32(1)) }
    }
    #[inline(always)]
    unsafe fn pick(low: __m256, high: __m256, places: __m256i) -> __m256 {
        unsafe { look_up(low, high, places) }
    }
    #[inline(always)]
    unsafe fn fraction(at: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_and_si256(at, _mm256_set1_epi32((1 << 27) - 1))) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m256) -> __m256 {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn neg_mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }
}

impl Lanes for Double {
    type Number = f64;
    type Fixed = u64;
    type Vector = __m256d;
    type Positions = __m256i;
    /// An eight-byte value is two four-byte ones: these are the places 2n and 2n + 1 of its halves.
    type Places = __m256i;
    const LANES: usize = 4;
    const UNIT: f64 = 1.0;

    #[inline(always)]
    unsafe fn splat(value: f64) -> __m256d {
        unsafe { _mm256_set1_pd(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> __m256d {
        unsafe { _mm256_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f64, value: __m256d) {
        unsafe { _mm256_storeu_pd(to, value) }
    }
    #[inline(always)]
    unsafe fn splat_fixed(value: u64) -> __m256i {
        unsafe { _mm256_set1_epi64x(value as i64) }
    }
    #[inline(always)]
    unsafe fn load_fixed(from: *const u64) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn add_fixed(a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi64(a, b) }
    }
    #[inline(always)]
    unsafe fn places(at: __m256i) -> __m256i {
        unsafe {
            let whole = _mm256_srli_epi64::<52>(at);
            let both = _mm256_or_si256(whole, _mm256_slli_epi64::<32>(whole));
            _mm256_add_epi32(_mm256_add_epi32(both, both), _mm256_set1_epi64x(1 << 32))
        }
    }
    #[inline(always)]
    unsafe fn next(places: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(places, _mm256_set1_epi32(2)) }
    }
    #[inline(always)]
    unsafe fn pick(low: __m256d, high: __m256d, places: __m256i) -> __m256d {
        unsafe { _mm256_castps_pd(look_up(_mm256_castpd_ps(low), _mm256_castpd_ps(high), places)) }
    }
    #[inline(always)]
    unsafe fn fraction(at: __m256i) -> __m256d {
        // AVX2 converts no 64-bit integers: with the exponent of 1 before them, the 52 bits are the number 1 + f.
        unsafe {
            let bits = _mm256_and_si256(at, _mm256_set1_epi64x((1 << 52) - 1));
            let one = _mm256_set1_pd(1.0);
            _mm256_sub_pd(_mm256_or_pd(_mm256_castsi256_pd(bits), one), one)
        }
    }
    #[inline(always)]
    unsafe fn add(a: __m256d, b: __m256d) -> __m256d {
        unsafe { _mm256_add_pd(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256d, b: __m256d) -> __m256d {
        unsafe { _mm256_sub_pd(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256d, b: __m256d) -> __m256d {
        unsafe { _mm256_max_pd(a, b) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m256d) -> __m256d {
        unsafe { _mm256_andnot_pd(_mm256_set1_pd(-0.0), a) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        unsafe { _mm256_fmadd_pd(a, b, c) }
    }
    #[inline(always)]
    unsafe fn neg_mul_add(a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        unsafe { _mm256_fnmadd_pd(a, b, c) }
    }
}
