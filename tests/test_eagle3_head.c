/* SPDX-License-Identifier: MIT */
/*
 * An EAGLE-3 head's rows: recorded prefill and chain, random heads against a plain
 * oracle, the same bits whatever the batch, pieces, threads and instruction set, and
 * nothing left of nodes that were dropped.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eagle3_internal.h"
#include "eagle3_world.h"
#include "made_heads.h"
#include "tensor_bytes.h"

/* Runs one node and returns its number. */
static size_t run_one(specp_eagle3 *h, specp_eagle3_request *r, int32_t parent, spec_token token,
                      spec_token *best, float *logprob) {
    spec_message why = {""};
    specp_eagle3_node node = {r, parent, token};
    if (specp_eagle3_run(h, &node, 1, 1, best, logprob, &why)) fail_msg("%s", why.text);
    return r->n_nodes - 1;
}

/* ---- recorded -------------------------------------------------------------------- */

typedef struct errors {
    float hidden, logits, cache, feature;
} errors;

static void note(float *worst, const float *x, const float *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float d = fabsf(x[i] - want[i]);
        if (!(d <= *worst)) *worst = d;
    }
}

/* K and V (kv_heads, ld, head_dim) of the first n positions; of `node` 1 on those behind them. */
static void note_cache(const specp_eagle3_request *r, const spec_tensor *k, const spec_tensor *v, size_t n,
                       errors *w) {
    size_t heads = k->dim[0], ld = k->dim[1], dim = k->dim[2];
    for (size_t i = 0; i < heads * n; i++) {
        size_t head = i / n, at = i % n;
        const specp_kv *kv = at < r->n ? &r->cache : &r->scratch;
        const float *want_k = (const float *)k->data + (head * ld + at) * dim;
        const float *want_v = (const float *)v->data + (head * ld + at) * dim;
        if (at >= r->n) at = at - r->n + 1;
        const float *block = (const float *)specp_kv_k(kv, 0, 0, head) + at / 16 * 16 * dim;
        for (size_t d = 0; d < dim; d++) note(&w->cache, &block[d * 16 + at % 16], &want_k[d], 1);
        note(&w->cache, (const float *)specp_kv_v(kv, 0, 0, head) + at * dim, want_v, dim);
    }
}

static void check_worst(const errors *w) {
    printf("  hidden %.1e, logits %.1e, keys and values %.1e, features %.1e\n", (double)w->hidden,
           (double)w->logits, (double)w->cache, (double)w->feature);
    assert_true(w->hidden <= 5e-5f && w->logits <= 5e-5f && w->cache <= 5e-5f && w->feature <= 5e-5f);
}

static spec_tensors *recorded_file(const char *name) {
    char path[256], relative[64];
    (void)snprintf(relative, sizeof relative, "golden/heads/eagle3/%s.safetensors", name);
    if (!support_shared(relative, path, sizeof path)) fail_msg("%s is missing", relative);
    return must_open(path, NULL);
}

/* Rows from..to-1 of a recorded sequence, one at a time, each then run as root. */
static void check_rows(specp_eagle3 *h, specp_eagle3_request *r, const spec_tensors *f, size_t from,
                       errors *w) {
    const spec_tensor *in = eagle3_tensor(f, "hidden_in"), *out = eagle3_tensor(f, "hidden_out");
    const spec_tensor *fc = eagle3_tensor(f, "fc_out"), *want = eagle3_tensor(f, "logits");
    const int32_t *ids = eagle3_tensor(f, "input_ids")->data;
    size_t n = in->dim[0], width = in->dim[1], hidden = out->dim[1], vocab = want->dim[1];
    for (size_t i = 0; i < n; i++) {
        spec_token best;
        float logprob;
        eagle3_must_extend(h, r, (const float *)in->data + i * width, &ids[from + i + 1], 1);
        assert_int_equal(run_one(h, r, -1, 0, &best, &logprob), 0);
        note(&w->feature, r->feature + r->turn * hidden, (const float *)fc->data + i * hidden, hidden);
        note(&w->hidden, specp_eagle3_hidden(r, 0), (const float *)out->data + i * hidden, hidden);
        note(&w->logits, specp_eagle3_logits(h), (const float *)want->data + i * vocab, vocab);
        if (spec_tensors_find(f, "top1_target") != NULL)
            assert_int_equal(best, ((const int32_t *)eagle3_tensor(f, "top1_target")->data)[i]);
    }
    note_cache(r, eagle3_tensor(f, "k_cache"), eagle3_tensor(f, "v_cache"), from + n, w);
}

