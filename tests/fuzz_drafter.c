/* SPDX-License-Identifier: MIT */
/*
 * Drafters of any name with any options, and requests on them. The first line of
 * the input is what spec_drafter_open() is given; the bytes after it choose what
 * requests do. An error has a message; every draft is well formed and within its
 * limits; suffix drafts are those of the brute-force truth; all memory is given
 * back.
 */
#include "support.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_suffix.h"
#include "spec_drafter.h"

#define MAX_LIVE  3
#define CAP       20
#define MAX_STEPS 150
#define MEMORY    ((size_t)24 << 20) /* the most that options may ask for */

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "fuzz_drafter: line %d: %s\n", __LINE__, #condition);                            \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

typedef struct purse {
    size_t live;
    bool refused;
} purse;

static void *bounded_alloc(void *user, void *ptr, size_t old_size, size_t new_size) {
    purse *m = user;
    if (new_size > old_size && m->live + (new_size - old_size) > MEMORY) {
        m->refused = true;
        return NULL;
    }
    void *p = NULL;
    if (new_size)
        p = realloc(ptr, new_size);
    else
        free(ptr);
    if (p || !new_size) m->live += new_size - old_size;
    return p;
}

/* ---- the input ----------------------------------------------------------------- */

typedef struct bytes {
    const uint8_t *data;
    size_t left;
} bytes;

static uint32_t take(bytes *b, uint32_t n) {
    if (!b->left) return 0;
    b->left--;
    return *b->data++ % n;
}

/* The first line, as a string to be freed. */
static char *take_line(bytes *b) {
    const uint8_t *end = memchr(b->data, '\n', b->left);
    size_t n = end ? (size_t)(end - b->data) : b->left;
    char *line = malloc(n + 1);
    REQUIRE(line);
    if (n) memcpy(line, b->data, n);
    line[n] = 0;
    n += end != NULL;
    b->data += n;
    b->left -= n;
    return line;
}

/* Can the truth tell what this one drafts? Not under a limit of memory or of
 * tenants, nor with numbers that are read with other roundings. */
static bool is_known(const char *spec) {
    static const char *const beyond[] = {"memory_mb=", "tenants=", "corpus=", "evict="};
    size_t digits = 0;
    if (strncmp(spec, "suffix", 6) != 0) return false;
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        if (strstr(spec, beyond[i])) return false;
    for (const char *c = spec; *c; c++) {
        digits = isdigit((unsigned char)*c) || *c == '.' ? digits + 1 : 0;
        if (digits > 12 || (digits && (c[1] == 'e' || c[1] == 'E'))) return false;
    }
    return true;
}

/* ---- requests ------------------------------------------------------------------- */

typedef struct player {
    spec_request *r;
    truth_text *q;
} player;

typedef struct game {
    bytes in;
    purse memory;
    spec_drafter *d;
    bool known; /* the truth is */
    truth t;
    truth_seen seen;
    player live[MAX_LIVE];
    size_t n_live;
    spec_tree tree;
} game;

static size_t take_tokens(bytes *b, spec_token *tok, uint32_t max) {
    size_t n = take(b, max + 1);
    for (size_t i = 0; i < n; i++) tok[i] = (spec_token)take(b, 5);
    return n;
}

/* Refused memory is no fault, but the truth is not known from then on: less was
 * taught, perhaps. */
static bool granted(game *g, int err) {
    REQUIRE(err == SPEC_OK || (err == SPEC_ERR_NOMEM && g->memory.refused));
    if (g->memory.refused) g->known = false;
    return !err;
}

static void begin(game *g) {
    spec_token prompt[24];
    player *p = &g->live[g->n_live];
    *p = (player){NULL, NULL};
    spec_request_info info = {.size = sizeof info, .tenant = take(&g->in, 2), .prompt = prompt};
    info.n_prompt = take_tokens(&g->in, prompt, 24);
    if (take(&g->in, 4) == 3) info.max_new_tokens = take(&g->in, 30);
    if (!granted(g, spec_request_begin(g->d, &info, &p->r))) return;
    p->q = truth_begin(&g->t, &info);
    g->n_live++;
}

static void commit(game *g, player *p) {
    spec_token tok[40];
    size_t n = take_tokens(&g->in, tok, 40);
    if (granted(g, spec_request_commit(p->r, tok, n))) truth_commit(&g->t, p->q, tok, n);
}

static void propose(game *g, const player *p) {
    spec_message why = {"malformed"};
    spec_propose_args a = {.size = sizeof a, .budget = take(&g->in, CAP), .max_depth = take(&g->in, 8)};
    if (!granted(g, spec_request_propose(p->r, &a, &g->tree))) return;
    bool ok = !spec_tree_check(&g->tree, &why) && (!a.budget || g->tree.n <= a.budget);
    for (uint32_t i = 0; ok && a.max_depth && i < g->tree.n; i++)
        ok = spec_tree_depth(&g->tree, (int32_t)i) <= a.max_depth;
    if (ok && g->known) ok = truth_agrees(&g->t, p->q, &a, &g->tree, &g->seen, &why);
    if (ok) return;
    fprintf(stderr, "fuzz_drafter: draft %zu: %s\n", g->seen.drafts, why.text);
    abort();
}

static void end(game *g, player *p) {
    spec_request_end(p->r);
    truth_end(&g->t, p->q);
    *p = g->live[--g->n_live];
}

static void play(game *g, const char *spec) {
    g->known = is_known(spec);
    truth_init(&g->t, g->known ? spec : "suffix");
    REQUIRE(!spec_tree_init(&g->tree, CAP, 0, 0, NULL));
    for (int step = 0; step < MAX_STEPS && g->in.left; step++) {
        uint32_t what = take(&g->in, 16);
        if (!g->n_live || (what < 2 && g->n_live < MAX_LIVE)) {
            begin(g);
            continue;
        }
        player *p = &g->live[take(&g->in, (uint32_t)g->n_live)];
        if (what < 3)
            end(g, p);
        else if (what < 9)
            commit(g, p);
        else
            propose(g, p);
    }
    while (g->n_live) end(g, &g->live[0]);
    spec_tree_release(&g->tree, NULL);
    truth_free(&g->t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    game g = {.in = {data, size}};
    const spec_allocator a = {.fn = bounded_alloc, .user = &g.memory};
    spec_message why;
    char *spec = take_line(&g.in);
    memset(&why, 'x', sizeof why);
    int err = spec_drafter_open(&g.d, spec, &a, &why);
    REQUIRE(memchr(why.text, 0, sizeof why.text));
    REQUIRE(!err == !why.text[0] && !err == (g.d != NULL));
    if (!err) {
        const char *name = spec_drafter_name(g.d);
        REQUIRE(!strncmp(spec, name, strlen(name)));
        play(&g, spec);
        spec_drafter_free(g.d);
    } else {
        REQUIRE(spec_drafter_open(&g.d, spec, &a, NULL) == err && !g.d);
    }
    REQUIRE(g.memory.live == 0);
    free(spec);
    return 0;
}
