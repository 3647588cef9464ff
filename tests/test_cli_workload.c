/* SPDX-License-Identifier: MIT */
/*
 * specbench workload: what it writes is what the generator makes, in forms that the
 * project's own readers take.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli_run.h"
#include "prompts.h"
#include "trace.h"
#include "train_text.h"
#include "workload.h"

/* ---- what the generator makes -------------------------------------------- */

#define MOST 1000

typedef struct made {
    char *id[MOST], *prompt[MOST], *response[MOST];
    size_t n;
} made;

static char *copy(const char *text, size_t n) {
    char *s = malloc(n + 1);
    assert_non_null(s);
    memcpy(s, text, n + 1);
    return s;
}

static int take(void *user, const workload_request *r) {
    made *m = user;
    assert_true(m->n < MOST && r->place < WORKLOAD_PLACES);
    assert_int_equal(strlen(r->prompt), r->n_prompt);
    assert_int_equal(strlen(r->response), r->n_response);
    m->id[m->n] = copy(r->id, strlen(r->id));
    m->prompt[m->n] = copy(r->prompt, r->n_prompt);
    m->response[m->n++] = copy(r->response, r->n_response);
    return 0;
}

/* Adds the requests of a kind. */
static void add_kind(made *m, size_t kind, uint64_t seed, size_t requests) {
    workload_options o = {.size = sizeof o, .seed = seed, .requests_per_kind = requests};
    assert_int_equal(workload_each(kind, &o, take, m), SPEC_OK);
}

static void forget(made *m) {
    for (size_t i = 0; i < m->n; i++) {
        free(m->id[i]);
        free(m->prompt[i]);
        free(m->response[i]);
    }
    m->n = 0;
}

static size_t number_of_kinds(void) {
    size_t n = 0;
    while (workload_kind_name(n)) n++;
    return n;
}

static int stop_at_third(void *user, const workload_request *r) {
    (void)r;
    return ++*(int *)user == 3 ? SPEC_ERR_FULL : 0;
}

static void test_each(void **state) {
    (void)state;
    int seen = 0;
    workload_options bad = {.size = 1};
    assert_int_equal(workload_each(0, NULL, stop_at_third, &seen), SPEC_ERR_FULL);
    assert_int_equal(seen, 3);
    assert_int_equal(workload_each(0, &bad, stop_at_third, &seen), SPEC_ERR_INVALID);
    assert_int_equal(workload_each(number_of_kinds(), NULL, stop_at_third, &seen), SPEC_ERR_INVALID);
    assert_int_equal(seen, 3);
}

/* ---- prompts and traces -------------------------------------------------- */

static void test_prompts(void **state) {
    (void)state;
    static made m;
    prompts p;
    spec_message why;
    cli_expect("workload --kind chat --kind sql --kind chat -n 30 --seed 9 -o @/p.jsonl", 0,
               "/p.jsonl: 60 requests\n", "");
    add_kind(&m, 1, 9, 30); /* sql, in the generator's order */
    add_kind(&m, 4, 9, 30);
    assert_int_equal(prompts_load(&p, cli_at("p.jsonl"), false, &why), SPEC_OK);
    assert_int_equal(p.n, m.n);
    for (size_t i = 0; i < m.n; i++) {
        assert_string_equal(p.item[i].id, m.id[i]);
        assert_true(p.item[i].group[0]);
        assert_int_equal(p.item[i].n_turns, 1);
        assert_string_equal(p.item[i].turn[0], m.prompt[i]);
    }
    prompts_free(&p);
    forget(&m);
}

static void test_trace(void **state) {
    (void)state;
    trace got, *want;
    size_t n_kinds, n = 0;
    spec_message why;
    workload_options o = {.size = sizeof o, .seed = 5, .requests_per_kind = 20};
    cli_expect("workload --as trace -n 20 --seed 5 -o @/t.jsonl", 0, "requests, token ids below 10,147\n",
               "");
    assert_int_equal(trace_load(&got, cli_at("t.jsonl"), false, &why), SPEC_OK);
    assert_int_equal(workload_demo(&want, &n_kinds, &o), SPEC_OK);
    assert_int_equal(got.n, 20 * n_kinds);
    for (size_t k = 0; k < n_kinds; k++)
        for (size_t i = 0; i < 20; i++, n++) {
            const trace_request *a = &got.req[n], *b = &want[k].req[i];
            assert_string_equal(a->id, b->id);
            assert_string_equal(a->group, b->group);
            assert_int_equal(a->n_prompt, b->n_prompt);
            assert_int_equal(a->n_response, b->n_response);
            assert_memory_equal(a->prompt, b->prompt, a->n_prompt * sizeof *a->prompt);
            assert_memory_equal(a->response, b->response, a->n_response * sizeof *a->response);
        }
    workload_free(want, n_kinds);
    trace_free(&got);
    cli_expect("replay @/t.jsonl -d none -n 5 -q", 0, "", "");
}