/* Four nodes one below the other. */
static void check_chain(specp_eagle3 *h, specp_eagle3_request *r, const spec_tensors *f, errors *w) {
    const spec_tensor *out = eagle3_tensor(f, "hidden_out"), *want = eagle3_tensor(f, "logits");
    const int32_t *ids = eagle3_tensor(f, "target_ids")->data, *draft = eagle3_tensor(f, "draft_ids")->data;
    size_t hidden = out->dim[1], vocab = want->dim[1], n = out->dim[0];
    spec_token best;
    float logprob;
    specp_eagle3_drop(r);
    (void)run_one(h, r, -1, 0, &best, &logprob);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(best, ids[i]);
        assert_int_equal(specp_eagle3_target_token(h, (size_t)draft[i]), ids[i]);
        assert_int_equal(run_one(h, r, (int32_t)i, ids[i], &best, &logprob), i + 1);
        note(&w->hidden, specp_eagle3_hidden(r, i + 1), (const float *)out->data + i * hidden, hidden);
        note(&w->logits, specp_eagle3_logits(h), (const float *)want->data + i * vocab, vocab);
    }
    assert_int_equal(best, ids[n]);
    note_cache(r, eagle3_tensor(f, "k_cache"), eagle3_tensor(f, "v_cache"), r->n + n, w);
}

static void test_recorded(void **state) {
    head_world *w = *state;
    eagle3_recorded g;
    if (!eagle3_recorded_open(&g, w->team[1])) SUPPORT_SKIP_NO_SHARED();
    specp_eagle3 *h = eagle3_must_open(g.path, &g.o);
    const specp_eagle3_info *info = specp_eagle3_get_info(h);
    assert_int_equal(info->n_taps, 3);
    const int32_t after[] = {1, 3, 4}; /* layers 2, 4 and 5 read it */
    assert_memory_equal(info->tap_layer, after, sizeof after);
    assert_int_equal(info->n_heads, 4);
    assert_int_equal(info->n_kv_heads, 2);
    assert_int_equal(info->draft_vocab, 128);
    specp_eagle3_request *r = eagle3_must_request(h);
    spec_tensors *prefill = recorded_file("prefill"), *chain = recorded_file("chain"),
                 *second = recorded_file("tree_round2");
    errors rows = {0}, nodes = {0}, later = {0};
    check_rows(h, r, prefill, 0, &rows);
    check_worst(&rows);
    check_chain(h, r, chain, &nodes);
    check_worst(&nodes);
    check_rows(h, r, second, 24, &later);
    check_worst(&later);
    spec_tensors_free(second);
    spec_tensors_free(chain);
    spec_tensors_free(prefill);
    specp_eagle3_request_free(r);
    specp_eagle3_free(h);
    eagle3_recorded_close(&g);
}

/* ---- against the oracle ----------------------------------------------------------- */

