/* SPDX-License-Identifier: MIT */
/*
 * Lossless, on a real forward pass: for every drafter the text equals plain
 * decoding's, token for token, greedy and sampled, alone and side by side, with 1 to 4
 * threads; and after every pass the cache equals a fresh prefill's, bit for bit.
 *
 * SOAK=N in the environment asks for N tokens of each instead of a slice (make soak).
 * Under the address sanitizer, which is after other faults, slices are shorter.
 */
#include <stdlib.h>
#include <string.h>

#include "copy_model.h"
#include "eagle3_world.h"
#include "engine.h"
#include "made_heads.h"
#include "random_model.h"
#include "support.h"

/* Every drafter, in forms that disagree with the model often
 * (random), always agree (oracle), branch (suffix), and in between. {medusa} and {eagle3} are
 * files of heads with random weights, {small} is another model, {target} is the target's own. */
static const char *const drafters[] = {
    "oracle",
    "random:width=3,len=3",
    "suffix",
    "mix",
    "mix:with=recycle",
    "mix:nodes=6,with=(medusa:{medusa}+(union:pld+ngram-cache))",
    "mix:with=(oracle+eagle3:{eagle3})",
    "suffix:preset=arctic",
    "suffix:preset=coreml",
    "pld:n_max=2",
    "ngram-mod:n=2,min=1,len=6",
    "ngram-cache",
    "recycle",
    "union:suffix+pld",
    "union:recycle+random:width=2,len=2",
    "cascade:suffix>ngram-cache,tau=1",
    "cascade:recycle>pld,tau=0.5",
    "model:{target},len=3,min_prob=0",
    "model:{small},len=4,k=3,beam=2,min_prob=0.001",
    "union:suffix+model:{target},k=2,min_prob=0.01",
    "cascade:suffix>model:{small},tau=1",
    "medusa:{medusa}",
    "eagle3:{eagle3}",
    "union:oracle+medusa:{medusa}+eagle3:{eagle3}", /* so that heads see drafts that are accepted */
    "cascade:eagle3:{eagle3}>suffix,tau=0.02",
    "union:suffix+(cascade:medusa:{medusa}>eagle3:{eagle3},tau=0.1)",
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer) /* as clang says it */
#define __SANITIZE_ADDRESS__
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
enum { SLICE = 96, RESPONSE = 24 };
#else
enum { SLICE = 1000, RESPONSE = 100 }; /* tokens of each plan, and of a response */
#endif

typedef struct world {
    support_tmp tmp;
    char model[256];
    bool has_heads; /* of its own, trained; else some with random weights are made */
} world;

/* Heads and a draft model for a target. */
typedef struct heads {
    support_tmp tmp;
    char medusa[256], eagle3[256], small[256];
    const char *target; /* its own file */
} heads;

typedef struct plan {
    float temperature;
    size_t batch;
    unsigned threads;
    size_t tokens;    /* of all responses together, about */
    bool check_cache; /* after every pass */
    const char *cost; /* the goodput policy decides, by this cost model; NULL: the budget is drafted */
} plan;

static size_t soak_tokens(void) {
    const char *n = getenv("SOAK");
    return n ? (size_t)strtoull(n, NULL, 10) : 0;
}

/* ---- prompts ------------------------------------------------------------- */

/* Random tokens with repetitions, as drafters that copy want them. */
static void make_prompts(prompts *p, size_t tokens) {
    support_rng rng = support_rng_new(support_seed(), 1);
    size_t n = (tokens + RESPONSE - 1) / RESPONSE, vocab = 300;
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < n; i++) {
        spec_token tok[40];
        size_t len = 1 + support_rng_below(&rng, 40);
        for (size_t k = 0; k < len; k++)
            tok[k] = k > 6 && support_rng_chance(&rng, 0.7)
                         ? tok[k - 5]
                         : 3 + (spec_token)support_rng_below(&rng, (uint32_t)vocab - 3);
        tok[0] = 1;
        assert_int_equal(prompts_add(p, "", "", NULL, tok, len), SPEC_OK);
    }
}

