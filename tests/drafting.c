/* SPDX-License-Identifier: MIT */
/* What is told in drafting.h. */
#include "drafting.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define CAP 16

spec_drafter *drafting_open(const char *spec, const spec_allocator *a) {
    spec_drafter *d = NULL;
    spec_message why;
    if (spec_drafter_open(&d, spec, a, &why)) fail_msg("%s", why.text);
    return d;
}

spec_request *drafting_begin(spec_drafter *d, uint64_t tenant, const spec_token *prompt, size_t n) {
    spec_request *r = NULL;
    spec_request_info info = {.size = sizeof info, .tenant = tenant, .prompt = prompt, .n_prompt = n};
    assert_int_equal(spec_request_begin(d, &info, &r), 0);
    return r;
}

void drafting_commit(spec_request *r, const spec_token *tok, size_t n) {
    assert_int_equal(spec_request_commit(r, tok, n), 0);
}

void drafting_say(spec_drafter *d, uint64_t tenant, const spec_token *tok, size_t n) {
    spec_request *r = drafting_begin(d, tenant, NULL, 0);
    drafting_commit(r, tok, n);
    spec_request_end(r);
}

void drafting_ask(spec_drafter *d, uint64_t tenant, const spec_token *prompt, size_t n, spec_tree *t) {
    spec_message why;
    spec_request *r = drafting_begin(d, tenant, prompt, n);
    assert_int_equal(spec_request_propose(r, NULL, t), 0);
    if (spec_tree_check(t, &why)) fail_msg("%s", why.text);
    spec_request_end(r);
}

/* ---- trees --------------------------------------------------------------- */

void drafting_tree(spec_tree *t, uint32_t cap) { assert_int_equal(spec_tree_init(t, cap, 0, 0, NULL), 0); }

uint32_t drafting_depth(const spec_tree *t) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t depth = spec_tree_depth(t, (int32_t)i);
        most = depth > most ? depth : most;
    }
    return most;
}

void drafting_assert_same(const spec_tree *draft, const spec_tree *want, spec_source source) {
    spec_message why;
    if (spec_tree_check(draft, &why)) fail_msg("%s", why.text);
    assert_int_equal(draft->n, want->n);
    assert_memory_equal(draft->token, want->token, draft->n * sizeof *draft->token);
    assert_memory_equal(draft->parent, want->parent, draft->n * sizeof *draft->parent);
    assert_memory_equal(draft->prob, want->prob, draft->n * sizeof *draft->prob);
    for (uint32_t i = 0; i < draft->n; i++) assert_true(draft->source[i] == source && draft->q_row[i] == -1);
}

/* ---- opening ------------------------------------------------------------- */

static int try_open(spec_drafter **out, const char *prefix, const char *rest, const spec_drafter_env *env,
                    const spec_allocator *a, spec_message *why) {
    char spec[512];
    assert_true(snprintf(spec, sizeof spec, "%s%s", prefix, rest) < (int)sizeof spec);
    return spec_drafter_open_env(out, spec, env, a, why);
}

spec_drafter *drafting_open_env(const char *prefix, const char *rest, const spec_drafter_env *env) {
    spec_drafter *d = NULL;
    spec_message why;
    if (try_open(&d, prefix, rest, env, NULL, &why)) fail_msg("%s%s: %s", prefix, rest, why.text);
    return d;
}

void drafting_check_cases(const char *prefix, const drafting_case *one, size_t n) {
    for (size_t i = 0; i < n; i++) {
        support_heap heap;
        support_heap_init(&heap);
        spec_allocator a = support_alloc(&heap);
        for (int told = 0; told < 2; told++) {
            spec_drafter *d = NULL;
            spec_message why = {""};
            assert_int_equal(try_open(&d, prefix, one[i].spec, one[i].env, &a, told ? &why : NULL),
                             one[i].err);
            if (told && !strstr(why.text, one[i].says)) fail_msg("%s: \"%s\"", one[i].spec, why.text);
            assert_true((d == NULL) == (one[i].err != SPEC_OK));
            spec_drafter_free(d);
        }
        support_heap_assert_clean(&heap);
    }
}

