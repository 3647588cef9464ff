/* SPDX-License-Identifier: MIT */
/* The trace reader: what it takes, what it refuses and with which words. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "trace.h"

#define GOOD "{\"id\":\"a\",\"group\":\"g\",\"prompt\":[1,2],\"response\":[3]}"

static int parse(trace *t, const char *text, bool skip_bad, spec_message *why) {
    why->text[0] = '\0';
    return trace_parse(t, "dir/file.jsonl", text, strlen(text), skip_bad, why);
}

/* The text is refused, and the message holds every one of the words. */
static void refused(const char *text, const char *const *word) {
    trace t;
    spec_message why;
    assert_int_equal(parse(&t, text, false, &why), SPEC_ERR_CORRUPT);
    assert_true(t.n == 0 && !t.req && !t.name && !t.first_bad);
    for (; *word; word++)
        if (!strstr(why.text, *word)) fail_msg("no \"%s\" in: %s", *word, why.text);
}

#define REFUSED(text, ...) refused(text, (const char *const[]){__VA_ARGS__, NULL})

static void taken(const char *text, size_t n) {
    trace t;
    spec_message why;
    if (parse(&t, text, false, &why) != SPEC_OK) fail_msg("%s", why.text);
    assert_int_equal(t.n, n);
    trace_free(&t);
}

/* ---- what is taken ------------------------------------------------------- */

static void test_fields(void **state) {
    (void)state;
    trace t;
    spec_message why;
    const char *text =
        "{\"id\":\"a\",\"group\":\"g\",\"prompt\":[1,0],\"response\":[2147483647],\"more\":{\"x\":[1.5]}}\n"
        "{\"response\":[5,6,7],\"prompt\":[]}\n"
        "{\"id\":17,\"group\":null,\"prompt\":[9],\"response\":[8]}\n";
    assert_int_equal(parse(&t, text, false, &why), SPEC_OK);
    assert_string_equal(t.name, "file");
    assert_int_equal(t.n, 3);
    assert_string_equal(t.req[0].id, "a");
    assert_string_equal(t.req[0].group, "g");
    assert_int_equal(t.req[0].n_prompt, 2);
    assert_int_equal(t.req[0].prompt[1], 0);
    assert_int_equal(t.req[0].response[0], INT32_MAX);
    assert_string_equal(t.req[1].id, "");
    assert_int_equal(t.req[1].n_prompt, 0);
    assert_int_equal(t.req[1].response[2], 7);
    assert_string_equal(t.req[2].id, "17");
    assert_string_equal(t.req[2].group, "");
    trace_free(&t);
}

static void test_lines(void **state) {
    (void)state;
    taken(GOOD, 1); /* no newline at the end */
    taken(GOOD "\n", 1);
    taken("\xEF\xBB\xBF" GOOD "\n" GOOD, 2);            /* a BOM */
    taken(GOOD "\r\n" GOOD "\r\n", 2);                  /* CRLF */
    taken("\n\n  \t\n" GOOD "\n\r\n\n" GOOD "\n\n", 2); /* blank lines */
    taken("", 0);
    taken("\xEF\xBB\xBF", 0);
    taken("  " GOOD "  ", 1);
}

static void test_empty_response(void **state) {
    (void)state;
    trace t;
    spec_message why;
    assert_int_equal(parse(&t, GOOD "\n{\"prompt\":[1],\"response\":[]}\n" GOOD, false, &why), SPEC_OK);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.n_empty, 1);
    assert_int_equal(t.n_bad, 0);
    trace_free(&t);
}

/* The limit of the recorded run: what drafters were told then, they are told again. */
static void test_limit(void **state) {
    (void)state;
    trace t;
    spec_message why;
    assert_int_equal(
        parse(&t, "{\"prompt\":[1],\"response\":[2,3],\"max_new_tokens\":2}\n" GOOD, false, &why), SPEC_OK);
    assert_int_equal(t.req[0].max_new_tokens, 2);
    assert_int_equal(t.req[1].max_new_tokens, 0);
    trace_free(&t);
    REFUSED("{\"prompt\":[1],\"response\":[2,3],\"max_new_tokens\":1}", ":1:", "has 2 tokens", "at most");
    REFUSED("{\"prompt\":[1],\"response\":[2],\"max_new_tokens\":-1}", ":1:", "max_new_tokens", "expected");
    REFUSED("{\"prompt\":[1],\"response\":[2],\"max_new_tokens\":\"9\"}", ":1:", "max_new_tokens",
            "expected");
}

static void test_name(void **state) {
    (void)state;
    trace t;
    assert_int_equal(trace_parse(&t, "x.json", "", 0, false, NULL), SPEC_OK);
    assert_string_equal(t.name, "x.json");
    trace_free(&t);
    assert_int_equal(trace_parse(&t, "/a/.jsonl", "", 0, false, NULL), SPEC_OK);
    assert_string_equal(t.name, ".jsonl");
    trace_free(&t);
}