/* ---- running ------------------------------------------------------------- */

static spec_target *open_target(const world *w, unsigned threads) {
    spec_target_options o = {.size = sizeof o, .threads = threads, .max_context = 256};
    spec_message why = {""};
    spec_target *t = NULL;
    if (spec_target_open(&t, w->model, &o, NULL, &why) != SPEC_OK) fail_msg("%s", why.text);
    return t;
}

static void make_small(heads *h, size_t vocab) {
    char shape[96];
    spec_message why = {""};
    random_model m = {.shape = shape, .type = "F32", .seed = support_seed() + 1};
    snprintf(shape, sizeof shape, "dim=32,layers=1,heads=2,kv=2,hidden=64,vocab=%zu,context=512", vocab);
    support_tmp_path(&h->tmp, "small.gguf", h->small, sizeof h->small);
    if (random_model_write(h->small, &m, &why) != SPEC_OK) fail_msg("%s", why.text);
}

static void make_random_heads(heads *h, const spec_target *t) {
    spec_target_info info = {.size = sizeof info};
    support_rng rng = support_rng_new(support_seed(), 2);
    eagle3_made m = eagle3_usual;
    spec_target_get_info(t, &info);
    made_medusa(support_tmp_path(&h->tmp, "medusa", h->medusa, sizeof h->medusa), 3, info.dim, info.vocab,
                support_seed(), NULL);
    m.target = m.hidden = info.dim;
    m.vocab = info.vocab;
    m.draft_vocab = info.vocab / 2;
    m.n_layers = info.n_layers;
    m.layers = "[0, 1, 2]";
    m.sharp = 8;
    eagle3_make(support_tmp_path(&h->tmp, "eagle3", h->eagle3, sizeof h->eagle3), &m, &rng);
    make_small(h, info.vocab);
}

static void find_heads(heads *h, const world *w, const spec_target *t) {
    support_tmp_make(&h->tmp);
    h->target = w->model;
    if (w->has_heads) {
        snprintf(h->medusa, sizeof h->medusa, "bench/models/medusa.gguf");
        snprintf(h->eagle3, sizeof h->eagle3, "bench/models/eagle3.gguf");
        snprintf(h->small, sizeof h->small, "bench/models/draft.gguf");
    } else {
        make_random_heads(h, t);
    }
}

/* The drafter with the files in place. */
static void fill_in(char *out, size_t size, const char *drafter, const heads *h) {
    const struct {
        const char *name, *path;
    } file[] = {
        {"{medusa}", h->medusa}, {"{eagle3}", h->eagle3}, {"{small}", h->small}, {"{target}", h->target}};
    size_t n = 0;
    while (*drafter) {
        size_t k = 0;
        while (k < COUNT(file) && strncmp(drafter, file[k].name, strlen(file[k].name)) != 0) k++;
        assert_true(n + sizeof h->medusa < size);
        if (k < COUNT(file)) {
            n += (size_t)snprintf(out + n, size - n, "%s", file[k].path);
            drafter += strlen(file[k].name);
        } else {
            out[n++] = *drafter++;
        }
    }
    out[n] = '\0';
}

static void put_under_policy(proposer *by, const char *cost, uint32_t budget) {
    spec_message why = {""};
    cost_model m;
    if (cost_model_open(&m, cost, &why) != SPEC_OK) fail_msg("%s", why.text);
    if (proposer_under_policy(by, by->drafter, &m, PROPOSER_COST_GRID, budget, &why) != SPEC_OK)
        fail_msg("%s", why.text);
    cost_model_free(&m);
}

