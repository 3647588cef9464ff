/* SPDX-License-Identifier: MIT */
/*
 * spec_index.h - the counted suffix index: every substring, up to a depth, of
 * any number of token sequences, with exact counts, kept up to date token by
 * token.
 *
 * The public view is that of a suffix tree. A *locus* is a substring that
 * occurs; it has a count (how often it occurs, over all sequences, overlaps
 * included) and children (the tokens that follow it), ordered by decreasing
 * count. Underneath lies a depth-capped generalised suffix automaton; the
 * picture is at the top of index_internal.h, the reasons in docs/INDEX.md.
 *
 * Sequences never run into each other: no substring crosses from one into the
 * next. Sequences may grow in any interleaving and be removed in any order.
 *
 * Threads: functions that take a `const spec_index *` may run at the same time
 * as one another; a function that takes a non-const one must run alone. (The
 * suffix drafter wraps an index in a read-write lock.)
 *
 * D below is the depth, k the number of classes on a suffix chain: 2 to 3 on
 * real text, at most D.
 */
#ifndef SPEC_INDEX_H
#define SPEC_INDEX_H

#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spec_index spec_index;

/* A sequence. Never 0, and never reused within the life of an index. */
typedef uint64_t spec_seq;

#define SPEC_INDEX_MIN_DEPTH     1
#define SPEC_INDEX_MAX_DEPTH     4096
#define SPEC_INDEX_DEFAULT_DEPTH 64

typedef enum spec_evict {
    SPEC_EVICT_FIFO = 0, /* the sequence begun first */
    SPEC_EVICT_LRU = 1,  /* the sequence whose last spec_index_touch(), append
                          * or begin lies furthest back */
} spec_evict;

typedef struct spec_index_options {
    size_t size;           /* sizeof(spec_index_options) */
    uint32_t depth;        /* longest substring kept; 0 = 64 */
    spec_evict evict;      /* who goes first when memory_limit is reached */
    size_t memory_limit;   /* allocated bytes; 0 = none. Kept by eviction, see append */
    uint64_t tokenizer_id; /* any hash of the vocabulary, carried by snapshots; 0 = unknown */
    spec_allocator alloc;  /* zero = malloc */
} spec_index_options;

/* SPEC_ERR_INVALID (depth), SPEC_ERR_NOMEM. An empty index takes 2 KB and 4 D
 * bytes at most. */
SPEC_API SPEC_MUST_CHECK int spec_index_new(spec_index **out, const spec_index_options *options);
SPEC_API void spec_index_free(spec_index *x);

/* ---- growing ---------------------------------------------------------- */

/* Starts an empty sequence that can be appended to. SPEC_ERR_NOMEM,
 * SPEC_ERR_FULL (2^31 tokens held, or 2^32 - 2 sequences ever begun). */
SPEC_API SPEC_MUST_CHECK int spec_index_begin(spec_index *x, spec_seq *out);

/*
 * Appends n tokens (copied) to a sequence that has not ended. O(n k) expected.
 * An append that would pass memory_limit first takes tokens from a victim, from
 * its end and 64 at a time, until it finds room: as a rule one or two for each
 * token appended, and never a long sequence whole. From its first lost token on a
 * victim takes no more appends, and when it is empty it is gone. The sequence
 * being appended to is never the victim; when there is no other, or 256 times 64
 * tokens made no room of the kind that is short, it passes the limit.
 *
 * SPEC_ERR_INVALID   a negative token: nothing was appended
 * SPEC_ERR_NOT_FOUND no such sequence, or it was evicted, wholly or in part
 * SPEC_ERR_STATE     the sequence has ended
 * SPEC_ERR_NOMEM, SPEC_ERR_FULL: nothing was appended
 */
SPEC_API SPEC_MUST_CHECK int spec_index_append(spec_index *x, spec_seq seq, const spec_token *tok, size_t n);

/* The sequence will not grow any more. SPEC_ERR_NOT_FOUND. */
SPEC_API int spec_index_end(spec_index *x, spec_seq seq);

