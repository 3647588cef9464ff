/* SPDX-License-Identifier: MIT */
/*
 * Medusa's heads: recorded logits, random heads against a plain oracle, the same
 * bits whatever the batch, threads and instruction set, the best tokens, and files
 * that are refused.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "made_heads.h"
#include "medusa_head.h"
#include "tensor_bytes.h"

/* ---- made files --------------------------------------------------------------------- */

typedef struct made {
    size_t heads, layers, hidden, vocab;
    const char *prefix;
    spec_type type;       /* of matrices */
    const char *without;  /* leave this tensor out */
    const char *extra;    /* a vector of this name more */
    const char *other;    /* this tensor gets ... */
    uint64_t dim[3];      /* ... these dimensions, ended by 0, if dim[0] is not 0 */
    spec_type other_type; /* ... and this type, if it is not F32 */
    float value;          /* every bias's first element, if not 0 */
} made;

static const made usual = {.heads = 2, .layers = 1, .hidden = 20, .vocab = 37, .prefix = ""};

static void data_of(head_world *w, spec_writer *to, const made *m, spec_type type, size_t n, bool bias) {
    float *x = malloc(n * sizeof *x);
    void *raw = malloc(n * 8);
    for (size_t i = 0; i < n; i++) x[i] = (float)(support_rng_unit(&w->rng) - 0.5) * (bias ? 2.0f : 1.0f);
    if (bias && m->value != 0.0f) x[0] = m->value;
    size_t n_bytes = n / spec_type_block(type) * spec_type_block_bytes(type);
    if (spec_type_from_float(type, x, raw, n) != SPEC_OK) memset(raw, 1, n_bytes);
    assert_int_equal(spec_writer_data(to, raw, n_bytes), 0);
    free(raw);
    free(x);
}

/* One tensor: declared in the first walk, its data in the second. */
static void tensor(head_world *w, spec_writer *to, const made *m, const char *name, size_t rows, size_t cols,
                   bool data) {
    if (m->without != NULL && strcmp(m->without, name) == 0) return;
    uint64_t dim[3] = {rows, cols, 0};
    uint32_t n_dims = cols != 0 ? 2 : 1;
    spec_type type = cols != 0 ? m->type : SPEC_TYPE_F32;
    if (m->other != NULL && strcmp(m->other, name) == 0) {
        if (m->other_type != SPEC_TYPE_F32) type = m->other_type;
        if (m->dim[0] != 0) memcpy(dim, m->dim, sizeof dim);
        for (n_dims = 0; n_dims < 3 && dim[n_dims] != 0;) n_dims++;
    }
    size_t n = 1;
    for (uint32_t d = 0; d < n_dims; d++) n *= dim[d];
    if (data)
        data_of(w, to, m, type, n, cols == 0);
    else
        assert_int_equal(spec_writer_tensor(to, name, type, n_dims, dim), 0);
}

static void tensors(head_world *w, spec_writer *to, const made *m, bool data) {
    char name[96];
    for (size_t h = 0; h < m->heads; h++) {
        for (size_t l = 0; l < m->layers; l++) {
            (void)snprintf(name, sizeof name, "%s%zu.%zu.linear.weight", m->prefix, h, l);
            tensor(w, to, m, name, m->hidden, m->hidden, data);
            (void)snprintf(name, sizeof name, "%s%zu.%zu.linear.bias", m->prefix, h, l);
            tensor(w, to, m, name, m->hidden, 0, data);
        }
        (void)snprintf(name, sizeof name, "%s%zu.%zu.weight", m->prefix, h, m->layers);
        tensor(w, to, m, name, m->vocab, m->hidden, data);
    }
    if (m->extra != NULL) tensor(w, to, m, m->extra, 3, 0, data);
}

static void make(head_world *w, const made *m) {
    bool blocks = spec_type_block(m->type) > 1;
    spec_writer *to = must_begin(w->path, blocks ? SPEC_FORMAT_GGUF : SPEC_FORMAT_SAFETENSORS);
    tensors(w, to, m, false);
    tensors(w, to, m, true);
    must_finish(to);
}

