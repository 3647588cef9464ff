/* SPDX-License-Identifier: MIT */
/* Small vocabularies for tests; see tiny_vocab.h. */
#include "tiny_vocab.h"

#include <stdlib.h>
#include <string.h>

#define OK(call) assert_int_equal(call, SPEC_OK)

void tiny_init(tiny_vocab *v, const char *model) {
    memset(v, 0, sizeof *v);
    v->model = model;
    v->bos = v->eos = v->unknown = -1;
    v->add_bos = v->add_eos = v->add_space = -1;
}

size_t tiny_add(tiny_vocab *v, const char *text, float score, int kind) {
    assert_true(v->n < TINY_MAX && strlen(text) < sizeof v->token->text);
    tiny_token *k = &v->token[v->n];
    k->n = strlen(text);
    memcpy(k->text, text, k->n + 1);
    k->score = score;
    k->kind = kind;
    return v->n++;
}

void tiny_merge(tiny_vocab *v, const char *left, const char *right) {
    assert_true(v->n_merges < TINY_MAX);
    int n = snprintf(v->merge[v->n_merges++], sizeof *v->merge, "%s %s", left, right);
    assert_true(n > 0 && (size_t)n < sizeof *v->merge);
}

void tiny_spm(tiny_vocab *v) {
    char name[8];
    tiny_init(v, "llama");
    tiny_add(v, "<unk>", 0, SPEC_TOKEN_UNKNOWN);
    tiny_add(v, "<s>", 0, SPEC_TOKEN_CONTROL);
    tiny_add(v, "</s>", 0, SPEC_TOKEN_CONTROL);
    for (int b = 0; b < 256; b++) {
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        tiny_add(v, name, 0, SPEC_TOKEN_BYTE);
    }
    tiny_add(v, "\xe2\x96\x81", -1000, SPEC_TOKEN_NORMAL);
    for (int c = 'a'; c <= 'e'; c++) tiny_add(v, (char[]){(char)c, 0}, -1000, SPEC_TOKEN_NORMAL);
}

/* As GPT-2's authors tell it: printable bytes are themselves, the others are numbered. */
const char *tiny_letter(int byte) {
    static char out[4];
    int code = byte;
    bool itself =
        (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
    if (!itself) {
        code = 256;
        for (int b = 0; b < byte; b++)
            code += !((b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff));
    }
    size_t n = 0;
    if (code >= 128) out[n++] = (char)(0xc0 | code >> 6);
    out[n++] = (char)(code >= 128 ? 0x80 | (code & 63) : code);
    out[n] = 0;
    return out;
}

void tiny_bpe(tiny_vocab *v, const char *pre) {
    tiny_init(v, "gpt2");
    v->pre = pre;
    for (int b = 0; b < 256; b++) tiny_add(v, tiny_letter(b), 0, SPEC_TOKEN_NORMAL);
}

static void write_id(spec_writer *w, const char *key, long id) {
    if (id != -1) OK(spec_writer_meta_uint(w, key, id == -2 ? UINT32_MAX : (uint64_t)id));
}

static void write_flag(spec_writer *w, const char *key, int flag) {
    if (flag >= 0) OK(spec_writer_meta_bool(w, key, flag));
}

static void write_text(spec_writer *w, const char *key, const char *text) {
    if (text) OK(spec_writer_meta_string(w, key, text, strlen(text)));
}

void tiny_write_gguf(const tiny_vocab *v, const char *path) {
    static const char *text[TINY_MAX];
    static size_t len[TINY_MAX];
    static float score[TINY_MAX];
    static int32_t kind[TINY_MAX];
    spec_message why = {""};
    spec_writer *w;
    OK(spec_writer_new(&w, path, SPEC_FORMAT_GGUF, NULL, &why));
    for (size_t i = 0; i < v->n; i++) {
        text[i] = v->token[i].text;
        len[i] = v->token[i].n;
        score[i] = v->token[i].score;
        kind[i] = v->token[i].kind;
    }
    write_text(w, "tokenizer.ggml.model", v->model);
    write_text(w, "tokenizer.ggml.pre", v->pre);
    OK(spec_writer_meta_strings(w, "tokenizer.ggml.tokens", text, len, v->n));
    if (!v->no_scores) OK(spec_writer_meta_floats(w, "tokenizer.ggml.scores", score, v->n));
    if (!v->no_kinds) OK(spec_writer_meta_ints(w, "tokenizer.ggml.token_type", kind, v->n));
    for (size_t i = 0; i < v->n_merges; i++) {
        text[i] = v->merge[i];
        len[i] = strlen(v->merge[i]);
    }
    if (v->n_merges || (v->model && strcmp(v->model, "gpt2") == 0))
        OK(spec_writer_meta_strings(w, "tokenizer.ggml.merges", text, len, v->n_merges));
    write_id(w, "tokenizer.ggml.bos_token_id", v->bos);
    write_id(w, "tokenizer.ggml.eos_token_id", v->eos);
    write_id(w, "tokenizer.ggml.unknown_token_id", v->unknown);
    write_flag(w, "tokenizer.ggml.add_bos_token", v->add_bos);
    write_flag(w, "tokenizer.ggml.add_eos_token", v->add_eos);
    write_flag(w, "tokenizer.ggml.add_space_prefix", v->add_space);
    write_text(w, "tokenizer.chat_template", v->chat_template);
    OK(spec_writer_finish(w, &why));
}

int tiny_load(const tiny_vocab *v, spec_tokenizer **out, const spec_allocator *alloc, spec_message *why) {
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    tiny_write_gguf(v, support_tmp_path(&tmp, "tiny.gguf", path, sizeof path));
    int err = spec_tokenizer_load(out, path, alloc, why);
    support_tmp_remove(&tmp);
    return err;
}

spec_tokenizer *tiny_open(const tiny_vocab *v) {
    spec_message why = {"stale"};
    spec_tokenizer *t = NULL;
    if (tiny_load(v, &t, NULL, &why)) fail_msg("%s", why.text);
    return t;
}

int tiny_load_text(const char *name, const void *data, size_t n, spec_tokenizer **out,
                   const spec_allocator *alloc, spec_message *why) {
    support_tmp tmp;
    char path[256];
    support_tmp_make(&tmp);
    support_write_file(support_tmp_path(&tmp, name, path, sizeof path), data, n);
    int err = spec_tokenizer_load(out, path, alloc, why);
    support_tmp_remove(&tmp);
    return err;
}

const spec_token *tiny_encode(const spec_tokenizer *t, const char *text, size_t n, unsigned flags,
                              size_t *n_tokens) {
    static spec_token out[1 << 14];
    spec_message why = {""};
    if (spec_tokenizer_encode(t, text, n, flags, out, sizeof out / sizeof *out, n_tokens, &why))
        fail_msg("%s", why.text);
    return out;
}

void tiny_expect(const spec_tokenizer *t, const char *text, unsigned flags, const char *want) {
    size_t n, k = 0;
    const spec_token *tok = tiny_encode(t, text, strlen(text), flags, &n);
    char got[4096] = "";
    for (size_t i = 0; i < n; i++) {
        const char *piece;
        size_t n_piece;
        OK(spec_tokenizer_piece(t, tok[i], &piece, &n_piece));
        assert_true(k + n_piece + 2 < sizeof got);
        if (i) got[k++] = '|';
        memcpy(got + k, piece, n_piece);
        k += n_piece;
    }
    got[k] = 0;
    if (strcmp(got, want) != 0) fail_msg("'%s' became %s, expected was %s", text, got, want);
}
