/* SPDX-License-Identifier: MIT */
#include "model_world.h"

#include <stdlib.h>

int model_world_set_up(void **state) {
    model_world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    support_tmp_make(&w->tmp);
    *state = w;
    return specp_team_new(&w->team, 2, NULL);
}

int model_world_tear_down(void **state) {
    model_world *w = *state;
    specp_team_free(w->team);
    support_tmp_remove(&w->tmp);
    free(w);
    return 0;
}

const char *model_world_write(const model_world *w, const tiny_model *t, char *buf, size_t n) {
    bool hf = t->format == SPEC_FORMAT_SAFETENSORS;
    support_tmp_path(&w->tmp, hf ? "folder" : "model.gguf", buf, n);
    tiny_model_write(t, buf);
    return buf;
}

int model_world_try(const model_world *w, const char *path, const spec_allocator *alloc, specp_model *m,
                    spec_message *why) {
    spec_target_options o = {.size = sizeof o};
    return specp_model_load(m, path, w->team, &o, alloc, why);
}

void model_world_load_path(const model_world *w, const char *path, specp_model *m) {
    spec_message why;
    if (model_world_try(w, path, NULL, m, &why) != SPEC_OK) fail_msg("%s", why.text);
}

void model_world_load(const model_world *w, const tiny_model *t, specp_model *m) {
    char path[256];
    model_world_load_path(w, model_world_write(w, t, path, sizeof path), m);
}
