/* SPDX-License-Identifier: MIT */
/*
 * Vocabularies of spm_train: tokens that spm_encode gave for lines that are hard, recorded with
 * the vocabulary; round trips; what differs from the usual; refusals; memory.
 */
#include <stdlib.h>
#include <string.h>

#include "spec_tokenizer.h"
#include "spm_vocab.h"
#include "support.h"

#define BLANK "\xe2\x96\x81"

static support_tmp tmp;
static char path[200], saved[200];

static int set_up(void **state) {
    (void)state;
    support_tmp_make(&tmp);
    support_tmp_path(&tmp, "v.vocab", path, sizeof path);
    support_tmp_path(&tmp, "v.gguf", saved, sizeof saved);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    support_tmp_remove(&tmp);
    return 0;
}

/* ---- files --------------------------------------------------------------- */

typedef struct text {
    char s[16384];
    size_t n;
} text;

static void add(text *t, const char *s, size_t n) {
    assert_true(n < sizeof t->s - t->n);
    memcpy(t->s + t->n, s, n);
    t->n += n;
    t->s[t->n] = '\0';
}

static void add_text(text *t, const char *s) { add(t, s, strlen(s)); }

static void add_bytes(text *t) {
    char line[16];
    for (unsigned b = 0; b < 256; b++) add(t, line, (size_t)snprintf(line, sizeof line, "<0x%02X>\t0\n", b));
}

/* Pieces with a blank between them, "_" for U+2581, scored from `first` on. */
static void add_pieces(text *t, const char *pieces, size_t first) {
    char score[32];
    for (; *pieces; first++) {
        for (; *pieces && *pieces != ' '; pieces++)
            add(t, *pieces == '_' ? BLANK : pieces, *pieces == '_' ? 3 : 1);
        add(t, score, (size_t)snprintf(score, sizeof score, "\t-%zu\n", first));
        pieces += *pieces == ' ';
    }
}

static spm_vocab must_load(const text *t, const spm_vocab_options *o) {
    spm_vocab v;
    spec_message why = {""};
    support_write_file(path, t->s, t->n);
    if (spm_vocab_load(&v, path, o, NULL, &why)) fail_msg("%s", why.text);
    return v;
}

/* By way of a GGUF file. */
static spec_tokenizer *tokenizer_of(const spm_vocab *v) {
    spec_tokenizer *t = NULL;
    spec_message why = {""};
    if (spm_vocab_save(v, saved, &why) || spec_tokenizer_load(&t, saved, NULL, &why))
        fail_msg("%s", why.text);
    return t;
}

static spec_tokenizer *must_open(const text *t, const spm_vocab_options *o) {
    spm_vocab v = must_load(t, o);
    spec_tokenizer *out = tokenizer_of(&v);
    spm_vocab_release(&v);
    return out;
}

/* ---- recorded ------------------------------------------------------------ */

/* spm_train 0.1.97 --model_type=bpe --vocab_size=340 --byte_fallback=true --character_coverage=0.9995
 * --normalization_rule_name=identity --remove_extra_whitespaces=false --add_dummy_prefix=false
 * --split_digits=true --allow_whitespace_only_pieces=true --control_symbols='<turn>'
 * --user_defined_symbols='<tool>,</tool>', on a few lines of Python and English. */
static const char merged[] = "__ _i _t em he tem al ot otal ____ _the _item co nt cou _cou _count _in _total "
                             "nd re _= total _items if im "
                             "it iz rn tu _a _e _l ize the _is imit item retu size _end items return _limit "
                             "________ ): as de er _ t e i n "
                             "o s a m l h 0 r u c f = d ( ) , 1 : . 2 z + 4 >";

static const spm_vocab_options as_trained = {.control = "<turn>", .no_dummy_prefix = true};

static text recorded(void) {
    text t = {.n = 0};
    add_text(&t, "<unk>\t0\n<s>\t0\n</s>\t0\n<turn>\t0\n<tool>\t0\n</tool>\t0\n");
    add_bytes(&t);
    add_pieces(&t, merged, 0);
    return t;
}

