// SPDX-License-Identifier: GPL-2.0

//! Which CPU features a program may have found and used, and whether another CPU has them too.
//!
//! The words are the kernel's capability words of x86 (`asm/cpufeatures.h`), of which only the bits count that a program in user mode can
//! make use of: instructions, not modes of the kernel or of virtual machines.

/// Number of words.
pub const WORDS: usize = 32;

/// A word and the bits of it that count.
const USED: [(usize, u32); 8] = [
    // CPUID 1 edx: TSC, CX8, CMOV, CLFLUSH, MMX, FXSR, SSE, SSE2.
    (
        0,
        1 << 4 | 1 << 8 | 1 << 15 | 1 << 19 | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 26,
    ),
    // CPUID 0x80000001 edx: RDTSCP, 3DNOWEXT, 3DNOW.
    (1, 1 << 27 | 1 << 30 | 1 << 31),
    // CPUID 1 ecx: SSE3, PCLMULQDQ, SSSE3, FMA, CX16, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, XSAVE, AVX, F16C, RDRAND.
    (
        4,
        1 | 1 << 1
            | 1 << 9
            | 1 << 12
            | 1 << 13
            | 1 << 19
            | 1 << 20
            | 1 << 22
            | 1 << 23
            | 1 << 25
            | 1 << 26
            | 1 << 28
            | 1 << 29
            | 1 << 30,
    ),
    // CPUID 0x80000001 ecx: LAHF, ABM, SSE4A, 3DNOWPREFETCH, XOP, FMA4, TBM.
    (
        6,
        1 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 11 | 1 << 16 | 1 << 21,
    ),
    // CPUID 7 ebx: FSGSBASE, BMI1, AVX2, BMI2, ERMS, AVX512F, DQ, RDSEED, ADX, IFMA, CLFLUSHOPT, CLWB, PF, ER, CD, SHA, BW, VL.
    (
        9,
        1 | 1 << 3
            | 1 << 5
            | 1 << 8
            | 1 << 9
            | 1 << 16
            | 1 << 17
            | 1 << 18
            | 1 << 19
            | 1 << 21
            | 1 << 23
            | 1 << 24
            | 0x1f << 26
            | 1 << 31,
    ),
    // CPUID 7.1 eax: AVX_VNNI, AVX512_BF16, FZRM, FSRS, FSRC, AVX_IFMA.
    (12, 1 << 4 | 1 << 5 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 23),
    // CPUID 7 ecx: VBMI, WAITPKG, VBMI2, GFNI, VAES, VPCLMULQDQ, VNNI, BITALG, VPOPCNTDQ, RDPID, MOVDIRI, MOVDIR64B.
    (
        16,
        1 << 1
            | 1 << 5
            | 1 << 6
            | 1 << 8
            | 1 << 9
            | 1 << 10
            | 1 << 11
            | 1 << 12
            | 1 << 14
            | 1 << 22
            | 1 << 27
            | 1 << 28,
    ),
    // CPUID 7 edx: 4VNNIW, 4FMAPS, FSRM, VP2INTERSECT, SERIALIZE, AMX_BF16, FP16, AMX_TILE, AMX_INT8.
    (
        18,
        1 << 2 | 1 << 3 | 1 << 4 | 1 << 8 | 1 << 14 | 1 << 22 | 1 << 23 | 1 << 24 | 1 << 25,
    ),
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
