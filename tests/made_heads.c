/* SPDX-License-Identifier: MIT */
#include "made_heads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec_tensors.h"

typedef struct part {
    char name[64];
    uint64_t rows, cols; /* cols 0: a vector */
} part;

static void declare(spec_writer *w, const part *p) {
    const uint64_t dim[2] = {p->rows, p->cols};
    assert_int_equal(spec_writer_tensor(w, p->name, SPEC_TYPE_F32, p->cols ? 2 : 1, dim), 0);
}

static void fill(spec_writer *w, const part *p, support_rng *rng) {
    size_t n = (size_t)(p->rows * (p->cols ? p->cols : 1));
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = (float)(support_rng_unit(rng) - 0.5);
    assert_int_equal(spec_writer_data(w, x, n * sizeof *x), 0);
    free(x);
}

void made_medusa(const char *path, size_t heads, size_t hidden, size_t vocab, uint64_t seed,
                 const char *choices) {
    support_rng rng = support_rng_new(seed, 77);
    spec_message why;
    spec_writer *w = NULL;
    part p[3 * 16];
    assert_true(heads <= 16);
    for (size_t h = 0; h < heads; h++) {
        p[3 * h] = (part){.rows = hidden, .cols = hidden};
        p[3 * h + 1] = (part){.rows = hidden};
        p[3 * h + 2] = (part){.rows = vocab, .cols = hidden};
        snprintf(p[3 * h].name, sizeof p->name, "%zu.0.linear.weight", h);
        snprintf(p[3 * h + 1].name, sizeof p->name, "%zu.0.linear.bias", h);
        snprintf(p[3 * h + 2].name, sizeof p->name, "%zu.1.weight", h);
    }
    if (spec_writer_new(&w, path, SPEC_FORMAT_SAFETENSORS, NULL, &why)) fail_msg("%s", why.text);
    if (choices) assert_int_equal(spec_writer_meta_string(w, "medusa_choices", choices, strlen(choices)), 0);
    for (size_t i = 0; i < 3 * heads; i++) declare(w, &p[i]);
    for (size_t i = 0; i < 3 * heads; i++) fill(w, &p[i], &rng);
    assert_int_equal(spec_writer_finish(w, &why), 0);
}

/* ---- a world -------------------------------------------------------------- */

int head_world_set_up(void **state) {
    static head_world w;
    support_tmp_make(&w.tmp);
    support_tmp_path(&w.tmp, "head", w.path, sizeof w.path);
    w.rng = support_rng_new(support_seed(), 430);
    *state = &w;
    return specp_team_new(&w.team[0], 1, NULL) || specp_team_new(&w.team[1], 3, NULL);
}

int head_world_tear_down(void **state) {
    head_world *w = *state;
    specp_team_free(w->team[0]);
    specp_team_free(w->team[1]);
    support_tmp_remove(&w->tmp);
    return 0;
}

/* ---- a target ------------------------------------------------------------ */

static void sizes(void *self, spec_lm_info *out) {
    const bare_target *b = self;
    out->dim = b->dim;
    out->vocab = b->vocab;
    out->n_layers = 4;
    out->max_context = b->context;
}

int bare_target_embedding(void *self, spec_token token, float *out) {
    bare_target *b = self;
    int err = b->fails;
    if (err) b->fails = 0; /* threads only read */
    for (size_t i = 0; i < b->dim; i++) out[i] = (float)(((size_t)token * 7 + i * 13) % 11) * 0.1f - 0.5f;
    return err;
}

spec_lm bare_target_lm(bare_target *b) {
    static const spec_lm_ops ops = {
        .version = SPEC_LM_OPS_V1, .info = sizes, .embedding = bare_target_embedding};
    return (spec_lm){&ops, b};
}