/* Lines and what spm_encode --output_format=id said. */
static const struct {
    const char *line;
    spec_token id[40];
} encoded[] = {
    {"def count(items, limit):", {309, 326, 278, 329, 303, 331, 305, 307}},
    {"\treturn items", {15, 304, 285}},
    {"        total  = 2048   ", {306, 284, 262, 327, 311, 335, 322, 338, 62, 262, 311}},
    {"   <tool>the end</tool> is <turn>", {262, 311, 4, 296, 302, 5, 297, 311, 66, 291, 290, 339}},
    {"\xc3\xa9t\xc3\xa9 \xe4\xb8\xad\xf0\x9f\x98\x80 ok Q",
     {201, 175, 312, 201, 175, 311, 234, 190, 179, 246, 165, 158, 134, 311, 316, 113, 311, 87}},
    {"<<tool>tool> <s> <0x41> " BLANK "the" BLANK,
     {66, 4, 312, 316, 316, 320, 339, 311, 66, 317, 339, 311, 66, 322, 126, 338, 332, 339, 262, 296, 311}},
    {" ", {311}},
    {"", {0}},
};

#define LINES (sizeof encoded / sizeof *encoded)

static size_t count(const spec_token *id) {
    size_t n = 0;
    while (id[n]) n++;
    return n;
}

static void encodes(const spec_tokenizer *t, const char *s, size_t n, unsigned flags, const spec_token *want,
                    size_t n_want) {
    spec_token got[256];
    size_t n_got;
    spec_message why = {""};
    if (spec_tokenizer_encode(t, s, n, flags, got, 256, &n_got, &why)) fail_msg("%s", why.text);
    if (n_got != n_want || memcmp(got, want, n_got * sizeof *got) != 0)
        fail_msg("\"%.*s\": %zu tokens, expected %zu others", (int)n, s, n_got, n_want);
}

static void test_recorded(void **state) {
    (void)state;
    text file = recorded(), whole = {.n = 0};
    spec_token all[256];
    size_t n = 0;
    spec_tokenizer *t = must_open(&file, &as_trained);
    for (size_t i = 0; i < LINES; i++) {
        const char *line = encoded[i].line;
        size_t k = count(encoded[i].id);
        encodes(t, line, strlen(line), 0, encoded[i].id, k);
        memcpy(all + n, encoded[i].id, k * sizeof *all);
        n += k;
        all[n++] = 6 + '\n'; /* no merge crosses a line's end */
        add_text(&whole, line);
        add_text(&whole, "\n");
    }
    encodes(t, whole.s, whole.n, 0, all, n);
    const spec_token special[] = {1, 311, 3, 311}, plain[] = {311, 66, 291, 290, 339, 311};
    encodes(t, " <turn> ", 8, SPEC_ENCODE_ADD_SPECIAL | SPEC_ENCODE_PARSE_SPECIAL, special, 4);
    encodes(t, " <turn> ", 8, 0, plain, 6);
    spec_tokenizer_free(t);
}

static void test_fields(void **state) {
    (void)state;
    text file = recorded();
    spm_vocab v = must_load(&file, &as_trained);
    assert_int_equal(v.n, 340);
    assert_true(v.unknown == 0 && v.bos == 1 && v.eos == 2 && v.no_dummy_prefix);
    for (size_t i = 0; i < v.n; i++) {
        assert_int_equal(v.kind[i], i == 0    ? SPEC_TOKEN_UNKNOWN
                                    : i < 4   ? SPEC_TOKEN_CONTROL
                                    : i < 6   ? SPEC_TOKEN_USER
                                    : i < 262 ? SPEC_TOKEN_BYTE
                                              : SPEC_TOKEN_NORMAL);
        assert_true(v.score[i] == (i < 262 ? 0 : 262 - (float)i));
    }
    assert_true(v.length[262] == 6 && memcmp(v.piece[262], BLANK BLANK, 6) == 0);
    assert_true(v.length[339] == 1 && *v.piece[339] == '>');
    spm_vocab_release(&v);
    assert_null(v.piece);
    v = must_load(&file, NULL);
    assert_int_equal(v.kind[3], SPEC_TOKEN_USER);
    assert_false(v.no_dummy_prefix);
    spm_vocab_release(&v);
}

/* ---- what differs -------------------------------------------------------- */

static spec_tokenizer_info info_of(const spec_tokenizer *t) {
    spec_tokenizer_info info = {.size = sizeof info};
    assert_int_equal(spec_tokenizer_get_info(t, &info), SPEC_OK);
    return info;
}

static void test_dummy_prefix(void **state) {
    const spec_token with[] = {272, 297}, without[] = {296, 297};
    (void)state;
    text file = recorded();
    spec_tokenizer *t = must_open(&file, NULL);
    assert_true(info_of(t).adds_space);
    encodes(t, "the is", 6, 0, with, 2);
    spec_tokenizer_free(t);
    t = must_open(&file, &as_trained);
    assert_false(info_of(t).adds_space);
    encodes(t, "the is", 6, 0, without, 2);
    spec_tokenizer_free(t);
}

