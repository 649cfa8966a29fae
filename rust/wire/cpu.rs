// SPDX-License-Identifier: GPL-2.0

//! Which CPU features a program may have found and used, and whether another CPU has them too.
//!
//! The words are the kernel's capability words of x86 (`asm/cpufeatures.h`), of which only the bits count that a program in user mode can
//! make use of: instructions, not modes of the kernel or of virtual machines.

/// Number of words.
pub const WORDS: usize = 32;

/// What counts, by word: the bits, and what people call them (as `/proc/cpuinfo` does), in the order of the bits.
type Used = (usize, &'static [(u32, &'static str)]);

const USED: [Used; 9] = [
    // CPUID 1 edx.
    (
        0,
        &[
            (4, "tsc"),
            (8, "cx8"),
            (15, "cmov"),
            (19, "clflush"),
            (23, "mmx"),
            (24, "fxsr"),
            (25, "sse"),
            (26, "sse2"),
        ],
    ),
    // CPUID 0x80000001 edx.
    (1, &[(27, "rdtscp"), (30, "3dnowext"), (31, "3dnow")]),
    // CPUID 1 ecx.
    (
        4,
        &[
            (0, "sse3"),
            (1, "pclmulqdq"),
            (9, "ssse3"),
            (12, "fma"),
            (13, "cx16"),
            (19, "sse4_1"),
            (20, "sse4_2"),
            (22, "movbe"),
            (23, "popcnt"),
            (25, "aes"),
            (26, "xsave"),
            (28, "avx"),
            (29, "f16c"),
            (30, "rdrand"),
        ],
    ),
    // CPUID 0x80000001 ecx.
    (
        6,
        &[
            (0, "lahf_lm"),
            (5, "abm"),
            (6, "sse4a"),
            (8, "3dnowprefetch"),
            (11, "xop"),
            (16, "fma4"),
            (21, "tbm"),
        ],
    ),
    // CPUID 7 ebx.
    (
        9,
        &[
            (0, "fsgsbase"),
            (3, "bmi1"),
            (5, "avx2"),
            (8, "bmi2"),
            (9, "erms"),
            (16, "avx512f"),
            (17, "avx512dq"),
            (18, "rdseed"),
            (19, "adx"),
            (21, "avx512ifma"),
            (23, "clflushopt"),
            (24, "clwb"),
            (26, "avx512pf"),
            (27, "avx512er"),
            (28, "avx512cd"),
            (29, "sha_ni"),
            (30, "avx512bw"),
            (31, "avx512vl"),
        ],
    ),
    // CPUID 0xd.1 eax: the C library saves registers by these where they are.
    (10, &[(0, "xsaveopt"), (1, "xsavec"), (2, "xgetbv1")]),
    // CPUID 7.1 eax.
    (
        12,
        &[
            (4, "avx_vnni"),
            (5, "avx512_bf16"),
            (10, "fzrm"),
            (11, "fsrs"),
            (12, "fsrc"),
            (23, "avx_ifma"),
        ],
    ),
    // CPUID 7 ecx.
    (
        16,
        &[
            (1, "avx512vbmi"),
            (5, "waitpkg"),
            (6, "avx512_vbmi2"),
            (8, "gfni"),
            (9, "vaes"),
            (10, "vpclmulqdq"),
            (11, "avx512_vnni"),
            (12, "avx512_bitalg"),
            (14, "avx512_vpopcntdq"),
            (22, "rdpid"),
            (27, "movdiri"),
            (28, "movdir64b"),
        ],
    ),
    // CPUID 7 edx.
    (
        18,
        &[
            (2, "avx512_4vnniw"),
            (3, "avx512_4fmaps"),
            (4, "fsrm"),
            (8, "avx512_vp2intersect"),
            (14, "serialize"),
            (22, "amx_bf16"),
            (23, "avx512_fp16"),
            (24, "amx_tile"),
            (25, "amx_int8"),
        ],
    ),
];

/// Every feature that counts, by its number in the kernel (word times 32 plus bit), with its name.
fn used() -> impl Iterator<Item = (u32, &'static str)> {
    USED.iter().flat_map(|&(word, bits)| {
        bits.iter().map(move |&(bit, name)| {
            let number = (word as u32).saturating_mul(32).saturating_add(bit);
            (number, name)
        })
    })
}

fn has(words: &[u32; WORDS], number: u32) -> bool {
    words
        .get((number / 32) as usize)
        .is_some_and(|word| word & 1u32.wrapping_shl(number % 32) != 0)
}

/// The features that count and that `source` has but `target` lacks, as the kernel numbers them (word times 32 plus bit).
pub fn missing<'a>(
    source: &'a [u32; WORDS],
    target: &'a [u32; WORDS],
) -> impl Iterator<Item = u32> + 'a {
    used()
        .map(|(number, _)| number)
        .filter(|&number| has(source, number) && !has(target, number))
}

/// The name of a feature that counts.
pub fn name(number: u32) -> Option<&'static str> {
    used()
        .find(|&(used, _)| used == number)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_missing() {
        let full = [u32::MAX; WORDS];
        let mut less = full;
        assert_eq!(missing(&full, &less).next(), None);
        // AVX2 and XSAVEC.
        less[9] &= !(1 << 5);
        less[10] &= !(1 << 1);
        let found: Vec<u32> = missing(&full, &less).collect();
        assert_eq!(found, [9 * 32 + 5, 10 * 32 + 1]);
        assert_eq!(missing(&less, &full).next(), None);
    }

    #[test]
    fn names_are_unique_and_of_known_bits() {
        assert_eq!(name(9 * 32 + 5), Some("avx2"));
        assert_eq!(name(0), None);
        let all: Vec<_> = used().collect();
        for (i, (number, name)) in all.iter().enumerate() {
            assert!((*number as usize) < WORDS * 32);
            assert!(all[..i].iter().all(|(n, s)| n < number && s != name));
        }
    }

    #[test]
    fn modes_do_not_count() {
        let full = [u32::MAX; WORDS];
        let mut less = full;
        // A virtual machine or not.
        less[4] &= !(1 << 31);
        // A word of the kernel's own.
        less[3] = 0;
        assert_eq!(missing(&full, &less).next(), None);
    }
}
