/* SPDX-License-Identifier: MIT */
/*
 * Vocabularies of any sort, and texts. The first byte chooses:
 *
 *   j   bytes up to the first 0 are a tokenizer.json     b   ... a tokenizer.bin (its length in 2 bytes)
 *   s   bytes that describe an SPM vocabulary            p   ... a BPE vocabulary, both as GGUF
 *
 * and what is left is the text. A refusal has a reason; tokens are ids; encoding again gives the same;
 * tokens that stand for text give the text back; a stream is what decoding gives.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spec_tokenizer.h"

#define MAX_INPUT (1 << 14)

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "fuzz_tokenizer: line %d: %s\n", __LINE__, #condition);                          \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

typedef struct bytes {
    const uint8_t *data;
    size_t left;
} bytes;

static uint32_t take(bytes *b) {
    if (!b->left) return 0;
    b->left--;
    return *b->data++;
}

/* ---- a GGUF file ------------------------------------------------------------------- */

typedef struct file {
    uint8_t data[1 << 16];
    size_t n;
    uint64_t n_keys;
} file;

static void put(file *f, const void *p, size_t n) {
    REQUIRE(f->n + n <= sizeof f->data);
    if (n) memcpy(f->data + f->n, p, n);
    f->n += n;
}

static void put_u32(file *f, uint32_t x) { put(f, &x, 4); }
static void put_u64(file *f, uint64_t x) { put(f, &x, 8); }

static void put_text(file *f, const void *s, size_t n) {
    put_u64(f, n);
    put(f, s, n);
}

/* Types of GGUF: 4 u32, 5 i32, 6 f32, 7 bool, 8 text, 9 array. */
static void put_key(file *f, const char *key, uint32_t type) {
    put_text(f, key, strlen(key));
    put_u32(f, type);
    f->n_keys++;
}

static void put_array(file *f, const char *key, uint32_t type, uint64_t n) {
    put_key(f, key, 9);
    put_u32(f, type);
    put_u64(f, n);
}

static size_t letter(uint8_t b, char *out) {
    uint32_t c = b;
    if (b <= 32) c = 256u + b;
    if (b >= 127 && b <= 160) c = 289u + b - 127u;
    if (b == 173) c = 323;
    if (c < 128) return out[0] = (char)c, 1;
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 63));
    return 2;
}

typedef struct token {
    char text[16];
    size_t n;
    int kind;
    float score;
} token;

static token tokens[256 + 64];
static size_t n_tokens;

static void add(const char *text, size_t n, int kind, float score) {
    token *k = &tokens[n_tokens++];
    memcpy(k->text, text, n);
    k->n = n;
    k->kind = kind;
    k->score = score;
}

/* All bytes, in one form or the other, and tokens from the input. */
static void make_tokens(bytes *in, bool spm) {
    char text[16];
    n_tokens = 0;
    if (take(in) % 8)
        for (int b = 0; b < 256; b++) {
            size_t n =
                spm ? (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)b) : letter((uint8_t)b, text);
            add(text, n, spm ? 6 : 1, 0);
        }
    for (uint32_t i = take(in) % 64; i > 0; i--) {
        uint32_t kind = take(in), n = take(in) % 12, score = take(in);
        for (uint32_t k = 0; k < n; k++) text[k] = (char)take(in);
        add(text, n, kind % 4 ? 1 : (int)(kind / 4 % 8), score == 128 ? NAN : (float)(int8_t)score);
    }
}

static void put_tokens(file *f) {
    put_array(f, "tokenizer.ggml.tokens", 8, n_tokens);
    for (size_t i = 0; i < n_tokens; i++) put_text(f, tokens[i].text, tokens[i].n);
    put_array(f, "tokenizer.ggml.scores", 6, n_tokens);
    for (size_t i = 0; i < n_tokens; i++) put(f, &tokens[i].score, 4);
    put_array(f, "tokenizer.ggml.token_type", 5, n_tokens);
    for (size_t i = 0; i < n_tokens; i++) put_u32(f, (uint32_t)tokens[i].kind);
}

/* Tokens cut in two: the parts may be tokens or not. */
static void put_merges(file *f, bytes *in) {
    uint32_t n = n_tokens ? take(in) % 32 : 0;
    put_array(f, "tokenizer.ggml.merges", 8, n);
    for (uint32_t i = 0; i < n; i++) {
        const token *k = &tokens[n_tokens - 1 - take(in) % n_tokens];
        size_t left = take(in) % (k->n + 1);
        char pair[40];
        memcpy(pair, k->text, left);
        pair[left] = ' ';
        memcpy(pair + left + 1, k->text + left, k->n - left);
        put_text(f, pair, k->n + 1);
    }
}

static const char *const pres[] = {"default", "gpt-2",  "llama-bpe",    "qwen2",
                                   "tekken",  "gpt-4o", "deepseek-llm", "falcon"};

static void make_gguf(file *f, bytes *in, bool spm) {
    static const char *const ids[] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                      "tokenizer.ggml.unknown_token_id"};
    static const char *const flags[] = {"tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token",
                                        "tokenizer.ggml.add_space_prefix"};
    f->n = 0;
    f->n_keys = 0;
    put(f, "GGUF", 4);
    put_u32(f, 3);
    put_u64(f, 0);
    put_u64(f, 0);
    put_key(f, "tokenizer.ggml.model", 8);
    put_text(f, spm ? "llama" : "gpt2", spm ? 5 : 4);
    uint32_t present = take(in), values = take(in);
    make_tokens(in, spm);
    put_tokens(f);
    for (int i = 0; i < 3; i++)
        if (present >> i & 1) {
            put_key(f, ids[i], 4);
            put_u32(f, take(in) - (take(in) == 7));
        }
    for (int i = 0; i < 3; i++)
        if (present >> (3 + i) & 1) {
            put_key(f, flags[i], 7);
            put(f, &(uint8_t){values >> i & 1}, 1);
        }
    if (!spm) {
        const char *pre = pres[values >> 3 & 7];
        put_merges(f, in);
        put_key(f, "tokenizer.ggml.pre", 8);
        put_text(f, pre, strlen(pre));
    }
    memcpy(f->data + 16, &f->n_keys, 8);
}

