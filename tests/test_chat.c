/* SPDX-License-Identifier: MIT */
/* Chat templates: what each family makes of one conversation, families told by a file's
 * template, and what is refused. */
#include <string.h>

#include "spec_chat.h"
#include "support.h"

#define TEXT(s) (s), sizeof(s) - 1

static const spec_chat_message talk[] = {{"system", TEXT("Be brief.")},
                                         {"user", TEXT(" Hello ")},
                                         {"assistant", TEXT("Hi\n")},
                                         {"user", TEXT("Who?")}};

static void expect(spec_chat chat, const spec_chat_message *m, size_t n, unsigned flags, const char *want) {
    char out[2048];
    size_t len;
    spec_message why = {"stale"};
    if (spec_chat_apply(chat, m, n, flags, out, sizeof out, &len, &why)) fail_msg("%s", why.text);
    assert_string_equal(why.text, "");
    if (len != strlen(want) || memcmp(out, want, len) != 0)
        fail_msg("%s: '%.*s', expected '%s'", spec_chat_name(chat), (int)len, out, want);
}

#define LLAMA3(role, text) "<|start_header_id|>" role "<|end_header_id|>\n\n" text

static void test_conversations(void **state) {
    (void)state;
    static const char *const want[SPEC_CHATS] = {
        [SPEC_CHAT_NONE] = "Be brief. Hello Hi\nWho?",
        [SPEC_CHAT_CHATML] = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hello <|im_end|>\n"
                             "<|im_start|>assistant\nHi\n<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n"
                             "<|im_start|>assistant\n",
        [SPEC_CHAT_LLAMA2] =
            "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHello [/INST] Hi </s><s>[INST] Who? [/INST]",
        [SPEC_CHAT_LLAMA3] = LLAMA3("system", "Be brief.<|eot_id|>") LLAMA3("user", "Hello<|eot_id|>")
            LLAMA3("assistant", "Hi<|eot_id|>") LLAMA3("user", "Who?<|eot_id|>") LLAMA3("assistant", ""),
        [SPEC_CHAT_MISTRAL] = "[INST] Be brief.\n\n Hello  [/INST] Hi\n</s>[INST] Who? [/INST]",
        [SPEC_CHAT_MISTRAL_V3] = "[INST] Be brief.\n\n Hello [/INST] Hi\n</s>[INST] Who?[/INST]",
        [SPEC_CHAT_MISTRAL_V7] =
            "[SYSTEM_PROMPT] Be brief.[/SYSTEM_PROMPT][INST]  Hello [/INST] Hi\n</s>[INST] Who?[/INST]",
        [SPEC_CHAT_TEKKEN] = "[INST]Be brief.\n\n Hello [/INST]Hi\n</s>[INST]Who?[/INST]",
        [SPEC_CHAT_GEMMA] =
            "<start_of_turn>user\nBe brief.\n\nHello<end_of_turn>\n<start_of_turn>model\nHi<end_of_turn>\n"
            "<start_of_turn>user\nWho?<end_of_turn>\n<start_of_turn>model\n",
        [SPEC_CHAT_ZEPHYR] = "<|system|>\nBe brief.</s>\n<|user|>\n Hello </s>\n<|assistant|>\nHi\n</s>\n"
                             "<|user|>\nWho?</s>\n<|assistant|>\n",
        [SPEC_CHAT_TULU] =
            "<|system|>\nBe brief.\n<|user|>\n Hello \n<|assistant|>\nHi\n</s>\n<|user|>\nWho?\n"
            "<|assistant|>\n",
        [SPEC_CHAT_OLMO2] =
            "<|endoftext|><|system|>\nBe brief.\n<|user|>\n Hello \n<|assistant|>\nHi\n<|endoftext|>\n"
            "<|user|>\nWho?\n<|assistant|>\n",
        [SPEC_CHAT_PHI3] =
            "<|system|>\nBe brief.<|end|>\n<|user|>\n Hello <|end|>\n<|assistant|>\nHi\n<|end|>\n"
            "<|user|>\nWho?<|end|>\n<|assistant|>\n",
        [SPEC_CHAT_VICUNA] = "Be brief. USER:  Hello  ASSISTANT: Hi\n</s>USER: Who? ASSISTANT:",
        [SPEC_CHAT_ALPACA] =
            "Be brief.\n\n### Instruction:\n Hello \n\n### Response:\nHi\n\n\n### Instruction:\nWho?\n\n"
            "### Response:\n",
    };
    for (int i = 0; i < SPEC_CHATS; i++) {
        assert_non_null(want[i]);
        expect((spec_chat)i, talk, 4, SPEC_CHAT_GENERATE, want[i]);
    }
}

