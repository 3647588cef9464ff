/* SPDX-License-Identifier: MIT */
/* Loading vocabularies from GGUF metadata and tokenizer.bin: what is filled in, what is
 * known about tokens, and every fault named. tokenizer.json: test_tokenizer_json.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tiny_vocab.h"

#define BLANK "\xe2\x96\x81"

static tiny_vocab vocab;

static spec_tokenizer_info info_of(const spec_tokenizer *t) {
    spec_tokenizer_info info = {.size = sizeof info};
    assert_int_equal(spec_tokenizer_get_info(t, &info), 0);
    return info;
}

/* ---- what is known of a vocabulary ----------------------------------------------------- */

static void test_spm_defaults(void **state) {
    (void)state;
    tiny_spm(&vocab);
    spec_tokenizer *t = tiny_open(&vocab);
    spec_tokenizer_info i = info_of(t);
    assert_string_equal(i.model, "SPM");
    assert_string_equal(i.pre, "");
    assert_int_equal(i.n_tokens, vocab.n);
    assert_true(i.bos == 1 && i.eos == 2 && i.unknown == 0 && i.eot == -1);
    assert_true(i.add_bos == 1 && i.add_eos == 0 && i.adds_space == 1);
    assert_true(i.longest == 5 && !i.chat_template && i.n_chat_template == 0); /* "<unk>" */
    assert_int_equal(spec_tokenizer_kind(t, 0), SPEC_TOKEN_UNKNOWN);
    assert_int_equal(spec_tokenizer_kind(t, 1), SPEC_TOKEN_CONTROL);
    assert_int_equal(spec_tokenizer_kind(t, 3), SPEC_TOKEN_BYTE);
    assert_int_equal(spec_tokenizer_kind(t, 260), SPEC_TOKEN_NORMAL);
    assert_int_equal(spec_tokenizer_kind(t, -1), SPEC_ERR_INVALID);
    assert_int_equal(spec_tokenizer_kind(t, (spec_token)vocab.n), SPEC_ERR_INVALID);
    assert_true(spec_tokenizer_is_end(t, 2) && !spec_tokenizer_is_end(t, 1) && !spec_tokenizer_is_end(t, -1));
    spec_tokenizer_free(t);

    vocab.no_kinds = true; /* told by names and ids */
    spec_tokenizer *u = tiny_open(&vocab);
    assert_int_equal(spec_tokenizer_kind(u, 0), SPEC_TOKEN_UNKNOWN);
    assert_int_equal(spec_tokenizer_kind(u, 2), SPEC_TOKEN_CONTROL);
    assert_int_equal(spec_tokenizer_kind(u, 258), SPEC_TOKEN_BYTE);
    assert_int_equal(info_of(u).hash, i.hash);
    spec_tokenizer_free(u);
}

static void test_bpe_defaults(void **state) {
    (void)state;
    tiny_bpe(&vocab, NULL);
    vocab.chat_template = "{{ messages }}";
    spec_tokenizer *t = tiny_open(&vocab);
    spec_tokenizer_info i = info_of(t);
    assert_string_equal(i.model, "BPE");
    assert_string_equal(i.pre, "default");
    assert_true(i.bos == -1 && i.eos == -1 && i.unknown == -1 && i.eot == -1);
    assert_true(!i.add_bos && !i.add_eos && !i.adds_space);
    assert_string_equal(i.chat_template, "{{ messages }}");
    assert_int_equal(i.n_chat_template, 14);
    spec_tokenizer_free(t);
}

static void test_keys_override(void **state) {
    (void)state;
    tiny_spm(&vocab);
    vocab.bos = 262;
    vocab.eos = 263;
    vocab.unknown = -2; /* said to be none */
    vocab.add_bos = 0;
    vocab.add_eos = 1;
    vocab.add_space = 0;
    spec_tokenizer *t = tiny_open(&vocab);
    spec_tokenizer_info i = info_of(t);
    assert_true(i.bos == 262 && i.eos == 263 && i.unknown == -1);
    assert_true(!i.add_bos && i.add_eos && !i.adds_space);
    spec_tokenizer_free(t);
}