/* limit: the largest difference, in units of the logits' root mean square. */
static void check_oracle(head_world *w, const eagle3_made *m, size_t n_rows, double limit) {
    enum { MOST = 40 }; /* behind few rows a path longer than they are */
    size_t n_chain = n_rows < 2 ? MOST : 3;
    eagle3_make(w->path, m, &w->rng);
    specp_eagle3_options o = eagle3_options_of(m, w->team[1]);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    specp_eagle3_request *r = eagle3_must_request(h);
    eagle3_text text = eagle3_random_text(m, n_rows, &w->rng);
    size_t vocab = m->draft_vocab, n = m->hidden;
    double *logits = malloc((MOST + 1) * vocab * sizeof *logits), worst = 0, squares = 0;
    double *hidden = malloc((MOST + 1) * n * sizeof *hidden);
    spec_token chain[MOST], best;
    float logprob;
    for (size_t i = 0; i < n_chain; i++)
        chain[i] = (spec_token)support_rng_below(&w->rng, (uint32_t)m->vocab);
    eagle3_oracle(w->path, m, &text, n_rows, chain, n_chain, logits, hidden);
    eagle3_must_extend(h, r, text.taps, text.token, n_rows);
    for (size_t i = 0; i <= n_chain; i++) {
        (void)run_one(h, r, (int32_t)i - 1, i > 0 ? chain[i - 1] : 0, &best, &logprob);
        double sum = 0;
        for (size_t v = 0; v < vocab; v++) {
            double want = logits[i * vocab + v], d = fabs((double)specp_eagle3_logits(h)[v] - want);
            squares += want * want;
            sum += exp((double)specp_eagle3_logits(h)[v]);
            if (!(d <= worst)) worst = d;
        }
        size_t at = 0;
        while (specp_eagle3_target_token(h, at) != best) at++;
        assert_true(fabs((double)logprob - ((double)specp_eagle3_logits(h)[at] - log(sum))) < 1e-5);
    }
    worst /= sqrt(squares / (double)((n_chain + 1) * vocab));
    printf("  %s%s%s%s%s %-4s %zu rows: off by at most %.1e of %.1e\n", m->layer, m->no_fc ? ", no fc" : "",
           m->norm_before ? ", norm before" : "", m->embed ? ", embedding" : "", m->d2t ? "" : ", no d2t",
           spec_type_name(m->type), n_rows, worst, limit);
    if (!(worst <= limit)) fail_msg("off by %g", worst);
    free(hidden);
    free(logits);
    eagle3_text_free(&text);
    specp_eagle3_request_free(r);
    specp_eagle3_free(h);
}