static specp_medusa_options options_of(const head_world *w, const made *m) {
    return (specp_medusa_options){
        .hidden = m->hidden, .vocab = m->vocab, .rows = 9, .isa = SPECP_ISA_ALL, .team = w->team[1]};
}

static specp_medusa_heads *must_heads(const char *path, const specp_medusa_options *o) {
    specp_medusa_heads *h = NULL;
    spec_message why = {""};
    if (specp_medusa_heads_open(&h, path, o, NULL, &why)) fail_msg("%s", why.text);
    return h;
}

static void random_rows(head_world *w, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(4 * support_rng_unit(&w->rng) - 2);
}

/* ---- recorded ------------------------------------------------------------------------- */

static const spec_tensor *recorded(const spec_tensors *f, const char *name) {
    const spec_tensor *t = spec_tensors_find(f, name);
    if (t == NULL) fail_msg("%s: not there", name);
    return t;
}

static void test_recorded(void **state) {
    head_world *w = *state;
    char heads[256], path[256];
    if (!support_shared("golden/heads/medusa/medusa_lm_head.safetensors", heads, sizeof heads) ||
        !support_shared("golden/heads/medusa/logits.safetensors", path, sizeof path))
        SUPPORT_SKIP_NO_SHARED();
    spec_tensors *f = must_open(path, NULL);
    const spec_tensor *hidden = recorded(f, "hidden"), *want = recorded(f, "medusa_logits");
    const int32_t *top = recorded(f, "top10_last")->data;
    size_t n = want->dim[1], vocab = want->dim[2], count = want->dim[0] * n * vocab;
    specp_medusa_options o = {hidden->dim[1], vocab, n, SPECP_ISA_ALL, w->team[1]};
    specp_medusa_heads *h = must_heads(heads, &o);
    assert_int_equal(specp_medusa_heads_count(h), want->dim[0]);
    assert_int_equal(specp_medusa_heads_layers(h), 1);
    float *logits = malloc(count * sizeof *logits), worst = 0, prob[16 * 3 * 10];
    spec_token token[16 * 3 * 10];
    specp_medusa_heads_logits(h, hidden->data, n, logits);
    for (size_t i = 0; i < count; i++) {
        float d = fabsf(logits[i] - ((const float *)want->data)[i]);
        if (!(d <= worst)) worst = d;
    }
    printf("  logits: off by at most %.2e\n", (double)worst);
    assert_true(worst <= 5e-5f);
    specp_medusa_heads_top(h, hidden->data, n, 10, token, prob);
    for (size_t i = 0; i < 30; i++) assert_int_equal(token[15 * 30 + i], top[i]);
    free(logits);
    specp_medusa_heads_free(h);
    spec_tensors_free(f);
}

/* ---- an oracle ------------------------------------------------------------------------- */

static double *floats_of(const spec_tensors *f, const made *m, size_t head, size_t layer, const char *part) {
    char name[96];
    (void)snprintf(name, sizeof name, "%s%zu.%zu.%s", m->prefix, head, layer, part);
    const spec_tensor *t = recorded(f, name);
    size_t n = t->dim[0] * t->dim[1];
    float *x = malloc(n * sizeof *x);
    double *d = malloc(n * sizeof *d);
    assert_int_equal(spec_type_to_float(t->type, t->data, x, n), 0);
    for (size_t i = 0; i < n; i++) d[i] = (double)x[i];
    free(x);
    return d;
}

static void times(const double *w, const double *x, size_t n_out, size_t n_in, double *y) {
    for (size_t i = 0; i < n_out; i++) {
        y[i] = 0;
        for (size_t j = 0; j < n_in; j++) y[i] += w[i * n_in + j] * x[j];
    }
}

/* One row's logits at one head, in double precision. */
static void oracle(const spec_tensors *f, const made *m, size_t head, const float *hidden, double *y) {
    double x[512], z[512];
    for (size_t i = 0; i < m->hidden; i++) x[i] = (double)hidden[i];
    for (size_t l = 0; l < m->layers; l++) {
        double *a = floats_of(f, m, head, l, "linear.weight"), *b = floats_of(f, m, head, l, "linear.bias");
        times(a, x, m->hidden, m->hidden, z);
        for (size_t i = 0; i < m->hidden; i++) x[i] += (z[i] + b[i]) / (1 + exp(-(z[i] + b[i])));
        free(a);
        free(b);
    }
    double *out = floats_of(f, m, head, m->layers, "weight");
    times(out, x, m->vocab, m->hidden, y);
    free(out);
}

