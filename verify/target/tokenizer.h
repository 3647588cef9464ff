/* SPDX-License-Identifier: MIT */
/*
 * tokenizer.h - what the tokenizer's files share.
 *
 *   load (GGUF, tokenizer.json, tokenizer.bin)
 *     begin -> put every token -> index -> put every merge -> finish
 *
 *   encode     text --special--> fragments --patterns--> words --merge--> tokens
 *
 *   special    finds the special tokens in a text                 (trie)
 *   pattern    cuts a fragment into words, a regular expression a stage    (stage)
 *   merge      joins a word's characters to tokens                (merge table, or scores)
 *
 * After finish nothing changes.
 */
#ifndef SPECP_TOKENIZER_H
#define SPECP_TOKENIZER_H

#include "specp.h"
#include "spec_tokenizer.h"

#define SPECP_MAX_TEXT    ((size_t)1 << 30) /* bytes to encode, less one */
#define SPECP_MAX_TOKENS  ((size_t)1 << 24) /* in a vocabulary */
#define SPECP_MAX_PATTERN 16384             /* bytes of a pattern */
#define SPECP_MAX_STAGES  8

#define SPECP_BLANK   "\xe2\x96\x81" /* U+2581, a blank in SentencePiece's texts */
#define SPECP_N_BLANK 3

typedef struct specp_token {
    uint32_t text, n_text;   /* as the file writes it; in the pool */
    uint32_t piece, n_piece; /* the bytes it stands for; in the pool */
    float score;
    uint8_t kind;  /* spec_token_kind; 0: not put yet */
    uint8_t flags; /* SPECP_TOKEN_* */
} specp_token;

enum {
    SPECP_TOKEN_END = 1,    /* generation ends with it */
    SPECP_TOKEN_LSTRIP = 2, /* takes the white space before it */
    SPECP_TOKEN_RSTRIP = 4, /* and after it */
};

/* One slot of the hash table of merges. */
typedef struct specp_merge {
    uint64_t pair; /* left << 32 | right; SPECP_NO_PAIR: empty */
    uint32_t rank; /* the lowest goes first */
    spec_token result;
} specp_merge;

#define SPECP_NO_PAIR UINT64_MAX

/* A node of the trie of special tokens: first child, next sibling; 0: none. */
typedef struct specp_trie_node {
    uint32_t child, sibling;
    uint32_t rank; /* in spec_tokenizer.special, plus 1; 0: no token ends here */
    uint8_t byte;
} specp_trie_node;

typedef enum specp_prefix {
    SPECP_PREFIX_NONE,
    SPECP_PREFIX_FIRST, /* a blank before a text that begins with no special token */
    SPECP_PREFIX_EACH,  /* before each stretch of text between special tokens */
} specp_prefix;

/* A pre-tokenizer's pattern. */
typedef struct specp_stage {
    void *code;   /* pcre2_code */
    bool counted; /* from a file: its steps are counted, so that it cannot hang */
} specp_stage;

struct spec_tokenizer {
    spec_allocator alloc;

    specp_token *token; /* (n_tokens) */
    size_t n_tokens;
    char *pool; /* texts and pieces */
    size_t n_pool, cap_pool;
    size_t max_text, max_piece; /* bytes of the longest */
    uint32_t *slot;             /* (n_slots) text -> id + 1; a power of two */
    size_t n_slots;

    specp_merge *merge; /* (n_merge_slots), a power of two; NULL: merges by score */
    size_t n_merge_slots, n_merges;

    spec_token byte[256]; /* the token of each byte, -1: none */
    spec_token *special;  /* (n_special), longest text first, then by id */
    size_t n_special;
    specp_trie_node *trie; /* (n_trie); node 0 is not used */
    size_t n_trie;
    uint32_t root[256]; /* first byte -> node, 0: none */

    void *regex; /* pcre2_general_context */
    specp_stage stage[SPECP_MAX_STAGES];
    size_t n_stages;

