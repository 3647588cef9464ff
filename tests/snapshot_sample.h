/* SPDX-License-Identifier: MIT */
/* snapshot_sample.h - what the snapshot tests share: a place for a file, an index
 * with something of everything in it, and its snapshot. */
#ifndef TESTS_SNAPSHOT_SAMPLE_H
#define TESTS_SNAPSHOT_SAMPLE_H

#include "index_world.h"
#include "support.h"

/* A directory of its own, and the path of a file in it. */
typedef struct saving_place {
    support_tmp tmp;
    char path[256];
} saving_place;

void place_make(saving_place *p);
void place_remove(saving_place *p);
size_t place_files(const saving_place *p); /* how many there are in the directory */

/* A world that saves at `path`. */
void sample_open(world *w, const char *path, uint32_t depth);

/* Adds sequences of several kinds: long ones, repeats, live ones and an empty
 * one, and holes that removal left. */
void sample_grow(world *w, support_rng *rng, size_t sequences, size_t length);

/* Both must succeed. */
spec_index *sample_load(const char *path, int trust);
void sample_save(const spec_index *x, const char *path);

/* A small snapshot that has something in every section; the index in the world
 * was saved, not loaded, and has no attachment. */
#define SAMPLE_ATTACHED "what a drafter has learned"
typedef struct sample {
    saving_place p;
    world w;
    char *data; /* (n) the file's bytes */
    size_t n;
} sample;

void sample_make(sample *s);
void sample_free(sample *s);

#endif