static void test_parts(void **state) {
    (void)state;
    expect(SPEC_CHAT_CHATML, talk + 1, 1, 0, "<|im_start|>user\n Hello <|im_end|>\n");
    expect(SPEC_CHAT_CHATML, NULL, 0, SPEC_CHAT_GENERATE, "<|im_start|>assistant\n");
    expect(SPEC_CHAT_CHATML, NULL, 0, 0, "");
    expect(SPEC_CHAT_LLAMA2, talk + 3, 1, SPEC_CHAT_GENERATE, "[INST] Who? [/INST]");
    expect(SPEC_CHAT_LLAMA2, talk, 1, 0, ""); /* nowhere to put it yet */
    expect(SPEC_CHAT_GEMMA, talk + 2, 1, 0, "<start_of_turn>model\nHi<end_of_turn>\n");
    const spec_chat_message empty = {"user", NULL, 0}, blank = {"user", " \t\n", 3};
    expect(SPEC_CHAT_LLAMA2, &empty, 1, 0, "[INST]  [/INST]");
    expect(SPEC_CHAT_LLAMA2, &blank, 1, 0, "[INST]  [/INST]");
}

static void test_names(void **state) {
    (void)state;
    spec_chat chat;
    for (int i = 0; i < SPEC_CHATS; i++) {
        assert_int_equal(spec_chat_find(spec_chat_name((spec_chat)i), &chat), 0);
        assert_int_equal(chat, i);
    }
    assert_null(spec_chat_name(SPEC_CHATS));
    assert_null(spec_chat_name((spec_chat)-1));
    assert_int_equal(spec_chat_find("llama", &chat), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_chat_find("", &chat), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_chat_find(NULL, &chat), SPEC_ERR_INVALID);
}

