/* SPDX-License-Identifier: MIT */
/*
 * openblas_core.h - OpenBLAS picks its kernels when it is loaded, and an older one
 * does not know a newer processor: it then runs several times slower than it could.
 * Its environment variable OPENBLAS_CORETYPE says better, but is read only then.
 */
#ifndef BENCH_OPENBLAS_CORE_H
#define BENCH_OPENBLAS_CORE_H

/* The core type that suits instruction sets as specp_isa_detect names them, or NULL. */
const char *openblas_core_for(unsigned isa);

/*
 * Where OpenBLAS's core type is below the processor's: starts this program again
 * with the same arguments and OPENBLAS_CORETYPE set, saying so on stderr, and does
 * not return. Where the variable is set already (by the user, or by the first
 * start) it only warns: so nothing repeats. To be called before standard input is
 * read or anything was written.
 */
void openblas_core_ensure(void);

#endif
