/* SPDX-License-Identifier: MIT */
/*
 * Shared test helpers. The allocator puts a header before every block:
 *
 *     | mark | size | padding to 16 |  the caller's bytes ...
 *     ^ malloc's block              ^ what the library sees
 *
 * `mark` is LIVE in a block of this heap and DEAD in one that was freed, so a
 * wrong pointer and a second free are seen before they do harm. A resize always
 * moves, so that a stale pointer meets freed memory.
 */
#define _XOPEN_SOURCE 700
#include "support.h"

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- seed and generator ------------------------------------------------ */

#define DEFAULT_SEED 20240607u

uint64_t support_seed(void) {
    static uint64_t seed;
    static bool known;
    if (known) return seed;
    const char *text = getenv("SEED");
    seed = text && *text ? strtoull(text, NULL, 0) : DEFAULT_SEED;
    known = true;
    printf("# SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

support_rng support_rng_new(uint64_t seed, uint64_t stream) {
    support_rng r = {seed ^ (stream * 0xd1342543de82ef95u)};
    support_rng_next(&r);
    return r;
}

uint64_t support_rng_next(support_rng *r) {
    uint64_t x = r->state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint32_t support_rng_below(support_rng *r, uint32_t n) {
    return (uint32_t)(((support_rng_next(r) >> 32) * n) >> 32);
}

double support_rng_unit(support_rng *r) { return (double)(support_rng_next(r) >> 11) * 0x1p-53; }

bool support_rng_chance(support_rng *r, double p) { return support_rng_unit(r) < p; }

/* ---- the allocator under test ------------------------------------------ */

#define LIVE 0x6c6976656c697665u
#define DEAD 0x6465616464656164u

typedef struct header {
    uint64_t mark;
    size_t size;
} header;

_Static_assert(sizeof(header) == 16, "the caller's bytes must stay aligned as malloc's are");

static void heap_lock(support_heap *h) {
    while (__atomic_exchange_n(&h->lock, 1, __ATOMIC_ACQUIRE)) sched_yield();
}

static void heap_unlock(support_heap *h) { __atomic_store_n(&h->lock, 0, __ATOMIC_RELEASE); }

void support_heap_init(support_heap *h) {
    memset(h, 0, sizeof *h);
    h->refuse_at = SIZE_MAX;
}

void support_heap_refuse(support_heap *h, size_t k, bool and_later) {
    h->requests = h->refused = 0;
    h->refuse_at = k;
    h->refuse_after = and_later;
}

static bool refuses(support_heap *h) {
    size_t k = h->requests++;
    bool no = h->refuse_at != SIZE_MAX && (k == h->refuse_at || (h->refuse_after && k > h->refuse_at));
    h->refused += no;
    return no;
}

static void *heap_make(support_heap *h, size_t size) {
    header *b = size <= SIZE_MAX - sizeof *b ? malloc(sizeof *b + size) : NULL;
    if (!b) return NULL;
    b->mark = LIVE;
    b->size = size;
    memset(b + 1, 0xA5, size);
    h->live_blocks++;
    h->live_bytes += size;
    if (h->live_bytes > h->peak_bytes) h->peak_bytes = h->live_bytes;
    return b + 1;
}

static void heap_drop(support_heap *h, void *ptr) {
    header *b = (header *)ptr - 1;
    h->live_blocks--;
    h->live_bytes -= b->size;
    memset(ptr, 0x5A, b->size);
    b->mark = DEAD;
    free(b);
}

/* Whether ptr is one of ours and of that size; counts what is wrong. */
static bool known_block(support_heap *h, const void *ptr, size_t old_size) {
    const header *b = (const header *)ptr - 1;
    if (b->mark != LIVE) {
        h->foreign_faults++;
        return false;
    }
    h->size_faults += b->size != old_size;
    return true;
}

static void *heap_resize(support_heap *h, void *ptr, size_t new_size) {
    void *p = refuses(h) ? NULL : heap_make(h, new_size);
    if (!p || !ptr) return p;
    size_t old = ((header *)ptr - 1)->size;
    memcpy(p, ptr, old < new_size ? old : new_size);
    heap_drop(h, ptr);
    return p;
}

static void *heap_call(void *user, void *ptr, size_t old_size, size_t new_size) {
    support_heap *h = user;
    void *result = NULL;
    heap_lock(h);
    if (!ptr) {
        h->size_faults += old_size != 0;
        if (new_size) result = heap_resize(h, NULL, new_size);
    } else if (known_block(h, ptr, old_size)) {
        if (new_size) {
            result = heap_resize(h, ptr, new_size);
        } else {
            heap_drop(h, ptr);
        }
    }
    heap_unlock(h);
    return result;
}

spec_allocator support_alloc(support_heap *h) {
    spec_allocator a = {heap_call, h};
    return a;
}

void support_heap_assert_clean(const support_heap *h) {
    assert_int_equal(h->size_faults, 0);
    assert_int_equal(h->foreign_faults, 0);
    assert_int_equal(h->live_blocks, 0);
    assert_int_equal(h->live_bytes, 0);
}

size_t support_refuse_each(int (*run)(void *arg, const spec_allocator *a, spec_message *why), void *arg) {
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator a = support_alloc(&heap);
    for (size_t k = 0;; k++) {
        spec_message why = {""};
        support_heap_refuse(&heap, k, k % 2);
        int err = run(arg, &a, &why);
        support_heap_assert_clean(&heap);
        assert_int_equal(err, heap.refused ? SPEC_ERR_NOMEM : SPEC_OK);
        if (!err) return k;
        assert_true(why.text[0] != '\0');
    }
}

/* ---- files -------------------------------------------------------------- */

bool support_shared(const char *relative, char *buf, size_t n) {
    int len = snprintf(buf, n, "../shared/%s", relative);
    return len >= 0 && (size_t)len < n && access(buf, R_OK) == 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static int remove_tree(const char *path) { return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* All directories of a program lie in one, which goes at its exit: a test that
 * fails does not come to its support_tmp_remove. A forked child that exits
 * leaves it alone. */
static char tmp_base[96];
static pid_t tmp_owner;

static void remove_base(void) {
    if (tmp_owner == getpid()) remove_tree(tmp_base);
}

static void make_base(void) {
    const char *base = getenv("TMPDIR");
    int len = snprintf(tmp_base, sizeof tmp_base, "%s/specdec-test-XXXXXX", base && *base ? base : "/tmp");
    assert_true(len > 0 && (size_t)len < sizeof tmp_base);
    if (!mkdtemp(tmp_base)) fail_msg("cannot make %s: %s", tmp_base, strerror(errno));
    tmp_owner = getpid();
    atexit(remove_base);
}

void support_tmp_make(support_tmp *t) {
    if (!tmp_owner) make_base();
    snprintf(t->path, sizeof t->path, "%s/XXXXXX", tmp_base);
    if (!mkdtemp(t->path)) fail_msg("cannot make %s: %s", t->path, strerror(errno));
}

void support_tmp_remove(support_tmp *t) {
    if (!t->path[0]) return;
    if (remove_tree(t->path)) fail_msg("cannot remove %s", t->path);
    t->path[0] = '\0';
}

const char *support_tmp_path(const support_tmp *t, const char *name, char *buf, size_t n) {
    int len = snprintf(buf, n, "%s/%s", t->path, name);
    assert_true(len > 0 && (size_t)len < n);
    return buf;
}

int support_file_set_up(void **state) {
    static support_file x;
    support_tmp_make(&x.tmp);
    support_tmp_path(&x.tmp, "model", x.path, sizeof x.path);
    *state = &x;
    return 0;
}

int support_file_tear_down(void **state) {
    support_tmp_remove(&((support_file *)*state)->tmp);
    return 0;
}

static support_tmp group_tmp;

int support_at_set_up(void **state) {
    (void)state;
    support_tmp_make(&group_tmp);
    return 0;
}

int support_at_tear_down(void **state) {
    (void)state;
    support_tmp_remove(&group_tmp);
    return 0;
}

const char *support_at(const char *name) {
    static char path[4][256];
    static int next;
    next = (next + 1) % 4;
    return support_tmp_path(&group_tmp, name, path[next], sizeof path[next]);
}

void support_write_file(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f) {
        fail_msg("cannot write %s: %s", path, strerror(errno));
        return;
    }
    size_t done = n ? fwrite(data, 1, n, f) : 0;
    if (fclose(f) || done != n) fail_msg("cannot write %s", path);
}

char *support_read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        fail_msg("cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    size_t cap = 1 << 16, len = 0, got;
    char *data = malloc(cap + 1);
    while (data && (got = fread(data + len, 1, cap - len, f)) > 0) {
        len += got;
        if (len == cap) {
            char *more = realloc(data, (cap *= 2) + 1);
            if (!more) free(data);
            data = more;
        }
    }
    int bad = ferror(f);
    fclose(f);
    if (!data || bad) {
        fail_msg("cannot read %s", path);
        free(data);
        return NULL;
    }
    data[len] = '\0';
    if (n) *n = len;
    return data;
}

const char *support_specbench(void) {
    const char *path = getenv("SPECBENCH");
    return path && *path ? path : "build/specbench";
}