static void test_ends_of_generation(void **state) {
    (void)state;
    tiny_bpe(&vocab, "qwen2");
    spec_token text_end = (spec_token)tiny_add(&vocab, "<|endoftext|>", 0, SPEC_TOKEN_CONTROL);
    spec_token start = (spec_token)tiny_add(&vocab, "<|im_start|>", 0, SPEC_TOKEN_CONTROL);
    spec_token turn_end = (spec_token)tiny_add(&vocab, "<|im_end|>", 0, SPEC_TOKEN_NORMAL);
    spec_token file = (spec_token)tiny_add(&vocab, "<|file_sep|>", 0, SPEC_TOKEN_CONTROL);
    spec_token user = (spec_token)tiny_add(&vocab, "<fim_prefix>", 0, SPEC_TOKEN_USER);
    vocab.eos = 'z';
    spec_tokenizer *t = tiny_open(&vocab);
    assert_int_equal(info_of(t).eot, turn_end);
    assert_true(spec_tokenizer_is_end(t, 'z') && spec_tokenizer_is_end(t, text_end));
    assert_true(spec_tokenizer_is_end(t, turn_end) && spec_tokenizer_is_end(t, file));
    assert_true(!spec_tokenizer_is_end(t, start) && !spec_tokenizer_is_end(t, user) &&
                !spec_tokenizer_is_end(t, 'y'));
    assert_int_equal(spec_tokenizer_kind(t, turn_end), SPEC_TOKEN_CONTROL); /* whatever the file says */
    assert_int_equal(spec_tokenizer_kind(t, user), SPEC_TOKEN_CONTROL);
    spec_tokenizer_free(t);
}

static void expect_piece(const spec_tokenizer *t, spec_token id, const char *want, size_t n_want) {
    const char *piece;
    size_t n;
    assert_int_equal(spec_tokenizer_piece(t, id, &piece, &n), 0);
    assert_int_equal(n, n_want);
    assert_memory_equal(piece, want, n);
}

static void test_pieces(void **state) {
    (void)state;
    tiny_spm(&vocab);
    tiny_add(&vocab, "", -1, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "gone", -1, SPEC_TOKEN_UNUSED);
    tiny_add(&vocab, "odd", -1, 77);
    tiny_add(&vocab, "u" BLANK, -1, SPEC_TOKEN_USER);
    tiny_add(&vocab, BLANK "x" BLANK, -1, SPEC_TOKEN_NORMAL);
    spec_tokenizer *t = tiny_open(&vocab);
    const char *piece;
    size_t n;
    expect_piece(t, 0, "<unk>", 5);
    expect_piece(t, 3, "\0", 1);
    expect_piece(t, 258, "\xff", 1);
    expect_piece(t, 259, " ", 1);
    expect_piece(t, 265, "", 0);
    expect_piece(t, 266, "", 0);
    expect_piece(t, 267, "", 0);
    expect_piece(t, 268, "u" BLANK, 4);
    expect_piece(t, 269, " x ", 3);
    assert_int_equal(spec_tokenizer_piece(t, 270, &piece, &n), SPEC_ERR_INVALID);
    assert_int_equal(spec_tokenizer_piece(t, -1, &piece, &n), SPEC_ERR_INVALID);
    spec_token id = -5;
    assert_int_equal(spec_tokenizer_find(t, BLANK "x" BLANK, 7, &id), 0);
    assert_int_equal(id, 269);
    assert_int_equal(spec_tokenizer_find(t, "[EMPTY_265]", 11, &id), 0);
    assert_int_equal(id, 265);
    assert_int_equal(spec_tokenizer_find(t, " x ", 3, &id), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_tokenizer_find(t, "", 0, &id), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_tokenizer_find(t, "a much longer text than any token", 33, &id),
                     SPEC_ERR_NOT_FOUND);
    assert_int_equal(id, 265);
    spec_tokenizer_free(t);

    tiny_bpe(&vocab, "gpt-2");
    tiny_add(&vocab,
             "\xc4\xa0"
             "a\xc4\x8a",
             0, SPEC_TOKEN_NORMAL);
    tiny_add(&vocab, "\xe4\xb8\xad!", 0, SPEC_TOKEN_NORMAL); /* no letter of a byte */
    tiny_add(&vocab, "\xc4\xa0", 0, SPEC_TOKEN_CONTROL);
    vocab.token[' '].text[1] = '!'; /* two tokens with one text are refused */
    t = tiny_open(&vocab);
    for (int b = 0; b < 256; b++)
        if (b != ' ') expect_piece(t, b, (char[]){(char)b}, 1);
    expect_piece(t, 256, " a\n", 3);
    expect_piece(t, 257, "\xe4\xb8\xad!", 4);
    expect_piece(t, 258, "\xc4\xa0", 2);
    spec_tokenizer_free(t);
}