/* limit: the largest difference, in units of the logits' root mean square. */
static void check_oracle(head_world *w, const made *m, double limit) {
    enum { ROWS = 3 };
    make(w, m);
    specp_medusa_options o = options_of(w, m);
    specp_medusa_heads *h = must_heads(w->path, &o);
    spec_tensors *f = must_open(w->path, NULL);
    assert_int_equal(specp_medusa_heads_count(h), m->heads);
    assert_int_equal(specp_medusa_heads_layers(h), m->layers);
    float hidden[ROWS * 512];
    float *logits = malloc(m->heads * ROWS * m->vocab * sizeof *logits);
    double *want = malloc(m->vocab * sizeof *want), worst = 0, squares = 0;
    random_rows(w, hidden, ROWS * m->hidden);
    specp_medusa_heads_logits(h, hidden, ROWS, logits);
    for (size_t i = 0; i < m->heads * ROWS; i++) {
        oracle(f, m, i / ROWS, hidden + i % ROWS * m->hidden, want);
        for (size_t v = 0; v < m->vocab; v++) {
            double d = fabs((double)logits[i * m->vocab + v] - want[v]);
            squares += want[v] * want[v];
            if (!(d <= worst)) worst = d;
        }
    }
    worst /= sqrt(squares / (double)(m->heads * ROWS * m->vocab));
    printf("  %zu heads, %2zu layers, %-4s: off by at most %.1e of %.1e\n", m->heads, m->layers,
           spec_type_name(m->type), worst, limit);
    if (!(worst <= limit)) fail_msg("off by %g", worst);
    free(want);
    free(logits);
    spec_tensors_free(f);
    specp_medusa_heads_free(h);
}

