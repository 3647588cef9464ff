/* SPDX-License-Identifier: MIT */
/*
 * The demo workload: the same tokens from the same seed, on every machine;
 * requests with the shape that docs/WORKLOADS.md promises; texts that mean what
 * they should; no harm from refused memory.
 */
#include "support.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "specp.h"
#include "workload.h"
#include "workload_gen.h"

#define N_KINDS 6

enum { TOOLS, SQL, EDITS, QUOTES, CHAT, SUMMARIES };

/* The hashes of all tokens of the default workload and of another seed: of the first
 * kinds, and of those that came later. They change when, and only when, the workload
 * does: then say so in the changelog, for recorded results on it can no longer be
 * compared. */
static const struct golden {
    size_t from, n; /* kinds */
    uint64_t by_default, seed_7;
} goldens[] = {
    {TOOLS, 5, 0x5d26623160989111u, 0x2f5bb242ec69c88du},
    {SUMMARIES, 1, 0xaa71d93039d944eeu, 0x1e30ce9820c31d5fu},
};

/* ---- helpers ------------------------------------------------------------ */

typedef struct demo {
    trace *t;
    size_t n;
} demo;

static demo make(uint64_t seed, size_t requests) {
    workload_options o = {.size = sizeof o, .seed = seed, .requests_per_kind = requests};
    demo d = {0};
    assert_int_equal(workload_demo(&d.t, &d.n, &o), SPEC_OK);
    assert_int_equal(d.n, N_KINDS);
    return d;
}

static uint64_t hash_number(uint64_t h, uint64_t x) {
    for (int i = 0; i < 8; i++, x >>= 8) h = (h ^ (x & 0xff)) * 0x100000001b3u; /* FNV-1a */
    return h;
}

static uint64_t hash_tokens(uint64_t h, const spec_token *tok, size_t n) {
    h = hash_number(h, n);
    for (size_t i = 0; i < n; i++) h = hash_number(h, (uint64_t)tok[i]);
    return h;
}

static uint64_t hash_demo(const demo *d) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t k = 0; k < d->n; k++)
        for (size_t i = 0; i < d->t[k].n; i++) {
            const trace_request *r = &d->t[k].req[i];
            h = hash_tokens(h, r->prompt, r->n_prompt);
            h = hash_tokens(h, r->response, r->n_response);
        }
    return h;
}

static workload_vocab *vocabulary(void) {
    workload_vocab *v = NULL;
    assert_int_equal(workload_vocab_new(&v, NULL), SPEC_OK);
    return v;
}

/* A zero-terminated copy of the text of some tokens; free() it. */
static char *text_of(const workload_vocab *v, const spec_token *tok, size_t n) {
    size_t length = workload_text(v, tok, n, NULL);
    char *s = malloc(length + 1);
    assert_non_null(s);
    assert_int_equal(workload_text(v, tok, n, s), length);
    s[length] = 0;
    return s;
}

/* ---- the same on every machine ------------------------------------------ */

static void test_golden(void **state) {
    (void)state;
    demo a = make(0, 0), b = make(7, 20);
    for (size_t k = 0; k < N_KINDS; k++) assert_int_equal(a.t[k].n, WORKLOAD_REQUESTS);
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        const struct golden *g = &goldens[i];
        uint64_t ha = hash_demo(&(demo){a.t + g->from, g->n}), hb = hash_demo(&(demo){b.t + g->from, g->n});
        if (ha != g->by_default || hb != g->seed_7)
            print_error("%s: hashes are 0x%016llxu and 0x%016llxu\n", workload_kind_name(g->from),
                        (unsigned long long)ha, (unsigned long long)hb);
        assert_true(ha == g->by_default);
        assert_true(hb == g->seed_7);
    }
    workload_free(a.t, a.n);
    workload_free(b.t, b.n);
}

static void test_seeds(void **state) {
    (void)state;
    demo a = make(1, 15), b = make(1, 15), c = make(2, 15);
    assert_true(hash_demo(&a) == hash_demo(&b));
    for (size_t k = 0; k < N_KINDS; k++) {
        demo x = {&a.t[k], 1}, y = {&c.t[k], 1};
        assert_true(hash_demo(&x) != hash_demo(&y));
    }
    workload_free(a.t, a.n);
    workload_free(b.t, b.n);
    workload_free(c.t, c.n);
}