/* ---- what is refused ----------------------------------------------------- */

static void test_not_json(void **state) {
    (void)state;
    REFUSED("hello", "dir/file.jsonl:1:", "not valid JSON", "expected one JSON object");
    REFUSED(GOOD "\n\n" GOOD "x", "dir/file.jsonl:3:", "not valid JSON");
    REFUSED("[1,2]", ":1:", "an array", "expected one JSON object");
    REFUSED("17", ":1:", "an integer", "expected one JSON object");
    REFUSED(GOOD GOOD, ":1:", "end of file expected");
    REFUSED("{\"prompt\":[1],\"prompt\":[2],\"response\":[3]}", ":1:", "duplicate object key");
    REFUSED("{\"id\":\"\\u0000\",\"prompt\":[1],\"response\":[3]}", ":1:", "not valid JSON");
    REFUSED("\xEF\xBB\xBF\xEF\xBB\xBF" GOOD, ":1:", "not valid JSON"); /* one BOM is enough */
    REFUSED(GOOD "\n\xEF\xBB\xBF" GOOD, ":2:", "not valid JSON");      /* and only in front */
}

static void test_cut_off(void **state) {
    (void)state;
    char text[] = GOOD;
    for (size_t n = sizeof text - 2; n > 0; n--) { /* every prefix */
        trace t;
        spec_message why;
        text[n] = '\0';
        assert_int_equal(parse(&t, text, false, &why), SPEC_ERR_CORRUPT);
        if (!strstr(why.text, "dir/file.jsonl:1: ") || !strstr(why.text, "expected"))
            fail_msg("%s", why.text);
    }
    REFUSED("{\"prompt\":[1,2", "the line is cut off", "byte");
}

static void test_bad_bytes(void **state) {
    (void)state;
    static const char nul[] = "{\"id\":\"a\0b\",\"prompt\":[1],\"response\":[3]}";
    trace t;
    spec_message why;
    assert_int_equal(trace_parse(&t, "f", nul, sizeof nul - 1, false, &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "f:1: the line holds a NUL byte; expected"));
    REFUSED("{\"id\":\"\xff\",\"prompt\":[1],\"response\":[3]}", ":1:", "not valid UTF-8");
    REFUSED("{\"id\":\"\xc0\x80\",\"prompt\":[1],\"response\":[3]}", ":1:", "not valid UTF-8");
    /* What the line holds never reaches a terminal as it is. */
    static const char *const wild[] = {"{\"id\":\"\x1b[31m", "{\"id\":\x1b[31m}", "{\"id\":\x7f}",
                                       "{\"id\":\xc3\xa4}", "{\"\xc3\xa4\x07"};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        assert_int_equal(parse(&t, wild[i], false, &why), SPEC_ERR_CORRUPT);
        for (const char *c = why.text; *c; c++) assert_true(*c >= ' ' && *c < 127);
    }
}

static void test_missing_fields(void **state) {
    (void)state;
    REFUSED("{}", ":1:", "\"prompt\" is missing", "expected an array of token ids");
    REFUSED("{\"prompt\":[1]}", ":1:", "\"response\" is missing");
    REFUSED("{\"response\":[1]}", ":1:", "\"prompt\" is missing");
    REFUSED("{\"prompt\":\"text\",\"response\":[1]}", ":1:", "\"prompt\" is a string",
            "an array of token ids");
    REFUSED("{\"prompt\":null,\"response\":[1]}", "\"prompt\" is null");
    REFUSED("{\"prompt\":{},\"response\":[1]}", "\"prompt\" is an object");
    REFUSED("{\"prompt\":[],\"response\":true}", "\"response\" is a truth value");
    REFUSED("{\"id\":[],\"prompt\":[],\"response\":[1]}", "\"id\" is an array", "expected a string");
    REFUSED("{\"group\":1.5,\"prompt\":[],\"response\":[1]}", "\"group\" is a fractional number");
}

static void test_bad_ids(void **state) {
    (void)state;
    REFUSED("{\"prompt\":[1,-1],\"response\":[1]}", "\"prompt\"[1] is -1", "0 to 2147483647");
    REFUSED("{\"prompt\":[],\"response\":[1,2,2147483648]}", "\"response\"[2] is 2147483648",
            "0 to 2147483647");
    REFUSED("{\"prompt\":[],\"response\":[1.0]}", "\"response\"[0] is a fractional number",
            "expected a token id");
    REFUSED("{\"prompt\":[],\"response\":[1e2]}", "\"response\"[0] is a fractional number");
    REFUSED("{\"prompt\":[],\"response\":[\"1\"]}", "\"response\"[0] is a string");
    REFUSED("{\"prompt\":[],\"response\":[[1]]}", "\"response\"[0] is an array");
    REFUSED("{\"prompt\":[],\"response\":[null]}", "\"response\"[0] is null");
    REFUSED("{\"prompt\":[],\"response\":[99999999999999999999999]}", "too large");
    REFUSED("{\"prompt\":[],\"response\":[1e999]}", "too large");
}

