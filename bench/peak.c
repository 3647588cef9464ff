/* SPDX-License-Identifier: MIT */
/*
 * Loops at the machine's limit. An arithmetic loop has 12 independent sums, enough
 * to cover the latency of two units, and all in registers:
 *
 *     s[0..11] += a * b     again and again
 *
 * Each instruction set has its own function; the best that the processor has runs.
 */
#include "peak.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "util.h"

#define ORDER   1024                /* of a product: its matrices fit the second and third cache */
#define ROUNDS  2000000             /* some tens of milliseconds */
#define READ    ((size_t)256 << 20) /* bytes read at least */
#define THREADS 256                 /* a team has no more */

/* What a thread runs: the rounds; and what it returns depends on all of them. */
typedef struct peak_loop {
    int64_t (*run)(size_t rounds);
    double operations; /* of a round */
} peak_loop;

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define N_SUMS      12
#define EACH_SUM(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

/* OPAQUE hides from the compiler that a is the same in each step: it would
 * multiply once. */
#define OPAQUE(a) __asm__ volatile("" : "+v"(a))

#define FLOAT_LOOP(name, isa, vector, set, fma, add, first)                                                  \
    __attribute__((target(isa))) static int64_t name(size_t rounds) {                                        \
        vector s[N_SUMS], a = set(0.999f), b = set(0.001f);                                                  \
        for (int i = 0; i < N_SUMS; i++) s[i] = set((float)i);                                               \
        for (size_t r = 0; r < rounds; r++) {                                                                \
            EACH_SUM(fma)                                                                                    \
        }                                                                                                    \
        for (int i = 1; i < N_SUMS; i++) s[0] = add(s[0], s[i]);                                             \
        return (int64_t)first(s[0]);                                                                         \
    }

#define FMA_256(i) s[i] = _mm256_fmadd_ps(s[i], a, b);
#define FMA_512(i) s[i] = _mm512_fmadd_ps(s[i], a, b);
FLOAT_LOOP(float_avx2, "avx2,fma", __m256, _mm256_set1_ps, FMA_256, _mm256_add_ps, _mm256_cvtss_f32)
FLOAT_LOOP(float_avx512, "avx512f", __m512, _mm512_set1_ps, FMA_512, _mm512_add_ps, _mm512_cvtss_f32)

#define INT_LOOP(name, isa, vector, set, step, add, low, first)                                              \
    __attribute__((target(isa))) static int64_t name(size_t rounds) {                                        \
        vector s[N_SUMS], a = set(3), b = set(5);                                                            \
        for (int i = 0; i < N_SUMS; i++) s[i] = set((short)i);                                               \
        for (size_t r = 0; r < rounds; r++) {                                                                \
            EACH_SUM(step)                                                                                   \
        }                                                                                                    \
        for (int i = 1; i < N_SUMS; i++) s[0] = add(s[0], s[i]);                                             \
        return first(low(s[0]));                                                                             \
    }

/* Without VNNI bytes are widened to 16 bits, of which an instruction multiplies
 * and adds pairs. */
#define MADD_256(i)                                                                                          \
    OPAQUE(a);                                                                                               \
    s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(a, b));
#define MADD_512(i)                                                                                          \
    OPAQUE(a);                                                                                               \
    s[i] = _mm512_add_epi32(s[i], _mm512_madd_epi16(a, b));
#define DOT_512(i) s[i] = _mm512_dpbusd_epi32(s[i], a, b);
INT_LOOP(int_avx2, "avx2", __m256i, _mm256_set1_epi16, MADD_256, _mm256_add_epi32, _mm256_castsi256_si128,
         _mm_cvtsi128_si32)
INT_LOOP(int_avx512, "avx512f,avx512bw", __m512i, _mm512_set1_epi16, MADD_512, _mm512_add_epi32,
         _mm512_castsi512_si128, _mm_cvtsi128_si32)
INT_LOOP(int_vnni, "avx512f,avx512bw,avx512vnni", __m512i, _mm512_set1_epi16, DOT_512, _mm512_add_epi32,
         _mm512_castsi512_si128, _mm_cvtsi128_si32)