static void test_short_is_prefix_of_long(void **state) {
    (void)state;
    demo a = make(3, 12), b = make(3, 40);
    for (size_t k = 0; k < N_KINDS; k++) {
        b.t[k].n = 12;
        for (size_t i = 0; i < 12; i++) assert_string_equal(a.t[k].req[i].group, b.t[k].req[i].group);
    }
    assert_true(hash_demo(&a) == hash_demo(&b));
    for (size_t k = 0; k < N_KINDS; k++) b.t[k].n = 40;
    workload_free(a.t, a.n);
    workload_free(b.t, b.n);
}

static void test_options(void **state) {
    (void)state;
    trace *t = NULL;
    size_t n = 99;
    workload_options o = {.size = sizeof o - 1};
    assert_int_equal(workload_demo(&t, &n, &o), SPEC_ERR_INVALID);
    assert_null(t);
    assert_int_equal(n, 99);
    assert_int_equal(workload_demo(&t, &n, NULL), SPEC_OK);
    demo a = {t, n}, b = make(WORKLOAD_SEED, WORKLOAD_REQUESTS);
    assert_true(hash_demo(&a) == hash_demo(&b));
    workload_free(a.t, a.n);
    workload_free(b.t, b.n);
    workload_free(NULL, 0);
}

static void test_names(void **state) {
    (void)state;
    static const char *const names[] = {"tools", "sql", "edits", "quotes", "chat", "summaries"};
    demo d = make(1, 3);
    for (size_t k = 0; k < N_KINDS; k++) {
        char id[32];
        assert_string_equal(workload_kind_name(k), names[k]);
        assert_string_equal(d.t[k].name, names[k]);
        assert_true(strlen(workload_kind_about(k)) > 20);
        assert_null(strchr(workload_kind_about(k), '\n'));
        for (size_t i = 0; i < 3; i++) {
            snprintf(id, sizeof id, "%s-%05zu", names[k], i);
            assert_string_equal(d.t[k].req[i].id, id);
        }
    }
    assert_null(workload_kind_name(N_KINDS));
    assert_null(workload_kind_about(N_KINDS));
    workload_free(d.t, d.n);
}

/* ---- the shape of each kind --------------------------------------------- */

typedef struct shape {
    size_t prompt_min, prompt_max;     /* of any request */
    double response_min, response_max; /* mean */
    double copied_min, copied_max; /* share of response tokens in a run of COPY_RUN that the prompt has too */
    size_t distinct_min;           /* different tokens in all responses */
} shape;

#define COPY_RUN 4

static bool occurs(const spec_token *in, size_t n, const spec_token *what) {
    for (size_t i = 0; i + COPY_RUN <= n; i++)
        if (in[i] == what[0] && !memcmp(in + i, what, COPY_RUN * sizeof *what)) return true;
    return false;
}

static size_t count_copied(const trace_request *r) {
    size_t n = 0, covered = 0; /* response tokens before `covered` are counted */
    for (size_t i = 0; i + COPY_RUN <= r->n_response; i++) {
        if (!occurs(r->prompt, r->n_prompt, r->response + i)) continue;
        n += i + COPY_RUN - (covered > i ? covered : i);
        covered = i + COPY_RUN;
    }
    return n;
}

static void assert_shape(const trace *t, const shape *want, size_t n_vocab) {
    size_t total = 0, copied = 0, distinct = 0;
    char *seen = calloc(n_vocab, 1);
    assert_non_null(seen);
    for (size_t i = 0; i < t->n; i++) {
        const trace_request *r = &t->req[i];
        assert_in_range(r->n_prompt, want->prompt_min, want->prompt_max);
        assert_true(r->n_response > 0);
        for (size_t k = 0; k < r->n_prompt; k++) assert_in_range(r->prompt[k], 0, n_vocab - 1);
        for (size_t k = 0; k < r->n_response; k++) {
            assert_in_range(r->response[k], 0, n_vocab - 1);
            distinct += !seen[r->response[k]];
            seen[r->response[k]] = 1;
        }
        total += r->n_response;
        copied += count_copied(r);
    }
    double mean = (double)total / (double)t->n, share = (double)copied / (double)total;
    print_message("%-9s response %5.1f tokens, copied %.3f, distinct %zu\n", t->name, mean, share, distinct);
    assert_true(mean >= want->response_min && mean <= want->response_max);
    assert_true(share >= want->copied_min && share <= want->copied_max);
    assert_true(distinct >= want->distinct_min);
    free(seen);
}