/* Takes the last n tokens of a sequence back (all of them when it has fewer);
 * counts and child order are as if they had never been appended. Needs no
 * memory. Ended sequences may be shortened too. O(n k). SPEC_ERR_NOT_FOUND. */
SPEC_API int spec_index_truncate(spec_index *x, spec_seq seq, size_t n);

/* Forgets a sequence: truncates it to nothing and frees its slot. Memory goes
 * back to the index, to be used by later appends. SPEC_ERR_NOT_FOUND. */
SPEC_API int spec_index_remove(spec_index *x, spec_seq seq);

/* ---- sequences -------------------------------------------------------- */

/* The oldest sequence begun after `after` (0: the oldest of all); *out = 0
 * when there is none. O(1). SPEC_ERR_NOT_FOUND: `after` is unknown. */
SPEC_API int spec_index_next_seq(const spec_index *x, spec_seq after, spec_seq *out);

/* Its length in tokens. SPEC_ERR_NOT_FOUND. */
SPEC_API int spec_index_seq_length(const spec_index *x, spec_seq seq, size_t *out);

/* Copies tokens [from, from + n) of a sequence. SPEC_ERR_NOT_FOUND,
 * SPEC_ERR_INVALID (beyond its end). O(from / 32 + n). */
SPEC_API int spec_index_seq_tokens(const spec_index *x, spec_seq seq, size_t from, size_t n, spec_token *out);

/* ---- looking up ------------------------------------------------------- */

/* A substring that occurs. A value: copy it freely; it is good until the next
 * call that takes a non-const index. len == 0 is the empty string, whose count
 * is the number of tokens. The fields besides len and count are private. */
typedef struct spec_locus {
    uint32_t state; /* private: the class, see index_internal.h */
    uint32_t len;   /* tokens in the substring, 0..D */
    uint32_t count; /* its occurrences; 0 = none, not a locus */
} spec_locus;

/* One way on from a locus: `token` follows it `locus.count` times. */
typedef struct spec_child {
    spec_token token;
    spec_locus locus; /* the substring with the token appended */
} spec_child;

SPEC_API spec_locus spec_index_root(const spec_index *x);

/* D: the longest substring kept. */
SPEC_API uint32_t spec_index_depth(const spec_index *x);

/* The locus of tok[0..n); count 0 when it does not occur or n > D. O(n). */
SPEC_API spec_locus spec_index_find(const spec_index *x, const spec_token *tok, size_t n);

/* Occurrences of tok[0..n), 0 when n > D; for n = 0 the number of tokens. */
SPEC_API uint32_t spec_index_count(const spec_index *x, const spec_token *tok, size_t n);

/* The longest suffix of tok[0..n) of at most D tokens that occurs. O(min(n, D))
 * amortised. */
SPEC_API spec_locus spec_index_match(const spec_index *x, const spec_token *tok, size_t n);

/* The child by that token; count 0 when there is none. A locus of length D
 * has no children. O(1) expected. */
SPEC_API spec_locus spec_index_child(const spec_index *x, spec_locus at, spec_token token);

/* Up to cap children from rank `from` on, by decreasing count (order among
 * equal counts: unspecified, but stable between growing calls). Returns how
 * many were written; spec_index_n_children() tells how many there are. O(1)
 * each. */
SPEC_API size_t spec_index_children(const spec_index *x, spec_locus at, size_t from, size_t cap,
                                    spec_child *out);
SPEC_API size_t spec_index_n_children(const spec_index *x, spec_locus at);

/* The longest proper suffix of `at` that occurs more often than it does: the
 * next class on the suffix chain, at its longest. Every suffix of `at` that is
 * longer than the result has the same count as `at`. The root's is the root. */
SPEC_API spec_locus spec_index_suffix(const spec_index *x, spec_locus at);