/* ---- texts ------------------------------------------------------------------------------ */

/* U+2581 and the blank are one. */
static size_t unescape(const char *s, size_t n, char *out) {
    size_t k = 0;
    for (size_t i = 0; i < n; k++) {
        bool sign = n - i >= 3 && memcmp(s + i, "\xe2\x96\x81", 3) == 0;
        out[k] = sign ? ' ' : s[i];
        i += sign ? 3 : 1;
    }
    return k;
}

/* Do the tokens say the text? Where special tokens or the unknown one are among them, they need not. */
static void check_pieces(const spec_tokenizer *t, const spec_token *tok, size_t n_tok, const char *text,
                         size_t n) {
    static char said[1 << 19], plain[1 << 19], want[1 << 16];
    size_t n_said = 0;
    for (size_t i = 0; i < n_tok; i++) {
        const char *piece;
        size_t n_piece;
        int kind = spec_tokenizer_kind(t, tok[i]);
        REQUIRE(spec_tokenizer_piece(t, tok[i], &piece, &n_piece) == 0);
        if ((kind != SPEC_TOKEN_NORMAL && kind != SPEC_TOKEN_BYTE) || n_said + n_piece > sizeof said) return;
        memcpy(said + n_said, piece, n_piece);
        n_said += n_piece;
    }
    spec_tokenizer_info info = {.size = sizeof info};
    REQUIRE(spec_tokenizer_get_info(t, &info) == 0);
    if (n_tok && info.unknown >= 0) return;
    n_said = unescape(said, n_said, plain);
    n = unescape(text, n, want);
    bool prefixed = info.adds_space && n_said == n + 1 && plain[0] == ' ' && memcmp(plain + 1, want, n) == 0;
    REQUIRE(prefixed || (n_said == n && memcmp(plain, want, n) == 0));
}

static void check_decode(const spec_tokenizer *t, const spec_token *tok, size_t n_tok, unsigned flags) {
    static char whole[1 << 20];
    size_t n, at = 0;
    spec_detokenizer *d;
    const char *s;
    size_t len;
    int err = spec_tokenizer_decode(t, tok, n_tok, flags, whole, sizeof whole, &n);
    if (err == SPEC_ERR_FULL) return;
    REQUIRE(!err && spec_detokenizer_new(&d, t, flags) == 0);
    for (size_t i = 0; i <= n_tok; i++) {
        if (i == n_tok)
            spec_detokenizer_finish(d, &s, &len);
        else
            REQUIRE(spec_detokenizer_push(d, tok[i], &s, &len) == 0);
        REQUIRE(at + len <= n && memcmp(whole + at, s, len) == 0);
        at += len;
    }
    REQUIRE(at == n);
    spec_detokenizer_free(d);
}

static void check_text(const spec_tokenizer *t, const char *text, size_t n) {
    static spec_token tok[1 << 16], again[1 << 16];
    spec_tokenizer_info info = {.size = sizeof info};
    REQUIRE(spec_tokenizer_get_info(t, &info) == 0);
    for (unsigned flags = 0; flags < 4; flags++) {
        spec_message why = {""};
        size_t n_tok, n_again;
        int err = spec_tokenizer_encode(t, text, n, flags, tok, 1 << 16, &n_tok, &why);
        REQUIRE(err == 0 || (err == SPEC_ERR_UNSUPPORTED && why.text[0]));
        if (err) continue;
        for (size_t i = 0; i < n_tok; i++) REQUIRE(tok[i] >= 0 && (size_t)tok[i] < info.n_tokens);
        REQUIRE(spec_tokenizer_encode(t, text, n, flags, again, 1 << 16, &n_again, NULL) == 0);
        REQUIRE(n_tok == n_again && memcmp(tok, again, n_tok * sizeof *tok) == 0);
        if (!(flags & SPEC_ENCODE_ADD_SPECIAL)) check_pieces(t, tok, n_tok, text, n);
        check_decode(t, tok, n_tok, flags);
    }
}

/* ---- the target ------------------------------------------------------------------------- */

static const char *path_of(void) {
    static char path[80];
    snprintf(path, sizeof path, "%s/spec_fuzz_tokenizer_%ld", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
             (long)getpid());
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static file f;
    bytes in = {data, size};
    if (!size || size > MAX_INPUT) return 0;
    uint32_t kind = take(&in);
    if (kind == 's' || kind == 'p') {
        make_gguf(&f, &in, kind == 's');
    } else {
        size_t n = kind == 'b' ? (take(&in) | take(&in) << 8) : 0;
        const uint8_t *end = kind == 'b' ? NULL : memchr(in.data, 0, in.left);
        if (end) n = (size_t)(end - in.data);
        if (n > in.left || (kind != 'b' && !end)) n = in.left;
        f.n = 0;
        put(&f, in.data, n);
        in.data += n;
        in.left -= n;
    }
    spec_tokenizer *t = NULL;
    spec_message why = {"stale"};
    support_write_file(path_of(), f.data, f.n);
    int err = spec_tokenizer_load(&t, path_of(), NULL, &why);
    unlink(path_of());
    REQUIRE(err ? t == NULL && why.text[0] : t != NULL && !why.text[0]);
    if (!err) check_text(t, (const char *)in.data, in.left);
    spec_tokenizer_free(t);
    return 0;
}