/* ---- comparing ----------------------------------------------------------------------------- */

static void test_same(void **state) {
    (void)state;
    spec_message why = {"stale"};
    tiny_spm(&vocab);
    spec_tokenizer *a = tiny_open(&vocab), *b = tiny_open(&vocab);
    assert_int_equal(spec_tokenizer_same(a, b, &why), 0);
    assert_string_equal(why.text, "");
    assert_int_equal(info_of(a).hash, info_of(b).hash);
    spec_tokenizer_free(b);
    vocab.n--;
    b = tiny_open(&vocab);
    assert_int_equal(spec_tokenizer_same(a, b, &why), SPEC_ERR_INVALID);
    assert_string_equal(why.text, "the vocabularies differ: one has 265 tokens, the other 264");
    assert_int_not_equal(info_of(a).hash, info_of(b).hash);
    spec_tokenizer_free(b);
    vocab.n++;
    vocab.token[261].text[0] = 'q';
    b = tiny_open(&vocab);
    assert_int_equal(spec_tokenizer_same(a, b, &why), SPEC_ERR_INVALID);
    assert_string_equal(why.text, "the vocabularies differ: token 261 is \"b\" in one, \"q\" in the other");
    assert_int_not_equal(info_of(a).hash, info_of(b).hash);
    assert_int_equal(spec_tokenizer_fits(a, 265, &why), 0);
    assert_string_equal(why.text, "");
    assert_int_equal(spec_tokenizer_fits(a, 300, &why), 0);
    assert_int_equal(spec_tokenizer_fits(a, 264, &why), SPEC_ERR_INVALID);
    assert_string_equal(why.text, "the tokenizer has 265 tokens, the model only 264");
    spec_tokenizer_free(a);
    spec_tokenizer_free(b);
}

/* A caller made for an older library has a shorter struct. */
static void test_info_of_another_size(void **state) {
    (void)state;
    tiny_spm(&vocab);
    spec_tokenizer *t = tiny_open(&vocab);
    spec_tokenizer_info i;
    memset(&i, 0x55, sizeof i);
    i.size = offsetof(spec_tokenizer_info, pre);
    assert_int_equal(spec_tokenizer_get_info(t, &i), 0);
    assert_string_equal(i.model, "SPM");
    assert_int_equal(i.size, offsetof(spec_tokenizer_info, pre));
    assert_int_equal(i.n_tokens, 0x5555555555555555);
    i.size = 0;
    assert_int_equal(spec_tokenizer_get_info(t, &i), SPEC_ERR_INVALID);
    spec_tokenizer_free(t);
}

/* ---- faults of GGUF metadata ------------------------------------------------------------------- */

static void expect_fault(int err, const char *part) {
    spec_message why = {""};
    spec_tokenizer *t = (spec_tokenizer *)&why;
    int got = tiny_load(&vocab, &t, NULL, &why);
    if (got != err || !strstr(why.text, part) || !strstr(why.text, "tiny.gguf: "))
        fail_msg("error %d, '%s'; expected %d, '%s'", got, why.text, err, part);
    assert_ptr_equal(t, &why);
}

