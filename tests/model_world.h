/* SPDX-License-Identifier: MIT */
/* model_world.h - what tests of model loading share: a folder, a team, a model written and loaded. */
#ifndef TESTS_MODEL_WORLD_H
#define TESTS_MODEL_WORLD_H

#include "model.h"
#include "support.h"
#include "tiny_model.h"

typedef struct model_world {
    support_tmp tmp;
    specp_team *team; /* of two threads */
} model_world;

/* cmocka's set-up and tear-down: *state is the world. */
int model_world_set_up(void **state);
int model_world_tear_down(void **state);

/* Writes a tiny model into the folder; its path goes to buf and is returned. */
const char *model_world_write(const model_world *w, const tiny_model *t, char *buf, size_t n);

/* Loads; with errors as specp_model_load has them, or failing the test. */
int model_world_try(const model_world *w, const char *path, const spec_allocator *alloc, specp_model *m,
                    spec_message *why);
void model_world_load_path(const model_world *w, const char *path, specp_model *m);
void model_world_load(const model_world *w, const tiny_model *t, specp_model *m);

#endif