    /* What loaders set before finish. */
    const char *pre;    /* static */
    bool bytewise;      /* BPE over bytes, written in GPT-2's letters */
    bool ignore_merges; /* a word that is a token is that token */
    bool no_bytes;      /* characters outside the vocabulary do not become bytes */
    bool each_unknown;  /* the unknown token comes for each of them, not once for several in a row */
    specp_prefix prefix;
    bool prefix_once; /* no blank before a text that has one */
    bool add_bos, add_eos;
    spec_token bos, eos, eot, unknown;
    char *chat_template; /* n bytes and a 0 */
    size_t n_chat_template;
    uint64_t hash;
};

/* ---- building (tokenizer_build.c) -------------------------------------------- */

/* Room for n tokens. The allocator is copied. SPEC_ERR_NOMEM. */
int specp_tokenizer_begin(spec_tokenizer **out, size_t n_tokens, const spec_allocator *alloc);

/* Token `id` (below n_tokens); copies text. SPEC_ERR_CORRUPT: that id has one, the text is
 * empty, or the texts pass 4 GiB. SPEC_ERR_NOMEM. */
int specp_tokenizer_put(spec_tokenizer *t, size_t id, const char *text, size_t n, int kind, float score,
                        spec_message *why);

/* After the last token: fills gaps with unused tokens, and makes texts findable.
 * SPEC_ERR_CORRUPT: two tokens have the same text. SPEC_ERR_NOMEM. */
int specp_tokenizer_index(spec_tokenizer *t, spec_message *why);

/* After index: room for n merges, n > 0. SPEC_ERR_CORRUPT (too many), SPEC_ERR_NOMEM. */
int specp_tokenizer_merges(spec_tokenizer *t, size_t n, spec_message *why);
/* The next merge. SPEC_ERR_CORRUPT: a part or the whole is no token. */
int specp_tokenizer_put_merge(spec_tokenizer *t, const char *left, size_t n_left, const char *right,
                              size_t n_right, spec_message *why);
/* The same as one string, "left right". */
int specp_tokenizer_put_pair(spec_tokenizer *t, const char *s, size_t n, spec_message *why);

/* Copies the chat template. SPEC_ERR_NOMEM. */
int specp_tokenizer_put_template(spec_tokenizer *t, const char *s, size_t n);

/* Marks the ends of generation, checks ids, and makes pieces, bytes, special tokens and hash.
 * SPEC_ERR_CORRUPT, SPEC_ERR_NOMEM. */
int specp_tokenizer_finish(spec_tokenizer *t, spec_message *why);

/* The id of the text that is a and b together, -1: none. O(n). */
spec_token specp_tokenizer_lookup(const spec_tokenizer *t, const char *a, size_t n_a, const char *b,
                                  size_t n_b);

/* The byte of "<0x0A>", -1: the text is not of that form. */
int specp_byte_of_name(const char *s, size_t n);

/* For a file without kinds: bytes, control tokens and the unknown one by their names and ids.
 * Between index and finish. */
void specp_tokenizer_guess_kinds(spec_tokenizer *t);

/* Writes a token's text for a message: printable, shortened. */
const char *specp_tokenizer_show(const char *text, size_t n, char *buf, size_t cap);

/* ---- special tokens (tokenizer_special.c) ----------------------------------------- */

/* Sorts them and builds the trie. SPEC_ERR_NOMEM. */
int specp_special_build(spec_tokenizer *t);

/* A special token in a text: bytes from..to, white space that it takes included. */
typedef struct specp_mark {
    uint32_t from, to;
    spec_token token;
} specp_mark;

/* Finds them, in order: *spans is (*n_spans), to be released; NULL when there are none. The longest
 * token wins wherever it is, then the lower id, then the earlier place. Control and unknown
 * tokens only with `control`. O(n) and the number of finds. SPEC_ERR_NOMEM. */
int specp_special_find(const spec_tokenizer *t, const char *text, size_t n, bool control, specp_mark **spans,
                       size_t *n_spans);

/* ---- patterns (tokenizer_pattern.c, tokenizer_pre.c) --------------------------------- */

