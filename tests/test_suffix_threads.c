/* SPDX-License-Identifier: MIT */
/*
 * One suffix drafter, many requests at the same time: eight threads decode with
 * a toy model while others are evicted, tenants come and go, somebody reads the
 * statistics and somebody saves. Every output must be that of plain decoding,
 * no tenant may be told another's tokens, and nothing that was taught may be
 * lost for good. Under TSan also: no race. (Hence malloc: a lock in the
 * allocator would hide some.)
 *
 * cmocka's assertions belong to the main thread; the others note the first fault.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "drafting.h"
#include "spec_index.h"
#include "spec_verify.h"
#include "toy_engine.h"

#define N_THREADS  8
#define N_REQUESTS 14 /* of each thread */
#define N_PROMPT   40
#define N_NEW      420
#define CAP        24

typedef struct storm {
    const char *spec;
    uint64_t n_tenants;
    uint32_t vocab; /* many: the text is new, but for prompts that come again */
    uint64_t seed;
    spec_drafter *d;
    support_tmp tmp;
    _Atomic bool over;
    _Atomic size_t accepted, drafted, saved;
    _Atomic size_t taught[8]; /* tokens of each tenant */
    const char *_Atomic fault;
} storm;

typedef struct worker {
    storm *s;
    uint64_t id;
    pthread_t thread;
} worker;

static bool fault(storm *s, const char *what) {
    const char *none = NULL;
    atomic_compare_exchange_strong(&s->fault, &none, what);
    return false;
}

/* ---- one request ------------------------------------------------------------- */

typedef struct decoding {
    storm *s;
    toy_model model;
    uint64_t tenant;
    spec_request *r;
    spec_tree tree;
    spec_token text[N_PROMPT + N_NEW], plain[N_PROMPT + N_NEW];
    size_t n;
} decoding;

/* Odd tokens are common to all tenants, so that contexts match across; even ones
 * become the tenant's own, so that a leak shows. */
static spec_token dialect(const decoding *c, spec_token t) {
    return t % 2 ? t : t + 10000 * (spec_token)(c->tenant + 1);
}

static bool is_dialect(const decoding *c, spec_token t) { return dialect(c, t % 10000) == t; }

static bool check_draft(const decoding *c) {
    const spec_tree *t = &c->tree;
    if (spec_tree_check(t, NULL)) return fault(c->s, "a malformed draft");
    for (uint32_t i = 0; i < t->n; i++) {
        if (!is_dialect(c, t->token[i])) return fault(c->s, "a token of another tenant");
        if (spec_tree_depth(t, (int32_t)i) >= N_PROMPT + N_NEW - c->n)
            return fault(c->s, "a draft beyond the limit");
    }
    return true;
}

/* A model takes far longer than a drafter; without a pause nobody would ever find
 * the shared index free to be taught. */
static const struct timespec model_time = {.tv_nsec = 10000};

/* Draft, verify, commit. */
static bool step(decoding *c) {
    spec_token argmax[CAP + 1], committed[CAP + 1], next;
    int32_t path[CAP];
    uint8_t accepted[CAP] = {0};
    size_t k;
    if (spec_request_propose(c->r, NULL, &c->tree)) return fault(c->s, "propose failed");
    if (!check_draft(c)) return false;
    toy_argmax(&c->model, c->text, c->n, &c->tree, argmax);
    for (uint32_t i = 0; i <= c->tree.n; i++) argmax[i] = dialect(c, argmax[i]);
    nanosleep(&model_time, NULL);
    if (spec_verify_greedy(&c->tree, argmax, path, &k, &next)) return fault(c->s, "verify failed");
    atomic_fetch_add(&c->s->drafted, c->tree.n);
    atomic_fetch_add(&c->s->accepted, k);
    for (size_t i = 0; i < k; i++) {
        committed[i] = c->tree.token[path[i]];
        accepted[path[i]] = 1;
    }
    committed[k++] = next;
    memcpy(c->text + c->n, committed, k * sizeof *committed);
    c->n += k;
    spec_outcome o = {
        .size = sizeof o, .committed = committed, .n_committed = k, .tree = &c->tree, .accepted = accepted};
    if (spec_request_observe(c->r, &o)) return fault(c->s, "observe failed");
    return true;
}