/* The suffix of `at` that has len tokens; `at` itself where it has no more. */
SPEC_API spec_locus spec_index_shorten(const spec_index *x, spec_locus at, uint32_t len);

/* The last min(length, D) tokens of a sequence: what a request's own index is
 * asked for. Amortised O(1). Root when the sequence is empty or unknown. */
SPEC_API spec_locus spec_index_tail(const spec_index *x, spec_seq seq);

/* Marks the sequence that holds the latest occurrence of `at` as used now, for
 * LRU eviction. Safe beside other const calls. */
SPEC_API void spec_index_touch(const spec_index *x, spec_locus at);

/* ---- places ----------------------------------------------------------- */

/*
 * A place is one token of one sequence; from there the text can be read on, or
 * back. It is good until a call takes tokens away (truncate, remove, evict, an
 * append that evicts) or compacts; appending alone leaves places good. All of
 * this is O(1).
 */
typedef uint32_t spec_place;
#define SPEC_NO_PLACE 0xffffffffu

/*
 * A place where the string of `at` ends: of all such places that whose token was
 * appended last, so that spec_index_next_place() leads to the most recent
 * continuation. (After compaction: in the youngest sequence, the furthest on.)
 * Where that very token has been taken away since, any other such place or
 * SPEC_NO_PLACE, until the string is appended again. SPEC_NO_PLACE for the empty
 * string and for what is no locus.
 *
 * The string that a growing sequence ends with ends there last: what followed it
 * before, ask before the append, at the child by the token to be appended.
 */
SPEC_API spec_place spec_index_latest(const spec_index *x, spec_locus at);

/* The place after it in its sequence, or before; SPEC_NO_PLACE beyond its end or
 * start, and of a number that is no place. */
SPEC_API spec_place spec_index_next_place(const spec_index *x, spec_place place);
SPEC_API spec_place spec_index_prev_place(const spec_index *x, spec_place place);

/* The token there; negative where there is none. */
SPEC_API spec_token spec_index_token_at(const spec_index *x, spec_place place);

/* ---- match cursors ---------------------------------------------------- */

/*
 * Follows a text that is not in the index and knows, after each token, the
 * longest suffix of it that occurs (its matching statistics). It survives
 * every change of the index: growth, removal, compaction. A cursor may be fed
 * beside other const calls, by one thread at a time.
 */
typedef struct spec_cursor spec_cursor;

/* `alloc` is the index's. SPEC_ERR_NOMEM. The cursor must go before the index. */
SPEC_API SPEC_MUST_CHECK int spec_cursor_new(spec_cursor **out, const spec_index *x);
SPEC_API void spec_cursor_free(spec_cursor *c);

/* Feeds n tokens. Amortised O(1) each; a token never fails (a negative one
 * matches nothing). */
SPEC_API void spec_cursor_feed(spec_cursor *c, const spec_token *tok, size_t n);

/* The longest suffix of all that was fed, at most D tokens, that occurs now.
 * Amortised O(1); O(D) when removals have taken the place it stood on. */
SPEC_API spec_locus spec_cursor_locus(spec_cursor *c);

/* Forgets what was fed. */
SPEC_API void spec_cursor_reset(spec_cursor *c);

/* ---- care ------------------------------------------------------------- */

typedef struct spec_index_stats {
    uint64_t tokens;         /* held now */
    uint64_t tokens_total;   /* ever appended */
    uint64_t sequences;      /* held now, live and ended */
    uint64_t states;         /* explicit classes, those with two occurrences or more */
    uint64_t singles;        /* implicit classes, one occurrence each (no memory of their own) */
    uint64_t edges;          /* stored transitions */
    uint64_t bytes;          /* allocated or mapped, slack included */
    uint64_t bytes_used;     /* without slack and free records */
    uint64_t evicted;        /* sequences evicted, ever */
    uint64_t evicted_tokens; /* tokens evicted, ever */
    uint64_t tokenizer_id;
    uint64_t snapshot_id; /* names by its contents the snapshot it was loaded from; 0 = none */
    uint32_t depth;
    uint32_t chain_max; /* longest suffix chain met, ever */
} spec_index_stats;