static void test_oracle(void **state) {
    static const made cases[] = {
        {1, 0, 1, 1, "", .type = SPEC_TYPE_F32},
        {2, 0, 7, 50, "", .type = SPEC_TYPE_F32},
        {3, 1, 20, 37, "", .type = SPEC_TYPE_F32},
        {3, 1, 64, 100, "medusa_head.", .type = SPEC_TYPE_F16},
        {2, 2, 33, 70, "medusa_head.", .type = SPEC_TYPE_F32, .extra = "lm_head.weight"},
        {16, 1, 16, 16, "", .type = SPEC_TYPE_BF16},
        {1, 16, 16, 16, "", .type = SPEC_TYPE_BF16},
        {2, 1, 40, 64, "", .type = SPEC_TYPE_F32, .other = "1.0.linear.bias", .other_type = SPEC_TYPE_F16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_oracle(*state, &cases[i], 2e-5);
    static const made quantised[] = {
        {2, 1, 64, 100, "", .type = SPEC_TYPE_Q8_0},
        {2, 2, 96, 33, "medusa_head.", .type = SPEC_TYPE_Q4_0},
        {2, 0, 256, 40, "", .type = SPEC_TYPE_Q6_K},
        {2, 1, 64, 40, "", SPEC_TYPE_Q8_0, .other = "1.1.weight", .other_type = SPEC_TYPE_F16}};
    for (size_t i = 0; i < sizeof quantised / sizeof *quantised; i++)
        check_oracle(*state, &quantised[i], 0.1);
}

/* ---- the same bits ----------------------------------------------------------------------- */

static void test_invariance(void **state) {
    static const spec_type types[] = {SPEC_TYPE_F32, SPEC_TYPE_BF16, SPEC_TYPE_Q8_0};
    enum { ROWS = 9, HIDDEN = 64, VOCAB = 150, HEADS = 3 };
    head_world *w = *state;
    for (size_t i = 0; i < 3; i++) {
        made m = {HEADS, 2, HIDDEN, VOCAB, "", .type = types[i]};
        make(w, &m);
        specp_medusa_options o = options_of(w, &m);
        specp_medusa_heads *whole = must_heads(w->path, &o);
        o.team = w->team[0];
        o.isa = 0;
        specp_medusa_heads *plain = must_heads(w->path, &o);
        static float hidden[ROWS * HIDDEN], all[HEADS * ROWS * VOCAB], one[HEADS * VOCAB];
        random_rows(w, hidden, ROWS * HIDDEN);
        specp_medusa_heads_logits(whole, hidden, ROWS, all);
        for (size_t row = 0; row < ROWS; row++) {
            specp_medusa_heads_logits(row % 2 ? plain : whole, hidden + row * HIDDEN, 1, one);
            for (size_t h = 0; h < HEADS; h++)
                assert_memory_equal(one + h * VOCAB, all + (h * ROWS + row) * VOCAB, VOCAB * sizeof(float));
        }
        specp_medusa_heads_free(plain);
        specp_medusa_heads_free(whole);
    }
}

/* ---- the best tokens ------------------------------------------------------------------------ */

static float or_least(float x) { return x == x ? x : -INFINITY; }

/* How many tokens stand before t. */
static size_t place_of(const float *logits, size_t vocab, spec_token t) {
    size_t before = 0;
    float x = or_least(logits[t]);
    for (size_t v = 0; v < vocab; v++)
        before += or_least(logits[v]) > x || (or_least(logits[v]) == x && v < (size_t)t);
    return before;
}

static void check_top(specp_medusa_heads *h, const made *m, const float *hidden, size_t n, size_t k) {
    float *logits = malloc(m->heads * n * m->vocab * sizeof *logits);
    float *prob = malloc(n * m->heads * k * sizeof *prob);
    spec_token *token = malloc(n * m->heads * k * sizeof *token);
    specp_medusa_heads_logits(h, hidden, n, logits);
    specp_medusa_heads_top(h, hidden, n, k, token, prob);
    for (size_t i = 0; i < m->heads * n; i++) {
        const float *z = logits + i * m->vocab;
        size_t at = (i % n * m->heads + i / n) * k;
        double sum = 0, total = 0;
        for (size_t v = 0; v < m->vocab; v++) sum += exp((double)z[v]);
        for (size_t j = 0; j < k; j++) {
            spec_token t = token[at + j];
            assert_int_equal(place_of(z, m->vocab, t), j);
            assert_true(fabs((double)prob[at + j] - exp((double)z[t]) / sum) < 1e-5);
            total += (double)prob[at + j];
        }
        if (k == m->vocab) assert_true(fabs(total - 1) < 1e-4);
    }
    free(token);
    free(prob);
    free(logits);
}

static void test_top(void **state) {
    head_world *w = *state;
    made m = usual;
    float hidden[9 * 20];
    make(w, &m);
    specp_medusa_options o = options_of(w, &m);
    specp_medusa_heads *h = must_heads(w->path, &o);
    random_rows(w, hidden, 9 * 20);
    for (size_t n = 1; n <= 9; n += 4)
        for (size_t k = 1; k <= m.vocab; k += 6) check_top(h, &m, hidden, n, k);
    specp_medusa_heads_free(h);
    m.layers = 0; /* without layers a zero row makes all logits equal */
    make(w, &m);
    h = must_heads(w->path, &o);
    memset(hidden, 0, sizeof hidden);
    check_top(h, &m, hidden, 2, 5);
    /* What is not finite stays in its row. */
    spec_token token[3 * 2 * 4];
    float prob[3 * 2 * 4], logits[2 * 3 * 37];
    random_rows(w, hidden, 3 * 20);
    hidden[0] = NAN;
    hidden[20] = hidden[21] = INFINITY; /* logits are infinite or NaN */
    specp_medusa_heads_logits(h, hidden, 3, logits);
    specp_medusa_heads_top(h, hidden, 3, 4, token, prob);
    for (size_t i = 0; i < 24; i++) {
        assert_true(prob[i] >= 0.0f && prob[i] <= 1.0f);
        assert_in_range(token[i], 0, 36);
        assert_int_equal(place_of(logits + (i / 4 % 2 * 3 + i / 8) * 37, 37, token[i]), i % 4);
    }
    assert_true(prob[16] > 0.0f);
    specp_medusa_heads_free(h);
}

/* ---- refused ---------------------------------------------------------------------------------- */

static void refuse(head_world *w, const specp_medusa_options *o, int code, const char *says) {
    specp_medusa_heads *h = NULL;
    spec_message why = {""};
    assert_int_equal(specp_medusa_heads_open(&h, w->path, o, NULL, &why), code);
    assert_null(h);
    if (strstr(why.text, "/head: ") == NULL || strstr(why.text, says) == NULL)
        fail_msg("\"%s\", not \"%s\"", why.text, says);
}

static void test_refused(void **state) {
#define CASE .heads = 2, .layers = 1, .hidden = 20, .vocab = 37, .prefix = ""
    static const struct {
        made m;
        int code;
        const char *says;
    } cases[] = {
        {{CASE, .without = "0.0.linear.weight"}, SPEC_ERR_CORRUPT, "tensor 0.0.linear.weight is missing"},
        {{CASE, .without = "1.0.linear.bias"}, SPEC_ERR_CORRUPT, "tensor 1.0.linear.bias is missing"},
        {{CASE, .without = "1.1.weight"}, SPEC_ERR_CORRUPT, "tensor 1.1.weight is missing"},
        {{CASE, .without = "0.1.weight"}, SPEC_ERR_CORRUPT, "the output matrix of head 0 is missing"},
        {{CASE, .extra = "3.0.linear.bias"}, SPEC_ERR_CORRUPT, "tensor 2.0.linear.weight is missing"},
        {{CASE, .extra = "lm_head.weight"}, SPEC_ERR_UNSUPPORTED, "tensor lm_head.weight is no part"},
        {{CASE, .extra = "1.0.linear.weights"}, SPEC_ERR_UNSUPPORTED, "1.0.linear.weights is no part"},
        {{CASE, .extra = "01.0.linear.weight"}, SPEC_ERR_UNSUPPORTED, "01.0.linear.weight is no part"},
        {{CASE, .extra = "1.2.weight"}, SPEC_ERR_UNSUPPORTED, "1.2.weight is no part of heads with 1 layers"},
        {{CASE, .extra = "0.1.linear.bias"}, SPEC_ERR_UNSUPPORTED, "is no part of heads with 1 layers"},
        {{CASE, .extra = "16.0.linear.bias"}, SPEC_ERR_UNSUPPORTED, "at most 16 heads and 16 layers"},
        {{CASE, .extra = "0.17.weight"}, SPEC_ERR_UNSUPPORTED, "at most 16 heads and 16 layers"},
        {{CASE, .other = "1.1.weight", .dim = {37, 21}}, SPEC_ERR_CORRUPT, "(37, 21), expected (37, 20)"},
        {{CASE, .other = "1.1.weight", .dim = {38, 20}}, SPEC_ERR_CORRUPT, "(38, 20), expected (37, 20)"},
        {{CASE, .other = "0.1.weight", .dim = {740}}, SPEC_ERR_CORRUPT, "(740), expected (37, 20)"},
        {{CASE, .other = "0.0.linear.weight", .dim = {20, 19}}, SPEC_ERR_CORRUPT, "expected (20, 20)"},
        {{CASE, .other = "0.0.linear.bias", .dim = {19}}, SPEC_ERR_CORRUPT, "(19), expected (20)"},
        {{CASE, .other = "0.0.linear.bias", .dim = {20, 1}}, SPEC_ERR_CORRUPT, "(20, 1), expected (20)"},
        {{CASE, .other = "1.0.linear.weight", .other_type = SPEC_TYPE_I8},
         SPEC_ERR_UNSUPPORTED,
         "tensor 1.0.linear.weight has type I8"},
        {{CASE, .other = "1.0.linear.bias", .other_type = SPEC_TYPE_I32},
         SPEC_ERR_UNSUPPORTED,
         "tensor 1.0.linear.bias has type I32, expected floats"},
        {{CASE, .value = (float)NAN}, SPEC_ERR_CORRUPT, "tensor 0.0.linear.bias holds"},
        {{CASE, .value = (float)INFINITY}, SPEC_ERR_CORRUPT, "tensor 0.0.linear.bias holds inf at 0"},
    };
#undef CASE
    head_world *w = *state;
    specp_medusa_options o = options_of(w, &usual);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(w, &cases[i].m);
        refuse(w, &o, cases[i].code, cases[i].says);
    }
    make(w, &usual);
    o.hidden = 24;
    refuse(w, &o, SPEC_ERR_INVALID, "0.1.weight is (37, 20), for a hidden size of 20; the target's is 24");
    o.hidden = 20;
    o.vocab = 36;
    refuse(w, &o, SPEC_ERR_INVALID,
           "0.1.weight is (37, 20), for a vocabulary of 37 tokens; the target's has 36");
    made foreign = {.prefix = "", .extra = "model.embed_tokens.weight"};
    make(w, &foreign);
    refuse(w, &o, SPEC_ERR_UNSUPPORTED, "there are no Medusa heads in it");
    support_write_file(w->path, "PK\3\4 a pickled checkpoint", 26);
    refuse(w, &o, SPEC_ERR_CORRUPT, "");
    specp_medusa_heads *h = NULL;
    const specp_medusa_options bad[] = {
        {0, 37, 1, 0, w->team[0]},
        {20, 0, 1, 0, w->team[0]},
        {20, 37, 0, 0, w->team[0]},
        {20, 37, SPECP_MEDUSA_MAX_ROWS + 1, 0, w->team[0]},
        {20, (size_t)INT32_MAX + 1, 1, 0, w->team[0]},
        {(size_t)INT32_MAX + 1, 37, 1, 0, w->team[0]},
        {20, 37, 1, 0, NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(specp_medusa_heads_open(&h, w->path, &bad[i], NULL, NULL), SPEC_ERR_INVALID);
    assert_null(h);
}

/* Each byte of the header changed, and each cut: refused with a message, or heads that work. */
static void test_damaged(void **state) {
    head_world *w = *state;
    made m = {2, 1, 4, 5, "", .type = SPEC_TYPE_F32};
    specp_medusa_options o = options_of(w, &m);
    o.team = w->team[0];
    make(w, &m);
    size_t n, refused = 0;
    char *data = support_read_file(w->path, &n);
    float hidden[4] = {1, 2, 3, 4}, prob[2 * 3];
    spec_token token[2 * 3];
    for (size_t i = 0; i < n; i += 1 + support_rng_below(&w->rng, 4)) {
        char was = data[i];
        bool cut = support_rng_chance(&w->rng, 0.2);
        data[i] = (char)(was ^ (1 << support_rng_below(&w->rng, 8)));
        support_write_file(w->path, data, cut ? i : n);
        data[i] = was;
        specp_medusa_heads *h = NULL;
        spec_message why = {""};
        int err = specp_medusa_heads_open(&h, w->path, &o, NULL, &why);
        refused += err != SPEC_OK;
        if (err == SPEC_OK) specp_medusa_heads_top(h, hidden, 1, 3, token, prob);
        if (err != SPEC_OK) assert_non_null(strstr(why.text, "head"));
        assert_true(err == SPEC_OK || h == NULL);
        if (cut) assert_int_not_equal(err, SPEC_OK);
        specp_medusa_heads_free(h);
    }
    assert_true(refused > 50);
    free(data);
}

typedef struct opening {
    const char *path;
    specp_medusa_options o;
} opening;

static int open_head(void *arg, const spec_allocator *a, spec_message *why) {
    const opening *c = arg;
    specp_medusa_heads *h = NULL;
    int err = specp_medusa_heads_open(&h, c->path, &c->o, a, why);
    assert_true((h == NULL) == (err != SPEC_OK));
    specp_medusa_heads_free(h);
    return err;
}

static void test_memory(void **state) {
    static const spec_type types[] = {SPEC_TYPE_F32, SPEC_TYPE_Q8_0};
    head_world *w = *state;
    for (size_t i = 0; i < 2; i++) {
        made m = {2, 1, 32, 37, "", .type = types[i]};
        make(w, &m);
        specp_medusa_options o = options_of(w, &m);
        assert_true(support_refuse_each(open_head, &(opening){w->path, o}) >= (i == 0 ? 9 : 13));
    }
    specp_medusa_heads_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded), cmocka_unit_test(test_oracle),  cmocka_unit_test(test_invariance),
        cmocka_unit_test(test_top),      cmocka_unit_test(test_refused), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, head_world_set_up, head_world_tear_down);
}