static void decode(const engine_settings *s, const heads *h, const char *drafter, const char *cost,
                   const engine_run *plain, engine_run *out) {
    proposer by = {0};
    engine *e = NULL;
    spec_message why = {""};
    char text[2048];
    bool more = true;
    spec_lm target;
    spec_target_lm(s->target, &target);
    const spec_drafter_env env = {
        .size = sizeof env, .target = &target, .open_model = spec_target_open_lm, .threads = 2};
    fill_in(text, sizeof text, drafter, h);
    if (spec_drafter_open_env(&by.drafter, text, &env, NULL, &why) != SPEC_OK) fail_msg("%s", why.text);
    if (cost) put_under_policy(&by, cost, s->budget);
    int rc = engine_open(&e, s, &by, plain, out, &why);
    while (rc == SPEC_OK && more) rc = engine_next(e, &more);
    if (rc != SPEC_OK) fail_msg("%s: %s", drafter, why.text);
    assert_int_equal(engine_close(e), SPEC_OK);
    proposer_free(&by);
}

static void compare(const engine_run *plain, const engine_run *with, const char *drafter, bool greedy) {
    size_t where = 0, at = 0;
    if (!engine_same(plain, with, &where, &at))
        fail_msg("%s differs: response %zu, token %zu", drafter, where, at);
    bool right = strcmp(drafter, "oracle") == 0 || (greedy && strncmp(drafter, "model:{target}", 14) == 0);
    if (right) assert_true(with->m.total.steps * 3 < plain->m.total.steps);
}

static void run_plan(const world *w, const plan *p) {
    spec_target *t = open_target(w, p->threads);
    size_t tokens = soak_tokens() ? soak_tokens() : p->tokens, drafted = 0;
    spec_sampling sampling = {.size = sizeof sampling, .temperature = p->temperature};
    prompts ask;
    engine_run plain;
    heads h;
    make_prompts(&ask, tokens);
    find_heads(&h, w, t);
    engine_settings s = {.target = t,
                         .prompts = &ask,
                         .max_tokens = RESPONSE,
                         .budget = 12,
                         .batch = p->batch,
                         .sampling = &sampling,
                         .seed = support_seed(),
                         .ignore_eos = true,
                         .check_cache = p->check_cache};
    decode(&s, &h, "none", NULL, NULL, &plain);
    assert_true(plain.m.total.out >= tokens);
    for (size_t i = 0; i < COUNT(drafters); i++) {
        engine_run run;
        decode(&s, &h, drafters[i], p->cost, &plain, &run);
        compare(&plain, &run, drafters[i], !(p->temperature > 0) && !p->cost);
        drafted += run.m.total.drafted;
        engine_release(&run);
    }
    assert_true(drafted > tokens / (p->cost ? 4 : 1)); /* or nothing was tried */
    engine_release(&plain);
    prompts_free(&ask);
    support_tmp_remove(&h.tmp);
    spec_target_free(t);
}

/* ---- the tests ----------------------------------------------------------- */

static void test_greedy(void **state) {
    const plan p = {.batch = 1, .threads = 2, .tokens = SLICE};
    run_plan(*state, &p);
}

static void test_greedy_batch(void **state) {
    const plan p = {.batch = 8, .threads = 3, .tokens = SLICE};
    run_plan(*state, &p);
}

static void test_sampled(void **state) {
    const plan p = {.temperature = 0.7f, .batch = 1, .threads = 1, .tokens = SLICE};
    run_plan(*state, &p);
}

static void test_sampled_hot(void **state) {
    const plan p = {.temperature = 1.5f, .batch = 8, .threads = 4, .tokens = SLICE};
    run_plan(*state, &p);
}

static void test_caches(void **state) {
    const plan greedy = {.batch = 3, .threads = 2, .tokens = SLICE / 10, .check_cache = true};
    const plan sampled = {
        .temperature = 0.7f, .batch = 1, .threads = 1, .tokens = SLICE / 10, .check_cache = true};
    if (soak_tokens()) skip();
    run_plan(*state, &greedy);
    run_plan(*state, &sampled);
}

