/* SPDX-License-Identifier: MIT */
/* Indexes worth saving, and their files. */
#include "snapshot_sample.h"

#include <dirent.h>
#include <stdlib.h>

#include "snapshot.h"

void place_make(saving_place *p) {
    support_tmp_make(&p->tmp);
    support_tmp_path(&p->tmp, "index", p->path, sizeof p->path);
}

void place_remove(saving_place *p) { support_tmp_remove(&p->tmp); }

size_t place_files(const saving_place *p) {
    size_t n = 0;
    DIR *d = opendir(p->tmp.path);
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

void sample_grow(world *w, support_rng *rng, size_t sequences, size_t length) {
    spec_token *tok = malloc(length * sizeof *tok);
    spec_seq s;
    assert_non_null(tok);
    for (size_t k = 0; k < sequences; k++) {
        for (size_t i = 0; i < length; i++)
            tok[i] = i > 9 && support_rng_below(rng, 3) ? tok[i - 7] : (spec_token)support_rng_below(rng, 60);
        assert_true(world_begin(w, &s) && world_append(w, s, tok, length));
        if (k % 3 == 1) assert_true(world_truncate(w, s, length / 2));
        if (k % 4 == 3) assert_true(world_remove(w, s));
        if (k % 2 == 0) assert_int_equal(spec_index_end(w->index, s), SPEC_OK);
    }
    assert_true(world_begin(w, &s));
    free(tok);
}

void sample_open(world *w, const char *path, uint32_t depth) {
    world_options o = {.depth = depth, .alphabet = 50, .snapshot = path};
    if (!world_open(w, &o)) fail_msg("%s", w->why.text);
}

spec_index *sample_load(const char *path, int trust) {
    spec_index *x = NULL;
    spec_message why = {{0}};
    spec_index_load_options o = {.size = sizeof o, .trust = trust};
    if (spec_index_load(&x, path, &o, &why)) fail_msg("load: %s", why.text);
    return x;
}

void sample_save(const spec_index *x, const char *path) {
    spec_message why = {{0}};
    if (spec_index_save(x, path, &why)) fail_msg("save: %s", why.text);
}

void sample_make(sample *s) {
    support_rng rng = support_rng_new(support_seed(), 58);
    place_make(&s->p);
    sample_open(&s->w, s->p.path, 5);
    sample_grow(&s->w, &rng, 6, 90);
    assert_int_equal(
        spec_index_save_with(s->w.index, s->p.path, SAMPLE_ATTACHED, sizeof SAMPLE_ATTACHED, NULL), SPEC_OK);
    s->data = support_read_file(s->p.path, &s->n);
    const snap_header *h = (const snap_header *)(const void *)s->data;
    for (size_t i = 0; i < SNAP_SECTIONS; i++) assert_true(h->section[i].bytes > 0);
}

void sample_free(sample *s) {
    free(s->data);
    world_close(&s->w);
    place_remove(&s->p);
}
