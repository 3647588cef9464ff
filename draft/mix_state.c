/* SPDX-License-Identifier: MIT */
/*
 * What the drafter mix has learnt, as bytes: they travel with an index, as the
 * attachment of its snapshot.
 *
 *     offset  bytes
 *          0  8      "SPECMIX" and the version of the layout, '2'
 *          8  4      bytes in all
 *         12  4 each cells, then weights (IEEE single), in the order of mix_state, little-endian
 */
#include <string.h>

#include "mix_model.h"
#include "specp.h"
#include "specp_math.h"

#define HEADER 12
#define SLOTS  (offsetof(mix_state, by_match) / sizeof(mix_slot))
#define FIRST  offsetof(mix_state, by_match)
#define LAST   (offsetof(mix_state, by_last) + sizeof(((mix_state *)0)->by_last))
#define FLOATS ((LAST - FIRST) / sizeof(float))
#define LARGE  1e4f /* weights beyond it are no weights */

static const char magic[8] = {'S', 'P', 'E', 'C', 'M', 'I', 'X', '2'};

_Static_assert(sizeof(float) == 4 && sizeof(mix_slot) == 8, "a state is rows of slots and of floats");

size_t specp_mix_state_bytes(void) { return HEADER + 4 * (SLOTS + FLOATS); }

static void put(unsigned char *p, uint32_t x) {
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(x >> 8 * i);
}

static uint32_t get(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void specp_mix_state_write(const mix_state *s, unsigned char *out) {
    const unsigned char *slot = (const unsigned char *)s, *weight = slot + FIRST;
    uint32_t word;
    memcpy(out, magic, sizeof magic);
    put(out + 8, (uint32_t)specp_mix_state_bytes());
    out += HEADER;
    for (size_t i = 0; i < SLOTS; i++) {
        memcpy(&word, slot + sizeof(mix_slot) * i, 4);
        put(out + 4 * i, word);
    }
    out += 4 * SLOTS;
    for (size_t i = 0; i < FLOATS; i++) {
        memcpy(&word, weight + 4 * i, 4);
        put(out + 4 * i, word);
    }
}

static bool is_weight(uint32_t word) {
    float w;
    memcpy(&w, &word, 4);
    return w >= -LARGE && w <= LARGE; /* no NaN */
}

static int check(const unsigned char *p, size_t n, const char *path, spec_message *why) {
    if (n < HEADER || memcmp(p, magic, sizeof magic - 1) != 0)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s: its attachment is not what a mix drafter has learnt",
                          path);
    if (p[7] != (unsigned char)magic[7])
        return specp_fail(why, SPEC_ERR_VERSION, "%s: learned state of version %c, expected %c", path, p[7],
                          magic[7]);
    if (n != specp_mix_state_bytes() || get(p + 8) != n)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s: learned state of %zu bytes, expected %zu", path, n,
                          specp_mix_state_bytes());
    for (size_t i = 0; i < FLOATS; i++)
        if (!is_weight(get(p + HEADER + 4 * (SLOTS + i))))
            return specp_fail(why, SPEC_ERR_CORRUPT,
                              "%s: weight %zu of the learned state is not a number within %g", path, i,
                              (double)LARGE);
    return SPEC_OK;
}

int specp_mix_state_read(mix_state *s, const mix_tables *t, const void *data, size_t n, const char *path,
                         spec_message *why) {
    const unsigned char *p = data;
    int err = check(p, n, path, why);
    if (err) return err;
    unsigned char *slot = (unsigned char *)s, *weight = slot + FIRST;
    uint32_t word;
    p += HEADER;
    for (size_t i = 0; i < SLOTS; i++) {
        word = get(p + 4 * i);
        memcpy(slot + sizeof(mix_slot) * i, &word, 4);
    }
    p += 4 * SLOTS;
    for (size_t i = 0; i < FLOATS; i++) {
        word = get(p + 4 * i);
        memcpy(weight + 4 * i, &word, 4);
    }
    specp_mix_values(s, t);
    return SPEC_OK;
}

/* ---- built-in priors ------------------------------------------------------------- */

/* Where in specp_mix_priors the next value stands. */
typedef struct reader {
    size_t line, pair;
} reader;

/* The next 12 bits; 0 behind the end. */
static uint32_t next(reader *r) {
    const char *line = specp_mix_priors[r->line];
    if (!line) return 0;
    uint32_t high = mix_prior_six(line[2 * r->pair]), low = mix_prior_six(line[2 * r->pair + 1]);
    if (++r->pair == MIX_PRIOR_PAIRS) *r = (reader){r->line + 1, 0};
    return high << 6 | low;
}

static void read_cells(reader *r, mix_slot *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = next(r), count = bits & 31;
        double p = 1 / (1 + specp_exp(8 - (bits >> 5) / 8.0));
        if (count) s[i].cell = (uint32_t)(p * 4194303) << 10 | count;
    }
}

static void read_weights(reader *r, float *w, size_t n) {
    for (size_t i = 0; i < n; i++) w[i] = (float)next(r) / 256 - 8;
}

void specp_mix_taught(mix_state *s, const mix_tables *t) {
    reader r = {0};
    specp_mix_start(s, t);
    if (!specp_mix_priors[0]) return;
    read_cells(&r, s->evidence, MIX_MATCH_SLOTS);
    read_cells(&r, s->path, sizeof s->path / sizeof *s->path);
    read_cells(&r, s->reach, sizeof s->reach / sizeof *s->reach);
    read_weights(&r, s->by_match[0], sizeof s->by_match / sizeof(float));
    read_weights(&r, s->of_all, MIX_INPUTS);
    specp_mix_values(s, t);
}