/* Templates as files have them, shortened to the parts with markers. */
static void test_detection(void **state) {
    (void)state;
    static const struct {
        const char *jinja;
        int chat;
    } files[] = {
        {"{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>'}}{% "
         "endfor %}",
         SPEC_CHAT_CHATML},
        {"{{ bos_token }}{{ '[INST] ' + content.strip() + ' [/INST]' }}{{ '<<SYS>>\\n' + content }}",
         SPEC_CHAT_LLAMA2},
        {"{{ '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' + content | trim + '<|eot_id|>' }}",
         SPEC_CHAT_LLAMA3},
        {"{{ '[INST] ' + message['content'] + ' [/INST]' }}{{ message['content'] + eos_token }}",
         SPEC_CHAT_MISTRAL},
        {"{{- '[INST] ' + message['content'] + '[/INST]' }}", SPEC_CHAT_MISTRAL_V3},
        {"{{ '[SYSTEM_PROMPT] ' + content + '[/SYSTEM_PROMPT]' }}{{ '[INST] ' + content + '[/INST]' }}",
         SPEC_CHAT_MISTRAL_V7},
        {"{{- '[INST]' + message['content'] + '[/INST]' }}", SPEC_CHAT_TEKKEN},
        {"{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}",
         SPEC_CHAT_GEMMA},
        {"{% if m['role'] == 'user' %}{{ '<|user|>\\n' + m['content'] + eos_token }}{% else %}"
         "{{ '<|assistant|>\\n' + m['content'] + eos_token }}",
         SPEC_CHAT_ZEPHYR},
        {"{% if m['role'] == 'user' %}{{ '<|user|>\\n' + m['content'] + '\\n' }}{% else %}"
         "{{ '<|assistant|>\\n' + m['content'] + eos_token }}",
         SPEC_CHAT_TULU},
        {"{{ bos_token }}{% if m['role'] == 'user' %}{{ '<|user|>\\n' + m['content'] + '\\n' }}{% else %}"
         "{{ '<|assistant|>\\n' + m['content'] + eos_token }}",
         SPEC_CHAT_OLMO2},
        {"{{'<|user|>' + '\\n' + m['content'] + '<|end|>' + '\\n' + '<|assistant|>' + '\\n'}}",
         SPEC_CHAT_PHI3},
        {"{{-'USER: ' + m['content'] + '\\n'-}}{{-'ASSISTANT: ' + m['content'] + '</s>\\n' -}}",
         SPEC_CHAT_VICUNA},
        {"{{'### Instruction:\\n' + m['content'] + '\\n'}}{{'### Response:\\n'}}", SPEC_CHAT_ALPACA},
        {"{{'Human: ' + m['content']}}", -1},
        {"<|user|>", -1},
        {"[INST", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        spec_chat chat = SPEC_CHAT_NONE;
        int err = spec_chat_detect(files[i].jinja, strlen(files[i].jinja), &chat);
        if (err != (files[i].chat < 0 ? SPEC_ERR_NOT_FOUND : 0) || (!err && (int)chat != files[i].chat))
            fail_msg("%s: error %d, %s", files[i].jinja, err, spec_chat_name(chat));
    }
    spec_chat chat;
    assert_int_equal(spec_chat_detect(NULL, 0, &chat), SPEC_ERR_INVALID);
}

static void expect_fault(spec_chat chat, const spec_chat_message *m, size_t n, const char *part) {
    size_t len = 5;
    spec_message why = {""};
    assert_int_equal(spec_chat_apply(chat, m, n, 0, NULL, 0, &len, &why), SPEC_ERR_INVALID);
    assert_int_equal(len, 0);
    if (!strstr(why.text, part)) fail_msg("'%s', expected '%s'", why.text, part);
}

static void test_faults(void **state) {
    (void)state;
    const spec_chat_message tool[] = {talk[1], {"tool", TEXT("x")}}, nobody[] = {{NULL, TEXT("x")}};
    const spec_chat_message late[] = {talk[1], talk[0]}, alone[] = {talk[0], talk[2]},
                            lost[] = {{"user", NULL, 3}};
    expect_fault(SPEC_CHAT_CHATML, tool, 2, "message 1: the role \"tool\" is not system, user or assistant");
    expect_fault(SPEC_CHAT_CHATML, nobody, 1, "message 0: the role \"\" is not");
    expect_fault(SPEC_CHAT_CHATML, late, 2, "message 1: only the first one may be the system's");
    expect_fault(SPEC_CHAT_LLAMA2, alone, 2, "message 1: after the system's a user message was expected");
    expect_fault(SPEC_CHAT_CHATML, lost, 1, "message 0 has no content");
    expect_fault(SPEC_CHATS, talk, 4, "there is no chat template 15");
    char out[8] = ".......";
    size_t n;
    spec_message why;
    assert_int_equal(spec_chat_apply(SPEC_CHAT_NONE, talk, 4, 2, out, 8, &n, &why), SPEC_ERR_INVALID);
    assert_string_equal(why.text, "flags 0x2: there are no such");
    assert_int_equal(spec_chat_apply(SPEC_CHAT_NONE, talk, 4, 0, out, 3, &n, &why), SPEC_ERR_FULL);
    assert_string_equal(why.text, "23 bytes, room for 3");
    assert_true(n == 23 && strcmp(out, "Be ....") == 0);
    assert_int_equal(spec_chat_apply(SPEC_CHAT_NONE, talk, 4, 0, NULL, 0, &n, NULL), SPEC_ERR_FULL);
    assert_int_equal(n, 23);
    assert_int_equal(spec_chat_apply(SPEC_CHAT_NONE, NULL, 4, 0, NULL, 0, &n, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_chat_apply(SPEC_CHAT_NONE, talk, 4, 0, NULL, 9, &n, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_chat_apply(SPEC_CHAT_NONE, talk, 4, 0, NULL, 0, NULL, NULL), SPEC_ERR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversations), cmocka_unit_test(test_parts),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_detection),     cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
