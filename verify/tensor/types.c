/* SPDX-License-Identifier: MIT */
/*
 * types.c - the element types: names, block sizes, and conversion to floats.
 *
 * The table below is the only list of the types; everything else asks it.
 */
#include "spec_tensors.h"

#include "half.h"
#include "specp.h"
#include "types_quant.h"

typedef struct type_traits {
    const char *name;
    uint16_t block, bytes; /* elements in a block, bytes of one */
} type_traits;

static const type_traits traits[SPEC_TYPES] = {
    [SPEC_TYPE_F32] = {"F32", 1, 4},       [SPEC_TYPE_F16] = {"F16", 1, 2},
    [SPEC_TYPE_BF16] = {"BF16", 1, 2},     [SPEC_TYPE_Q8_0] = {"Q8_0", 32, 34},
    [SPEC_TYPE_Q4_0] = {"Q4_0", 32, 18},   [SPEC_TYPE_Q5_0] = {"Q5_0", 32, 22},
    [SPEC_TYPE_Q4_K] = {"Q4_K", 256, 144}, [SPEC_TYPE_Q5_K] = {"Q5_K", 256, 176},
    [SPEC_TYPE_Q6_K] = {"Q6_K", 256, 210}, [SPEC_TYPE_F64] = {"F64", 1, 8},
    [SPEC_TYPE_I8] = {"I8", 1, 1},         [SPEC_TYPE_U8] = {"U8", 1, 1},
    [SPEC_TYPE_I16] = {"I16", 1, 2},       [SPEC_TYPE_I32] = {"I32", 1, 4},
    [SPEC_TYPE_I64] = {"I64", 1, 8},       [SPEC_TYPE_BOOL] = {"BOOL", 1, 1},
};

static const type_traits *find_traits(spec_type type) {
    static const type_traits none = {"?", 1, 0};
    return (unsigned)type < SPEC_TYPES ? &traits[type] : &none;
}

const char *spec_type_name(spec_type type) { return find_traits(type)->name; }
size_t spec_type_block(spec_type type) { return find_traits(type)->block; }
size_t spec_type_block_bytes(spec_type type) { return find_traits(type)->bytes; }

static char upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c; }

static bool equal_names(const char *a, const char *b) {
    while (*a && upper(*a) == upper(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

int spec_type_find(const char *name, spec_type *out) {
    for (unsigned i = 0; i < SPEC_TYPES; i++) {
        if (equal_names(traits[i].name, name)) {
            *out = (spec_type)i;
            return 0;
        }
    }
    return SPEC_ERR_NOT_FOUND;
}

/* ---- conversion ---------------------------------------------------------- */

static bool is_quantised(spec_type type) { return spec_type_block(type) > 1; }

/* out[i] = convert(element i), elements of type T at any address. */
#define EACH_FROM(T, expression)                                                                             \
    for (size_t i = 0; i < n; i++) {                                                                         \
        T e;                                                                                                 \
        memcpy(&e, (const char *)src + i * sizeof e, sizeof e);                                              \
        dst[i] = (expression);                                                                               \
    }                                                                                                        \
    break

#define EACH_TO(T, expression)                                                                               \
    for (size_t i = 0; i < n; i++) {                                                                         \
        T e = (expression);                                                                                  \
        memcpy((char *)dst + i * sizeof e, &e, sizeof e);                                                    \
    }                                                                                                        \
    return 0

int spec_type_to_float(spec_type type, const void *src, float *dst, size_t n) {
    if ((unsigned)type >= SPEC_TYPES || n % spec_type_block(type)) {
        return SPEC_ERR_INVALID;
    }
    switch (type) {
    case SPEC_TYPE_F32: EACH_FROM(float, e);
    case SPEC_TYPE_F16: EACH_FROM(uint16_t, specp_float_of_half(e));
    case SPEC_TYPE_BF16: EACH_FROM(uint16_t, specp_float_of_bf16(e));
    case SPEC_TYPE_F64: EACH_FROM(double, (float)e);
    case SPEC_TYPE_I8: EACH_FROM(int8_t, (float)e);
    case SPEC_TYPE_U8: EACH_FROM(uint8_t, (float)e);
    case SPEC_TYPE_I16: EACH_FROM(int16_t, (float)e);
    case SPEC_TYPE_I32: EACH_FROM(int32_t, (float)e);
    case SPEC_TYPE_I64: EACH_FROM(int64_t, (float)e);
    case SPEC_TYPE_BOOL: EACH_FROM(uint8_t, e ? 1.0f : 0.0f);
    default: specp_dequantise(type, src, dst, n / spec_type_block(type)); break;
    }
    return 0;
}

int spec_type_from_float(spec_type type, const float *src, void *dst, size_t n) {
    if ((unsigned)type >= SPEC_TYPES || n % spec_type_block(type)) {
        return SPEC_ERR_INVALID;
    }
    switch (type) {
    case SPEC_TYPE_F32: EACH_TO(float, src[i]);
    case SPEC_TYPE_F16: EACH_TO(uint16_t, specp_half_of_float(src[i]));
    case SPEC_TYPE_BF16: EACH_TO(uint16_t, specp_bf16_of_float(src[i]));
    case SPEC_TYPE_F64: EACH_TO(double, (double)src[i]);
    default: break;
    }
    if (!is_quantised(type)) {
        return SPEC_ERR_UNSUPPORTED;
    }
    specp_quantise(type, src, dst, n / spec_type_block(type));
    return 0;
}