#define N_PROMPTS 40 /* different ones of a tenant */

/* A request whose prompt is a piece of what the tenant's model says. */
static bool decode(storm *s, decoding *c, support_rng *rng, uint64_t tenant) {
    bool ok = true;
    c->s = s;
    c->tenant = tenant;
    c->model = (toy_model){.seed = s->seed + tenant, .vocab = s->vocab};
    for (size_t i = 0; i < 2; i++) c->plain[i] = dialect(c, 0);
    c->plain[2] = dialect(c, (spec_token)support_rng_below(rng, N_PROMPTS));
    for (size_t i = 3; i < N_PROMPT + N_NEW; i++) c->plain[i] = dialect(c, toy_next(&c->model, c->plain, i));
    memcpy(c->text, c->plain, N_PROMPT * sizeof *c->text);
    c->n = N_PROMPT;
    spec_request_info info = {.size = sizeof info,
                              .tenant = tenant,
                              .prompt = c->text,
                              .n_prompt = N_PROMPT,
                              .max_new_tokens = N_NEW};
    if (spec_request_begin(s->d, &info, &c->r)) return fault(s, "begin failed");
    while (ok && c->n < N_PROMPT + N_NEW) ok = step(c);
    spec_request_end(c->r);
    atomic_fetch_add(&s->taught[tenant], c->n - N_PROMPT);
    if (ok && memcmp(c->text, c->plain, sizeof c->text))
        return fault(s, "the output is not that of plain decoding");
    return ok;
}

/* ---- the threads ------------------------------------------------------------- */

static void *work(void *arg) {
    const worker *w = arg;
    support_rng rng = support_rng_new(w->s->seed, w->id);
    decoding *c = malloc(sizeof *c);
    if (!c || spec_tree_init(&c->tree, CAP, 0, 0, NULL)) {
        fault(w->s, "no memory");
    } else {
        for (uint64_t i = 0; i < N_REQUESTS && !atomic_load(&w->s->fault); i++)
            decode(w->s, c, &rng, (w->id + i) % w->s->n_tenants);
        spec_tree_release(&c->tree, NULL);
    }
    free(c);
    return NULL;
}

static void *watch(void *arg) {
    storm *s = arg;
    uint64_t before = 0;
    while (!atomic_load(&s->over)) {
        spec_drafter_stats stats;
        spec_drafter_get_stats(s->d, &stats);
        if (stats.requests < before || stats.requests > N_THREADS * N_REQUESTS)
            fault(s, "impossible statistics");
        before = stats.requests;
        sched_yield();
    }
    return NULL;
}

/* Saves again and again; each file is a whole index. */
static void *save(void *arg) {
    storm *s = arg;
    char path[200];
    support_tmp_path(&s->tmp, "saved", path, sizeof path);
    for (uint64_t i = 0; !atomic_load(&s->over); i++) {
        spec_index *x;
        int err = spec_drafter_save(s->d, i % s->n_tenants, path, NULL);
        if (err && err != SPEC_ERR_NOT_FOUND) fault(s, "save failed");
        for (int k = 0; k < 20; k++) sched_yield();
        if (err) continue;
        if (spec_index_load(&x, path, NULL, NULL)) {
            fault(s, "what was saved does not load");
            continue;
        }
        if (spec_index_check(x, NULL)) fault(s, "what was saved is damaged");
        spec_index_free(x);
        atomic_fetch_add(&s->saved, 1);
    }
    return NULL;
}

