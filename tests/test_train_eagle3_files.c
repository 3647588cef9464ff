/* SPDX-License-Identifier: MIT */
/*
 * A trained EAGLE-3 head as a file: the library's head reads it, and says at every step what the
 * trainer's does; the trainer reads it back.
 */
#include "train_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eagle3_head.h"
#include "train_case.h"

#define ROWS 6 /* stable ones */

static const train_eagle3_shape shape = {.dim = 32,
                                         .vocab = 23,
                                         .n_taps = 3,
                                         .draft_vocab = 14,
                                         .n_heads = 4,
                                         .n_kv_heads = 2,
                                         .head_dim = 8,
                                         .n_ff = 64,
                                         .steps = 3,
                                         .decay = 0.8,
                                         .rope_base = 500.0,
                                         .eps = 1e-3f};

static const int32_t tap_layer[3] = {0, 4, 7};

static int embedding(void *user, spec_token token, float *out) {
    const eagle3_case *c = user;
    memcpy(out, c->embedding + (size_t)token * c->shape.dim, c->shape.dim * sizeof *out);
    return SPEC_OK;
}

/* What the trainer's head loses in step j where ROWS - 1 is the last stable row and the target says
 * draft token d. */
static double lost(train_eagle3 *m, const eagle3_case *c, size_t j, size_t d) {
    train_eagle3_batch b = c->batch;
    train_eagle3_sums sums;
    b.n_seqs = 1;
    b.seq = ROWS + 1 + j;
    memset(c->mask, 0, b.seq);
    c->mask[ROWS - 1 + j] = 1;
    for (size_t i = 0; i < c->shape.vocab; i++)
        c->logits[(ROWS + j) * c->shape.vocab + i] = (spec_token)i == c->kept[d] ? 60.0f : 0.0f;
    eagle3_case_run(m, &b, false, &sums);
    assert_int_equal(sums.step[j].inside, 1);
    return sums.step[j].sum;
}

/* -ln p(d) */
static double surprise(const float *logits, size_t n, size_t d) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i]);
    return log(sum) - (double)logits[d];
}

static specp_eagle3 *must_head(const char *path, const eagle3_case *c, specp_team *team) {
    const specp_eagle3_options o = {.hidden = c->shape.dim,
                                    .vocab = c->shape.vocab,
                                    .n_layers = 8,
                                    .rows = 16,
                                    .isa = SPECP_ISA_ALL,
                                    .team = team,
                                    .embedding = embedding,
                                    .user = (void *)(uintptr_t)c};
    specp_eagle3 *h;
    spec_message why;
    if (specp_eagle3_open(&h, path, &o, NULL, &why)) fail_msg("%s", why.text);
    return h;
}

static void same_info(const specp_eagle3 *h, const train_eagle3 *m) {
    const specp_eagle3_info *i = specp_eagle3_get_info(h);
    const train_eagle3_shape *s = &m->shape;
    assert_true(i->n_heads == s->n_heads && i->n_kv_heads == s->n_kv_heads && i->head_dim == s->head_dim);
    assert_true(i->n_ff == s->n_ff && i->draft_vocab == s->draft_vocab && !i->own_embedding);
    assert_true(i->norm_before_residual == s->norm_before_residual && i->n_taps == 3);
    for (size_t t = 0; t < 3; t++) /* "entering a layer" is after the one before it */
        assert_int_equal(i->tap_layer[t], tap_layer[t] ? tap_layer[t] - 1 : -2);
    for (size_t d = 0; d < s->draft_vocab; d++) assert_int_equal(specp_eagle3_target_token(h, d), m->kept[d]);
}

/* The library's head on the file, along a chain of nodes: step j's law is the trainer's. */
static void same_laws(train_eagle3 *m, const eagle3_case *c, const char *path, double most) {
    specp_team *team;
    specp_eagle3_request *r;
    spec_message why;
    assert_int_equal(specp_team_new(&team, 1, NULL), 0);
    specp_eagle3 *h = must_head(path, c, team);
    same_info(h, m);
    assert_int_equal(specp_eagle3_request_new(&r, h, 64), 0);
    const specp_eagle3_rows rows = {r, ROWS, c->taps, NULL, c->tokens + 1};
    if (specp_eagle3_extend(h, &rows, 1, &why)) fail_msg("%s", why.text);
    for (size_t j = 0; j < m->shape.steps; j++) {
        const specp_eagle3_node node = {r, (int32_t)j - 1, c->tokens[ROWS + j]};
        spec_token token;
        float logprob;
        if (specp_eagle3_run(h, &node, 1, 1, &token, &logprob, &why)) fail_msg("%s", why.text);
        for (size_t d = 0; d < m->shape.draft_vocab; d++) {
            double want = lost(m, c, j, d), got = surprise(specp_eagle3_logits(h), m->shape.draft_vocab, d);
            if (!(fabs(got - want) <= most)) fail_msg("step %zu, %zu: %g, expected %g", j, d, got, want);
        }
    }
    specp_eagle3_request_free(r);
    specp_eagle3_free(h);
    specp_team_free(team);
}

