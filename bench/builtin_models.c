/* SPDX-License-Identifier: MIT */
/*
 * The models beside the program:
 *
 *     build/specbench        bench/models/              in the source tree
 *     PREFIX/bin/specbench   PREFIX/share/specdec/      installed
 */
#include "builtin_models.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

static const char *const places[] = {"../bench/models", "../../bench/models", "../share/specdec"};

/* folder/name, if there is such a file. */
static int look(char **out, const char *folder, const char *name) {
    char *path = bench_format("%s/%s", folder, name);
    if (!path) return -1;
    if (access(path, R_OK) != 0) {
        free(path);
        path = NULL;
    }
    *out = path;
    return 0;
}

static int look_all(builtin_models *out, const char *folder) {
    return look(&out->target, folder, "target.gguf") || look(&out->draft, folder, "draft.gguf") ||
           look(&out->medusa, folder, "medusa.gguf") || look(&out->eagle3, folder, "eagle3.gguf");
}

int builtin_models_find(builtin_models *out, const char *folder) {
    char program[4096];
    memset(out, 0, sizeof *out);
    if (folder) return look_all(out, folder);
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return 0;
    program[n] = '\0';
    *strrchr(program, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places && !out->target; i++) {
        char *place = bench_format("%s/%s", program, places[i]);
        int rc = place ? look_all(out, place) : -1;
        free(place);
        if (rc != 0) return rc;
    }
    return 0;
}

void builtin_models_release(builtin_models *m) {
    free(m->target);
    free(m->draft);
    free(m->medusa);
    free(m->eagle3);
    memset(m, 0, sizeof *m);
}
