/* SPDX-License-Identifier: MIT */
/*
 * Every allocation of the drafter mix refused in turn. A call that fails says so, leaks nothing and has
 * changed nothing: repeated, it succeeds, and all later drafts are, bit for bit, those of a twin who
 * was never refused anything. Two things may be otherwise: what is taught to other requests may be lost
 * instead, and of many tokens committed at once the model may have learnt the first. From there
 * on drafts are checked for themselves alone.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mix_world.h"

#define N_TEXT 700
#define N_LIVE 2

typedef struct scene {
    const char *spec;
    support_heap heap;
    spec_allocator alloc;
    spec_drafter *d;
    size_t failed, lost; /* refusals: calls that failed, responses not taught further */
    bool known;          /* all that requests say is known to all: no limits, and taught at once */
    bool apart;          /* drafts need not be the twin's any more */
    spec_token text[N_TEXT];
    uint64_t draft[200]; /* (n) hashes of the drafts */
    uint32_t match[200]; /* (n) their match lengths, which are the texts' alone */
    size_t n;
} scene;

/* After a call: whether it failed and has to be repeated. One refusal is all there is. */
static bool repeat(scene *s, int err) {
    if (!err) return false;
    assert_int_equal(err, SPEC_ERR_NOMEM);
    assert_int_equal(s->heap.refused, 1);
    support_heap_refuse(&s->heap, SIZE_MAX, false);
    s->failed++;
    return true;
}

/* A call that succeeded may have been refused memory for teaching. */
static void note_lost(scene *s) {
    if (!s->heap.refused) return;
    support_heap_refuse(&s->heap, SIZE_MAX, false);
    s->lost++;
    s->apart = true;
}

static spec_request *begin(scene *s, const spec_token *prompt, size_t n) {
    spec_request *r = NULL;
    spec_request_info info = {.size = sizeof info, .prompt = prompt, .n_prompt = n};
    while (repeat(s, spec_request_begin(s->d, &info, &r))) assert_null(r);
    note_lost(s);
    return r;
}

/* A request that says the scene's text [from, at), its response from `prompt` on. */
typedef struct speaker {
    spec_request *r;
    size_t from, prompt, at;
} speaker;

/* The longest end of the speaker's text that ends in [from, to) as well, but not at its own end: with
 * `own` that is the same piece of text. Too short for the index's depth of 64. */
static size_t match_in(const scene *s, const speaker *p, size_t from, size_t to, bool own) {
    size_t most = 0;
    for (size_t e = from + 1; e <= to - own; e++) {
        size_t n = 0;
        while (n < 63 && n < e - from && n < p->at - p->from && s->text[e - 1 - n] == s->text[p->at - 1 - n])
            n++;
        most = n > most ? n : most;
    }
    return most;
}

/* The longest match there is for p, one of n speakers that began since the drafter was opened. */
static size_t longest_match(const scene *s, const speaker *all, size_t n, const speaker *p) {
    size_t most = match_in(s, p, p->from, p->at, true);
    for (size_t i = 0; i < n && !strstr(s->spec, "shared=0"); i++) {
        size_t m = match_in(s, p, all[i].prompt, all[i].at, &all[i] == p);
        most = m > most ? m : most;
    }
    return most;
}

/* After a commit of many tokens has failed none of them is in the text. */
static void check_taken_back(const speaker *p, size_t match) {
    spec_tree t;
    drafting_tree(&t, 4);
    assert_int_equal(spec_request_propose(p->r, NULL, &t), SPEC_OK);
    assert_int_equal(t.match_len, match);
    spec_tree_release(&t, NULL);
}

/* Speaker number i of n says `more` tokens. */
static void commit(scene *s, speaker *all, size_t n, size_t i, size_t more) {
    speaker *p = &all[i];
    while (repeat(s, spec_request_commit(p->r, s->text + p->at, more))) {
        if (more == 1) continue;
        s->apart = true;
        if (p->at > p->from && s->known) check_taken_back(p, longest_match(s, all, n, p));
    }
    note_lost(s);
    p->at += more;
}

static void look(scene *s, spec_request *r, mix_run *m) {
    size_t before = s->heap.requests;
    m->r = r;
    m->drafts = 0;
    mix_propose(m, NULL);
    assert_int_equal(s->heap.requests, before); /* drafting takes no memory */
    assert_true(s->n < sizeof s->draft / sizeof *s->draft);
    s->match[s->n] = m->tree.match_len;
    s->draft[s->n++] = m->drafts;
}

/* Requests by twos, what they say in pieces of all sizes, with and without drafts. */
static void play_requests(scene *s) {
    static const size_t piece[] = {1, 60, 3, 1, 150, 2, 90, 17};
    mix_run m = {.r = NULL};
    speaker p[2 * N_LIVE];
    drafting_tree(&m.tree, 16);
    for (size_t round = 0, n = 0; round < 2; round++) {
        for (size_t i = 0; i < N_LIVE; i++, n++) {
            size_t from = 40 * round + 20 * i;
            p[n] = (speaker){.from = from, .prompt = from + 5 * i, .at = from + 5 * i};
            p[n].r = begin(s, s->text + from, 5 * i);
        }
        for (size_t step = 0; step < 8; step++)
            for (size_t i = 0; i < N_LIVE; i++) {
                commit(s, p, n, n - N_LIVE + i, piece[(step + 3 * i) % 8]);
                if (step % 3) look(s, p[n - N_LIVE + i].r, &m);
            }
        for (size_t i = n - N_LIVE; i < n; i++) {
            spec_request_end(p[i].r);
            note_lost(s);
        }
    }
    spec_tree_release(&m.tree, NULL);
}

