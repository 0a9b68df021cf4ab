//! Registers of 64 bytes. `vpermt2ps` and `vpermt2pd` look values up in two of them at once.

use std::arch::x86_64::*;

use super::columns::{self, AdjointColumn, ForwardColumn};
use super::lanes::{self, Lanes};
use super::{AdjointChunk, ForwardBand, Instructions};

struct Single;
struct Double;

macro_rules! entry {
    ($name:ident: $task:ident<$number:ty> by $kernel:path) => {
        pub(super) fn $name(task: $task<'_, $number>) {
            #[target_feature(enable = "avx512f,avx512dq")]
            fn run(task: $task<'_, $number>) {
                // SAFETY: this function enables the instructions.
                unsafe { $kernel(task) }
            }
            debug_assert!(Instructions::Avx512.supported());
            // SAFETY: an operator takes a set only if the machine has it.
            unsafe { run(task) }
        }
    };
}
entry!(forward_f32: ForwardBand<f32> by lanes::forward::<Single>);
entry!(forward_f64: ForwardBand<f64> by lanes::forward::<Double>);
entry!(adjoint_f32: AdjointChunk<f32> by lanes::adjoint::<Single, 4>);
entry!(adjoint_f64: AdjointChunk<f64> by lanes::adjoint::<Double, 4>);
entry!(forward_column_f32: ForwardColumn<f32> by columns::forward::<Single>);
entry!(forward_column_f64: ForwardColumn<f64> by columns::forward::<Double>);
entry!(adjoint_column_f32: AdjointColumn<f32> by columns::adjoint::<Single>);
entry!(adjoint_column_f64: AdjointColumn<f64> by columns::adjoint::<Double>);

// SAFETY of all the blocks below: each method is one instruction or two, with the contract of `Lanes`.
impl Lanes for Single {
    type Number = f32;
    type Fixed = u32;
    type Vector = __m512;
    type Positions = __m512i;
    type Places = __m512i;
    const LANES: usize = 16;
    const UNIT: f64 = 1.0 / (1u64 << 27) as f64;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn splat_fixed(value: u32) -> __m512i {
        unsafe { _mm512_set1_epi32(value as i32) }
    }
    #[inline(always)]
    unsafe fn load_fixed(from: *const u32) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn add_fixed(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn places(at: __m512i) -> __m512i {
        unsafe { _mm512_srli_epi32::<27>(at) }
    }
    #[inline(always)]
    unsafe fn next(places: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(places, _mm512_set1_epi32(1)) }
    }
    #[inline(always)]
    unsafe fn pick(low: __m512, high: __m512, places: __m512i) -> __m512 {
        unsafe { _mm512_permutex2var_ps(low, places, high) }
    }
    #[inline(always)]
    unsafe fn fraction(at: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_and_si512(at, _mm512_set1_epi32((1 << 27) - 1))) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn neg_mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
}

impl Lanes for Double {
    type Number = f64;
    type Fixed = u64;
    type Vector = __m512d;
    type Positions = __m512i;
    type Places = __m512i;
    const LANES: usize = 8;
    const UNIT: f64 = 1.0 / (1u64 << 52) as f64;

    #[inline(always)]
    unsafe fn splat(value: f64) -> __m512d {
        unsafe { _mm512_set1_pd(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> __m512d {
        unsafe { _mm512_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f64, value: __m512d) {
        unsafe { _mm512_storeu_pd(to, value) }
    }
    #[inline(always)]
    unsafe fn splat_fixed(value: u64) -> __m512i {
        unsafe { _mm512_set1_epi64(value as i64) }
    }
    #[inline(always)]
    unsafe fn load_fixed(from: *const u64) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn add_fixed(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi64(a, b) }
    }
    #[inline(always)]
    unsafe fn places(at: __m512i) -> __m512i {
        unsafe { _mm512_srli_epi64::<52>(at) }
    }
    #[inline(always)]
    unsafe fn next(places: __m512i) -> __m512i {
        unsafe { _mm512_add_epi64(places, _mm512_set1_epi64(1)) }
    }
    #[inline(always)]
    unsafe fn pick(low: __m512d, high: __m512d, places: __m512i) -> __m512d {
        unsafe { _mm512_permutex2var_pd(low, places, high) }
    }
    #[inline(always)]
    unsafe fn fraction(at: __m512i) -> __m512d {
        unsafe { _mm512_cvtepi64_pd(_mm512_and_si512(at, _mm512_set1_epi64((1 << 52) - 1))) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_add_pd(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_sub_pd(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_max_pd(a, b) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m512d) -> __m512d {
        unsafe { _mm512_abs_pd(a) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        unsafe { _mm512_fmadd_pd(a, b, c) }
    }
    #[inline(always)]
    unsafe fn neg_mul_add(a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        unsafe { _mm512_fnmadd_pd(a, b, c) }
    }
}
