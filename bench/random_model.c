/* SPDX-License-Identifier: MIT */
/*
 * Random models. First a plan, the list of tensors with type, shape, mean and
 * deviation; then metadata and plan go to the writer, and the weights follow in
 * pieces, whose rows the threads share:
 *
 *     piece = rows r0..r1-1:   thread 0: row -> floats -> type \
 *                              thread 1: row -> floats -> type  >-- writer
 *                              ...                              /
 *
 * A row draws from a generator of its own, seeded by model seed, tensor and row,
 * so that neither threads nor pieces show. A Gaussian number is one of 65,536
 * drawn beforehand, picked by 16 random bits.
 *
 * Deviations. A projection of a normed row x (rms 1) with weights of deviation
 * s / sqrt(n_in) deviates by s. Embeddings have 1, logits 2; queries and keys 1.5,
 * so that attention picks some positions out rather than averaging all; values and
 * what each branch adds 1. With tied embeddings the branches must drown what the
 * token itself contributes, or each token would predict itself.
 */
#include "random_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_meta.h"
#include "random_shape.h"
#include "random_vocab.h"
#include "spec_tensors.h"
#include "team.h"
#include "util.h"

#define PIECE_BYTES (4u << 20)
#define N_GAUSS     65536
#define PI          3.14159265358979323846

typedef struct tensor {
    char name[64];
    spec_type type;
    uint32_t n_dims;
    uint64_t dim[3];
    float mean, deviation;
} tensor;

typedef struct plan {
    random_shape s;
    const random_arch *a;
    spec_type type; /* of the matrices */
    bool mixture;   /* some of them in Q6_K */
    float branch;   /* by how much a branch of a layer deviates */
    tensor *tensor; /* (n of cap) in the order of the file */
    size_t n, cap;
    uint64_t parameters, bytes;
} plan;

/* ---- the plan ------------------------------------------------------------ */

#define WHOLE_MODEL SIZE_MAX /* as a layer */

/* There is room: plan_make reserved it. */
static tensor *add(plan *p, const char *name, size_t layer, float mean, float deviation) {
    tensor *t = &p->tensor[p->n++];
    *t = (tensor){.type = SPEC_TYPE_F32, .mean = mean, .deviation = deviation};
    if (layer == WHOLE_MODEL)
        snprintf(t->name, sizeof t->name, "%s", name);
    else
        snprintf(t->name, sizeof t->name, "blk.%zu.%s", layer, name);
    return t;
}

static void add_vector(plan *p, const char *name, size_t layer, uint64_t n, float mean, float deviation) {
    tensor *t = add(p, name, layer, mean, deviation);
    t->n_dims = 1;
    t->dim[0] = n;
}

static void add_norm(plan *p, const char *name, size_t layer, uint64_t n, float mean) {
    add_vector(p, name, layer, n, mean, 0.1f * mean);
}

/* Outputs deviate by `gain` where inputs deviate by 1. */
static tensor *add_matrix(plan *p, const char *name, size_t layer, uint64_t n_out, uint64_t n_in,
                          float gain) {
    tensor *t = add(p, name, layer, 0, gain / sqrtf((float)n_in));
    t->type = p->type;
    t->n_dims = 2;
    t->dim[0] = n_out;
    t->dim[1] = n_in;
    return t;
}

static void add_experts(plan *p, const char *name, size_t layer, uint64_t n_out, uint64_t n_in, float gain) {
    tensor *t = add_matrix(p, name, layer, n_out, n_in, gain);
    t->n_dims = 3;
    t->dim[2] = n_in;
    t->dim[1] = n_out;
    t->dim[0] = p->s.experts;
}

/* The mixture of llama.cpp: in these layers values and down projections get more
 * bits: the first and last eighth, and every third between. */
static void more_bits(const plan *p, size_t layer, tensor *t) {
    size_t n = (size_t)p->s.layers, eighth = n / 8;
    if (p->mixture && (layer < eighth || layer >= 7 * n / 8 || (layer - eighth) % 3 == 2))
        t->type = SPEC_TYPE_Q6_K;
}

