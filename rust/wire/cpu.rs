// SPDX-License-Identifier: GPL-2.0

//! Which CPU features a program may have found and used, and whether another CPU has them too.
//!
//! The words are the kernel's capability words of x86 (`asm/cpufeatures.h`), of which only the bits count that a program in user mode can
//! make use of: instructions, not modes of the kernel or of virtual machines.

/// Number of words.
pub const WORDS: usize = 32;

/// A word with these bits.
const fn bits(mut list: &[u32]) -> u32 {
    let mut word = 0;
    while let Some((&bit, rest)) = list.split_first() {
        word |= 1u32.wrapping_shl(bit);
        list = rest;
    }
    word
}

/// A word and the bits of it that count.
const USED: [(usize, u32); 8] = [
    // CPUID 1 edx: TSC, CX8, CMOV, CLFLUSH, MMX, FXSR, SSE, SSE2.
    (0, bits(&[4, 8, 15, 19, 23, 24, 25, 26])),
    // CPUID 0x80000001 edx: RDTSCP, 3DNOWEXT, 3DNOW.
    (1, bits(&[27, 30, 31])),
    // CPUID 1 ecx: SSE3, PCLMULQDQ, SSSE3, FMA, CX16, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, XSAVE, AVX, F16C, RDRAND.
    (
        4,
        bits(&[0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 26, 28, 29, 30]),
    ),
    // CPUID 0x80000001 ecx: LAHF, ABM, SSE4A, 3DNOWPREFETCH, XOP, FMA4, TBM.
    (6, bits(&[0, 5, 6, 8, 11, 16, 21])),
    // CPUID 7 ebx: FSGSBASE, BMI1, AVX2, BMI2, ERMS, AVX512F, DQ, RDSEED, ADX, IFMA, CLFLUSHOPT, CLWB, PF, ER, CD, SHA, BW, VL.
    (
        9,
        bits(&[
            0, 3, 5, 8, 9, 16, 17, 18, 19, 21, 23, 24, 26, 27, 28, 29, 30, 31,
        ]),
    ),
    // CPUID 7.1 eax: AVX_VNNI, AVX512_BF16, FZRM, FSRS, FSRC, AVX_IFMA.
    (12, bits(&[4, 5, 10, 11, 12, 23])),
    // CPUID 7 ecx: VBMI, WAITPKG, VBMI2, GFNI, VAES, VPCLMULQDQ, VNNI, BITALG, VPOPCNTDQ, RDPID, MOVDIRI, MOVDIR64B.
    (16, bits(&[1, 5, 6, 8, 9, 10, 11, 12, 14, 22, 27, 28])),
    // CPUID 7 edx: 4VNNIW, 4FMAPS, FSRM, VP2INTERSECT, SERIALIZE, AMX_BF16, FP16, AMX_TILE, AMX_INT8.
    (18, bits(&[2, 3, 4, 8, 14, 22, 23, 24, 25])),
];

/// The first feature that counts and that `source` has but `target` lacks, as the kernel numbers it (word times 32 plus bit).
pub fn missing(source: &[u32; WORDS], target: &[u32; WORDS]) -> Option<u32> {
    for (word, used) in USED {
        let (has, lacks) = (source.get(word)?, target.get(word)?);
        let missing = has & !lacks & used;
        if missing != 0 {
            return Some(
                (word as u32)
                    .saturating_mul(32)
                    .saturating_add(missing.trailing_zeros()),
            );
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_missing() {
        let full = [u32::MAX; WORDS];
        let mut less = full;
        assert_eq!(missing(&full, &less), None);
        // AVX2.
        less[9] &= !(1 << 5);
        assert_eq!(missing(&full, &less), Some(9 * 32 + 5));
        assert_eq!(missing(&less, &full), None);
    }

    #[test]
    fn modes_do_not_count() {
        let full = [u32::MAX; WORDS];
        let mut less = full;
        // A virtual machine or not.
        less[4] &= !(1 << 31);
        // A word of the kernel's own.
        less[3] = 0;
        assert_eq!(missing(&full, &less), None);
    }
}