/* ---- text ---------------------------------------------------------------- */

#define SEPARATOR TRAIN_TEXT_SEPARATOR "\n"

/* Cuts the text in place; documents without their last newline. */
static size_t cut(char *text, char **document) {
    size_t n = 0;
    for (char *at = text; at; n++) {
        char *end = strstr(at, SEPARATOR);
        assert_true(n < MOST);
        document[n] = at;
        at = end ? end + strlen(SEPARATOR) : NULL;
        end = end ? end : document[n] + strlen(document[n]);
        assert_true(end > document[n] && end[-1] == '\n');
        end[-1] = 0;
    }
    return n;
}

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* A document that holds the request with a visible end of its response; marks it as used. */
static bool holds(char **document, size_t n, bool *used, const char *ask, const char *answer) {
    for (size_t i = 0; i < n; i++) {
        const char *rest = document[i] + strlen(ask);
        if (!begins(document[i], ask) || !begins(rest, answer)) continue;
        rest += strlen(answer);
        if (*rest && !begins(rest, "\n<|")) continue;
        if (!*rest) used[i] = true;
        return true;
    }
    return false;
}

/* Every request is in a document, every document ends with a request, and none holds another. */
static void check_documents(size_t kind, size_t at_least, size_t at_most) {
    static made m;
    char *document[MOST], command[200];
    bool used[MOST] = {false};
    size_t length;
    snprintf(command, sizeof command, "workload --as text --kind %s -n 60 -o @/t.txt -q",
             workload_kind_name(kind));
    cli_expect(command, 0, "", "");
    char *text = support_read_file(cli_at("t.txt"), &length);
    assert_int_equal(strlen(text), length);
    size_t n = cut(text, document);
    add_kind(&m, kind, WORKLOAD_SEED, 60);
    assert_in_range(n, at_least, at_most);
    for (size_t i = 0; i < m.n; i++) assert_true(holds(document, n, used, m.prompt[i], m.response[i]));
    for (size_t i = 0; i < n; i++) {
        assert_true(used[i]);
        for (size_t k = 0; k < n; k++) assert_true(k == i || !begins(document[k], document[i]));
    }
    free(text);
    forget(&m);
}

static void test_text(void **state) {
    (void)state;
    check_documents(0, 5, 25);
    check_documents(1, 10, 40);
    check_documents(2, 60, 60);
    check_documents(3, 20, 55);
    check_documents(4, 30, 55);
    check_documents(5, 25, 55);
}

/* What the trainer makes of it: as many documents as were told. */
static void test_text_for_training(void **state) {
    (void)state;
    train_vocab v;
    train_data *d;
    spec_message why;
    char told[80];
    cli_expect("train target -q --random tiny,vocab=300,context=64 -o @/m.gguf", 0, "", "");
    cli_result r = cli_run("workload --as text -n 12 -o @/all.txt");
    assert_int_equal(r.code, 0);
    assert_int_equal(train_vocab_open(&v, cli_at("m.gguf"), NULL, &why), SPEC_OK);
    assert_int_equal(train_data_new(&d, &(train_data_options){.seq = 64}, NULL, &why), SPEC_OK);
    assert_int_equal(train_text_add(d, &v, cli_at("all.txt"), &why), SPEC_OK);
    snprintf(told, sizeof told, "/all.txt: %zu documents\n", train_data_documents(d, TRAIN_PART_LEARN));
    cli_has(r.out, told);
    train_data_free(d);
    train_vocab_close(&v);
    cli_release(&r);
}

/* ---- the same bytes ------------------------------------------------------ */

static void same(const char *a, const char *b, bool expected) {
    cli_result x = cli_run(a), y = cli_run(b);
    assert_int_equal(x.code, 0);
    assert_int_equal(y.code, 0);
    assert_true(*x.out && *y.out && !*x.err && !*y.err);
    assert_int_equal(strcmp(x.out, y.out) == 0, expected);
    cli_release(&x);
    cli_release(&y);
}

static void test_deterministic(void **state) {
    (void)state;
    same("workload -n 4", "workload --as prompts --requests 4 --seed 1", true);
    same("workload -n 4", "workload -n 4 --seed 2", false);
    same("workload -n 4 --as text", "workload -n 4 --as text", true);
    same("workload --kind sql -n 8 --max-chars 99999", "workload --kind sql -n 8", true);
    cli_result all = cli_run("workload --as text -n 10");
    cli_expect("workload --as text -n 10 -o @/x.txt -q", 0, "", "");
    char *file = support_read_file(cli_at("x.txt"), NULL);
    assert_string_equal(file, all.out);
    free(file);
    cli_release(&all);
}