/* The bounds stand in docs/WORKLOADS.md and hold for the default size. */
static void test_shapes(void **state) {
    (void)state;
    static const shape want[N_KINDS] = {
        [TOOLS] = {200, 2000, 40, 65, 0.45, 0.70, 500},   [SQL] = {200, 2000, 75, 110, 0.40, 0.70, 150},
        [EDITS] = {200, 2000, 300, 430, 0.88, 0.98, 250}, [QUOTES] = {200, 2000, 95, 135, 0.45, 0.70, 800},
        [CHAT] = {20, 1500, 140, 220, 0.00, 0.05, 1500},  [SUMMARIES] = {150, 1000, 35, 60, 0.30, 0.45, 400},
    };
    workload_vocab *v = vocabulary();
    for (uint64_t seed = 1; seed <= 3; seed++) {
        demo d = make(seed, 0);
        size_t total = 0;
        for (size_t k = 0; k < N_KINDS; k++) {
            assert_shape(&d.t[k], &want[k], workload_vocab_size(v));
            for (size_t i = 0; i < d.t[k].n; i++) total += d.t[k].req[i].n_response;
        }
        assert_in_range(total, 60000, 120000);
        workload_free(d.t, d.n);
    }
    workload_vocab_free(v);
}

static size_t count_groups(const trace *t) {
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        size_t k = 0;
        while (strcmp(t->req[k].group, t->req[i].group)) k++;
        n += k == i;
    }
    return n;
}

/* Sessions share applications, overlap, and repeat their history. */
static void test_sessions(void **state) {
    (void)state;
    demo d = make(1, 0);
    for (size_t k = 0; k < N_KINDS; k++) {
        size_t switches = 0;
        for (size_t i = 1; i < d.t[k].n; i++)
            switches += strcmp(d.t[k].req[i].group, d.t[k].req[i - 1].group) != 0;
        assert_in_range(count_groups(&d.t[k]), 4, 8);
        assert_in_range(switches, d.t[k].n / 3, d.t[k].n - 5);
    }
    const trace *t = &d.t[TOOLS];
    size_t continued = 0;
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = i + 1; k < t->n; k++) {
            const trace_request *a = &t->req[i], *b = &t->req[k];
            size_t n = a->n_prompt;
            if (b->n_prompt > n && !memcmp(a->prompt, b->prompt, (n - 1) * sizeof *a->prompt)) {
                continued++;
                break;
            }
        }
    assert_in_range(continued, t->n / 2, t->n);
    workload_free(d.t, d.n);
}

/* ---- what the texts say ------------------------------------------------- */

typedef void (*text_check)(const char *prompt, const char *response, size_t *n_seen);

static void check_texts(size_t kind, text_check check, size_t seen_min) {
    workload_vocab *v = vocabulary();
    demo d = make(support_seed(), 60);
    size_t seen = 0;
    for (size_t i = 0; i < d.t[kind].n; i++) {
        const trace_request *r = &d.t[kind].req[i];
        char *prompt = text_of(v, r->prompt, r->n_prompt), *response = text_of(v, r->response, r->n_response);
        check(prompt, response, &seen);
        free(prompt);
        free(response);
    }
    assert_true(seen >= seen_min);
    workload_free(d.t, d.n);
    workload_vocab_free(v);
}

/* The JSON value that begins at the first brace of `at`: a call of a tool that
 * the prompt offers, with arguments that its schema has. */
