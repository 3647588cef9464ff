/* SPDX-License-Identifier: MIT */
/* Loading tokenizer.json and the files beside it: both kinds of vocabulary, the parts of the pipeline,
 * special tokens, and every fault named. */
#include <stdlib.h>
#include <string.h>

#include "tiny_vocab.h"

#define BLANK "\xe2\x96\x81"

/* ---- texts of files ------------------------------------------------------------------- */

/* A vocabulary over bytes: 256 letters, then ab, abc and a blank with a. */
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"

typedef struct file {
    char text[32768];
    size_t n;
} file;

static void put(file *f, const char *text) {
    size_t n = strlen(text);
    assert_true(f->n + n < sizeof f->text);
    memcpy(f->text + f->n, text, n + 1);
    f->n += n;
}

/* The letters of the bytes as members of "vocab". */
static void put_letters(file *f) {
    char item[64];
    for (int b = 0; b < 256; b++) {
        const char *letter = tiny_letter(b);
        snprintf(item, sizeof item, "\"%s%s\":%d,", *letter == '"' || *letter == '\\' ? "\\" : "", letter, b);
        put(f, item);
    }
}

/* extra: members of the root, each with a comma after it. */
static const char *byte_file(const char *extra, const char *model_extra, const char *merges) {
    static file f;
    f.n = 0;
    put(&f, "\xef\xbb\xbf {");
    put(&f, extra);
    put(&f, "\"model\":{\"type\":\"BPE\",");
    put(&f, model_extra);
    put(&f, "\"vocab\":{");
    put_letters(&f);
    put(&f, "\"ab\":256,\"abc\":257,\"\xc4\xa0"
            "a\":258},\"merges\":");
    put(&f, merges);
    put(&f, "}}");
    return f.text;
}

#define MERGES "[\"a b\",[\"ab\",\"c\"],[\"\xc4\xa0\",\"a\"]]"

/* A vocabulary over characters. */
static const char *char_file(const char *extra, const char *model_extra) {
    static file f;
    f.n = 0;
    put(&f, "{");
    put(&f, extra);
    put(&f, "\"model\":{");
    put(&f, model_extra);
    put(&f, "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"</s>\":2,\"<0x0A>\":3,\"" BLANK
            "\":4,\"a\":5,\"b\":6,\"" BLANK "a\":7,\"ab\":8,\"" BLANK BLANK "\":9},\"merges\":[[\"" BLANK
            "\",\"a\"],\"a b\",[\"" BLANK "\",\"" BLANK "\"]]}}");
    return f.text;
}

#define TOKEN(id, text, special) "{\"id\":" id ",\"content\":\"" text "\",\"special\":" special "}"
#define UNKNOWN                  "\"unk_token\":\"<unk>\","
#define SPECIALS                                                                                             \
    "\"added_tokens\":[" TOKEN("0", "<unk>", "true") "," TOKEN("1", "<s>", "true") "," TOKEN("2", "</s>",    \
                                                                                             "true") "],"
#define LEGACY                                                                                               \
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" BLANK      \
    "\"},"                                                                                                   \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" BLANK "\"}]},"
#define METASPACE(scheme, split)                                                                             \
    "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" BLANK "\",\"prepend_scheme\":\"" scheme   \
    "\",\"split\":" split "},"