static void plan_attention(plan *p, size_t layer) {
    const random_shape *s = &p->s;
    uint64_t n_q = s->heads * s->head_dim, n_kv = s->kv * s->head_dim;
    bool normed = p->a->qk_norm_head || p->a->qk_norm_whole;
    if (p->a->pre_norm) add_norm(p, "attn_norm.weight", layer, s->dim, 1);
    add_matrix(p, "attn_q.weight", layer, n_q, s->dim, 1.5f);
    if (p->a->bias) add_vector(p, "attn_q.bias", layer, n_q, 0, 0.1f);
    add_matrix(p, "attn_k.weight", layer, n_kv, s->dim, 1.5f);
    if (p->a->bias) add_vector(p, "attn_k.bias", layer, n_kv, 0, 0.1f);
    more_bits(p, layer, add_matrix(p, "attn_v.weight", layer, n_kv, s->dim, 1));
    if (p->a->bias) add_vector(p, "attn_v.bias", layer, n_kv, 0, 0.1f);
    if (normed) add_norm(p, "attn_q_norm.weight", layer, p->a->qk_norm_head ? s->head_dim : n_q, 1.5f);
    if (normed) add_norm(p, "attn_k_norm.weight", layer, p->a->qk_norm_head ? s->head_dim : n_kv, 1.5f);
    add_matrix(p, "attn_output.weight", layer, s->dim, n_q, p->branch);
}

/* silu(a) * b deviates by about 0.6 where a and b do by 1. */
static void plan_ffn(plan *p, size_t layer) {
    const random_shape *s = &p->s;
    const float down = p->branch / 0.6f;
    if (p->a->pre_norm) add_norm(p, "ffn_norm.weight", layer, s->dim, 1);
    if (s->experts) {
        add_matrix(p, "ffn_gate_inp.weight", layer, s->experts, s->dim, 1)->type = SPEC_TYPE_F32;
        add_experts(p, "ffn_gate_exps.weight", layer, s->hidden, s->dim, 1);
        add_experts(p, "ffn_up_exps.weight", layer, s->hidden, s->dim, 1);
        add_experts(p, "ffn_down_exps.weight", layer, s->dim, s->hidden, down);
    } else {
        add_matrix(p, "ffn_gate.weight", layer, s->hidden, s->dim, 1);
        add_matrix(p, "ffn_up.weight", layer, s->hidden, s->dim, 1);
        more_bits(p, layer, add_matrix(p, "ffn_down.weight", layer, s->dim, s->hidden, down));
    }
}

static void plan_layer(plan *p, size_t layer) {
    plan_attention(p, layer);
    if (p->a->post_norm) add_norm(p, "post_attention_norm.weight", layer, p->s.dim, p->branch);
    plan_ffn(p, layer);
    if (p->a->post_norm) add_norm(p, "post_ffw_norm.weight", layer, p->s.dim, p->branch);
}

/* What each of the 2 * layers branches adds. Tied, a token's own logit is its
 * embedding's square, 4 (times sqrt(dim) where embeddings are scaled), over what
 * the branches come to: this holds it to about 1, half of what the others deviate by. */
static float branch_of(const plan *p) {
    float branches = sqrtf((float)(2 * p->s.layers));
    if (!p->s.tied) return 1;
    return (p->a->embed_scale ? 4 * sqrtf((float)p->s.dim) : 4) / branches;
}

static uint64_t elements(const tensor *t) {
    uint64_t n = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) n *= t->dim[i];
    return n;
}

static uint64_t columns(const tensor *t) { return t->dim[t->n_dims - 1]; }

static size_t bytes_of(spec_type type, uint64_t n) {
    return (size_t)(n / spec_type_block(type) * spec_type_block_bytes(type));
}

static int plan_make(plan *p, spec_message *why) {
    const random_shape *s = &p->s;
    float root = sqrtf((float)s->dim);
    p->tensor = bench_grow(NULL, &p->cap, (size_t)s->layers * 20 + 3, sizeof *p->tensor);
    if (!p->tensor) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    p->branch = branch_of(p);
    tensor *embed = add_matrix(p, "token_embd.weight", WHOLE_MODEL, s->vocab, s->dim, s->tied ? 2 : root);
    if (p->mixture && s->tied) embed->type = SPEC_TYPE_Q6_K;
    for (size_t i = 0; i < s->layers; i++) plan_layer(p, i);
    add_norm(p, "output_norm.weight", WHOLE_MODEL, s->dim, 1);
    if (!s->tied) {
        tensor *output = add_matrix(p, "output.weight", WHOLE_MODEL, s->vocab, s->dim, 2);
        if (p->mixture) output->type = SPEC_TYPE_Q6_K;
    }
    for (size_t i = 0; i < p->n; i++) {
        const tensor *t = &p->tensor[i];
        if (columns(t) % spec_type_block(t->type))
            return specp_fail(why, SPEC_ERR_INVALID,
                              "%s: rows of %llu; %s needs a multiple of %zu: expected such a dim, hidden and "
                              "heads * head_dim, or another type",
                              t->name, (unsigned long long)columns(t), spec_type_name(t->type),
                              spec_type_block(t->type));
        p->parameters += elements(t);
        p->bytes += bytes_of(t->type, elements(t));
    }
    return SPEC_OK;
}