/* Plays it from open to free, allocation k refused. */
static void play(scene *s, const char *spec, size_t k) {
    const mix_source source = {.world = 12, .vocab = 60, .phrases = 12, .noise = 10};
    support_rng rng = support_rng_new(support_seed(), 400);
    memset(s, 0, sizeof *s);
    s->spec = spec;
    s->known = !strstr(spec, "max_requests") && !strstr(spec, "own=0");
    mix_text(&source, &rng, s->text, N_TEXT);
    support_heap_init(&s->heap);
    s->alloc = support_alloc(&s->heap);
    support_heap_refuse(&s->heap, k, false);
    while (repeat(s, spec_drafter_open(&s->d, spec, &s->alloc, NULL))) assert_null(s->d);
    play_requests(s);
    spec_drafter_free(s->d);
    support_heap_assert_clean(&s->heap);
}

static void refuse_each(const char *spec, bool teaches) {
    scene *twin = malloc(sizeof *twin), *s = malloc(sizeof *s);
    play(twin, spec, SIZE_MAX);
    size_t n = twin->heap.requests, failed = 0, lost = 0, equal = 0;
    for (size_t k = 0; k < n; k++) {
        play(s, spec, k);
        if (s->failed + s->lost != 1) fail_msg("%s: refusal %zu of %zu was not met", spec, k, n);
        for (size_t i = 0; !s->apart && i < twin->n; i++)
            if (s->draft[i] != twin->draft[i]) fail_msg("%s: refusal %zu: draft %zu is another", spec, k, i);
        for (size_t i = 0; !s->lost && i < twin->n; i++) assert_int_equal(s->match[i], twin->match[i]);
        equal += !s->apart;
        failed += s->failed;
        lost += s->lost;
    }
    print_message("%s: %zu refusals failed a call, %zu lost a response's end; %zu times the twin's drafts\n",
                  spec, failed, lost, equal);
    assert_true(failed > 20 && equal > 20 && (lost > 0) == teaches);
    free(s);
    free(twin);
}

static void test_refusals(void **state) {
    (void)state;
    refuse_each("mix:shared=0,nodes=16", false);
    refuse_each("mix:nodes=16", true);
    refuse_each("mix:own=0,learn=end,nodes=16", true);
    refuse_each("mix:max_requests=2,nodes=16,priors=none", true);
}

/* ---- opening and saving ------------------------------------------------------- */

typedef struct place {
    support_tmp tmp;
    char path[200];
    support_heap heap;
    spec_allocator alloc;
} place;

static void place_set_up(place *s) {
    support_tmp_make(&s->tmp);
    support_tmp_path(&s->tmp, "saved", s->path, sizeof s->path);
    support_heap_init(&s->heap);
    s->alloc = support_alloc(&s->heap);
}

static spec_drafter *taught_drafter(place *s) {
    spec_drafter *d = drafting_open("mix", &s->alloc);
    for (uint32_t i = 1; i < 20; i++) run_say(d, 7, i, 60);
    return d;
}

static void test_refusals_while_saving(void **state) {
    (void)state;
    place s;
    place_set_up(&s);
    spec_drafter *d = taught_drafter(&s);
    spec_token prompt[20];
    for (size_t i = 0; i < 20; i++) prompt[i] = run_token(9, i);
    uint64_t known = mix_known(d, 7, prompt, 20);
    size_t refusals = 0;
    for (int err = -1; err; refusals++) {
        spec_message why;
        support_heap_refuse(&s.heap, refusals, false);
        err = spec_drafter_save(d, 7, s.path, &why);
        assert_int_equal(err, s.heap.refused ? SPEC_ERR_NOMEM : 0);
        assert_int_equal(access(s.path, F_OK), err ? -1 : 0);
        assert_true((why.text[0] != 0) == (err != 0));
    }
    assert_true(refusals > 2);
    support_heap_refuse(&s.heap, SIZE_MAX, false);
    assert_true(mix_known(d, 7, prompt, 20) == known);
    spec_drafter_free(d);
    support_heap_assert_clean(&s.heap);
    support_tmp_remove(&s.tmp);
}

/* Opens a drafter and begins a request of each of two tenants. */
static int open_and_begin(const place *s, const char *spec) {
    spec_drafter *d = NULL;
    spec_request *r[2] = {NULL, NULL};
    spec_message why;
    int err = spec_drafter_open(&d, spec, &s->alloc, &why);
    assert_true(!err == (d != NULL) && !err == !why.text[0]);
    for (uint64_t i = 0; i < 2 && !err; i++) {
        spec_request_info info = {.size = sizeof info, .tenant = i};
        err = spec_request_begin(d, &info, &r[i]);
        assert_true(!err == (r[i] != NULL));
    }
    spec_request_end(r[0]);
    spec_request_end(r[1]);
    spec_drafter_free(d);
    return err;
}

static void test_refusals_on_a_file(void **state) {
    (void)state;
    static const char *const specs[] = {"mix:corpus", "mix:priors", "mix:shared=0,priors"};
    place s;
    place_set_up(&s);
    spec_drafter *d = taught_drafter(&s);
    assert_int_equal(spec_drafter_save(d, 7, s.path, NULL), 0);
    spec_drafter_free(d);
    for (size_t i = 0; i < 3; i++) {
        char spec[240];
        snprintf(spec, sizeof spec, "%s=%s", specs[i], s.path);
        size_t refusals = 0;
        for (int err = -1; err; refusals++) {
            support_heap_refuse(&s.heap, refusals, false);
            err = open_and_begin(&s, spec);
            assert_int_equal(err, s.heap.refused ? SPEC_ERR_NOMEM : 0);
            support_heap_assert_clean(&s.heap);
        }
        assert_true(refusals > 15);
    }
    support_tmp_remove(&s.tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refusals_while_saving),
        cmocka_unit_test(test_refusals_on_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