/* Adds a stage: a PCRE2 pattern, UTF-8. With `foreign` it came from a file: then its syntax is
 * checked, and its steps are counted. SPEC_ERR_UNSUPPORTED, SPEC_ERR_NOMEM. */
int specp_pattern_add(spec_tokenizer *t, const char *pattern, size_t n, bool foreign, spec_message *why);
void specp_pattern_release(spec_tokenizer *t);

typedef int specp_word_fn(void *user, const char *word, size_t n);

/* Cuts a text: stage after stage, what matches and what lies between two matches are cut further. Calls fn
 * with every word in order; ends with the first error. base: where the text stands, for messages. */
int specp_pattern_cut(const spec_tokenizer *t, const char *text, size_t n, size_t base, specp_word_fn *fn,
                      void *user, spec_message *why);

/* The stages and habits of the pre-tokenizer of that name (GGUF's tokenizer.ggml.pre).
 * SPEC_ERR_UNSUPPORTED: it is not known; *why has those that are. */
int specp_pre_apply(spec_tokenizer *t, const char *name, size_t n, spec_message *why);

/* ---- merging (tokenizer_merge.c) ---------------------------------------------------- */

typedef struct specp_symbol {
    uint32_t at, len; /* bytes of the word; len 0: merged into the one before */
    uint32_t prev, next;
    spec_token id; /* -1: no token */
} specp_symbol;

typedef struct specp_candidate {
    uint64_t key; /* the lowest goes first */
    uint32_t len; /* of both together: another one now means that it is out of date */
    spec_token id;
} specp_candidate;

/* Tokens go out through a sink: the first cap of them are kept. */
typedef struct specp_sink {
    spec_token *out;
    size_t cap, n;
} specp_sink;

static inline void specp_sink_put(specp_sink *s, spec_token token) {
    if (s->n < s->cap) s->out[s->n] = token;
    s->n++;
}

/* Scratch memory of an encoding; begins as zeros, with t. */
typedef struct specp_merger {
    const spec_tokenizer *t;
    specp_symbol *symbol;  /* (cap) */
    specp_candidate *heap; /* (2 cap) */
    size_t cap, n_heap;
    bool unknown; /* the last thing that went out is the unknown token */
    specp_sink sink;
} specp_merger;

/* Puts the word's tokens into the sink. *bad: the place of what has no token (SPEC_ERR_UNSUPPORTED).
 * SPEC_ERR_NOMEM. O(n log n). */
int specp_merge_word(specp_merger *m, const char *word, size_t n, size_t *bad);
void specp_merge_release(specp_merger *m);

/* ---- loaders ---------------------------------------------------------------------------- */

/* Messages do not name the file: tokenizer_load.c does. */

int specp_tokenizer_from_gguf(spec_tokenizer **out, const spec_tensors *file, const spec_allocator *alloc,
                              spec_message *why);
/* The text of a tokenizer.json. folder: where tokenizer_config.json and its kin may lie, ends with
 * a slash or is empty; NULL: nowhere. SPEC_ERR_NOT_FOUND: it is some other JSON. */
int specp_tokenizer_from_json(spec_tokenizer **out, const char *text, size_t n, const char *folder,
                              const spec_allocator *alloc, spec_message *why);
/* SPEC_ERR_NOT_FOUND: the data are not laid out as a tokenizer.bin. */
int specp_tokenizer_from_bin(spec_tokenizer **out, const char *data, size_t n, const spec_allocator *alloc,
                             spec_message *why);

/* A file's bytes, mapped; an empty file's are not. SPEC_ERR_NOT_FOUND, SPEC_ERR_IO. */
typedef struct specp_mapped {
    const char *data;
    size_t n;
} specp_mapped;
int specp_map_file(specp_mapped *m, const char *path, spec_message *why);
void specp_unmap_file(specp_mapped *m);

#define SPECP_MAX_PATH 4096
/* folder and name in buf[SPECP_MAX_PATH]. SPEC_ERR_INVALID: too long. */
int specp_join_path(char *buf, const char *folder, const char *name, spec_message *why);

#endif