static void test_faults_of_spm(void **state) {
    (void)state;
    tiny_spm(&vocab);
    vocab.model = "t5";
    expect_fault(SPEC_ERR_UNSUPPORTED,
                 "tokenizer.ggml.model is \"t5\", known are \"llama\" (SPM) and \"gpt2\" (BPE)");
    tiny_spm(&vocab);
    vocab.no_scores = true;
    expect_fault(SPEC_ERR_CORRUPT, "tokenizer.ggml.scores is missing");
    tiny_spm(&vocab);
    vocab.token[9].score = NAN;
    expect_fault(SPEC_ERR_CORRUPT, "the score of token 9 is not a number");
    tiny_spm(&vocab);
    vocab.bos = (long)vocab.n;
    expect_fault(SPEC_ERR_CORRUPT, "tokenizer.ggml.bos_token_id is 265, there are 265 tokens");
    vocab.bos = 1;
    vocab.eos = 1L << 31;
    expect_fault(SPEC_ERR_CORRUPT, "tokenizer.ggml.eos_token_id is 2147483648, there are 265 tokens");
    vocab.eos = -2;
    vocab.add_eos = 1;
    expect_fault(SPEC_ERR_CORRUPT, "an end-of-sequence token is to be added, but there is none");
    vocab.bos = -2;
    expect_fault(SPEC_ERR_CORRUPT, "a begin-of-sequence token is to be added, but there is none");
    tiny_spm(&vocab);
    tiny_add(&vocab, "c", 0, SPEC_TOKEN_NORMAL);
    expect_fault(SPEC_ERR_CORRUPT, "tokens 262 and 265 are both \"c\"");
}

static void test_faults_of_bpe(void **state) {
    (void)state;
    tiny_bpe(&vocab, "nobody-knows");
    expect_fault(SPEC_ERR_UNSUPPORTED,
                 "the pre-tokenizer \"nobody-knows\" is not known, those known are default, gpt-2, ");
    tiny_bpe(&vocab, "gpt-2");
    vocab.add_bos = 1;
    expect_fault(SPEC_ERR_CORRUPT, "a begin-of-sequence token is to be added, but there is none");
    tiny_bpe(&vocab, "gpt-2");
    tiny_add(&vocab, "ab", 0, SPEC_TOKEN_NORMAL);
    tiny_merge(&vocab, "a", "b");
    tiny_merge(&vocab, "ab", "xx");
    expect_fault(SPEC_ERR_CORRUPT, "merge 1, \"ab\" and \"xx\": the second is no token");
    vocab.n_merges = 1;
    tiny_merge(&vocab, "xx", "ab");
    expect_fault(SPEC_ERR_CORRUPT, "merge 1, \"xx\" and \"ab\": the first is no token");
    vocab.n_merges = 1;
    tiny_merge(&vocab, "ab", "ab");
    expect_fault(SPEC_ERR_CORRUPT, "merge 1, \"ab\" and \"ab\": both together are no token");
    vocab.n_merges = 1;
    tiny_merge(&vocab, "ab", "");
    expect_fault(SPEC_ERR_CORRUPT, "the second is no token");
    vocab.n_merges = 1;
    tiny_merge(&vocab, "", "ab");
    expect_fault(SPEC_ERR_CORRUPT, "merge 1, \" ab\", is not two texts with a blank between them");
    strcpy(vocab.merge[1], "ab");
    expect_fault(SPEC_ERR_CORRUPT, "merge 1, \"ab\", is not two texts with a blank between them");
    strcpy(vocab.merge[1], "");
    expect_fault(SPEC_ERR_CORRUPT, "merge 1, \"\", is not two texts");
}

/* Keys of the wrong kind and length, and a vocabulary larger than its model. */
static int load_with(void (*change)(spec_writer *w), spec_message *why) {
    support_tmp tmp;
    char path[256];
    const char *text[] = {"<unk>", "<s>", "</s>"};
    const size_t len[] = {5, 3, 4};
    const float score[] = {0, 0, 0};
    spec_writer *w;
    spec_tokenizer *t = NULL;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "tiny.gguf", path, sizeof path);
    assert_int_equal(spec_writer_new(&w, path, SPEC_FORMAT_GGUF, NULL, why), 0);
    assert_int_equal(spec_writer_meta_string(w, "tokenizer.ggml.model", "llama", 5), 0);
    assert_int_equal(spec_writer_meta_strings(w, "tokenizer.ggml.tokens", text, len, 3), 0);
    assert_int_equal(spec_writer_meta_floats(w, "tokenizer.ggml.scores", score, 3), 0);
    change(w);
    assert_int_equal(spec_writer_finish(w, why), 0);
    int err = spec_tokenizer_load(&t, path, NULL, why);
    spec_tokenizer_free(t);
    support_tmp_remove(&tmp);
    return err;
}

static void change_nothing(spec_writer *w) { (void)w; }