static const char *check_call(const char *prompt, const char *at) {
    json_error_t e;
    json_t *call = json_loads(at, JSON_DISABLE_EOF_CHECK, &e);
    assert_non_null(call);
    const json_t *name = json_object_get(call, "name");
    if (!name) name = json_object_get(call, "tool");
    if (!name) name = json_object_get(call, "call");
    const json_t *arguments = json_object_get(call, "arguments");
    if (!arguments) arguments = json_object_get(call, "parameters");
    assert_true(json_is_string(name) && json_is_object(arguments));
    char want[128];
    snprintf(want, sizeof want, "{\"name\": \"%s\", \"description\": ", json_string_value(name));
    const char *schema = strstr(prompt, want);
    assert_non_null(schema);
    json_t *tool = json_loads(schema, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(tool);
    const json_t *properties = json_object_get(json_object_get(tool, "parameters"), "properties");
    assert_int_equal(json_object_size(arguments), json_object_size(properties));
    for (void *i = json_object_iter((json_t *)arguments); i;
         i = json_object_iter_next((json_t *)arguments, i))
        assert_non_null(json_object_get(properties, json_object_iter_key(i)));
    json_decref(tool);
    json_decref(call);
    return at + e.position;
}

static void check_tools(const char *prompt, const char *response, size_t *n_seen) {
    static const char *const openers[] = {"<tool_call>\n", "```json\n", "{\"call\""};
    for (size_t i = 0; i < 3; i++)
        for (const char *at = strstr(response, openers[i]); at; at = strstr(at, openers[i])) {
            at = check_call(prompt, strchr(at, '{'));
            ++*n_seen;
        }
}

static void test_tool_calls(void **state) {
    (void)state;
    check_texts(TOOLS, check_tools, 15);
}

/* Quotation marks in arguments are rare: this looks until one was there. */
static void test_tool_calls_escape(void **state) {
    (void)state;
    wl_grammar *g = NULL;
    assert_int_equal(wl_workload_grammar(&g, NULL), SPEC_OK);
    wl_env env = {NULL, g, SPEC_OK};
    wl_buf prompt, response;
    wl_buf_init(&prompt, &env);
    wl_buf_init(&response, &env);
    wl_source s = {0};
    size_t escaped = 0, calls = 0;
    assert_int_equal(wl_source_open(&s, TOOLS, 1, &env), SPEC_OK);
    for (int i = 0; i < 20000 && escaped < 3; i++) {
        assert_non_null(wl_source_next(&s, &prompt, &response));
        bool sentence =
            strstr(wl_str(&response), "\"text\": \"") || strstr(wl_str(&response), "\"body\": \"");
        if (!sentence) continue;
        check_tools(wl_str(&prompt), wl_str(&response), &calls);
        escaped += strstr(wl_str(&response), "\\\"") != NULL;
    }
    assert_int_equal(escaped, 3);
    wl_source_close(&s);
    wl_buf_free(&prompt);
    wl_buf_free(&response);
    wl_grammar_free(g);
}

/* Tables after FROM and JOIN are in the prompt's catalogue, or made by the query. */
static void check_sql(const char *prompt, const char *response, size_t *n_seen) {
    static const char *const before[] = {"FROM ", "JOIN "};
    int depth = 0;
    for (const char *c = response; *c; c++) depth += (*c == '(') - (*c == ')');
    assert_int_equal(depth, 0);
    for (size_t i = 0; i < 2; i++)
        for (const char *at = strstr(response, before[i]); at; at = strstr(at + 1, before[i])) {
            char table[64], want[96];
            assert_int_equal(sscanf(at + strlen(before[i]), "%63[a-z_]", table), 1);
            snprintf(want, sizeof want, "CREATE TABLE %s (", table);
            assert_true(strstr(prompt, want) || strcmp(table, "totals") == 0);
            ++*n_seen;
        }
}

static void test_sql(void **state) {
    (void)state;
    check_texts(SQL, check_sql, 50);
}

/* A quotation of some length is in the prompt. Quotations open after a space,
 * and end before one. */
static void check_quotes(const char *prompt, const char *response, size_t *n_seen) {
    const char *answer = strstr(prompt, "<|user|>");
    assert_non_null(answer);
    for (const char *at = strstr(response, " \""); at; at = strstr(at + 1, " \"")) {
        const char *end = strstr(at + 2, "\" ");
        if (!end || end - at < 60) continue;
        char *quote = malloc((size_t)(end - at));
        assert_non_null(quote);
        memcpy(quote, at + 2, (size_t)(end - at) - 2);
        quote[end - at - 2] = 0;
        const char *found = strstr(prompt, quote);
        *n_seen += found && found < answer;
        free(quote);
    }
}

static void test_quotes(void **state) {
    (void)state;
    check_texts(QUOTES, check_quotes, 30);
}

/* Numbers and names of a summary are in the report, and it is as long as was asked for. */
static void check_summary(const char *prompt, const char *response, size_t *n_seen) {
    const char *asked = strstr(prompt, "<|user|>"), *report = strstr(prompt, "\n\n");
    for (const char *next; (next = strstr(asked + 1, "<|user|>"));) asked = next;
    size_t sentences = 0, points = 0;
    for (const char *c = response; *c; c++) {
        bool first = c == response || c[-1] == ' ' || c[-1] == '(';
        size_t digits = strspn(c, "0123456789"), letters = strcspn(c, " ,.;)\n");
        bool starts = c == response || (c - response > 1 && c[-2] != ',' && strchr(".:-", c[-2]));
        sentences += *c == '.' && (c[1] == ' ' || !c[1]);
        points += !strncmp(c, "- ", 2) && (c == response || c[-1] == '\n');
        size_t n = first && digits ? digits : first && !starts && *c >= 'A' && *c <= 'Z' ? letters : 0;
        if (!n || !strncmp(c, "EUR", 3)) continue;
        char word[64];
        assert_true(n < sizeof word);
        memcpy(word, c, n);
        word[n] = 0;
        const char *found = strstr(report, word);
        assert_true(found && found < asked);
        ++*n_seen;
    }
    assert_true((sentences > 0) != (points > 0));
    if (strstr(asked, "two sentences") || strstr(asked, "Two sentences")) assert_int_equal(sentences, 2);
    if (strstr(asked, "one sentence")) assert_int_equal(sentences, 1);
    if (strstr(asked, "aragraph") || strstr(asked, "detail")) assert_int_equal(sentences, 3);
    if (strstr(asked, "points")) assert_int_equal(points, 4);
}

static void test_summaries(void **state) {
    (void)state;
    check_texts(SUMMARIES, check_summary, 150);
}

/* ---- many seeds, little memory ------------------------------------------ */

/* Any template that names something unbound, or splices out of range, would
 * stop the run. */
static void test_many_seeds(void **state) {
    (void)state;
    wl_grammar *g = NULL;
    assert_int_equal(wl_workload_grammar(&g, NULL), SPEC_OK);
    wl_env env = {NULL, g, SPEC_OK};
    wl_buf prompt, response;
    wl_buf_init(&prompt, &env);
    wl_buf_init(&response, &env);
    for (uint64_t i = 0; i < 12 * N_KINDS; i++) {
        wl_source s = {0};
        assert_int_equal(wl_source_open(&s, i % N_KINDS, support_seed() + i, &env), SPEC_OK);
        for (int k = 0; k < 60; k++) assert_non_null(wl_source_next(&s, &prompt, &response));
        assert_true(prompt.n && response.n);
        wl_source_close(&s);
    }
    wl_source s = {0};
    assert_int_equal(wl_source_open(&s, N_KINDS, 1, &env), SPEC_ERR_INVALID);
    wl_buf_free(&prompt);
    wl_buf_free(&response);
    wl_grammar_free(g);
}

/* Working memory only: the traces come from the C library. */
static void test_refused_allocations(void **state) {
    (void)state;
    support_heap h;
    support_heap_init(&h);
    spec_allocator a = support_alloc(&h);
    workload_options o = {.size = sizeof o, .requests_per_kind = 4, .allocator = &a};
    trace *t = NULL;
    size_t n = 0, k = 0;
    int err = SPEC_ERR_NOMEM;
    for (; err; k++) {
        support_heap_refuse(&h, k, false);
        err = workload_demo(&t, &n, &o);
        support_heap_assert_clean(&h);
        assert_int_equal(err, h.refused ? SPEC_ERR_NOMEM : SPEC_OK);
        if (err) assert_true(!t && !n);
    }
    assert_true(k > 100);
    print_message("%zu refusals\n", k - 1);
    demo got = {t, n}, want = make(0, 4);
    assert_true(hash_demo(&got) == hash_demo(&want));
    workload_free(got.t, got.n);
    workload_free(want.t, want.n);
}

/* One kind, many sessions: every place where a generator may run dry. */
static int run_source(size_t kind, int requests, const spec_allocator *a) {
    wl_source s = {0};
    wl_env env = {a, NULL, SPEC_OK};
    wl_grammar *g = NULL;
    wl_buf prompt, response;
    wl_buf_init(&prompt, &env);
    wl_buf_init(&response, &env);
    int err = wl_workload_grammar(&g, NULL);
    env.grammar = g;
    if (!err) err = wl_source_open(&s, kind, 1, &env);
    for (int i = 0; i < requests && !err; i++)
        if (!wl_source_next(&s, &prompt, &response)) err = env.err;
    wl_source_close(&s);
    wl_buf_free(&prompt);
    wl_buf_free(&response);
    wl_grammar_free(g);
    return err;
}

static void test_refused_in_every_kind(void **state) {
    (void)state;
    for (size_t kind = 0; kind < N_KINDS; kind++) {
        support_heap h;
        support_heap_init(&h);
        spec_allocator a = support_alloc(&h);
        size_t k = 0;
        for (int err = SPEC_ERR_NOMEM; err; k++) {
            support_heap_refuse(&h, k, false);
            err = run_source(kind, 40, &a);
            support_heap_assert_clean(&h);
            assert_int_equal(err, h.refused ? SPEC_ERR_NOMEM : SPEC_OK);
        }
        print_message("%s: %zu refusals\n", workload_kind_name(kind), k - 1);
        assert_true(k > 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_short_is_prefix_of_long),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_tool_calls),
        cmocka_unit_test(test_tool_calls_escape),
        cmocka_unit_test(test_sql),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_summaries),
        cmocka_unit_test(test_many_seeds),
        cmocka_unit_test(test_refused_allocations),
        cmocka_unit_test(test_refused_in_every_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