static void plan_release(plan *p) { free(p->tensor); }

/* Reads the words and plans. */
static int plan_init(plan *p, const random_model *m, spec_message *why) {
    const char *type = m->type ? m->type : "F32";
    memset(p, 0, sizeof *p);
    p->mixture = strcmp(type, "Q4_K_M") == 0;
    if (p->mixture) type = "Q4_K";
    if (spec_type_find(type, &p->type) != SPEC_OK || p->type >= SPEC_TYPE_F64)
        return specp_fail(why, SPEC_ERR_INVALID,
                          "type: expected one of " RANDOM_MODEL_TYPES ", found '%.60s'", type);
    int rc = random_shape_parse(&p->s, &p->a, m->shape, m->arch, why);
    return rc == SPEC_OK ? plan_make(p, why) : rc;
}

int random_model_check(random_model *m, spec_message *why) {
    plan p;
    int rc = plan_init(&p, m, why);
    m->parameters = p.parameters;
    m->bytes = p.bytes;
    plan_release(&p);
    return rc;
}

/* ---- metadata ------------------------------------------------------------ */

static int write_meta(const plan *p, spec_writer *w) {
    const random_shape *s = &p->s;
    gguf_meta m = {.w = w, .arch = p->a->gguf};
    gguf_shape shape = {.type = p->type,
                        .vocab = s->vocab,
                        .context = s->context,
                        .dim = s->dim,
                        .layers = s->layers,
                        .hidden = s->hidden,
                        .heads = s->heads,
                        .kv = s->kv,
                        .head_dim = s->head_dim,
                        .rope_base = p->a->rope_base,
                        .eps = 1e-5};
    gguf_meta_text(&m, "general.architecture", p->a->gguf);
    gguf_meta_text(&m, "general.name", "random weights");
    gguf_meta_shape(&m, &shape);
    if (s->experts) gguf_meta_uint(&m, "expert_count", s->experts);
    if (s->experts) gguf_meta_uint(&m, "expert_used_count", s->used);
    if (p->a->window) gguf_meta_uint(&m, "attention.sliding_window", s->window);
    if (p->a->attn_softcap > 0) gguf_meta_float(&m, "attn_logit_softcapping", p->a->attn_softcap);
    if (p->a->final_softcap > 0) gguf_meta_float(&m, "final_logit_softcapping", p->a->final_softcap);
    return m.rc == SPEC_OK ? random_vocab_write(w, (size_t)s->vocab) : m.rc;
}

static int describe(const plan *p, spec_writer *w) {
    int rc = write_meta(p, w);
    for (size_t i = 0; i < p->n && rc == SPEC_OK; i++) {
        const tensor *t = &p->tensor[i];
        rc = spec_writer_tensor(w, t->name, t->type, t->n_dims, t->dim);
    }
    return rc;
}

/* ---- weights ------------------------------------------------------------- */

typedef struct weights {
    const plan *p;
    specp_team *team;
    uint64_t seed;
    float *gauss;   /* (N_GAUSS) */
    float *scratch; /* (threads, ld) */
    size_t ld;
    uint8_t *piece;
    size_t piece_bytes;
    /* the piece under way */
    size_t tensor;
    uint64_t row0;
    size_t n_rows;
} weights;

static void weights_release(weights *g) {
    specp_team_free(g->team);
    free(g->gauss);
    free(g->scratch);
    free(g->piece);
}

/* Pairs by the method of Box and Muller. */
static void fill_gauss(float *x) {
    bench_rng r = {1};
    for (size_t i = 0; i < N_GAUSS; i += 2) {
        double u = ((double)(bench_rng_next(&r) >> 11) + 1) / 9007199254740992.0; /* 0 < u <= 1 */
        double v = (double)(bench_rng_next(&r) >> 11) / 9007199254740992.0;
        double radius = sqrt(-2 * log(u));
        x[i] = (float)(radius * cos(2 * PI * v));
        x[i + 1] = (float)(radius * sin(2 * PI * v));
    }
}