static peak_loop float_best(unsigned isa) {
    if (isa & SPECP_ISA_AVX512) return (peak_loop){float_avx512, 2.0 * 16 * N_SUMS};
    if (isa & SPECP_ISA_AVX2) return (peak_loop){float_avx2, 2.0 * 8 * N_SUMS};
    return (peak_loop){NULL, 0};
}

static peak_loop int_best(unsigned isa) {
    if (isa & SPECP_ISA_VNNI) return (peak_loop){int_vnni, 2.0 * 64 * N_SUMS};
    if (isa & SPECP_ISA_AVX512) return (peak_loop){int_avx512, 2.0 * 32 * N_SUMS};
    if (isa & SPECP_ISA_AVX2) return (peak_loop){int_avx2, 2.0 * 16 * N_SUMS};
    return (peak_loop){NULL, 0};
}
#else
static peak_loop float_best(unsigned isa) { return (peak_loop){NULL, 0 * isa}; }
static peak_loop int_best(unsigned isa) { return (peak_loop){NULL, 0 * isa}; }
#endif

/* ---- running ------------------------------------------------------------- */

typedef struct work {
    specp_team *team;
    peak_loop loop;
    const uint8_t *bytes;
    size_t n, passes;
    float *matrix;           /* (threads, 3, ORDER, ORDER) */
    int64_t result[THREADS]; /* keeps the loops from being dropped */
} work;

static double seconds_of(work *w, void (*fn)(void *, unsigned)) {
    uint64_t start = bench_now_ns();
    specp_team_run(w->team, fn, w);
    return (double)(bench_now_ns() - start) / 1e9;
}

static void run_loop(void *arg, unsigned thread) {
    work *w = arg;
    w->result[thread] = w->loop.run(ROUNDS);
}

static double gops(specp_team *t, peak_loop loop) {
    work w = {.team = t, .loop = loop};
    if (!loop.run) return NAN;
    return loop.operations * ROUNDS * specp_team_size(t) / seconds_of(&w, run_loop) / 1e9;
}

double peak_float_gops(specp_team *t) { return gops(t, float_best(specp_isa_detect())); }
double peak_int8_gops(specp_team *t) { return gops(t, int_best(specp_isa_detect())); }

/* A word of each cache line moves the line. */
static void read_part(void *arg, unsigned thread) {
    enum { LINE = 64, AHEAD = 4096 };
    work *w = arg;
    size_t threads = specp_team_size(w->team), part = w->n / threads / LINE * LINE;
    const uint8_t *p = w->bytes + part * thread;
    uint64_t sum = 0, word;
    for (size_t pass = 0; pass < w->passes; pass++)
        for (size_t i = 0; i < part; i += LINE) {
            SPECP_PREFETCH(p + i + AHEAD);
            memcpy(&word, p + i, sizeof word);
            sum += word;
        }
    w->result[thread] = (int64_t)sum;
}

double peak_read_gbs(specp_team *t, const uint8_t *bytes, size_t n) {
    work w = {.team = t, .bytes = bytes, .n = n, .passes = n < READ ? READ / n : 1};
    return (double)n * (double)w.passes / seconds_of(&w, read_part) / 1e9;
}

/* ---- a product ----------------------------------------------------------- */

static void multiply(void *arg, unsigned thread) {
    size_t n = (size_t)ORDER * ORDER;
    float *a = ((work *)arg)->matrix + 3 * n * thread;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, ORDER, ORDER, ORDER, 1.0f, a, ORDER, a + n, ORDER,
                0.0f, a + 2 * n, ORDER);
}

double peak_sgemm_gops(specp_team *t) {
    size_t threads = specp_team_size(t), n = 3 * (size_t)ORDER * ORDER * threads;
    work w = {.team = t, .matrix = specp_alloc(NULL, n, sizeof *w.matrix)};
    double least = INFINITY, flop = 2.0 * ORDER * ORDER * ORDER * (double)threads;
    if (!w.matrix) return NAN;
    for (size_t i = 0; i < n; i++) w.matrix[i] = (float)(i % 7) - 3.0f;
    for (int round = 0; round < 4; round++) {
        double s = seconds_of(&w, multiply);
        if (round > 0 && s < least) least = s; /* the first one touches the pages */
    }
    specp_release(NULL, w.matrix, n, sizeof *w.matrix);
    return flop / least / 1e9;
}