static void blow(storm *s) {
    worker w[N_THREADS];
    pthread_t watcher, saver;
    assert_int_equal(pthread_create(&watcher, NULL, watch, s), 0);
    assert_int_equal(pthread_create(&saver, NULL, save, s), 0);
    for (uint64_t i = 0; i < N_THREADS; i++) {
        w[i] = (worker){.s = s, .id = i};
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) assert_int_equal(pthread_join(w[i].thread, NULL), 0);
    atomic_store(&s->over, true);
    assert_int_equal(pthread_join(watcher, NULL), 0);
    assert_int_equal(pthread_join(saver, NULL), 0);
}

/* Runs a storm; what the drafter knows afterwards is in *after. */
static void weather(storm *s, spec_drafter_stats *after) {
    s->seed = support_seed();
    support_tmp_make(&s->tmp);
    s->d = drafting_open(s->spec, NULL);
    blow(s);
    if (atomic_load(&s->fault)) fail_msg("%s: %s", s->spec, atomic_load(&s->fault));
    spec_drafter_get_stats(s->d, after);
    print_message(
        "%s: %zu nodes drafted, %zu accepted, %zu saves, %llu sequences evicted, longest wait %llu us\n",
        s->spec, atomic_load(&s->drafted), atomic_load(&s->accepted), atomic_load(&s->saved),
        (unsigned long long)after->evicted, (unsigned long long)after->longest_wait_ns / 1000);
    assert_int_equal(after->requests, N_THREADS * N_REQUESTS);
    assert_true(atomic_load(&s->accepted) > N_THREADS * N_REQUESTS); /* the drafts were of use */
}

static void clear_up(storm *s) {
    spec_drafter_free(s->d);
    support_tmp_remove(&s->tmp);
}

/* ---- the storms ----------------------------------------------------------------- */

#define N_CALM 800 /* as many as slices can be left: a tenant has 112 responses of 7 at most */

/* Requests one at a time: they work off what the storm's had to leave to others. */
static void calm(storm *s, spec_drafter_stats *after) {
    for (uint64_t tenant = 0; tenant < s->n_tenants; tenant++) {
        const spec_token tok = 1;
        for (int k = 0; k < N_CALM; k++) drafting_say(s->d, tenant, &tok, 1);
    }
    spec_drafter_get_stats(s->d, after);
}

/* What is left to others is learnt: in the end all is known. */
static void test_nothing_taught_is_lost(void **state) {
    (void)state;
    static const char *const specs[] = {"suffix", "suffix:preset=coreml"};
    for (size_t i = 0; i < 2; i++) {
        storm s = {.spec = specs[i], .n_tenants = 2, .vocab = 30};
        spec_drafter_stats after;
        weather(&s, &after);
        calm(&s, &after);
        size_t taught = atomic_load(&s.taught[0]) + atomic_load(&s.taught[1]);
        assert_int_equal(after.index_tokens, taught + s.n_tenants * N_CALM);
        clear_up(&s);
    }
}

/* (Here text is mostly new, or the limit would not be met.) */
static void test_eviction_by_memory(void **state) {
    (void)state;
    static const char *const specs[] = {"suffix:memory_mb=1", "suffix:memory_mb=1,evict=lru"};
    for (size_t i = 0; i < 2; i++) {
        storm s = {.spec = specs[i], .n_tenants = 1, .vocab = 2000};
        spec_drafter_stats after;
        weather(&s, &after);
        calm(&s, &after);
        assert_true(after.evicted > 10 && after.index_bytes < (1 << 20) + (1 << 16));
        clear_up(&s);
    }
}

static void test_eviction_by_requests(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        uint64_t kept;
    } cases[] = {{"suffix:max_requests=5", 5},
                 {"suffix:preset=arctic,max_requests=12", 12},
                 {"suffix:max_requests=1,learn=end", 1}};
    for (size_t i = 0; i < 3; i++) {
        storm s = {.spec = cases[i].spec, .n_tenants = 3, .vocab = 30};
        spec_drafter_stats after;
        weather(&s, &after);
        calm(&s, &after);
        uint64_t kept = s.n_tenants * cases[i].kept;
        assert_int_equal(after.index_tokens, kept); /* of one token each */
        assert_int_equal(after.evicted, after.requests - kept);
        clear_up(&s);
    }
}

