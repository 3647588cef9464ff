/* SPDX-License-Identifier: MIT */
/* Prompt files: what is read, what is refused and with which words. */
#include <string.h>

#include "prompts.h"
#include "support.h"

static int parse(prompts *p, const char *text, bool skip_bad, spec_message *why) {
    why->text[0] = '\0';
    return prompts_parse(p, "dir/ask.jsonl", text, strlen(text), skip_bad, why);
}

static void test_forms(void **state) {
    (void)state;
    prompts p;
    spec_message why;
    assert_int_equal(parse(&p,
                           "{\"id\":7,\"group\":\"chat\",\"turns\":[\"one\",\"two\"]}\r\n\n"
                           "{\"prompt\":\"just text\"}\n"
                           "{\"prompt\":[1,2,3],\"response\":[4]}",
                           false, &why),
                     SPEC_OK);
    assert_string_equal(p.name, "ask");
    assert_int_equal(p.n, 3);
    assert_string_equal(p.item[0].id, "7");
    assert_string_equal(p.item[0].group, "chat");
    assert_int_equal(p.item[0].n_turns, 2);
    assert_string_equal(p.item[0].turn[1], "two");
    assert_string_equal(p.item[1].turn[0], "just text");
    assert_null(p.item[2].turn);
    assert_int_equal(p.item[2].n_tokens, 3);
    assert_int_equal(p.item[2].token[2], 3);
    assert_int_equal(prompts_requests(&p), 4);
    assert_true(prompts_have_text(&p));
    prompts_cut(&p, 5);
    assert_int_equal(p.n, 3);
    prompts_cut(&p, 1);
    assert_int_equal(p.n, 1);
    prompts_free(&p);
    prompts_free(&p);
}

static void test_ids_alone(void **state) {
    (void)state;
    prompts p = {0};
    spec_token tok[2] = {5, 6};
    assert_int_equal(prompts_add(&p, "a", "g", NULL, tok, 2), SPEC_OK);
    assert_int_equal(prompts_add(&p, "b", "", NULL, NULL, 0), SPEC_OK);
    assert_false(prompts_have_text(&p));
    assert_int_equal(p.item[0].token[1], 6);
    assert_int_equal(p.item[1].n_tokens, 0);
    assert_int_equal(prompts_add(&p, "c", "", "text", NULL, 0), SPEC_OK);
    assert_true(prompts_have_text(&p));
    prompts_free(&p);
}

static void refused(const char *text, const char *place, const char *expected) {
    prompts p;
    spec_message why;
    assert_int_equal(parse(&p, text, false, &why), SPEC_ERR_CORRUPT);
    if (!strstr(why.text, "dir/ask.jsonl:") || !strstr(why.text, place) || !strstr(why.text, expected))
        fail_msg("%s: %s", text, why.text);
    assert_int_equal(p.n, 0);
    assert_null(p.item);
}

static void test_refused(void **state) {
    (void)state;
    refused("{\"id\":\"a\"}", ":1:", "expected \"turns\"");
    refused("\n{\"turns\":[]}", ":2:", "at least one");
    refused("{\"turns\":\"a\"}", ":1:", "an array of texts");
    refused("{\"turns\":[\"a\",3]}", "\"turns\"[1]", "expected a text");
    refused("{\"turns\":[\"a\"],\"prompt\":\"b\"}", ":1:", "one of them");
    refused("{\"prompt\":5}", ":1:", "a text or an array");
    refused("{\"prompt\":[1,-2]}", "\"prompt\"[1]", "token id");
    refused("{\"prompt\":[\"a\"]}", "\"prompt\"[0]", "token id");
    refused("{\"prompt\":\"\xff\xfe\"}", ":1:", "not valid UTF-8");
    refused("{\"id\":[],\"prompt\":\"a\"}", "\"id\"", "expected a string");
    refused("[]", ":1:", "expected one JSON object");
    refused("{\"prompt\":\"a\"", ":1:", "cut off");
}

static void test_skip_bad(void **state) {
    (void)state;
    prompts p;
    spec_message why;
    assert_int_equal(parse(&p, "{\"turns\":[]}\n{\"prompt\":\"a\"}\nrubbish\n", true, &why), SPEC_OK);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.n_bad, 2);
    assert_non_null(strstr(p.first_bad, ":1:"));
    prompts_free(&p);
}

static void test_files(void **state) {
    (void)state;
    prompts p;
    spec_message why;
    char path[256];
    support_tmp tmp;
    support_tmp_make(&tmp);
    assert_int_equal(prompts_load(&p, support_tmp_path(&tmp, "none.jsonl", path, sizeof path), false, &why),
                     SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "none.jsonl"));
    assert_non_null(strstr(why.text, "expected a prompt file"));
    assert_int_equal(prompts_load(&p, tmp.path, false, &why), SPEC_ERR_IO);
    support_write_file(support_tmp_path(&tmp, "q.jsonl", path, sizeof path), "{\"prompt\":\"a\"}\n", 15);
    assert_int_equal(prompts_load(&p, path, false, &why), SPEC_OK);
    assert_int_equal(p.n, 1);
    prompts_free(&p);
    support_tmp_remove(&tmp);
}

static void test_spec_bench(void **state) {
    (void)state;
    char path[256];
    prompts p;
    spec_message why;
    if (!support_shared("traces/specbench_prompts.txt.jsonl", path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    assert_int_equal(prompts_load(&p, path, false, &why), SPEC_OK);
    assert_int_equal(p.n, 480);
    assert_int_equal(prompts_requests(&p), 560); /* MT-bench has two turns */
    prompts_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),    cmocka_unit_test(test_ids_alone), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_skip_bad), cmocka_unit_test(test_files),     cmocka_unit_test(test_spec_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