static void test_oracle(void **state) {
#define SIZES(t, v, ta, h, nh, kv, hd, ff, dv)                                                               \
    .target = t, .vocab = v, .n_layers = 8, .taps = ta, .hidden = h, .heads = nh, .kv_heads = kv,            \
    .head_dim = hd, .n_ff = ff, .draft_vocab = dv
    static const eagle3_made cases[] = {
        {SIZES(24, 61, 3, 24, 4, 2, 6, 20, 37), .layer = "midlayer.", .d2t = true, .t2d = true},
        {SIZES(24, 61, 3, 24, 4, 2, 6, 20, 37), .layer = "layers.0.", .d2t = true, .norm_before = true},
        {SIZES(16, 40, 3, 16, 2, 2, 8, 33, 40), .layer = "midlayer.", .theta = 500000,
         .type = SPEC_TYPE_BF16},
        {SIZES(16, 40, 2, 24, 6, 1, 4, 17, 9), .layer = "layers.0.", .d2t = true, .embed = true,
         .layers = "[1, 8]"},
        {SIZES(32, 50, 1, 32, 4, 4, 16, 48, 50), .layer = "midlayer.", .no_fc = true, .norm_before = true,
         .layers = "[0]"},
        {SIZES(20, 50, 1, 20, 1, 1, 20, 8, 50), .layer = "midlayer.", .layers = "3", .t2d = true},
        {SIZES(8, 30, 3, 8, 30, 1, 2, 8, 30), .layer = "midlayer.", .type = SPEC_TYPE_F16},
        {SIZES(24, 61, 3, 24, 4, 2, 6, 20, 61), .layer = "midlayer.", .meta = EAGLE3_META_NONE,
         .key = "head_dim", .text = "6"},
    };
    static const eagle3_made quantised[] = {
        {SIZES(64, 90, 3, 64, 4, 2, 16, 96, 48), .layer = "midlayer.", .d2t = true, .t2d = true,
         .type = SPEC_TYPE_Q8_0},
        {SIZES(64, 90, 3, 64, 4, 2, 16, 96, 48), .layer = "layers.0.", .d2t = true, .norm_before = true,
         .embed = true, .type = SPEC_TYPE_Q8_0, .other = "lm_head.weight", .other_type = SPEC_TYPE_F16},
        {SIZES(64, 90, 3, 64, 4, 2, 16, 96, 48), .layer = "midlayer.", .type = SPEC_TYPE_F32, .d2t = true,
         .meta = EAGLE3_META_FILE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_oracle(*state, &cases[i], 1 + 4 * i, 3e-5);
        check_oracle(*state, &cases[i], 300, 3e-5);
    }
    for (size_t i = 0; i < sizeof quantised / sizeof *quantised; i++)
        check_oracle(*state, &quantised[i], 20, quantised[i].type == SPEC_TYPE_F32 ? 3e-5 : 0.15);
    /* One matrix alone is quantised. */
    static const char *const matrix[] = {
        "fc.weight",           "lm_head.weight",       "self_attn.q_proj.weight", "self_attn.k_proj.weight",
        "mlp.up_proj.weight",  "mlp.down_proj.weight", "self_attn.v_proj.weight", "self_attn.o_proj.weight",
        "mlp.gate_proj.weight"};
    for (size_t i = 0; i < sizeof matrix / sizeof *matrix; i++) {
        char name[64];
        eagle3_made m = {SIZES(64, 90, 3, 64, 4, 2, 16, 96, 48), .layer = "midlayer.", .d2t = true,
                         .t2d = true};
        (void)snprintf(name, sizeof name, "%s%s", i < 2 ? "" : m.layer, matrix[i]);
        m.other = name;
        m.other_type = SPEC_TYPE_Q8_0;
        check_oracle(*state, &m, 5, 0.15);
    }
}

/* ---- the same bits ---------------------------------------------------------------- */

/* A small tree: nodes by level, parents as they are numbered. */
static const int32_t tree_parent[] = {-1, 0, 0, 0, 1, 1, 3, 4, 6};
static const size_t tree_level[] = {0, 1, 4, 7, 9};
#define TREE_NODES 9

static spec_token tree_token(const eagle3_made *m, size_t i) { return (spec_token)((i * 17 + 5) % m->vocab); }

/* Runs the tree of n requests side by side; the logits of request 0 (TREE_NODES, draft_vocab). */
static void run_tree(specp_eagle3 *h, const eagle3_made *m, specp_eagle3_request **r, size_t n, size_t which,
                     float *logits) {
    specp_eagle3_node node[64];
    spec_token best[64];
    float logprob[64];
    spec_message why = {""};
    for (size_t l = 0; l < 4; l++) {
        size_t count = 0, width = tree_level[l + 1] - tree_level[l];
        for (size_t i = 0; i < n; i++)
            for (size_t j = tree_level[l]; j < tree_level[l + 1]; j++)
                node[count++] =
                    (specp_eagle3_node){r[i], tree_parent[j], tree_token(m, j + 31 * (i != which))};
        if (specp_eagle3_run(h, node, count, 1, best, logprob, &why)) fail_msg("%s", why.text);
        memcpy(logits + tree_level[l] * m->draft_vocab,
               specp_eagle3_logits(h) + which * width * m->draft_vocab,
               width * m->draft_vocab * sizeof *logits);
    }
}

static void test_invariance(void **state) {
    static const eagle3_made cases[] = {
        {SIZES(32, 61, 3, 32, 4, 2, 8, 64, 37), .layer = "midlayer.", .d2t = true},
        {SIZES(32, 61, 3, 32, 8, 1, 4, 64, 37), .layer = "midlayer.", .d2t = true, .type = SPEC_TYPE_Q8_0},
        {SIZES(32, 61, 3, 32, 26, 1, 2, 64, 37), .layer = "layers.0.", .norm_before = true, .d2t = true,
         .type = SPEC_TYPE_BF16},
    };
    enum { BATCH = 3, ROWS = 270 };
    head_world *w = *state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const eagle3_made *m = &cases[c];
        eagle3_make(w->path, m, &w->rng);
        specp_eagle3_options o = eagle3_options_of(m, w->team[1]);
        o.rows = 32;
        specp_eagle3 *batched = eagle3_must_open(w->path, &o);
        o.team = w->team[0];
        o.isa = 0;
        o.rows = 9;
        specp_eagle3 *alone = eagle3_must_open(w->path, &o);
        eagle3_text text = eagle3_random_text(m, ROWS, &w->rng);
        specp_eagle3_request *r[BATCH], *one = eagle3_must_request(alone);
        specp_eagle3_rows rows[BATCH];
        size_t n[BATCH] = {5, ROWS, 100}, size = TREE_NODES * m->draft_vocab * sizeof(float);
        float *a = malloc(size), *b = malloc(size);
        for (size_t i = 0; i < BATCH; i++) {
            r[i] = eagle3_must_request(batched);
            rows[i] = (specp_eagle3_rows){.request = r[i], .n = n[i], .taps = text.taps, .token = text.token};
        }
        assert_int_equal(specp_eagle3_extend(batched, rows, BATCH, NULL), 0);
        for (size_t i = 0; i < BATCH; i++) {
            specp_eagle3_request_clear(one);
            eagle3_must_extend(alone, one, text.taps, text.token, n[i]);
            assert_int_equal(specp_kv_differ(&one->cache, &r[i]->cache, n[i]), n[i]);
            run_tree(batched, m, r, BATCH, i, a);
            run_tree(alone, m, &one, 1, 0, b);
            assert_memory_equal(a, b, size);
            assert_int_equal(specp_kv_differ(&one->cache, &r[i]->cache, n[i]), n[i]);
            for (size_t j = 0; j < BATCH; j++) specp_eagle3_drop(r[j]);
        }
        free(b);
        free(a);
        specp_eagle3_request_free(one);
        for (size_t i = 0; i < BATCH; i++) specp_eagle3_request_free(r[i]);
        eagle3_text_free(&text);
        specp_eagle3_free(alone);
        specp_eagle3_free(batched);
    }
}