/* O(1). */
SPEC_API int spec_index_get_stats(const spec_index *x, spec_index_stats *out);

/* Walks every invariant of the structure, whatever its contents: it never
 * reads out of bounds, even in a damaged snapshot. SPEC_OK, or SPEC_ERR_CORRUPT
 * with the first violation in *why. Allocates O(states) for the walk:
 * SPEC_ERR_NOMEM. O(tokens k D) at worst. */
SPEC_API int spec_index_check(const spec_index *x, spec_message *why);

/* Rebuilds the index from its sequences in order of age, as small as it can be;
 * sequences keep their ids. Needs the memory of both while it runs. O(tokens
 * k). SPEC_ERR_NOMEM: as before. */
SPEC_API SPEC_MUST_CHECK int spec_index_compact(spec_index *x);

/* Evicts, oldest first or least recently touched first as the options say,
 * until at most max_tokens are held. */
SPEC_API int spec_index_evict(spec_index *x, uint64_t max_tokens);

/* ---- snapshots -------------------------------------------------------- */

/* Writes the index to `path`: to a temporary file beside it, synced, renamed,
 * directory synced. At any moment `path` is the old file or the whole new one.
 * An attachment that the index was loaded with is written again. The format is
 * in docs/FORMATS.md. SPEC_ERR_IO, SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_index_save(const spec_index *x, const char *path, spec_message *why);

#define SPEC_INDEX_MAX_ATTACHMENT (64u << 20) /* bytes */

/* The same, with n bytes of the caller's in the file, the index's attachment:
 * what a drafter has learned, so that both are replaced at one moment. n == 0:
 * without any, also when the index was loaded with one. The index itself keeps
 * the attachment it has. What the bytes mean is the caller's affair, but they
 * must not name sequences, loci or places: tools hand them on to an index that
 * is compacted, merged or shortened. SPEC_ERR_INVALID (too many bytes, or none
 * given), SPEC_ERR_IO, SPEC_ERR_NOMEM. */
SPEC_API SPEC_MUST_CHECK int spec_index_save_with(const spec_index *x, const char *path, const void *data,
                                                  size_t n, spec_message *why);

/* The attachment of the snapshot that the index was loaded from, and its size
 * in *n (may be NULL); NULL and 0 when there was none. Its checksum has been
 * verified, `trust` or not. Good as long as the index, compacted or not, and
 * aligned as memory of its allocator is, to 8 at least. */
SPEC_API const void *spec_index_attachment(const spec_index *x, size_t *n);

typedef struct spec_index_load_options {
    size_t size;           /* sizeof(spec_index_load_options) */
    int trust;             /* nonzero: do not verify the data's checksums (the header's always are) */
    uint64_t tokenizer_id; /* nonzero: refuse a snapshot made with another one */
    uint64_t snapshot_id;  /* nonzero: refuse any snapshot but this one (spec_index_stats) */
    size_t memory_limit;   /* of the index that results, as in spec_index_options */
    spec_evict evict;
    spec_allocator alloc;
} spec_index_load_options;

/* Maps a snapshot. With `trust`, damaged data is not noticed: of an index whose
 * bytes nobody vouches for, only spec_index_check, spec_index_attachment and
 * spec_index_free may be called before the check has passed. The index can grow
 * and shrink like any other; the file is never written (private mapping), and
 * must not be truncated while mapped.
 * SPEC_ERR_NOT_FOUND, SPEC_ERR_IO, SPEC_ERR_CORRUPT, SPEC_ERR_VERSION,
 * SPEC_ERR_NOMEM, SPEC_ERR_INVALID (tokenizer_id, snapshot_id). */
SPEC_API SPEC_MUST_CHECK int spec_index_load(spec_index **out, const char *path,
                                             const spec_index_load_options *options, spec_message *why);

#ifdef __cplusplus
}
#endif
#endif