void drafting_refuse_memory(const char *spec, const spec_drafter_env *env, const spec_request_info *info,
                            int (*serve)(const void *world, spec_request *r), const void *world) {
    for (size_t k = 0;; k++) {
        support_heap heap;
        support_heap_init(&heap);
        support_heap_refuse(&heap, k, false);
        spec_allocator a = support_alloc(&heap);
        spec_drafter *d = NULL;
        spec_request *r = NULL;
        spec_message why;
        int err = spec_drafter_open_env(&d, spec, env, &a, &why);
        if (!err) err = spec_request_begin(d, info, &r);
        if (!err) err = serve(world, r);
        spec_request_end(r);
        spec_drafter_free(d);
        assert_int_equal(err, heap.refused ? SPEC_ERR_NOMEM : SPEC_OK);
        support_heap_assert_clean(&heap);
        if (!err) break;
        assert_true(k < 1000);
    }
}

/* ---- threads ------------------------------------------------------------- */

#define N_THREADS 8

static void *work(void *arg) {
    drafting_worker *w = arg;
    const drafting_play *p = w->play;
    support_rng r = support_rng_new(1, w->number);
    spec_tree t[2], *trees[] = {&t[0], &t[1]};
    int err = spec_tree_init(&t[0], p->cap, p->q_cap, p->vocab, NULL);
    if (!err) err = spec_tree_init(&t[1], p->cap, p->q_cap, p->vocab, NULL);
    for (int i = 0; i < p->requests && !err; i++) {
        spec_request *q[2] = {NULL, NULL};
        const spec_token start[] = {1, (spec_token)w->number};
        const spec_request_info info = {.size = sizeof info, .prompt = start, .n_prompt = 2};
        for (size_t k = 0; k < 2 && !err; k++) err = spec_request_begin(w->d, &info, &q[k]);
        for (int k = 0; k < p->steps && !err; k++) err = p->step(w, &r, q, trees);
        for (size_t k = 0; k < 2; k++) spec_request_end(q[k]);
    }
    for (size_t k = 0; k < 2; k++) spec_tree_release(&t[k], NULL);
    w->failed = err != 0;
    return NULL;
}

typedef struct watcher {
    spec_drafter *d;
    atomic_bool stop;
    uint64_t looked;
} watcher;

static void *watch(void *arg) {
    watcher *w = arg;
    while (!atomic_load(&w->stop)) {
        spec_drafter_stats s;
        spec_drafter_get_stats(w->d, &s);
        w->looked += s.index_bytes > 0;
        sched_yield();
    }
    return NULL;
}

void drafting_eight_threads(spec_drafter *d, const drafting_play *play, size_t least) {
    pthread_t thread[N_THREADS], eye;
    drafting_worker w[N_THREADS], alone[N_THREADS];
    watcher look = {.d = d};
    for (uint64_t i = 0; i < N_THREADS; i++) {
        w[i] = alone[i] = (drafting_worker){.d = d, .number = i, .play = play};
        work(&alone[i]);
    }
    assert_int_equal(pthread_create(&eye, NULL, watch, &look), 0);
    for (size_t i = 0; i < N_THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
    for (size_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_false(w[i].failed || alone[i].failed);
        assert_true(w[i].nodes > least && w[i].drafts == alone[i].drafts);
    }
    atomic_store(&look.stop, true);
    assert_int_equal(pthread_join(eye, NULL), 0);
    assert_true(look.looked > 0);
}

/* ---- runs --------------------------------------------------------------- */

spec_token run_token(uint32_t run, size_t at) { return (spec_token)(run * 1000000 + at); }

void run_commit(spec_request *r, uint32_t run, size_t from, size_t n) {
    spec_token tok[256];
    for (size_t done = 0, k; done < n; done += k) {
        k = n - done < 256 ? n - done : 256;
        for (size_t i = 0; i < k; i++) tok[i] = run_token(run, from + done + i);
        drafting_commit(r, tok, k);
    }
}

void run_say(spec_drafter *d, uint64_t tenant, uint32_t run, size_t n) {
    spec_request *r = drafting_begin(d, tenant, NULL, 0);
    run_commit(r, run, 0, n);
    spec_request_end(r);
}

uint32_t run_known(spec_drafter *d, uint64_t tenant, uint32_t run, size_t at) {
    spec_tree t;
    const spec_token prompt[3] = {run_token(run, at - 2), run_token(run, at - 1), run_token(run, at)};
    assert_int_equal(spec_tree_init(&t, CAP, 0, 0, NULL), 0);
    drafting_ask(d, tenant, prompt, 3, &t);
    uint32_t n = t.n;
    for (uint32_t i = 0; i < n; i++) {
        spec_token want = run_token(run, at) + (spec_token)spec_tree_depth(&t, (int32_t)i);
        if (t.token[i] != want) fail_msg("run %u at %zu: node %u is %d", run, at, i, t.token[i]);
    }
    spec_tree_release(&t, NULL);
    return n;
}
