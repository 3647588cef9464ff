/* SPDX-License-Identifier: MIT */
/*
 * kernels.c - what the processor has, and the kernel table filled for it.
 *
 * A part that a set's file writes overrides what came before, so the table ends
 * with the best of what `isa` allows; with no bit set it is scalar throughout.
 */
#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* The registers that the system saves for us: XCR0. */
static uint64_t saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

unsigned specp_isa_detect(void) {
    const uint64_t ymm = 0x6, zmm = 0xe6; /* XMM and YMM; and mask registers and both halves of ZMM */
    unsigned a, b, c, d, isa = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || (saved_state() & ymm) != ymm) {
        return 0;
    }
    bool fma = (c & bit_FMA) && (c & bit_F16C);
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !fma || !(b & bit_AVX2)) {
        return 0;
    }
    isa |= SPECP_ISA_AVX2;
    const unsigned base = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((b & base) == base && (saved_state() & zmm) == zmm) {
        isa |= SPECP_ISA_AVX512 | (c & bit_AVX512VNNI ? SPECP_ISA_VNNI : 0);
    }
    return isa;
}
#else
unsigned specp_isa_detect(void) { return 0; }
#endif

void specp_kernels_init(specp_kernels *k, unsigned isa) {
    *k = (specp_kernels){.isa = isa & specp_isa_detect()};
    specp_quant_scalar(k);
    specp_float_scalar(k);
    specp_ops_scalar(k);
    if (!(k->isa & SPECP_ISA_AVX2)) {
        k->isa = 0; /* AVX-512 files are compiled with AVX2 too */
        return;
    }
    specp_quant_avx2(k);
    specp_float_avx2(k);
    specp_ops_avx2(k);
    if (!(k->isa & SPECP_ISA_AVX512)) {
        k->isa = SPECP_ISA_AVX2;
        return;
    }
    specp_quant_avx512(k, k->isa & SPECP_ISA_VNNI);
    specp_float_avx512(k);
    specp_ops_avx512(k);
}
