/* SPDX-License-Identifier: MIT */
/*
 * Random histories of the suffix index against the oracle. The first bytes
 * choose depth, alphabet, period, memory limit and eviction; the others choose
 * operations, as index_world.c reads them. spec_index_check and the cursors are
 * looked at after every step, everything after every eighth and at the end.
 */
#include "support.h"

#include <stdlib.h>
#include <unistd.h>

#include "index_world.h"

typedef struct bytes {
    const uint8_t *data;
    size_t left;
} bytes;

/* A number 0..n-1 of as many bytes as it takes; 0 when they have run out. */
static uint32_t from_bytes(void *user, uint32_t n) {
    bytes *b = user;
    uint32_t value = 0;
    for (uint32_t range = 1; range < n && b->left;
         range = range > UINT32_MAX >> 8 ? UINT32_MAX : range << 8) {
        value = value << 8 | *b->data++;
        b->left--;
    }
    return value % n;
}

static world_options choose_options(bytes *b, const char *snapshot) {
    static const uint32_t depth[] = {1, 2, 3, 4, 5, 8, 16, 64};
    static const uint32_t alphabet[] = {1, 2, 3, 4, 10, 50, 300, 50000};
    static const uint32_t period[] = {0, 0, 0, 1, 2, 3, 7, 64};
    world_options o = {.depth = depth[from_bytes(b, 8)], .alphabet = alphabet[from_bytes(b, 8)]};
    o.period = period[from_bytes(b, 8)];
    o.extreme = from_bytes(b, 4) == 0;
    o.longest = 1 + from_bytes(b, 40);
    o.max_tokens = 150;
    uint32_t limit = from_bytes(b, 4);
    o.memory_limit = limit == 1 ? 5000 : limit == 2 ? 12000 : 0;
    o.evict = from_bytes(b, 2) ? SPEC_EVICT_LRU : SPEC_EVICT_FIFO;
    /* what a snapshot keeps of the order of use is not promised */
    if (o.evict == SPEC_EVICT_FIFO) o.snapshot = snapshot;
    return o;
}

static void run(bytes *b, const char *snapshot) {
    world w;
    world_options o = choose_options(b, snapshot);
    bool ok = world_open(&w, &o);
    for (uint64_t i = 1; ok && b->left && i < 600; i++) {
        ok = world_step(&w, (world_choice){from_bytes, b});
        ok = ok && (i % 8 == 0 ? world_check_all(&w) : world_check(&w));
    }
    if (!ok || !world_check_all(&w)) {
        fprintf(stderr, "fuzz_index: depth %u, alphabet %u: %s\n", o.depth, o.alphabet, w.why.text);
        abort();
    }
    world_close(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    bytes b = {data, size};
    snprintf(path, sizeof path, "%s/spec_fuzz_index_%ld", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
             (long)getpid());
    run(&b, path);
    unlink(path);
    return 0;
}