static void test_deep_nesting(void **state) {
    (void)state;
    enum { DEPTH = 100000 };
    char *text = malloc(DEPTH + 1);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    text[DEPTH] = '\0';
    REFUSED(text, ":1:", "not valid JSON");
    free(text);
}

/* ---- skip_bad ------------------------------------------------------------ */

static void test_skip_bad(void **state) {
    (void)state;
    trace t;
    spec_message why;
    assert_int_equal(parse(&t, GOOD "\n{\n\n" GOOD "\n{\"prompt\":[]}\n" GOOD "\nnonsense", true, &why),
                     SPEC_OK);
    assert_int_equal(t.n, 3);
    assert_int_equal(t.n_bad, 3);
    assert_non_null(strstr(t.first_bad, "dir/file.jsonl:2: "));
    assert_string_equal(why.text, "");
    trace_free(&t);
}

/* ---- files --------------------------------------------------------------- */

static void test_files(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256], expected[400];
    trace t;
    spec_message why;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "none.jsonl", path, sizeof path);
    assert_int_equal(trace_load(&t, path, false, &why), SPEC_ERR_NOT_FOUND);
    snprintf(expected, sizeof expected,
             "%s: cannot open: No such file or directory; expected a trace file (.jsonl)", path);
    assert_string_equal(why.text, expected);

    assert_int_equal(trace_load(&t, tmp.path, false, &why), SPEC_ERR_IO);
    snprintf(expected, sizeof expected, "%s: is a directory; expected a trace file (.jsonl)", tmp.path);
    assert_string_equal(why.text, expected);
    assert_int_equal(trace_load(&t, tmp.path, true, &why), SPEC_ERR_IO); /* not a line to be skipped */

    support_tmp_path(&tmp, "good.jsonl", path, sizeof path);
    support_write_file(path, GOOD "\r\n" GOOD, 2 * strlen(GOOD) + 2);
    assert_int_equal(trace_load(&t, path, false, &why), SPEC_OK);
    assert_string_equal(t.name, "good");
    assert_int_equal(t.n, 2);
    trace_free(&t);
    support_tmp_remove(&tmp);
}

/* Lines that lie across the reader's blocks in every way. */
static void test_long_lines(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    support_rng rng = support_rng_new(support_seed(), 1);
    trace t;
    spec_message why;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "long.jsonl", path, sizeof path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    uint32_t length[12], sum[12];
    for (int i = 0; i < 12; i++) {
        length[i] = support_rng_below(&rng, i % 3 ? 1000 : 200000) + 1;
        sum[i] = 0;
        fprintf(f, "{\"prompt\":[],\"response\":[0");
        for (uint32_t k = 1; k < length[i]; k++) {
            uint32_t id = support_rng_below(&rng, 100000);
            sum[i] += id;
            fprintf(f, ",%u", id);
        }
        fprintf(f, "]}%s", i == 11 ? "" : i % 2 ? "\n" : "\r\n\n");
    }
    fclose(f);
    assert_int_equal(trace_load(&t, path, false, &why), SPEC_OK);
    assert_int_equal(t.n, 12);
    for (int i = 0; i < 12; i++) {
        uint32_t got = 0;
        assert_int_equal(t.req[i].n_response, length[i]);
        for (size_t k = 0; k < t.req[i].n_response; k++) got += (uint32_t)t.req[i].response[k];
        assert_int_equal(got, sum[i]);
    }
    trace_free(&t);
    support_tmp_remove(&tmp);
}

/* Writes a good line, filled up with spaces to n bytes, and a newline. */
static void write_padded(FILE *f, size_t n) { fprintf(f, "%s%*s\n", GOOD, (int)(n - strlen(GOOD)), ""); }

/* Newlines in every place around the reader's block size. */
static void test_block_edges(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "edge.jsonl", path, sizeof path);
    for (int off = -2; off <= 2; off++) {
        trace t;
        spec_message why;
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        for (int i = 0; i < 3; i++) write_padded(f, (size_t)((1 << 18) + off - (i > 0)));
        fputs(GOOD, f);
        fclose(f);
        if (trace_load(&t, path, false, &why) != SPEC_OK) fail_msg("%s", why.text);
        assert_int_equal(t.n, 4);
        trace_free(&t);
    }
    support_tmp_remove(&tmp);
}