static int weights_init(weights *g, const plan *p, const random_model *m, spec_message *why) {
    unsigned threads = m->threads ? m->threads : 1;
    *g = (weights){.p = p, .seed = m->seed, .piece_bytes = PIECE_BYTES};
    for (size_t i = 0; i < p->n; i++) {
        const tensor *t = &p->tensor[i];
        if (columns(t) > g->ld) g->ld = (size_t)columns(t);
        if (bytes_of(t->type, columns(t)) > g->piece_bytes) g->piece_bytes = bytes_of(t->type, columns(t));
    }
    g->gauss = specp_alloc(NULL, N_GAUSS, sizeof *g->gauss);
    g->scratch = specp_alloc(NULL, threads * g->ld, sizeof *g->scratch);
    g->piece = specp_alloc(NULL, g->piece_bytes, 1);
    int rc = g->gauss && g->scratch && g->piece ? specp_team_new(&g->team, threads, NULL) : SPEC_ERR_NOMEM;
    if (rc != SPEC_OK) return specp_fail(why, rc, "%s", spec_strerror(rc));
    fill_gauss(g->gauss);
    return SPEC_OK;
}

static void make_row(const weights *g, const tensor *t, uint64_t row, float *x) {
    bench_rng r = {specp_mix64(g->seed) ^ specp_mix64(((uint64_t)g->tensor << 40) + row)};
    uint64_t bits = 0;
    for (size_t i = 0; i < columns(t); i++, bits >>= 16) {
        if (i % 4 == 0) bits = bench_rng_next(&r);
        x[i] = t->mean + t->deviation * g->gauss[bits & (N_GAUSS - 1)];
    }
}

static void make_rows(void *arg, size_t begin, size_t end, unsigned thread) {
    const weights *g = arg;
    const tensor *t = &g->p->tensor[g->tensor];
    size_t n = (size_t)columns(t), row_bytes = bytes_of(t->type, n);
    float *x = g->scratch + thread * g->ld;
    for (size_t i = begin; i < end; i++) {
        make_row(g, t, g->row0 + i, x);
        (void)spec_type_from_float(t->type, x, g->piece + i * row_bytes, n); /* n was checked */
    }
}

static void make_piece(void *arg, unsigned thread) {
    weights *g = arg;
    specp_team_each(g->team, thread, g->n_rows, 0, make_rows, g);
}

static int write_tensor(weights *g, spec_writer *w, const random_model *m, uint64_t *done) {
    const tensor *t = &g->p->tensor[g->tensor];
    uint64_t rows = elements(t) / columns(t);
    size_t row_bytes = bytes_of(t->type, columns(t)), most = g->piece_bytes / row_bytes;
    int rc = SPEC_OK;
    for (g->row0 = 0; g->row0 < rows && rc == SPEC_OK; g->row0 += g->n_rows) {
        g->n_rows = rows - g->row0 < most ? (size_t)(rows - g->row0) : most;
        specp_team_run(g->team, make_piece, g);
        rc = spec_writer_data(w, g->piece, g->n_rows * row_bytes);
        *done += g->n_rows * row_bytes;
        if (rc == SPEC_OK && m->progress && !m->progress(m->user, *done, g->p->bytes)) rc = SPEC_ERR_STATE;
    }
    return rc;
}

static int write_weights(const plan *p, spec_writer *w, const random_model *m, spec_message *why) {
    weights g;
    uint64_t done = 0;
    int rc = weights_init(&g, p, m, why);
    for (g.tensor = 0; g.tensor < p->n && rc == SPEC_OK; g.tensor++) {
        rc = write_tensor(&g, w, m, &done);
        if (rc != SPEC_OK) specp_fail(why, rc, "%s: %s", p->tensor[g.tensor].name, spec_strerror(rc));
    }
    weights_release(&g);
    return rc;
}

int random_model_write(const char *path, random_model *m, spec_message *why) {
    plan p;
    spec_writer *w = NULL;
    int rc = plan_init(&p, m, why);
    if (rc == SPEC_OK) rc = spec_writer_new(&w, path, SPEC_FORMAT_GGUF, NULL, why);
    if (rc == SPEC_OK) {
        rc = describe(&p, w);
        if (rc != SPEC_OK) specp_fail(why, rc, "%s: %s", path, spec_strerror(rc));
    }
    if (rc == SPEC_OK) rc = write_weights(&p, w, m, why);
    if (rc == SPEC_OK)
        rc = spec_writer_finish(w, why);
    else
        spec_writer_abandon(w);
    m->parameters = p.parameters;
    m->bytes = p.bytes;
    plan_release(&p);
    return rc;
}
