/* SPDX-License-Identifier: MIT */
/*
 * Starting again with the right OpenBLAS kernels. The arguments come from
 * /proc/self/cmdline, where they stand one after the other, each with a NUL; the
 * program itself is /proc/self/exe.
 */
#include "openblas_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels.h"
#include "util.h"

#define VARIABLE "OPENBLAS_CORETYPE"

const char *openblas_core_for(unsigned isa) {
    if (isa & SPECP_ISA_AVX512) return "SkylakeX";
    return isa & SPECP_ISA_AVX2 ? "Haswell" : NULL;
}

/* The file's bytes with a NUL behind them, or NULL. */
static char *read_arguments(size_t *n) {
    FILE *f = fopen("/proc/self/cmdline", "rb");
    char *text = NULL;
    size_t cap = 0, got = 1;
    for (*n = 0; f && got; *n += got) {
        char *grown = bench_grow(text, &cap, *n + 4096, 1);
        if (!grown) break;
        text = grown;
        got = fread(text + *n, 1, 4095, f);
    }
    if (f) fclose(f);
    if (*n && got == 0) return text;
    free(text);
    return NULL;
}

/* Returns only when it fails. */
static void start_again(void) {
    size_t n, argc = 0;
    char *text = read_arguments(&n);
    char **argv = text ? calloc(n + 1, sizeof *argv) : NULL;
    for (size_t at = 0; argv && at < n; at += strlen(text + at) + 1) argv[argc++] = text + at;
    if (argc) execv("/proc/self/exe", argv);
    free(argv);
    free(text);
}

void openblas_core_ensure(void) {
    bool below = false;
    const char *now = specp_blas_core(&below), *better = openblas_core_for(specp_isa_detect());
    const char *set = getenv(VARIABLE);
    if (!below || !better) return;
    if (set) {
        bench_complain("warning: OpenBLAS runs its kernels for %s, below this processor, with " VARIABLE
                       "=%s",
                       now, set);
        return;
    }
    bench_complain(
        "OpenBLAS does not know this processor and picked its kernels for %s: starting again with " VARIABLE
        "=%s",
        now, better);
    if (setenv(VARIABLE, better, 1) == 0) start_again();
    bench_complain("warning: that failed (%s); set it yourself for full speed", strerror(errno));
}