static void short_kinds(spec_writer *w) {
    const int32_t kind[] = {1, 1};
    assert_int_equal(spec_writer_meta_ints(w, "tokenizer.ggml.token_type", kind, 2), 0);
}

static void text_kinds(spec_writer *w) {
    const char *kind[] = {"a", "b", "c"};
    const size_t len[] = {1, 1, 1};
    assert_int_equal(spec_writer_meta_strings(w, "tokenizer.ggml.token_type", kind, len, 3), 0);
}

static void text_bos(spec_writer *w) {
    assert_int_equal(spec_writer_meta_string(w, "tokenizer.ggml.bos_token_id", "1", 1), 0);
}

static void text_flag(spec_writer *w) {
    assert_int_equal(spec_writer_meta_string(w, "tokenizer.ggml.add_bos_token", "yes", 3), 0);
}

static void small_model(spec_writer *w) {
    const uint64_t dim[] = {2, 1};
    const float rows[2] = {1, 2};
    assert_int_equal(spec_writer_tensor(w, "token_embd.weight", SPEC_TYPE_F32, 2, dim), 0);
    assert_int_equal(spec_writer_data(w, rows, sizeof rows), 0);
}

static void test_faults_of_keys(void **state) {
    (void)state;
    static const struct {
        void (*change)(spec_writer *w);
        const char *part;
    } faults[] = {
        {short_kinds, "tokenizer.ggml.token_type has 2 elements, there are 3 tokens"},
        {text_kinds, "tokenizer.ggml.token_type is not an array of the right kind"},
        {text_bos, "tokenizer.ggml.bos_token_id is not a whole number"},
        {text_flag, "tokenizer.ggml.add_bos_token is neither true nor false"},
        {small_model, "the vocabulary has 3 tokens, token_embd.weight only 2 rows"},
    };
    spec_message why = {""};
    assert_int_equal(load_with(change_nothing, &why), 0);
    assert_string_equal(why.text, "");
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        assert_int_equal(load_with(faults[i].change, &why), SPEC_ERR_CORRUPT);
        if (!strstr(why.text, faults[i].part)) fail_msg("'%s', expected '%s'", why.text, faults[i].part);
    }
}

/* ---- tokenizer.bin ------------------------------------------------------------------------------ */

typedef struct bin {
    char data[8192];
    size_t n;
} bin;

static void bin_put(bin *b, const void *p, size_t n) {
    assert_true(b->n + n <= sizeof b->data);
    memcpy(b->data + b->n, p, n);
    b->n += n;
}

static void bin_token(bin *b, const char *text, float score) {
    int32_t n = (int32_t)strlen(text);
    bin_put(b, &score, 4);
    bin_put(b, &n, 4);
    bin_put(b, text, (size_t)n);
}

static void bin_begin(bin *b) {
    b->n = 0;
    bin_put(b, &(int32_t){7}, 4);
    bin_token(b, "<unk>", 0);
    bin_token(b, "\n<s>\n", 0);
    bin_token(b, "\n</s>\n", 0);
    bin_token(b, "<0x41>", 0);
    bin_token(b, " ", -3);
    bin_token(b, "a", -2);
    bin_token(b, " a", -1);
}

static void test_bin(void **state) {
    (void)state;
    bin b;
    spec_message why = {"stale"};
    spec_tokenizer *t = NULL;
    bin_begin(&b);
    assert_int_equal(tiny_load_text("tokenizer.bin", b.data, b.n, &t, NULL, &why), 0);
    assert_string_equal(why.text, "");
    spec_tokenizer_info i = info_of(t);
    assert_true(i.bos == 1 && i.eos == 2 && i.unknown == 0 && i.add_bos && !i.add_eos && i.n_tokens == 7);
    tiny_expect(t, "aA<s>b", SPEC_ENCODE_ADD_SPECIAL | SPEC_ENCODE_PARSE_SPECIAL, "<s>| a|A|<s>| |<unk>");
    spec_tokenizer_free(t);
}