static void check_file(const train_eagle3 *m, const eagle3_case *c, const char *path, spec_type type) {
    spec_tensors *f;
    spec_message why;
    const char *text;
    size_t n;
    assert_int_equal(spec_tensors_open(&f, path, NULL, &why), 0);
    assert_int_equal(spec_meta_string(spec_tensors_meta(f, "acc0"), 0, &text, &n), 0);
    assert_true(n == 4 && memcmp(text, "0.61", 4) == 0);
    train_eagle3 *again = eagle3_case_head(c, NULL);
    int err = train_eagle3_load(again, f, &why);
    assert_int_equal(err, type == SPEC_TYPE_Q8_0 ? SPEC_ERR_CORRUPT : SPEC_OK);
    if (type == SPEC_TYPE_F32) assert_memory_equal(m->p.value, again->p.value, m->p.n * sizeof *m->p.value);
    again->d2t[3]++; /* another draft vocabulary */
    assert_int_equal(train_eagle3_load(again, f, &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "d2t"));
    train_eagle3_free(again);
    spec_tensors_free(f);
}

static void test_saving(void **state) {
    (void)state;
    static const struct {
        spec_format format;
        spec_type type;
        double most;
    } kind[] = {{SPEC_FORMAT_SAFETENSORS, SPEC_TYPE_F32, 1e-4},
                {SPEC_FORMAT_SAFETENSORS, SPEC_TYPE_F16, 1e-2},
                {SPEC_FORMAT_GGUF, SPEC_TYPE_F32, 1e-4},
                {SPEC_FORMAT_GGUF, SPEC_TYPE_Q8_0, 0.2}};
    const train_meta meta = {.key = "acc0", .kind = SPEC_META_STRING, .s = "0.61"};
    support_rng rng = support_rng_new(support_seed(), 1);
    support_tmp tmp;
    char path[256];
    spec_message why;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "head", path, sizeof path);
    for (size_t i = 0; i < 8; i++) {
        train_eagle3_shape s = shape;
        s.norm_before_residual = i % 2;
        eagle3_case c;
        eagle3_case_make(&c, &s, 1, ROWS + 4, false, 2 + i);
        train_eagle3 *m = eagle3_case_head(&c, NULL);
        train_check_random(&m->p, &rng);
        if (train_eagle3_save(m, path, kind[i / 2].format, kind[i / 2].type, tap_layer, &meta, 1, &why))
            fail_msg("%s", why.text);
        same_laws(m, &c, path, kind[i / 2].most);
        check_file(m, &c, path, kind[i / 2].type);
        train_eagle3_free(m);
        eagle3_case_free(&c);
    }
    support_tmp_remove(&tmp);
}

static void test_not_saved(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    spec_message why;
    eagle3_case c;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "head", path, sizeof path);
    eagle3_case_make(&c, &shape, 1, 4, false, 20);
    train_eagle3 *m = eagle3_case_head(&c, NULL);
    const train_meta twice = {.key = "head_dim", .kind = SPEC_META_UINT, .u = 8};
    const train_meta odd = {.key = "odd", .kind = SPEC_META_INT};
    assert_int_equal(train_eagle3_save(m, path, SPEC_FORMAT_GGUF, SPEC_TYPE_F32, tap_layer, &twice, 1, &why),
                     SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "entry head_dim"));
    assert_int_equal(train_eagle3_save(m, path, SPEC_FORMAT_GGUF, SPEC_TYPE_F32, tap_layer, &odd, 1, &why),
                     SPEC_ERR_UNSUPPORTED);
    m->p.value[m->p.n - 1] = -INFINITY;
    assert_int_equal(train_eagle3_save(m, path, SPEC_FORMAT_GGUF, SPEC_TYPE_F32, tap_layer, NULL, 0, &why),
                     SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "lm_head.weight holds -inf at 447"));
    assert_null(fopen(path, "rb"));
    train_eagle3_free(m);
    eagle3_case_free(&c);
    support_tmp_remove(&tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saving),
        cmocka_unit_test(test_not_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
