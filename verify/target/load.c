/* SPDX-License-Identifier: MIT */
/*
 * Loading a model: the order of things, and their release.
 *
 *     open the file -> config -> rope, windows -> weights
 *
 * A model that is half loaded is released like a whole one: what is not there is
 * zero.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "load.h"

#define SHOWN_PATH 200 /* bytes of a path in a message: its end */

double specp_load_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int specp_load_fail(const specp_loader *l, int err, const char *format, ...) {
    char text[sizeof l->why->text];
    const char *path = spec_tensors_path(l->file);
    size_t n = strlen(path);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return specp_fail(l->why, err, "%s%s: %s", n > SHOWN_PATH ? "..." : "",
                      n > SHOWN_PATH ? path + n - SHOWN_PATH : path, text);
}

int specp_load_no_memory(const specp_loader *l) {
    return specp_load_fail(l, SPEC_ERR_NOMEM, "there is not enough memory for the model");
}

int specp_model_load(specp_model *m, const char *path, specp_team *team, const spec_target_options *o,
                     const spec_allocator *alloc, spec_message *why) {
    double begin = specp_load_now();
    *m = (specp_model){.bos = -1, .eos = -1};
    if (alloc != NULL) m->alloc = *alloc;
    specp_loader l = {.m = m, .options = o, .team = team, .why = why};
    int err = spec_tensors_open(&m->file, path, &m->alloc, why);
    if (err == SPEC_OK) {
        l.file = m->file;
        err = specp_load_config(&l);
        if (err == SPEC_OK) err = specp_load_rope(&l);
        if (err == SPEC_OK) err = specp_load_windows(&l);
        if (err == SPEC_OK) err = specp_load_weights(&l);
    }
    if (err != SPEC_OK)
        specp_model_release(m);
    else
        m->load_seconds = specp_load_now() - begin;
    return err;
}

static void release_experts(specp_model *m, specp_matrix *experts) {
    for (size_t e = 0; experts != NULL && e < m->n_experts; e++) specp_matrix_release(&experts[e], &m->alloc);
    specp_release(&m->alloc, experts, m->n_experts, sizeof *experts);
}

static void release_layer(specp_model *m, specp_layer *layer) {
    specp_matrix *matrix[] = {&layer->q,    &layer->k,  &layer->v,    &layer->o,
                              &layer->gate, &layer->up, &layer->down, &layer->router};
    for (size_t i = 0; i < sizeof matrix / sizeof matrix[0]; i++) specp_matrix_release(matrix[i], &m->alloc);
    release_experts(m, layer->expert_gate);
    release_experts(m, layer->expert_up);
    release_experts(m, layer->expert_down);
}

void specp_model_release(specp_model *m) {
    for (size_t i = 0; m->layer != NULL && i < m->n_layers; i++) release_layer(m, &m->layer[i]);
    specp_release(&m->alloc, m->layer, m->n_layers, sizeof *m->layer);
    specp_matrix_release(&m->output, &m->alloc);
    specp_release(&m->alloc, m->small, m->n_small, sizeof *m->small);
    for (int i = 0; i < 2; i++)
        specp_release(&m->alloc, m->rope_freq[i], m->rope_dim / 2, sizeof *m->rope_freq[i]);
    spec_tensors_free(m->file);
    *m = (specp_model){0};
}
