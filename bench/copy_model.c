/* SPDX-License-Identifier: MIT */
/*
 * The weights of an induction head (Olsson et al. 2022, arXiv 2209.11895), written
 * down. Every token has a code of 80 signs; the residual stream has places for three:
 *
 *     dims   0..79    80..159          160..239      240
 *            A        B                C             constant
 *            token    token before it  what to say   sqrt(80)
 *
 *     layer 0   looks one position back (rotary phases of a constant that fit at
 *               distance 1 alone) and copies its A to B
 *     layer 1   looks for positions whose B is this A: where the present token stood
 *               before; nearer ones win. Copies their A, what followed, to C
 *     output    reads C by the codes, and A by a random table: where the table is
 *               sure, the model goes its own way
 *
 * A norm divides by a known number, since codes and constant have known lengths; the
 * factors below allow for that. Everything not mentioned is 0.
 */
#include "copy_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random_vocab.h"
#include "spec_tensors.h"
#include "util.h"

enum { DIM = 256, HEADS = 2, HEAD = DIM / HEADS, LAYERS = 2, HIDDEN = 256, CODE = 80 };
enum { A = 0, B = CODE, C = 2 * CODE, CONSTANT = 3 * CODE };

#define ROPE_BASE 1e7

typedef struct copy_model {
    uint64_t seed;
    spec_writer *w;
    int rc;
} copy_model;

/* Row `r` of a matrix, already zero. */
typedef void row_fn(const copy_model *m, size_t r, float *row);

static double angle(size_t pair) { return pow(ROPE_BASE, -2.0 * (double)pair / HEAD); }

static float sign(const copy_model *m, size_t token, size_t i) {
    return specp_mix64(m->seed ^ (token << 8 | i)) & 1 ? 1.0f : -1.0f;
}

/* About Gaussian: the sum of four uniforms. */
static float gauss(const copy_model *m, size_t token, size_t i) {
    uint64_t h = specp_mix64(~m->seed ^ (token << 8 | i));
    int sum = 0;
    for (int k = 0; k < 4; k++) sum += (int)(h >> (16 * k) & 0xffff) - 0x8000;
    return (float)sum / 37837.0f; /* their deviation: 65536 / sqrt(12) * 2 */
}

/* ---- the matrices --------------------------------------------------------- */

static void embed(const copy_model *m, size_t token, float *row) {
    for (size_t i = 0; i < CODE; i++) row[A + i] = sign(m, token, i);
    row[CONSTANT] = sqrtf(CODE);
}

static void output(const copy_model *m, size_t token, float *row) {
    for (size_t i = 0; i < CODE; i++) {
        row[C + i] = 0.15f * sign(m, token, i);
        row[A + i] = 0.33f * gauss(m, token, i);
    }
}

enum { BACK_PAIRS = 16, MATCH_PAIR = 40, NEAR_PAIR = 30 };

/* Turned back by one position, so that it fits the key one position back. */
static void back_q(const copy_model *m, size_t r, float *row) {
    (void)m;
    if (r >= 2 * BACK_PAIRS) return;
    double a = angle(r / 2);
    row[CONSTANT] = 1.5f * (float)(r % 2 ? -sin(a) : cos(a));
}

static void back_k(const copy_model *m, size_t r, float *row) {
    (void)m;
    if (r < 2 * BACK_PAIRS && r % 2 == 0) row[CONSTANT] = 1.5f;
}

/* Matching lies in pairs that hardly turn within the context; one other pair
 * turns a little, and takes off 0.02 for each position of distance. */
static void match_q(const copy_model *m, size_t r, float *row) {
    (void)m;
    if (r >= 2 * MATCH_PAIR && r < HEAD) row[A + r - 2 * MATCH_PAIR] = 3;
    if (r == 2 * NEAR_PAIR + 1) row[CONSTANT] = 2.3f;
}

static void match_k(const copy_model *m, size_t r, float *row) {
    (void)m;
    if (r >= 2 * MATCH_PAIR && r < HEAD) row[B + r - 2 * MATCH_PAIR] = 3;
    if (r == 2 * NEAR_PAIR) row[CONSTANT] = 2.3f;
}

static void take_a(const copy_model *m, size_t r, float *row) {
    (void)m;
    if (r < CODE) row[A + r] = 1;
}

static void into_b(const copy_model *m, size_t r, float *row) {
    (void)m;
    if (r >= B && r < B + CODE) row[r - B] = 0.79f;
}

static void into_c(const copy_model *m, size_t r, float *row) {
    (void)m;
    if (r >= C && r < C + CODE) row[r - C] = 0.97f;
}

static void ones(const copy_model *m, size_t r, float *row) {
    (void)m;
    (void)r;
    for (size_t i = 0; i < DIM; i++) row[i] = 1;
}

static void zero(const copy_model *m, size_t r, float *row) {
    (void)m;
    (void)r;
    (void)row;
}