/* More tenants than places: some requests go without, idle tenants are dropped. */
static void test_tenants_come_and_go(void **state) {
    (void)state;
    static const char *const specs[] = {"suffix:tenants=2", "suffix:tenants=1,memory_mb=1"};
    for (size_t i = 0; i < 2; i++) {
        storm s = {.spec = specs[i], .n_tenants = 5, .vocab = 30};
        spec_drafter_stats after;
        weather(&s, &after);
        clear_up(&s);
    }
}

/* ---- saving keeps nobody waiting ------------------------------------------------- */

/* An allocator in which the saving thread stops, in the middle of its work. */
typedef struct stall {
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool reached, over;
    spec_drafter *d;
    char path[200];
} stall;

static _Thread_local bool is_saver;

static void *stalling_alloc(void *user, void *ptr, size_t old_size, size_t new_size) {
    stall *s = user;
    (void)old_size;
    if (is_saver && new_size) {
        pthread_mutex_lock(&s->lock);
        s->reached = true;
        pthread_cond_broadcast(&s->change);
        while (!s->over) pthread_cond_wait(&s->change, &s->lock);
        pthread_mutex_unlock(&s->lock);
    }
    if (new_size) return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

static void *save_slowly(void *arg) {
    stall *s = arg;
    is_saver = true;
    int err = spec_drafter_save(s->d, 0, s->path, NULL);
    return err ? arg : NULL;
}

/* Whole requests while somebody saves; they would wait for ever. */
static void serve_during_save(const char *spec) {
    stall s = {.over = false};
    support_tmp tmp;
    pthread_t saver;
    void *failed;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "saved", s.path, sizeof s.path);
    assert_int_equal(pthread_mutex_init(&s.lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&s.change, NULL), 0);
    const spec_allocator a = {.fn = stalling_alloc, .user = &s};
    s.d = drafting_open(spec, &a);
    run_say(s.d, 0, 1, 300);
    assert_int_equal(pthread_create(&saver, NULL, save_slowly, &s), 0);
    pthread_mutex_lock(&s.lock);
    while (!s.reached) pthread_cond_wait(&s.change, &s.lock);
    pthread_mutex_unlock(&s.lock);
    alarm(120); /* ends the program if somebody waits */
    assert_true(run_known(s.d, 0, 1, 50) > 0);
    for (uint32_t i = 2; i < 6; i++) run_say(s.d, 0, i, 300);
    alarm(0);
    pthread_mutex_lock(&s.lock);
    s.over = true;
    pthread_cond_broadcast(&s.change);
    pthread_mutex_unlock(&s.lock);
    assert_int_equal(pthread_join(saver, &failed), 0);
    assert_null(failed);
    for (int i = 0; i < 40; i++) run_say(s.d, 0, 6, 1); /* what was left is learnt */
    for (uint32_t i = 1; i < 6; i++) assert_true(run_known(s.d, 0, i, 250) > 0);
    spec_drafter_free(s.d);
    pthread_cond_destroy(&s.change);
    pthread_mutex_destroy(&s.lock);
    support_tmp_remove(&tmp);
}

static void test_nobody_waits_for_a_save(void **state) {
    (void)state;
    serve_during_save("suffix");
    serve_during_save("suffix:learn=end");
    serve_during_save("suffix:max_requests=100");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_taught_is_lost),  cmocka_unit_test(test_eviction_by_memory),
        cmocka_unit_test(test_eviction_by_requests),    cmocka_unit_test(test_tenants_come_and_go),
        cmocka_unit_test(test_nobody_waits_for_a_save),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