/* The goodput policy changes how much is drafted and nothing else, where much pays and where little. */
static void test_goodput(void **state) {
    const plan greedy = {.batch = 8, .threads = 2, .tokens = SLICE / 4, .cost = "linear:0.01"};
    const plan sampled = {
        .temperature = 0.7f, .batch = 1, .threads = 1, .tokens = SLICE / 4, .cost = "linear:0.05"};
    const plan hot = {.temperature = 1.5f,
                      .batch = 3,
                      .threads = 2,
                      .tokens = SLICE / 10,
                      .check_cache = true,
                      .cost = "flat"};
    run_plan(*state, &greedy);
    run_plan(*state, &sampled);
    if (!soak_tokens()) run_plan(*state, &hot);
}

static int make_random(void **state) {
    static world w;
    random_model m = {.shape = "dim=64,layers=3,heads=4,kv=2,hidden=160,vocab=320,context=512",
                      .type = "Q8_0",
                      .seed = support_seed()};
    spec_message why = {""};
    support_tmp_make(&w.tmp);
    support_tmp_path(&w.tmp, "random.gguf", w.model, sizeof w.model);
    if (random_model_write(w.model, &m, &why) != SPEC_OK) fail_msg("%s", why.text);
    *state = &w;
    return 0;
}

static int make_copying(void **state) {
    static world w;
    spec_message why = {""};
    support_tmp_make(&w.tmp);
    support_tmp_path(&w.tmp, "copying.gguf", w.model, sizeof w.model);
    if (copy_model_write(w.model, support_seed(), &why) != SPEC_OK) fail_msg("%s", why.text);
    *state = &w;
    return 0;
}

/* The model that comes with specbench, with the heads that were trained for it: drafts are long and often
 * right. */
static int find_builtin(void **state) {
    static world w = {.model = "bench/models/target.gguf", .has_heads = true};
    *state = &w;
    return 0;
}

static int remove_model(void **state) {
    support_tmp_remove(&((world *)*state)->tmp);
    return 0;
}

static int find_stories(void **state) {
    static world w;
    if (!support_shared("golden/stories260K/stories260K-Q8_0.gguf", w.model, sizeof w.model))
        w.model[0] = '\0';
    *state = &w;
    return 0;
}

static void stories(void **state, void (*test)(void **)) {
    if (!((world *)*state)->model[0]) SUPPORT_SKIP_NO_SHARED();
    test(state);
}

static void test_stories_greedy(void **state) { stories(state, test_greedy); }
static void test_stories_batch(void **state) { stories(state, test_greedy_batch); }
static void test_stories_sampled(void **state) { stories(state, test_sampled); }
static void test_stories_hot(void **state) { stories(state, test_sampled_hot); }
static void test_stories_caches(void **state) { stories(state, test_caches); }

int main(void) {
    const struct CMUnitTest random_weights[] = {
        cmocka_unit_test(test_greedy),  cmocka_unit_test(test_greedy_batch),
        cmocka_unit_test(test_sampled), cmocka_unit_test(test_sampled_hot),
        cmocka_unit_test(test_caches),  cmocka_unit_test(test_goodput),
    };
    const struct CMUnitTest copying[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_sampled_hot),
        cmocka_unit_test(test_caches),
    };
    const struct CMUnitTest trained[] = {
        cmocka_unit_test(test_stories_greedy),  cmocka_unit_test(test_stories_batch),
        cmocka_unit_test(test_stories_sampled), cmocka_unit_test(test_stories_hot),
        cmocka_unit_test(test_stories_caches),
    };
    const struct CMUnitTest builtin[] = {
        cmocka_unit_test(test_greedy_batch),
        cmocka_unit_test(test_sampled),
        cmocka_unit_test(test_goodput),
    };
    int failed = cmocka_run_group_tests(random_weights, make_random, remove_model);
    failed += cmocka_run_group_tests(copying, make_copying, remove_model);
    failed += cmocka_run_group_tests(builtin, find_builtin, NULL);
    return failed + cmocka_run_group_tests(trained, find_stories, NULL);
}
