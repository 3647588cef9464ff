/* SPDX-License-Identifier: MIT */
/* Text for training: vocabularies, and files cut into documents and tokenised. */
#include "train_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

/* ---- vocabularies -------------------------------------------------------- */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), e = strlen(end);
    return n >= e && strcmp(s + n - e, end) == 0;
}

/* Tokenizers are read from files: the vocabulary takes the way through one. */
static int tokenizer_of_spm(spec_tokenizer **out, const spm_vocab *v, spec_message *why) {
    const char *dir = getenv("TMPDIR");
    char *path = bench_format("%s/specbench-vocab-%ld.gguf", dir && *dir ? dir : "/tmp", (long)getpid());
    if (!path) return SPEC_ERR_NOMEM;
    int err = spm_vocab_save(v, path, why);
    if (!err) {
        err = spec_tokenizer_load(out, path, NULL, why);
        unlink(path);
    }
    free(path);
    return err;
}

int train_vocab_open(train_vocab *out, const char *path, const spm_vocab_options *o, spec_message *why) {
    train_vocab v = {.info = {.size = sizeof v.info}};
    int err;
    if (ends_with(path, ".vocab")) {
        err = spm_vocab_load(&v.spm, path, o, NULL, why);
        if (!err) err = tokenizer_of_spm(&v.tokenizer, &v.spm, why);
    } else {
        err = spec_tensors_open(&v.file, path, NULL, why);
        if (!err) err = spec_tokenizer_open(&v.tokenizer, v.file, NULL, why);
        if (!err && strncmp(spec_tensors_format(v.file), "GGUF", 4) != 0)
            err = specp_fail(why, SPEC_ERR_UNSUPPORTED,
                             "%s: expected a vocabulary in a GGUF file or a .vocab of spm_train", path);
    }
    if (!err) err = spec_tokenizer_get_info(v.tokenizer, &v.info);
    if (err)
        train_vocab_close(&v);
    else
        *out = v;
    return err;
}

void train_vocab_close(train_vocab *v) {
    spec_tokenizer_free(v->tokenizer);
    spec_tensors_free(v->file);
    spm_vocab_release(&v->spm);
    *v = (train_vocab){0};
}

/* ---- documents ----------------------------------------------------------- */

typedef struct adder {
    train_data *data;
    const train_vocab *vocab;
    const char *path;
    spec_token *token; /* scratch */
    size_t cap;
    spec_message *why;
} adder;

/* n bytes that begin in that line. */
static int add_document(adder *a, const char *text, size_t n, size_t line) {
    const spec_tokenizer_info *info = &a->vocab->info;
    spec_message why = {""};
    size_t got = 0, at = 0;
    while (n && text[n - 1] == '\n') n--;
    if (!n) return SPEC_OK;
    /* A token has at least a byte; three more for bos, eos and the blank before a text. */
    spec_token *grown = bench_grow(a->token, &a->cap, n + 3, sizeof *grown);
    if (!grown) return SPEC_ERR_NOMEM;
    a->token = grown;
    if (info->bos >= 0) a->token[at++] = info->bos;
    int err =
        spec_tokenizer_encode(a->vocab->tokenizer, text, n, 0, a->token + at, a->cap - at - 1, &got, &why);
    if (err)
        return specp_fail(a->why, err, "%s: document in line %zu: %s", a->path, line,
                          why.text[0] ? why.text : spec_strerror(err));
    at += got;
    if (info->eos >= 0) a->token[at++] = info->eos;
    return train_data_add(a->data, a->token, at, 0);
}

static int add_documents(adder *a, const char *text, size_t n) {
    const size_t separator = strlen(TRAIN_TEXT_SEPARATOR);
    size_t begin = 0, first = 1, line = 1;
    int err = SPEC_OK;
    for (size_t at = 0; at < n && !err; line++) {
        const char *newline = memchr(text + at, '\n', n - at);
        size_t end = newline ? (size_t)(newline - text) : n, length = end - at;
        size_t bare = length && text[end - 1] == '\r' ? length - 1 : length;
        if (bare == separator && memcmp(text + at, TRAIN_TEXT_SEPARATOR, separator) == 0) {
            err = add_document(a, text + begin, at - begin, first);
            begin = end + (newline != NULL);
            first = line + 1;
        }
        at = end + 1;
    }
    return err ? err : add_document(a, text + begin, n - begin, first);
}

static int io_fault(const char *path, spec_message *why) {
    return specp_fail(why, errno == ENOENT ? SPEC_ERR_NOT_FOUND : SPEC_ERR_IO, "%s: cannot read: %s", path,
                      strerror(errno));
}

static int read_whole(const char *path, char **text, size_t *n, spec_message *why) {
    size_t cap = 0, got = 1;
    FILE *f = fopen(path, "rb");
    *text = NULL;
    *n = 0;
    if (!f) return io_fault(path, why);
    for (int err = SPEC_OK; got; *n += got) {
        char *grown = bench_grow(*text, &cap, *n + 65536, 1);
        if (!grown) err = SPEC_ERR_NOMEM;
        if (grown) *text = grown;
        got = grown ? fread(grown + *n, 1, 65536, f) : 0;
        if (!err && ferror(f)) err = io_fault(path, why);
        if (err) {
            free(*text);
            fclose(f);
            return err;
        }
    }
    fclose(f);
    return SPEC_OK;
}

int train_text_add(train_data *d, const train_vocab *v, const char *path, spec_message *why) {
    adder a = {.data = d, .vocab = v, .path = path, .why = why};
    char *text;
    size_t n;
    int err = read_whole(path, &text, &n, why);
    if (err) return err;
    err = add_documents(&a, text, n);
    free(a.token);
    free(text);
    return err;
}