/* ---- limits and refusals ------------------------------------------------- */

static void test_max_chars(void **state) {
    (void)state;
    prompts p;
    spec_message why;
    cli_expect("workload --kind sql -n 60 --max-chars 1500 -o @/s.jsonl", 0,
               "s.jsonl: ", " whose prompts have more than 1500 characters\n");
    assert_int_equal(prompts_load(&p, cli_at("s.jsonl"), false, &why), SPEC_OK);
    assert_in_range(p.n, 10, 59);
    for (size_t i = 0; i < p.n; i++) assert_in_range(strlen(p.item[i].turn[0]), 1, 1500);
    char told[80];
    snprintf(told, sizeof told, "specbench: left out %zu request", 60 - p.n);
    cli_expect("workload --kind sql -n 60 --max-chars 1500 -q -o @/s.jsonl", 0, "", told);
    prompts_free(&p);
    /* The longest prompt has just so many. */
    static made m;
    char command[120];
    size_t most = 0;
    add_kind(&m, 1, WORKLOAD_SEED, 60);
    for (size_t k = 0; k < m.n; k++) most = strlen(m.prompt[k]) > most ? strlen(m.prompt[k]) : most;
    snprintf(command, sizeof command, "workload --kind sql -n 60 -o @/s.jsonl --max-chars %zu", most);
    cli_expect(command, 0, "s.jsonl: 60 requests\n", "");
    snprintf(command, sizeof command, "workload --kind sql -n 60 -o @/s.jsonl --max-chars %zu", most - 1);
    cli_expect(command, 0, "s.jsonl: ", "left out ");
    forget(&m);
    const char *none =
        "specbench: all 8 prompts have more than 9 characters; expected a larger --max-chars\n";
    cli_expect("workload --kind sql -n 8 --max-chars 9 -o @/none.txt", 2, "", none);
    cli_expect("workload --kind sql -n 8 --max-chars 9 --as text", 2, "", none);
    assert_int_not_equal(access(cli_at("none.txt"), F_OK), 0);
}

static void test_refusals(void **state) {
    (void)state;
    cli_expect("workload --kind sqll", 2, "", "--kind: there is no kind 'sqll'; did you mean 'sql'?");
    cli_expect("workload --kind weather", 2, "", "there is no kind 'weather'; docs/WORKLOADS.md has them");
    cli_expect("workload --as csv", 2, "", "--as: expected text, prompts or trace, found 'csv'");
    cli_expect("workload --seed 0", 2, "", "--seed");
    cli_expect("workload -n 0", 2, "", "-n");
    cli_expect("workload --max-chars 0", 2, "", "--max-chars");
    cli_expect("workload extra", 2, "", "'extra' is one argument too many");
    cli_expect("workload -o @", 2, "", "is a directory; expected the name of a file");
    cli_expect("workload -o @/no/where.txt", 2, "", "cannot create: No such file or directory");
    cli_result r = cli_run("workload --help");
    assert_int_equal(r.code, 0);
    cli_lines_fit(r.out);
    cli_release(&r);
}

/* Runs a shell command in which @ stands for the temporary directory. */
static int shell(const char *format) {
    char command[600];
    snprintf(command, sizeof command, format, support_specbench(), cli_dir(), cli_dir());
    int status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_full_disk(void **state) {
    (void)state;
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(shell("%s workload --as text >/dev/full 2>%s/err"), 2);
        assert_int_equal(shell("%s workload --as prompts >/dev/full 2>%s/err"), 2);
        assert_int_equal(shell("%s workload --as trace >/dev/full 2>%s/err"), 2);
        cli_expect("workload -n 2 -o /dev/full", 2, "", "/dev/full: cannot write: No space left on device");
    }
    cli_write("old.txt", "old");
    assert_int_equal(shell("trap '' XFSZ; ulimit -f 8; %s workload --as text -o %s/old.txt 2>%s/err"), 2);
    char *err = support_read_file(cli_at("err"), NULL), *old = support_read_file(cli_at("old.txt"), NULL);
    cli_has(err, "old.txt: cannot write: File too large");
    assert_string_equal(old, "old");
    free(err);
    free(old);
    assert_int_equal(shell(": %s; ! ls %s | grep -q tmp"), 0); /* no temporary file is left */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_for_training),
        cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_max_chars),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, cli_set_up, cli_tear_down);
}