#define TEMPLATE(before, after)                                                                              \
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[" before                                \
    "{\"Sequence\":{\"id\":\"A\"}}" after "]},"
#define SPECIAL(name) "{\"SpecialToken\":{\"id\":\"" name "\"}}"

static spec_tokenizer *open_text(const char *text) {
    spec_message why = {"stale"};
    spec_tokenizer *t = NULL;
    if (tiny_load_text("tokenizer.json", text, strlen(text), &t, NULL, &why)) fail_msg("%s", why.text);
    assert_string_equal(why.text, "");
    return t;
}

static spec_tokenizer_info info_of(const spec_tokenizer *t) {
    spec_tokenizer_info info = {.size = sizeof info};
    assert_int_equal(spec_tokenizer_get_info(t, &info), 0);
    return info;
}

static void expect(const char *file_text, unsigned flags, const char *text, const char *want) {
    spec_tokenizer *t = open_text(file_text);
    tiny_expect(t, text, flags, want);
    spec_tokenizer_free(t);
}

/* ---- over bytes ------------------------------------------------------------------------ */

static void test_byte_level(void **state) {
    (void)state;
    const char *plain = byte_file("\"pre_tokenizer\":" BYTE_LEVEL ",", "", MERGES);
    spec_tokenizer *t = open_text(plain);
    spec_tokenizer_info i = info_of(t);
    assert_string_equal(i.model, "BPE");
    assert_string_equal(i.pre, "tokenizer.json");
    assert_true(i.n_tokens == 259 && i.bos == -1 && i.eos == -1 && !i.add_bos && !i.adds_space);
    tiny_expect(t, "abc ab a12\xff", 0, "abc| |ab| a|1|2|\xff");
    spec_tokenizer_free(t);

    expect(byte_file("\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},", "", MERGES), 0,
           "a", " a");
    expect(byte_file("\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},", "", MERGES), 0,
           " a", " a");
    expect(byte_file("\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},", "", MERGES), 0,
           "\ta", " |\t|a");
    expect(byte_file("\"pre_tokenizer\":" BYTE_LEVEL ",\"normalizer\":{\"type\":\"NFC\"},",
                     "\"ignore_merges\":true,", "[]"),
           0, "abc ab a", "abc| |a|b| a");
}

#define SPLIT(regex, behavior, invert)                                                                       \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"" behavior                     \
    "\",\"invert\":" invert "}"
#define PIPE(parts) "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" parts "]},"
#define RAW         "{\"type\":\"ByteLevel\",\"use_regex\":false}"

static void test_patterns(void **state) {
    (void)state;
    expect(byte_file(PIPE(SPLIT("b", "Isolated", "false") "," RAW), "", MERGES), 0, "abcab a",
           "a|b|c|a|b| a");
    expect(byte_file(PIPE(SPLIT("ab|.", "Removed", "true") "," RAW), "", MERGES), 0, "abcab a",
           "ab|c|ab| |a");
    expect(byte_file(
               PIPE("{\"type\":\"Split\",\"pattern\":{\"String\":\"b c.\"},\"behavior\":\"Isolated\"}," RAW),
               "", MERGES),
           0, "ab c.ab cx", "a|b| |c|.|ab| |c|x");
    expect(byte_file(PIPE("{\"type\":\"Digits\",\"individual_digits\":true}," RAW), "", MERGES), 0, "a1b",
           "a|1|b");
    expect(byte_file(PIPE("{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}," RAW), "", MERGES), 0,
           "a?!b", "a|?|!|b");
    expect(byte_file(PIPE("{\"type\":\"Punctuation\"}," RAW), "", MERGES), 0, "ab?", "ab|?");
}

#define ADDED(id, text, rest) "{\"id\":" id ",\"content\":\"" text "\"," rest "}"
#define LINES                 "\n\n\n\n\n\n\n"
#define TURN                  ADDED("300", "<|im_end|>", "\"special\":true")
#define TOOL                  ADDED("301", "<tool>", "\"lstrip\":true,\"rstrip\":true")
#define ABC                   ADDED("257", "abc", "\"special\":true")
#define SEVEN_LINES           ADDED("302", "\\n\\n\\n\\n\\n\\n\\n", "\"special\":false")
#define BEFORE                ADDED("303", "b ", "\"special\":false")
#define AFTER                 ADDED("304", " b", "\"special\":false")

static void test_added_tokens(void **state) {
    (void)state;
    static const char added[] = "\"added_tokens\":[" TURN "," TOOL "," ABC "," SEVEN_LINES "," BEFORE
                                "," AFTER "],\"pre_tokenizer\":" BYTE_LEVEL ",";
    const char *text = byte_file(added, "", MERGES);
    spec_tokenizer *t = open_text(text);
    spec_tokenizer_info i = info_of(t);
    assert_true(i.n_tokens == 305 && i.eot == 300);
    assert_int_equal(spec_tokenizer_kind(t, 299), SPEC_TOKEN_UNUSED); /* a gap */
    assert_int_equal(spec_tokenizer_kind(t, 301), SPEC_TOKEN_USER);
    assert_int_equal(spec_tokenizer_kind(t, 257), SPEC_TOKEN_CONTROL);
    tiny_expect(t, "b \n<tool> \t b", 0, "b|<tool>|b"); /* takes the white space around it */
    tiny_expect(t, "<tool>  <tool>", 0, "<tool>|<tool>");
    /* But nothing beyond what a longer token took. */
    tiny_expect(t, "b " LINES "<tool>" LINES " b", 0, "b |" LINES "|<tool>|" LINES "| b");
    tiny_expect(t, "x<|im_end|>abcx", SPEC_ENCODE_PARSE_SPECIAL, "x|<|im_end|>|abc|x");
    spec_tokenizer_free(t);
}

/* ---- over characters ---------------------------------------------------------------------- */

static void test_characters(void **state) {
    (void)state;
    const char *legacy = SPECIALS LEGACY TEMPLATE(SPECIAL("<s>") ",", "");
    spec_tokenizer *t = open_text(char_file(legacy, UNKNOWN "\"byte_fallback\":true,\"fuse_unk\":true,"));
    spec_tokenizer_info i = info_of(t);
    assert_true(i.bos == 1 && i.eos == -1 && i.unknown == 0 && i.add_bos && !i.add_eos && i.adds_space);
    assert_int_equal(spec_tokenizer_kind(t, 3), SPEC_TOKEN_BYTE);
    tiny_expect(t, "a ab\nxx", SPEC_ENCODE_ADD_SPECIAL, "<s>| a| a|b|\n|<unk>");
    tiny_expect(t, " a</s>a", SPEC_ENCODE_PARSE_SPECIAL, " | a|</s>| a");
    spec_tokenizer_free(t);

    /* Bytes, and one unknown token for several characters, only where the file says so. */
    expect(char_file(legacy, UNKNOWN "\"byte_fallback\":true,"), 0, "a\nxxa", " a|\n|<unk>|<unk>|a");
    expect(char_file(legacy, UNKNOWN "\"fuse_unk\":true,"), 0, "a\nxxa", " a|<unk>|a");
    expect(char_file(legacy, UNKNOWN), 0, "a\nxa", " a|<unk>|<unk>|a");

    const char *fused = UNKNOWN "\"fuse_unk\":true,";
    expect(char_file(SPECIALS METASPACE("first", "false"), fused), 1, "a</s>ab", " a|<unk>|ab");
    expect(char_file(SPECIALS METASPACE("first", "false"), fused), 2, "a</s>ab", " a|</s>|ab");
    expect(char_file(SPECIALS METASPACE("always", "false"), ""), 2, "a</s>ab", " a|</s>| a|b");
    expect(char_file(SPECIALS METASPACE("always", "false"), ""), 0, " a", " a");
    expect(char_file(SPECIALS METASPACE("never", "false"), ""), 0, "a  b", "a|  |b");
    expect(char_file(SPECIALS METASPACE("never", "true"), ""), 0, "a  a",
           "a| | a"); /* every blank begins a word */
    /* A split at blanks, where there are none any more. */
    expect(char_file(SPECIALS LEGACY "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},"
                                     "\"behavior\":\"MergedWithPrevious\"},",
                     ""),
           0, "a  b", " a|  |b");
}

/* ---- the files beside it -------------------------------------------------------------------- */

static void write_in(const support_tmp *tmp, const char *name, const char *text) {
    char path[256];
    support_write_file(support_tmp_path(tmp, name, path, sizeof path), text, strlen(text));
}

static int load_folder(const char *config, const char *model, const char *generation, spec_tokenizer **out,
                       spec_message *why) {
    support_tmp tmp;
    support_tmp_make(&tmp);
    write_in(&tmp, "tokenizer.json",
             char_file(SPECIALS LEGACY TEMPLATE(SPECIAL("<s>") ",", "," SPECIAL("</s>")), ""));
    if (config) write_in(&tmp, "tokenizer_config.json", config);
    if (model) write_in(&tmp, "config.json", model);
    if (generation) write_in(&tmp, "generation_config.json", generation);
    write_in(&tmp, "chat_template.jinja", "from a file");
    int err = spec_tokenizer_load(out, tmp.path, NULL, why);
    support_tmp_remove(&tmp);
    return err;
}

static void test_folder(void **state) {
    (void)state;
    spec_message why = {""};
    spec_tokenizer *t = NULL;
    assert_int_equal(load_folder(NULL, NULL, NULL, &t, &why), 0);
    spec_tokenizer_info i = info_of(t);
    assert_true(i.bos == 1 && i.eos == 2 && i.add_bos && i.add_eos);
    assert_string_equal(i.chat_template, "from a file");
    spec_tokenizer_free(t);

    assert_int_equal(
        load_folder("{\"bos_token\":\"</s>\",\"eos_token\":{\"content\":\"a\"},\"add_bos_token\":true,"
                    "\"add_eos_token\":false,\"chat_template\":\"hello\"}",
                    "{\"eos_token_id\":6,\"bos_token_id\":5}", "{\"eos_token_id\":[7,8]}", &t, &why),
        0);
    i = info_of(t);
    assert_true(i.bos == 2 && i.eos == 5 && i.add_bos && !i.add_eos);
    assert_string_equal(i.chat_template, "hello");
    for (spec_token id = 5; id <= 8; id++) assert_true(spec_tokenizer_is_end(t, id));
    assert_false(spec_tokenizer_is_end(t, 2));
    spec_tokenizer_free(t);

    assert_int_equal(
        load_folder("{\"bos_token\":null,\"chat_template\":[{\"name\":\"tools\",\"template\":\"x\"},"
                    "{\"name\":\"default\",\"template\":\"y\"}]}",
                    "{\"bos_token_id\":null}", NULL, &t, &why),
        0);
    assert_string_equal(info_of(t).chat_template, "y");
    spec_tokenizer_free(t);
}

/* Integers of more than 64 bits are usual there, and leave the ids beside them what they are. */
static void test_large_integers_in_folders(void **state) {
    (void)state;
    spec_message why = {""};
    spec_tokenizer *t = NULL;
    if (load_folder("{\"model_max_length\":1000000000000000019884624838656,\"bos_token\":\"</s>\"}",
                    "{\"eos_token_id\":[6,7],\"any\":18446744073709551616}", NULL, &t, &why))
        fail_msg("%s", why.text);
    assert_int_equal(info_of(t).bos, 2);
    assert_true(spec_tokenizer_is_end(t, 6) && spec_tokenizer_is_end(t, 7));
    spec_tokenizer_free(t);
}

static void test_faults_of_folders(void **state) {
    (void)state;
    static const char *const faults[][4] = {
        {"{", NULL, NULL, "tokenizer.json: tokenizer_config.json: line 1: "},
        {"{\"bos_token\":\"nobody\"}", NULL, NULL, "bos_token is \"nobody\", which is no token"},
        {NULL, "{\"eos_token_id\":10}", NULL, "eos_token_id is 10, there are 10 tokens"},
        {NULL, NULL, "{\"eos_token_id\":[1,-1]}", "eos_token_id is -1, there are 10 tokens"},
        {NULL, "{\"eos_token_id\":1.5}", NULL, "eos_token_id is 1.5, there are 10 tokens"},
        {NULL, "{\"eos_token_id\":-1,\"any\":18446744073709551616}", NULL, "eos_token_id is -1, there are"},
        {NULL, "{\"eos_token_id\":1e30}", NULL, "eos_token_id is 1e+30, there are 10 tokens"},
        {NULL, "[1", NULL, "config.json: line 1: "},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        spec_message why = {""};
        spec_tokenizer *t = NULL;
        assert_int_equal(load_folder(faults[i][0], faults[i][1], faults[i][2], &t, &why), SPEC_ERR_CORRUPT);
        if (!strstr(why.text, faults[i][3])) fail_msg("'%s', expected '%s'", why.text, faults[i][3]);
    }
}

/* ---- faults ------------------------------------------------------------------------------------ */

static void expect_fault(const char *text, int err, const char *part) {
    spec_message why = {""};
    spec_tokenizer *t = (spec_tokenizer *)&why;
    int got = tiny_load_text("tokenizer.json", text, strlen(text), &t, NULL, &why);
    if (got != err || !strstr(why.text, part) || !strstr(why.text, "tokenizer.json"))
        fail_msg("error %d, '%s'; expected %d, '%s'", got, why.text, err, part);
    assert_ptr_equal(t, &why);
}

static void test_faults_of_models(void **state) {
    (void)state;
    const int corrupt = SPEC_ERR_CORRUPT, unsupported = SPEC_ERR_UNSUPPORTED;
    expect_fault("{", corrupt, "tokenizer.json: line 1: ");
    expect_fault("{\"model\":{\"vocab\":{\"a\":0,\"a\":1}}}", corrupt, "duplicate object key");
    expect_fault("{\"model\":{\"type\":\"Unigram\"}}", unsupported,
                 "a model of type Unigram, only BPE is supported");
    expect_fault("{\"model\":{\"type\":\"BPE\",\"vocab\":[]}}", corrupt, "model.vocab is not an object");
    expect_fault("{\"model\":{\"vocab\":{},\"merges\":[]}}", corrupt, "0 tokens");
    expect_fault("{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", corrupt,
                 "an id is not a whole number, or too large");
    expect_fault("{\"model\":{\"vocab\":{\"a\":1.0},\"merges\":[]}}", corrupt, "an id is not a whole number");
    expect_fault("{\"model\":{\"vocab\":{\"a\":16000000},\"merges\":[]}}", corrupt, "too large");
    expect_fault("{\"model\":{\"vocab\":{\"a\":99999999999},\"merges\":[]}}", corrupt, "too large");
    expect_fault("{\"added_tokens\":[{\"content\":\"x\"}],\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
                 corrupt, "an id is not a whole number");
    expect_fault(char_file(LEGACY, "\"continuing_subword_prefix\":\"##\","), unsupported,
                 "model.continuing_subword_prefix");
    expect_fault(char_file(LEGACY, "\"end_of_word_suffix\":\"</w>\","), unsupported,
                 "model.end_of_word_suffix");
    expect_fault(char_file(LEGACY, "\"dropout\":0.1,"), unsupported, "model.dropout");
    expect_fault(char_file(LEGACY, "\"unk_token\":\"what\","), corrupt,
                 "model.unk_token is \"what\", which is no token");
    expect_fault(char_file("\"added_tokens\":[" TOKEN("1", "other", "true") "]," LEGACY, ""), corrupt,
                 "token 1 has one text in the vocabulary, another among the added tokens");
    expect_fault(char_file("\"added_tokens\":[" TOKEN("20", "", "true") "]," LEGACY, ""), corrupt,
                 "added token 20 has no content");
    expect_fault(char_file("\"added_tokens\":[" TOKEN("20", "ab", "true") "]," LEGACY, ""), corrupt,
                 "tokens 8 and 20 are both \"ab\"");
    expect_fault(
        char_file("\"added_tokens\":[{\"id\":20,\"content\":\"x\",\"single_word\":true}]," LEGACY, ""),
        unsupported, "added token 20: single_word is not supported");
    expect_fault("{" LEGACY "\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", corrupt,
                 "token 0 is given twice");
    const char *bytes = "\"pre_tokenizer\":" BYTE_LEVEL ",";
    expect_fault(byte_file(bytes, "", "[\"a b\",3]"), corrupt, "merge 1 is neither a text nor two");
    expect_fault(byte_file(bytes, "", "[[\"a\",\"b\",\"c\"]]"), corrupt, "merge 0 is neither a text nor two");
    expect_fault(byte_file(bytes, "", "[[\"a\",\"c\"]]"), corrupt,
                 "merge 0, \"a\" and \"c\": both together are no token");
    expect_fault(byte_file(bytes, "", "[\"ab\"]"), corrupt,
                 "merge 0, \"ab\", is not two texts with a blank between them");
}

static void test_faults_of_pipelines(void **state) {
    (void)state;
    static const char *const faults[][2] = {
        {"\"normalizer\":{\"type\":\"Lowercase\"},", "normalizer: Lowercase is not supported"},
        {"\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"x\"},", "normalizer: Prepend is not supported"},
        {"\"normalizer\":{},", "normalizer: a part without a type is not supported"},
        {"\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},",
         "pre_tokenizer: BertPreTokenizer is not supported"},
        {PIPE(SPLIT("a", "MergedWithNext", "false") "," RAW),
         "pre_tokenizer: Split: behavior: MergedWithNext is not"},
        {PIPE(SPLIT("a", "Removed", "false") "," RAW),
         "pre_tokenizer: Split: behavior: Removed is not supported"},
        {PIPE(SPLIT("(", "Isolated", "false") "," RAW), "the pattern \"(\": missing closing parenthesis"},
        {PIPE("{\"type\":\"Split\",\"behavior\":\"Isolated\"}"),
         "pre_tokenizer: Split without a pattern is not"},
        {PIPE(RAW "," SPLIT("a", "Isolated", "false")),
         "pre_tokenizer: a part after ByteLevel is not supported"},
        {METASPACE("sometimes", "false"),
         "pre_tokenizer: Metaspace: prepend_scheme: sometimes is not supported"},
        {"\"post_processor\":{\"type\":\"BertProcessing\"},",
         "post_processor: BertProcessing is not supported"},
        {LEGACY TEMPLATE(SPECIAL("<s>") "," SPECIAL("<s>") ",", ""),
         "more than one token on one side of the text"},
        {LEGACY TEMPLATE(SPECIAL("<x>") ",", ""), "the token before a text is \"<x>\", which is no token"},
        {LEGACY PIPE(RAW), "neither ByteLevel nor blanks written as U+2581, or both"},
        {"", "neither ByteLevel nor blanks written as U+2581, or both"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        int err = strstr(faults[i][1], "no token") ? SPEC_ERR_CORRUPT : SPEC_ERR_UNSUPPORTED;
        expect_fault(char_file(faults[i][0], ""), err, faults[i][1]);
    }
    char deep[2048] = "\"normalizer\":";
    for (int i = 0; i < 9; i++) strcat(deep, "{\"type\":\"Sequence\",\"normalizers\":[");
    strcat(deep, "{\"type\":\"NFC\"}");
    for (int i = 0; i < 9; i++) strcat(deep, "]}");
    strcat(deep, ",");
    expect_fault(char_file(deep, ""), SPEC_ERR_UNSUPPORTED,
                 "normalizer: Sequence is not supported"); /* so deep */
}

/* Cut off or changed anywhere: an error with a message, or a vocabulary. */
static void test_damage(void **state) {
    (void)state;
    char text[2048];
    size_t fine = 0;
    const char *whole = char_file(SPECIALS LEGACY TEMPLATE(SPECIAL("<s>") ",", ""), "");
    size_t n = strlen(whole);
    assert_true(n < sizeof text);
    memcpy(text, whole, n + 1);
    support_rng r = support_rng_new(support_seed(), 5);
    for (size_t i = 0; i < 400; i++) {
        char copy[2048];
        memcpy(copy, text, n);
        size_t len = i % 4 ? n : support_rng_below(&r, (uint32_t)n);
        if (i % 4) copy[support_rng_below(&r, (uint32_t)n)] = (char)support_rng_below(&r, 256);
        spec_message why = {""};
        spec_tokenizer *t = NULL;
        int err = tiny_load_text("tokenizer.json", copy, len, &t, NULL, &why);
        assert_true(err == 0 ? !*why.text : *why.text != 0);
        fine += err == 0;
        spec_tokenizer_free(t);
    }
    assert_in_range(fine, 1, 350);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_faults_of_folders),
        cmocka_unit_test(test_faults_of_models),
        cmocka_unit_test(test_faults_of_pipelines),
        cmocka_unit_test(test_large_integers_in_folders),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