/* A node of a tree is the last of its path as a chain. */
static void test_paths(void **state) {
    head_world *w = *state;
    const eagle3_made *m = &eagle3_usual;
    eagle3_make(w->path, m, &w->rng);
    specp_eagle3_options o = eagle3_options_of(m, w->team[1]);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    specp_eagle3_request *r = eagle3_must_request(h);
    eagle3_text text = eagle3_random_text(m, 20, &w->rng);
    float logits[TREE_NODES * 37], logprob;
    spec_token best;
    eagle3_must_extend(h, r, text.taps, text.token, 20);
    run_tree(h, m, &r, 1, 0, logits);
    for (size_t i = 1; i < TREE_NODES; i++) {
        int32_t path[8], at = 0;
        for (int32_t node = (int32_t)i; node > 0; node = tree_parent[node]) path[at++] = node;
        specp_eagle3_drop(r);
        size_t last = run_one(h, r, -1, 0, &best, &logprob);
        while (at-- > 0)
            last = run_one(h, r, (int32_t)last, tree_token(m, (size_t)path[at]), &best, &logprob);
        assert_memory_equal(specp_eagle3_logits(h), logits + i * 37, 37 * sizeof *logits);
    }
    eagle3_text_free(&text);
    specp_eagle3_request_free(r);
    specp_eagle3_free(h);
}

/* Rows that come in pieces, out of a larger array, after nodes that were dropped: as if at once. */
static void test_pieces(void **state) {
    enum { ROWS = 60 };
    head_world *w = *state;
    const eagle3_made *m = &eagle3_usual;
    eagle3_make(w->path, m, &w->rng);
    specp_eagle3_options o = eagle3_options_of(m, w->team[1]);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    specp_eagle3_request *whole = eagle3_must_request(h), *r = eagle3_must_request(h);
    eagle3_text text = eagle3_random_text(m, ROWS, &w->rng);
    size_t width = m->taps * m->target;
    float a[TREE_NODES * 37], b[TREE_NODES * 37], *mixed = calloc(3 * ROWS * width, sizeof *mixed);
    for (size_t i = 0; i < ROWS; i++)
        memcpy(mixed + (3 * i + 1) * width, text.taps + i * width, width * sizeof *mixed);
    for (size_t at = 0, n; at < ROWS; at += n) {
        uint32_t row[ROWS];
        n = 1 + support_rng_below(&w->rng, 12);
        n = n < ROWS - at ? n : ROWS - at;
        for (size_t i = 0; i < n; i++) row[i] = (uint32_t)(3 * (at + i) + 1);
        specp_eagle3_rows rows = {r, n, mixed, row, text.token + at};
        assert_int_equal(specp_eagle3_extend(h, &rows, 1, NULL), 0);
        assert_int_equal(specp_eagle3_request_length(r), at + n);
        run_tree(h, m, &r, 1, 0, a);
        if (support_rng_chance(&w->rng, 0.5)) specp_eagle3_drop(r);
    }
    eagle3_must_extend(h, whole, text.taps, text.token, ROWS);
    specp_eagle3_drop(r);
    run_tree(h, m, &r, 1, 0, a);
    run_tree(h, m, &whole, 1, 0, b);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(specp_kv_differ(&whole->cache, &r->cache, ROWS), ROWS);
    specp_eagle3_request_clear(r);
    assert_int_equal(specp_eagle3_request_length(r), 0);
    eagle3_must_extend(h, r, text.taps, text.token, ROWS);
    run_tree(h, m, &r, 1, 0, a);
    assert_memory_equal(a, b, sizeof a);
    free(mixed);
    eagle3_text_free(&text);
    specp_eagle3_request_free(r);
    specp_eagle3_request_free(whole);
    specp_eagle3_free(h);
}