/* ---- the file ------------------------------------------------------------- */

typedef struct matrix {
    const char *name;
    size_t rows, columns; /* one row: a vector */
    row_fn *fill;
} matrix;

static const matrix matrices[] = {
    {"token_embd.weight", COPY_MODEL_VOCAB, DIM, embed},
    {"output_norm.weight", 1, DIM, ones},
    {"output.weight", COPY_MODEL_VOCAB, DIM, output},
    {"blk.0.attn_norm.weight", 1, DIM, ones},
    {"blk.0.attn_q.weight", DIM, DIM, back_q},
    {"blk.0.attn_k.weight", DIM, DIM, back_k},
    {"blk.0.attn_v.weight", DIM, DIM, take_a},
    {"blk.0.attn_output.weight", DIM, DIM, into_b},
    {"blk.0.ffn_norm.weight", 1, DIM, ones},
    {"blk.0.ffn_gate.weight", HIDDEN, DIM, zero},
    {"blk.0.ffn_up.weight", HIDDEN, DIM, zero},
    {"blk.0.ffn_down.weight", DIM, HIDDEN, zero},
    {"blk.1.attn_norm.weight", 1, DIM, ones},
    {"blk.1.attn_q.weight", DIM, DIM, match_q},
    {"blk.1.attn_k.weight", DIM, DIM, match_k},
    {"blk.1.attn_v.weight", DIM, DIM, take_a},
    {"blk.1.attn_output.weight", DIM, DIM, into_c},
    {"blk.1.ffn_norm.weight", 1, DIM, ones},
    {"blk.1.ffn_gate.weight", HIDDEN, DIM, zero},
    {"blk.1.ffn_up.weight", HIDDEN, DIM, zero},
    {"blk.1.ffn_down.weight", DIM, HIDDEN, zero},
};

#define MATRICES (sizeof matrices / sizeof *matrices)

static void meta_uint(copy_model *m, const char *key, uint64_t v) {
    if (m->rc == SPEC_OK) m->rc = spec_writer_meta_uint(m->w, key, v);
}

static void meta_float(copy_model *m, const char *key, double v) {
    if (m->rc == SPEC_OK) m->rc = spec_writer_meta_float(m->w, key, v);
}

static void write_meta(copy_model *m) {
    if (m->rc == SPEC_OK) m->rc = spec_writer_meta_string(m->w, "general.architecture", "llama", 5);
    if (m->rc == SPEC_OK) m->rc = spec_writer_meta_string(m->w, "general.name", "induction head by hand", 22);
    meta_uint(m, "llama.vocab_size", COPY_MODEL_VOCAB);
    meta_uint(m, "llama.context_length", COPY_MODEL_CONTEXT);
    meta_uint(m, "llama.embedding_length", DIM);
    meta_uint(m, "llama.block_count", LAYERS);
    meta_uint(m, "llama.feed_forward_length", HIDDEN);
    meta_uint(m, "llama.attention.head_count", HEADS);
    meta_uint(m, "llama.attention.head_count_kv", HEADS);
    meta_uint(m, "llama.rope.dimension_count", HEAD);
    meta_float(m, "llama.rope.freq_base", ROPE_BASE);
    meta_float(m, "llama.attention.layer_norm_rms_epsilon", 1e-5);
    if (m->rc == SPEC_OK) m->rc = random_vocab_write(m->w, COPY_MODEL_VOCAB);
}

static void describe(copy_model *m, const matrix *x) {
    uint64_t dim[2] = {x->rows, x->columns};
    bool vector = x->rows == 1;
    if (m->rc == SPEC_OK)
        m->rc = spec_writer_tensor(m->w, x->name, SPEC_TYPE_F32, vector ? 1 : 2, vector ? &dim[1] : dim);
}

static void write_rows(copy_model *m, const matrix *x) {
    float row[DIM];
    for (size_t r = 0; r < x->rows && m->rc == SPEC_OK; r++) {
        memset(row, 0, sizeof row);
        x->fill(m, r, row);
        m->rc = spec_writer_data(m->w, row, x->columns * sizeof *row);
    }
}

int copy_model_write(const char *path, uint64_t seed, spec_message *why) {
    copy_model m = {.seed = specp_mix64(seed)};
    m.rc = spec_writer_new(&m.w, path, SPEC_FORMAT_GGUF, NULL, why);
    if (m.rc != SPEC_OK) return m.rc;
    write_meta(&m);
    for (size_t i = 0; i < MATRICES; i++) describe(&m, &matrices[i]);
    for (size_t i = 0; i < MATRICES; i++) write_rows(&m, &matrices[i]);
    if (m.rc == SPEC_OK) return spec_writer_finish(m.w, why);
    spec_writer_abandon(m.w);
    return specp_fail(why, m.rc, "%s: %s", path, spec_strerror(m.rc));
}