/* Without <s> and </s>, without bytes; <unk> elsewhere, <pad> last, no end of the last line. */
static void test_few_special(void **state) {
    static const char file[] = "a\t-0\n<unk>\t0\nb\t-1\n\t\t-2\n\r\t-3\n<pad>\t0";
    (void)state;
    text t = {.n = 0};
    add_text(&t, file);
    spm_vocab v = must_load(&t, &(spm_vocab_options){.control = "", .no_dummy_prefix = true});
    assert_int_equal(v.n, 6);
    assert_true(v.unknown == 1 && v.bos == -1 && v.eos == -1);
    assert_int_equal(v.kind[5], SPEC_TOKEN_CONTROL);
    spec_tokenizer *k = tokenizer_of(&v);
    assert_true(info_of(k).bos == -1 && info_of(k).eos == -1 && !info_of(k).add_bos);
    assert_int_equal(info_of(k).unknown, 1);
    const spec_token want[] = {0, 2, 3, 4, 1, 0};
    encodes(k, "ab\t\r?a", 6, SPEC_ENCODE_ADD_SPECIAL, want, 6);
    spec_tokenizer_free(k);
    spm_vocab_release(&v);
}

/* ---- round trips --------------------------------------------------------- */

static void round_trip(const spec_tokenizer *t, const char *s, size_t n) {
    spec_token *tokens = malloc((n + 1) * sizeof *tokens);
    char *back = malloc(n + 1);
    size_t n_tokens, k = 0;
    assert_non_null(tokens);
    assert_non_null(back);
    assert_int_equal(spec_tokenizer_encode(t, s, n, 0, tokens, n + 1, &n_tokens, NULL), SPEC_OK);
    for (size_t i = 0; i < n_tokens; i++) {
        const char *piece;
        size_t len;
        assert_int_equal(spec_tokenizer_piece(t, tokens[i], &piece, &len), SPEC_OK);
        assert_true(len <= n - k);
        memcpy(back + k, piece, len);
        k += len;
    }
    assert_true(k == n && memcmp(back, s, n) == 0);
    free(tokens);
    free(back);
}

/* Any text, also what is not UTF-8. (But U+2581, which is a blank ever after.) */
static void test_round_trips(void **state) {
    static const char *const part[] = {" ",    "  ",     "\n",      "\t", "the",   "item", "count",
                                       "e",    "<tool>", "</tool>", "\r", "9",     "\xff", "\xc3\xa9",
                                       "\xe2", "\x96",   "<s>",     "_",  "<0x41>"};
    (void)state;
    text file = recorded();
    spec_tokenizer *t = must_open(&file, &as_trained);
    support_rng rng = support_rng_new(support_seed(), 3);
    for (int i = 0; i < 500; i++) {
        text s = {.n = 0};
        for (uint32_t k = support_rng_below(&rng, 60); k; k--)
            add_text(&s, part[support_rng_below(&rng, sizeof part / sizeof *part)]);
        round_trip(t, s.s, s.n);
    }
    spec_tokenizer_free(t);
}

static void test_corpus(void **state) {
    static const char *const name[] = {"gsm8k", "python", "sql", "shakespeare", "tool_dialogues"};
    (void)state;
    text file = recorded();
    spec_tokenizer *t = must_open(&file, &as_trained);
    size_t found = 0;
    for (size_t i = 0; i < 5; i++) {
        char relative[64], where[256];
        snprintf(relative, sizeof relative, "corpus/%s.txt", name[i]);
        if (!support_shared(relative, where, sizeof where)) continue;
        size_t n;
        char *s = support_read_file(where, &n);
        round_trip(t, s, n < 300000 ? n : 300000);
        free(s);
        found++;
    }
    spec_tokenizer_free(t);
    if (!found) SUPPORT_SKIP_NO_SHARED();
}

/* ---- refusals ------------------------------------------------------------ */

static void refused(const char *file, const char *control, int want, const char *part) {
    spm_vocab v = {.n = 77};
    spec_message why = {""};
    support_write_file(path, file, strlen(file));
    int rc = spm_vocab_load(&v, path, &(spm_vocab_options){.control = control}, NULL, &why);
    if (rc != want || !strstr(why.text, part))
        fail_msg("%d \"%s\", expected %d \"%s\"", rc, why.text, want, part);
    assert_non_null(strstr(why.text, path));
    assert_int_equal(v.n, 77);
}

