/* SPDX-License-Identifier: MIT */
/*
 * The angles of an EAGLE-3 head: metadata -> frequencies. They are the head's own,
 * whatever its target's are. Scalings: none, linear, llama3; others are refused by name.
 *
 *     rope_theta                                     or rope_parameters.rope_theta
 *     rope_scaling.rope_type, .factor, ...           or rope_parameters.*
 */
#include <stdio.h>

#include "eagle3_internal.h"
#include "head_file.h"
#include "rope.h"

typedef struct member {
    char text[64];
} member;

/* The object that holds scalings has changed its name. */
static member member_of(const specp_eagle3 *h, const char *name) {
    member m;
    (void)snprintf(m.text, sizeof m.text, "rope_scaling.%s", name);
    if (specp_head_meta(h->file, m.text) == NULL)
        (void)snprintf(m.text, sizeof m.text, "rope_parameters.%s", name);
    return m;
}

/* A number that must be there. */
static int read_number(const specp_eagle3 *h, const char *name, double *out, spec_message *why) {
    member m = member_of(h, name);
    if (specp_head_meta(h->file, m.text) == NULL)
        return specp_head_fail(h->file, why, SPEC_ERR_CORRUPT, "rope_scaling.%s is missing", name);
    return specp_head_real(h->file, m.text, 1.0, 1e9, out, why);
}

static int read_llama3(const specp_eagle3 *h, specp_rope_llama3 *s, spec_message *why) {
    int err = read_number(h, "factor", &s->factor, why);
    if (err == SPEC_OK) err = read_number(h, "low_freq_factor", &s->low, why);
    if (err == SPEC_OK) err = read_number(h, "high_freq_factor", &s->high, why);
    if (err == SPEC_OK) err = read_number(h, "original_max_position_embeddings", &s->original, why);
    if (err == SPEC_OK && s->high <= s->low)
        err = specp_head_fail(h->file, why, SPEC_ERR_CORRUPT,
                              "high_freq_factor %g is not above low_freq_factor %g", s->high, s->low);
    return err;
}

static int unknown(const specp_eagle3 *h, const spec_meta *type, spec_message *why) {
    const char *s = "?";
    size_t n = 1;
    (void)spec_meta_string(type, 0, &s, &n);
    return specp_head_fail(h->file, why, SPEC_ERR_UNSUPPORTED,
                           "%s \"%.*s\" is not supported; supported are default, linear and llama3",
                           type->key, n < 60 ? (int)n : 60, s);
}

int specp_eagle3_read_rope(specp_eagle3 *h, spec_message *why) {
    double base = 10000.0;
    size_t half = h->info.head_dim / 2;
    specp_rope_llama3 s = {.factor = 1.0};
    int err = specp_head_real(h->file, "rope_parameters.rope_theta", 1.0, 1e15, &base, why);
    if (err == SPEC_OK) err = specp_head_real(h->file, "rope_theta", 1.0, 1e15, &base, why);
    if (err != SPEC_OK) return err;
    const spec_meta *type = specp_head_meta(h->file, member_of(h, "rope_type").text);
    if (type == NULL) type = specp_head_meta(h->file, member_of(h, "type").text); /* its name of old */
    bool llama3 = specp_head_is(type, "llama3"), linear = specp_head_is(type, "linear");
    if (type != NULL && !llama3 && !linear && !specp_head_is(type, "default")) return unknown(h, type, why);
    if (llama3) err = read_llama3(h, &s, why);
    if (linear) err = read_number(h, "factor", &s.factor, why);
    if (err != SPEC_OK) return err;
    specp_rope_freqs(base, h->info.head_dim, h->freq);
    for (size_t j = 0; j < half; j++)
        h->freq[j] = llama3 ? specp_rope_stretched(&s, h->freq[j]) : h->freq[j] / s.factor;
    return SPEC_OK;
}