/* The limit is exact, from a file and from memory. */
static void test_longest_line(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "limit.jsonl", path, sizeof path);
    for (size_t over = 0; over <= 1; over++) {
        trace t;
        spec_message why;
        size_t n;
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        write_padded(f, ((size_t)32 << 20) + over);
        fclose(f);
        char *text = support_read_file(path, &n);
        assert_int_equal(trace_load(&t, path, false, &why), over ? SPEC_ERR_CORRUPT : SPEC_OK);
        trace_free(&t);
        assert_int_equal(trace_parse(&t, "m", text, n, false, &why), over ? SPEC_ERR_CORRUPT : SPEC_OK);
        if (over)
            assert_string_equal(why.text, "m:1: the line is longer than 32 MiB; expected one request a line");
        trace_free(&t);
        free(text);
    }
    support_tmp_remove(&tmp);
}

/* A line of 100 MB between two good ones: refused at once, or left out whole. */
static void test_huge_line(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256];
    trace t;
    spec_message why;
    char *block = malloc(1 << 20);
    assert_non_null(block);
    for (int i = 0; i < 1 << 20; i += 2) memcpy(block + i, "1,", 2);
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "huge.jsonl", path, sizeof path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, GOOD "\n{\"prompt\":[],\"response\":[");
    for (int i = 0; i < 100; i++) assert_int_equal(fwrite(block, 1, 1 << 20, f), 1 << 20);
    fprintf(f, "1]}\n" GOOD "\nbad\n" GOOD "\n");
    fclose(f);
    free(block);

    assert_int_equal(trace_load(&t, path, false, &why), SPEC_ERR_CORRUPT);
    assert_non_null(
        strstr(why.text, "huge.jsonl:2: the line is longer than 32 MiB; expected one request a line"));
    assert_int_equal(trace_load(&t, path, true, &why), SPEC_OK);
    assert_int_equal(t.n, 3);
    assert_int_equal(t.n_bad, 2);
    assert_non_null(strstr(t.first_bad, "huge.jsonl:2: "));
    trace_free(&t);

    f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), 90 << 20), 0); /* it never ends */
    fclose(f);
    assert_int_equal(trace_load(&t, path, true, &why), SPEC_OK);
    assert_int_equal(t.n, 1);
    assert_int_equal(t.n_bad, 1);
    trace_free(&t);
    support_tmp_remove(&tmp);
}

/* ---- the in-memory form -------------------------------------------------- */

static void test_add_and_shuffle(void **state) {
    (void)state;
    enum { N = 40 };
    trace a = {0}, b = {0};
    for (spec_token i = 0; i < N; i++) {
        assert_int_equal(trace_add(&a, "x", "y", &i, 1, &i, 1), SPEC_OK);
        assert_int_equal(trace_add(&b, "x", "y", &i, 1, &i, 1), SPEC_OK);
    }
    trace_shuffle(&a, 7);
    trace_shuffle(&b, 7);
    bool seen[N] = {false};
    size_t moved = 0;
    for (size_t i = 0; i < N; i++) {
        spec_token id = a.req[i].response[0];
        assert_int_equal(id, b.req[i].response[0]); /* the seed alone decides */
        assert_int_equal(id, a.req[i].prompt[0]);   /* requests stay whole */
        assert_false(seen[id]);
        seen[id] = true;
        moved += id != (spec_token)i;
    }
    assert_true(moved > N / 2);
    trace_shuffle(&b, 8);
    size_t differ = 0;
    for (size_t i = 0; i < N; i++) differ += a.req[i].response[0] != b.req[i].response[0];
    assert_true(differ > N / 2);
    trace_free(&a);
    trace_free(&b);
}

static void test_shared_traces(void **state) {
    (void)state;
    char path[256];
    trace t;
    spec_message why;
    if (!support_shared("traces/humaneval_gpt4.jsonl", path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    assert_int_equal(trace_load(&t, path, false, &why), SPEC_OK);
    size_t prompt = 0, response = 0;
    for (size_t i = 0; i < t.n; i++) {
        prompt += t.req[i].n_prompt;
        response += t.req[i].n_response;
    }
    assert_int_equal(t.n, 164);
    assert_int_equal(prompt, 27986);
    assert_int_equal(response, 12351);
    trace_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),         cmocka_unit_test(test_lines),
        cmocka_unit_test(test_empty_response), cmocka_unit_test(test_name),
        cmocka_unit_test(test_limit),          cmocka_unit_test(test_not_json),
        cmocka_unit_test(test_cut_off),        cmocka_unit_test(test_bad_bytes),
        cmocka_unit_test(test_missing_fields), cmocka_unit_test(test_bad_ids),
        cmocka_unit_test(test_deep_nesting),   cmocka_unit_test(test_skip_bad),
        cmocka_unit_test(test_files),          cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_huge_line),      cmocka_unit_test(test_block_edges),
        cmocka_unit_test(test_longest_line),   cmocka_unit_test(test_add_and_shuffle),
        cmocka_unit_test(test_shared_traces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
