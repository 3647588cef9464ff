/* SPDX-License-Identifier: MIT */
/* Writes draft/mix_priors.c; mix_model.h describes the code, mix_state.c reads it. */
#include <stdlib.h>

#include "mix_model.h"
#include "spec_index.h"
#include "train_mix.h"
#include "util.h"

typedef struct writer {
    FILE *f;
    size_t pairs; /* on the line under way */
} writer;

static void put(writer *w, uint32_t bits) {
    if (w->pairs == 0) fputs("    \"", w->f);
    fprintf(w->f, "%c%c", mix_prior_char(bits >> 6), mix_prior_char(bits & 63));
    if (++w->pairs < MIX_PRIOR_PAIRS) return;
    fputs("\",\n", w->f);
    w->pairs = 0;
}

/* Fills the last line. */
static void finish(writer *w) {
    while (w->pairs) put(w, 0);
}

static uint32_t rounded(float x, float unit, uint32_t most) {
    float n = x * unit + 0.5f;
    return n < 0 ? 0 : n > (float)most ? most : (uint32_t)n;
}

static void put_cells(writer *w, const mix_tables *t, const mix_slot *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t count = s[i].cell & 1023;
        put(w, rounded(t->stretch[s[i].cell >> 20] + 8, 8, 127) << 5 | (count < 31 ? count : 31));
    }
}

static void put_weights(writer *w, const float *weight, size_t n) {
    for (size_t i = 0; i < n; i++) put(w, rounded(weight[i] + 8, 256, 4095));
}

typedef struct content {
    mix_state state;
    mix_tables tables;
} content;

static int fill(FILE *f, void *user) {
    const content *c = user;
    const mix_state *s = &c->state;
    writer w = {.f = f};
    fputs("/* SPDX-License-Identifier: MIT */\n"
          "/* What the drafter mix has been taught, made by `make priors`: mix_model.h tells the code. */\n"
          "#include \"mix_model.h\"\n\n"
          "/* clang-format off */\n"
          "const char *const specp_mix_priors[] = {\n",
          f);
    put_cells(&w, &c->tables, s->evidence, MIX_MATCH_SLOTS);
    put_cells(&w, &c->tables, s->path, sizeof s->path / sizeof *s->path);
    put_cells(&w, &c->tables, s->reach, sizeof s->reach / sizeof *s->reach);
    put_weights(&w, s->by_match[0], sizeof s->by_match / sizeof(float));
    put_weights(&w, s->of_all, MIX_INPUTS);
    finish(&w);
    fputs("    NULL,\n};\n", f);
    return ferror(f);
}

int mix_priors_write(const char *path, const char *from, spec_message *why) {
    spec_index *x;
    spec_index_load_options load = {.size = sizeof load};
    int err = spec_index_load(&x, from, &load, why);
    if (err) return err;
    size_t n = 0;
    const void *data = spec_index_attachment(x, &n);
    content *c = malloc(sizeof *c);
    err = c ? SPEC_OK : specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    if (!err) specp_mix_tables(&c->tables);
    if (!err) err = specp_mix_state_read(&c->state, &c->tables, data, n, from, why);
    if (!err) err = bench_write_file(path, fill, c, why);
    free(c);
    spec_index_free(x);
    return err;
}