/* ---- angles ------------------------------------------------------------------------ */

/* As they are published for llama 3.1. */
static double llama3(double f) {
    double wave = 2 * acos(-1.0) / f, low = 8192 / 1.0, high = 8192 / 4.0;
    if (wave < high) return f;
    if (wave > low) return f / 8;
    double smooth = (8192 / wave - 1) / (4 - 1);
    return (1 - smooth) * f / 8 + smooth * f;
}
static double linear(double f) { return f / 2.5; }
static double plain(double f) { return f; }

static void test_scaling(void **state) {
#define REST "\"low_freq_factor\": 1, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192"
    static const struct {
        const char *config;
        double base, (*scaled)(double f);
        const char *says; /* of a refusal */
    } cases[] = {
        {"\"rope_theta\": 500000, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, " REST "}",
         500000, llama3, NULL},
        {"\"rope_parameters\": {\"rope_theta\": 500000, \"rope_type\": \"llama3\", \"factor\": 8, " REST "}",
         500000, llama3, NULL},
        {"\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.5}", 10000, linear, NULL},
        {"\"rope_scaling\": {\"rope_type\": \"default\"}, \"rope_theta\": 30000", 30000, plain, NULL},
        {"\"rope_scaling\": {\"type\": \"llama3\", " REST "}", 1, NULL, "rope_scaling.factor is missing"},
        {"\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8}", 1, NULL, "low_freq_factor is missing"},
        {"\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0.5}", 1, NULL, "is not a number from 1 to"},
        {"\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 4, "
         "\"original_max_position_embeddings\": 8192}",
         1, NULL, "high_freq_factor 4 is not above low_freq_factor 4"},
    };
#undef REST
    head_world *w = *state;
    char beside[256], config[512];
    eagle3_made m = {SIZES(24, 61, 3, 24, 2, 2, 64, 20, 61), .layer = "midlayer."};
    eagle3_make(w->path, &m, &w->rng);
    support_tmp_path(&w->tmp, "config.json", beside, sizeof beside);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int n = snprintf(config, sizeof config, "{%s}", cases[i].config);
        support_write_file(beside, config, (size_t)n);
        specp_eagle3_options o = eagle3_options_of(&m, w->team[0]);
        specp_eagle3 *h = NULL;
        spec_message why = {""};
        int err = specp_eagle3_open(&h, w->path, &o, NULL, &why);
        assert_int_equal(err, cases[i].says != NULL ? SPEC_ERR_CORRUPT : SPEC_OK);
        if (err != SPEC_OK && strstr(why.text, cases[i].says) == NULL) fail_msg("%s", why.text);
        for (size_t j = 0; j < 32 && err == SPEC_OK; j++) {
            double want = cases[i].scaled(pow(cases[i].base, -(double)j / 32));
            assert_true(fabs(h->freq[j] - want) <= 1e-14 * want);
        }
        specp_eagle3_free(h);
    }
    assert_int_equal(remove(beside), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded), cmocka_unit_test(test_oracle), cmocka_unit_test(test_invariance),
        cmocka_unit_test(test_paths),    cmocka_unit_test(test_pieces), cmocka_unit_test(test_scaling),
    };
    return cmocka_run_group_tests(tests, head_world_set_up, head_world_tear_down);
}