static void test_faults_of_bin(void **state) {
    (void)state;
    bin b;
    spec_message why = {""};
    spec_tokenizer *t = NULL;
    bin_begin(&b);
    for (size_t n = 0; n < b.n; n++) { /* what is cut off is no tokenizer, or has fewer tokens */
        int err = tiny_load_text("tokenizer.bin", b.data, n, &t, NULL, &why);
        if (err == 0) assert_true(info_of(t).n_tokens < 7 && info_of(t).n_tokens >= 3);
        if (err == 0) spec_tokenizer_free(t);
        if (err) assert_true(strlen(why.text) > 20);
    }
    bin_token(&b, "a", -1);
    assert_int_equal(tiny_load_text("tokenizer.bin", b.data, b.n, &t, NULL, &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "tokens 5 and 7 are both \"a\""));
    bin_begin(&b);
    bin_token(&b, "x", NAN);
    assert_int_equal(tiny_load_text("tokenizer.bin", b.data, b.n, &t, NULL, &why), SPEC_ERR_CORRUPT);
    assert_non_null(strstr(why.text, "the score of token 7 is not a number"));
    bin_begin(&b);
    bin_token(&b, "too long for it", 0);
    assert_int_not_equal(tiny_load_text("tokenizer.bin", b.data, b.n, &t, NULL, &why), 0);
}

/* ---- paths ---------------------------------------------------------------------------------------- */

static void expect_path(const char *path, int err, const char *part) {
    spec_message why = {""};
    spec_tokenizer *t = NULL;
    int got = spec_tokenizer_load(&t, path, NULL, &why);
    if (got != err || !strstr(why.text, part))
        fail_msg("error %d, '%s'; expected %d, '%s'", got, why.text, err, part);
}

static void test_paths(void **state) {
    (void)state;
    support_tmp tmp;
    char path[256], long_path[5000];
    support_tmp_make(&tmp);
    expect_path(support_tmp_path(&tmp, "none.gguf", path, sizeof path), SPEC_ERR_NOT_FOUND,
                "none.gguf: cannot be opened: ");
    expect_path(tmp.path, SPEC_ERR_NOT_FOUND, "no tokenizer.json or tokenizer.bin");
    support_write_file(support_tmp_path(&tmp, "empty", path, sizeof path), "", 0);
    expect_path(path, SPEC_ERR_CORRUPT, "empty");
    support_write_file(support_tmp_path(&tmp, "noise", path, sizeof path), "What is this?", 13);
    expect_path(path, SPEC_ERR_CORRUPT, "noise");
    assert_int_equal(mkfifo(support_tmp_path(&tmp, "pipe", path, sizeof path), 0600), 0);
    expect_path(path, SPEC_ERR_IO, "pipe: not a regular file");
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = 0;
    expect_path(long_path, SPEC_ERR_INVALID, "too long");
    expect_path(NULL, SPEC_ERR_INVALID, "missing");
    /* A model without a vocabulary has it beside it. */
    spec_writer *w;
    spec_message why;
    bin b;
    spec_tokenizer *t = NULL;
    support_tmp_path(&tmp, "model.gguf", path, sizeof path);
    assert_int_equal(spec_writer_new(&w, path, SPEC_FORMAT_GGUF, NULL, &why), 0);
    assert_int_equal(spec_writer_finish(w, &why), 0);
    expect_path(path, SPEC_ERR_NOT_FOUND, "model.gguf: no tokenizer: none in the file");
    bin_begin(&b);
    char beside[256];
    support_write_file(support_tmp_path(&tmp, "tokenizer.bin", beside, sizeof beside), b.data, b.n);
    assert_int_equal(spec_tokenizer_load(&t, path, NULL, &why), 0);
    assert_int_equal(info_of(t).n_tokens, 7);
    spec_tokenizer_free(t);
    support_write_file(support_tmp_path(&tmp, "tokenizer.json", beside, sizeof beside), "{}", 2);
    expect_path(path, SPEC_ERR_CORRUPT, "tokenizer.json: there is no \"model\" in it"); /* it comes first */
    support_tmp_remove(&tmp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spm_defaults),
        cmocka_unit_test(test_bpe_defaults),
        cmocka_unit_test(test_keys_override),
        cmocka_unit_test(test_ends_of_generation),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_info_of_another_size),
        cmocka_unit_test(test_faults_of_spm),
        cmocka_unit_test(test_faults_of_bpe),
        cmocka_unit_test(test_faults_of_keys),
        cmocka_unit_test(test_bin),
        cmocka_unit_test(test_faults_of_bin),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
