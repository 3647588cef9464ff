/* SPDX-License-Identifier: MIT */
/* tokenizer_json.h - between the two files that read a tokenizer.json. */
#ifndef SPECP_TOKENIZER_JSON_H
#define SPECP_TOKENIZER_JSON_H

#include <jansson.h>

#include "tokenizer.h"

/* What its parts say, before there is a vocabulary. */
typedef struct specp_pipeline {
    bool blanks;   /* blanks become U+2581 */
    bool bytewise; /* bytes become GPT-2's letters */
    specp_prefix prefix;
    bool prefix_once;
    const char *bos, *eos; /* added by the post-processor, or NULL; borrowed */
} specp_pipeline;

/* Reads normalizer, pre_tokenizer and post_processor; the patterns are added to t.
 * SPEC_ERR_UNSUPPORTED (a part or an option is not known; named), SPEC_ERR_CORRUPT, SPEC_ERR_NOMEM. */
int specp_pipeline_read(specp_pipeline *p, spec_tokenizer *t, const json_t *root, spec_message *why);

/* A member that is a text, or NULL. */
static inline const char *specp_json_text(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static inline bool specp_json_flag(const json_t *object, const char *key, bool otherwise) {
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

#endif