static void test_refusals(void **state) {
    static const struct {
        const char *file, *control;
        int rc;
        const char *part;
    } c[] = {
        {"", NULL, SPEC_ERR_CORRUPT, "0 lines"},
        {"<unk>\t0\na\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:2: expected a piece"},
        {"<unk>\t0\n\nb\t-0\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:2: expected a piece"}, /* "\n" as a symbol */
        {"<unk>\t0\n\t-0\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:2: expected a piece"},
        {"<unk>\t0\n\xc3\t-0\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:2: expected a piece in UTF-8"},
        {"<unk>\t0\na\t-0\nb\t-2\n", NULL, SPEC_ERR_CORRUPT,
         "v.vocab:3: the score is \"-2\", expected -1 or 0"},
        {"<unk>\t0\na\t-0\nb\t-1\nc\t-1\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:4: the score is \"-1\""},
        {"<unk>\t0\na\t-0x\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:2: the score is \"-0x\""},
        {"<unk>\t0\na\t00\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:2: the score is \"00\""},
        {"<unk>\t0\na\t1.x\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:2: the score is \"1.x\""},
        {"<unk>\t0\na\t\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:2: the score is \"\""},
        {"<unk>\t0\na\t-0\r\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:2: the score is \"-0\\x0d\""},
        {"<unk>\t0\na\t--0\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:2: the score is \"--0\""},
        {"<unk>\t0\na\t-3.14159\n", NULL, SPEC_ERR_UNSUPPORTED, "v.vocab:2: the score is -3.14159; expected"},
        {"<unk>\t0\na\t-1e+06\n", NULL, SPEC_ERR_UNSUPPORTED, "--model_type=bpe"},
        {"<unk>\t0\na\t-0\nb\t-1\na\t-2\n", NULL, SPEC_ERR_CORRUPT,
         "v.vocab:4: \"a\" is the piece of line 2 too"},
        {"<unk>\t0\nab\t-0\nabc\t-1\nb\t-2\nab\t0\n", NULL, SPEC_ERR_CORRUPT, "v.vocab:5: \"ab\""},
        {"<s>\t0\na\t-0\n", NULL, SPEC_ERR_CORRUPT, "expected a line \"<unk>\""},
        {"<unk>\t0\n<0x41>\t0\n<0x42>\t0\n", NULL, SPEC_ERR_CORRUPT, "2 bytes <0x..>, expected 256 or none"},
        {"<unk>\t0\n<x>\t0\na\t-0\n", "<x>,<y>", SPEC_ERR_CORRUPT, "no control symbol \"<y>\""},
        {"<unk>\t0\n<x>\t0\na\t-0\n", "a", SPEC_ERR_CORRUPT, "no control symbol \"a\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) refused(c[i].file, c[i].control, c[i].rc, c[i].part);
}

static void test_no_file(void **state) {
    spm_vocab v;
    spec_message why = {""};
    (void)state;
    assert_int_equal(spm_vocab_load(&v, "no/such.vocab", NULL, NULL, &why), SPEC_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "no/such.vocab"));
    assert_int_equal(spm_vocab_load(&v, tmp.path, NULL, NULL, &why), SPEC_ERR_IO);
    text t = recorded();
    v = must_load(&t, NULL);
    assert_int_equal(spm_vocab_save(&v, "no/such/folder.gguf", &why), SPEC_ERR_IO);
    spm_vocab_release(&v);
}

static void test_memory(void **state) {
    (void)state;
    text t = recorded();
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator alloc = support_alloc(&heap);
    support_write_file(path, t.s, t.n);
    for (int save = 0; save < 2; save++) {
        spm_vocab v = {0};
        spec_message why = {""};
        if (save) assert_int_equal(spm_vocab_load(&v, path, &as_trained, &alloc, &why), SPEC_OK);
        size_t k = 0, live = heap.live_blocks;
        for (;; k++) {
            support_heap_refuse(&heap, k, k % 2);
            int rc =
                save ? spm_vocab_save(&v, saved, &why) : spm_vocab_load(&v, path, &as_trained, &alloc, &why);
            if (rc == SPEC_OK) break;
            assert_int_equal(rc, SPEC_ERR_NOMEM);
            assert_true(heap.refused > 0 && why.text[0]);
            assert_int_equal(heap.live_blocks, live);
        }
        assert_true(k > 5);
        support_heap_refuse(&heap, SIZE_MAX, false);
        spm_vocab_release(&v);
        support_heap_assert_clean(&heap);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded),     cmocka_unit_test(test_fields),
        cmocka_unit_test(test_dummy_prefix), cmocka_unit_test(test_few_special),
        cmocka_unit_test(test_round_trips),  cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("spm_vocab", tests, set_up, tear_down);
}
