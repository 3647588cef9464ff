/* SPDX-License-Identifier: MIT */
/*
 * repack.c - quantised rows as a file has them, to the panels of kernels_quant.h.
 *
 * A block of 32 columns of one row goes through four words of eight codes, one code
 * a byte, from 0 up:
 *
 *     Q8_0 Q4_0 Q5_0 Q4_K Q5_K Q6_K  -- read_codes -->  c[4]  -- write_codes -->  a row's bytes of a tile
 *
 * The type is a constant in each instance of repack_panels, so the compiler leaves of
 * these functions what one type needs. Words are little endian, as files are.
 */
#include "kernels_quant.h"

#include <string.h>

#include "blocks.h"

#define AHEAD        512 /* bytes of a row */
#define EACH_BYTE(b) ((b) * (uint64_t)0x0101010101010101)

static uint64_t load_word(const void *p) {
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* Bit i of a byte to bit 4 of byte i. */
static uint64_t spread_bits(uint8_t bits) {
    uint64_t one_each = EACH_BYTE(bits) & 0x8040201008040201;
    return (one_each + EACH_BYTE(0x7f)) >> 3 & EACH_BYTE(0x10);
}

/* ---- from the file ------------------------------------------------------- */

/* 16 bytes of two codes each: elements 0-15 low, 16-31 high. */
SPECP_INLINE void read_halves(const uint8_t *q, uint64_t c[4]) {
    SPECP_UNROLL
    for (size_t i = 0; i < 2; i++) {
        c[i] = load_word(q + 8 * i) & EACH_BYTE(15);
        c[i + 2] = load_word(q + 8 * i) >> 4 & EACH_BYTE(15);
    }
}

/* Bits 4 and up of 32 codes: `bits` of each byte of high, from bit `shift`. */
SPECP_INLINE void add_high(const uint8_t *high, unsigned shift, unsigned mask, uint64_t c[4]) {
    SPECP_UNROLL
    for (size_t i = 0; i < 4; i++) {
        c[i] |= (load_word(high + 8 * i) >> shift & EACH_BYTE(mask)) << 4;
    }
}

/* 32 bytes, the low or high half of each. */
SPECP_INLINE void read_half(const uint8_t *q, unsigned shift, uint64_t c[4]) {
    SPECP_UNROLL
    for (size_t i = 0; i < 4; i++) {
        c[i] = load_word(q + 8 * i) >> shift & EACH_BYTE(15);
    }
}

/* spec_type_block_bytes as a constant. */
SPECP_INLINE size_t bytes_of(spec_type type) {
    switch (type) {
    case SPEC_TYPE_Q8_0: return sizeof(specp_q8_0);
    case SPEC_TYPE_Q4_0: return sizeof(specp_q4_0);
    case SPEC_TYPE_Q5_0: return sizeof(specp_q5_0);
    case SPEC_TYPE_Q4_K: return sizeof(specp_q4_k);
    case SPEC_TYPE_Q5_K: return sizeof(specp_q5_k);
    default: return sizeof(specp_q6_k);
    }
}

/* Columns 32 t .. 32 t + 31 of a block. */
SPECP_INLINE void read_codes(spec_type type, const void *block, size_t t, uint64_t c[4]) {
    if (type == SPEC_TYPE_Q8_0) {
        SPECP_UNROLL
        for (size_t i = 0; i < 4; i++) {
            c[i] = load_word(((const specp_q8_0 *)block)->q + 8 * i) ^ EACH_BYTE(0x80);
        }
    } else if (type == SPEC_TYPE_Q4_0) {
        read_halves(((const specp_q4_0 *)block)->q, c);
    } else if (type == SPEC_TYPE_Q5_0) {
        const specp_q5_0 *b = block;
        read_halves(b->q, c);
        SPECP_UNROLL
        for (size_t i = 0; i < 4; i++) {
            c[i] |= spread_bits(b->high[i]);
        }
    } else if (type == SPEC_TYPE_Q4_K) {
        read_half(((const specp_q4_k *)block)->q + t / 2 * 32, (unsigned)(t % 2 * 4), c);
    } else if (type == SPEC_TYPE_Q5_K) {
        const specp_q5_k *b = block;
        read_half(b->q + t / 2 * 32, (unsigned)(t % 2 * 4), c);
        add_high(b->high, (unsigned)t, 1, c);
    } else {
        const specp_q6_k *b = block;
        read_half(b->q + t / 4 * 64 + t % 2 * 32, (unsigned)(t % 4 / 2 * 4), c);
        add_high(b->high + t / 4 * 32, (unsigned)(t % 4 * 2), 3, c);
    }
}

/* ---- to a panel ---------------------------------------------------------- */

/* Codes 4v .. 4v+3. */
SPECP_INLINE uint32_t four(const uint64_t c[4], size_t v) { return (uint32_t)(c[v / 2] >> v % 2 * 32); }

SPECP_INLINE void write_four(uint8_t *tile, size_t vector, size_t row, uint32_t codes) {
    memcpy(tile + vector * SPECP_VECTOR + row * sizeof codes, &codes, sizeof codes);
}

SPECP_INLINE void write_codes(specp_form form, uint8_t *tile, size_t row, const uint64_t c[4]) {
    size_t bits = specp_form_bits(form);
    if (bits == 8) {
        SPECP_UNROLL
        for (size_t v = 0; v < 8; v++) {
            write_four(tile, v, row, four(c, v));
        }
        return;
    }
    uint32_t high[2] = {0, 0};
    size_t step = bits - 4, per_vector = step == 1 ? 8 : 4;
    SPECP_UNROLL
    for (size_t v = 0; v < 8; v++) {
        if (v < 4) {
            write_four(tile, v, row, (four(c, v) & 0x0f0f0f0fu) | (four(c, v + 4) & 0x0f0f0f0fu) << 4);
        }
        high[v / per_vector] |= (four(c, v) >> 4 & 0x03030303u) << v % per_vector * step;
    }
    SPECP_UNROLL
    for (size_t i = 0; i < step; i++) {
        write_four(tile, 4 + i, row, high[i]);
    }
}

/* Scales of tile t; of a K form also what the whole unit shares. */
SPECP_INLINE void write_scales(spec_type type, uint8_t *head, size_t row, const void *block, size_t t) {
    if (type == SPEC_TYPE_Q4_K || type == SPEC_TYPE_Q5_K) {
        const specp_q4_k *b = block; /* both types begin alike */
        memcpy(head + 2 * row, b->d, 2);
        memcpy(head + SPECP_HEAD_DMIN + 2 * row, b->dmin, 2);
        head[SPECP_HEAD_S(t) + row] = specp_k_scale(b->scales, t);
        head[SPECP_HEAD_M(t) + row] = specp_k_min(b->scales, t);
    } else if (type == SPEC_TYPE_Q6_K) {
        const specp_q6_k *b = block;
        memcpy(head + 2 * row, b->d, 2);
        memcpy(head + SPECP_HEAD_HALF(t) + row, &b->scales[2 * t], 1);
        memcpy(head + SPECP_HEAD_HALF(t) + SPECP_PANEL + row, &b->scales[2 * t + 1], 1);
    } else {
        memcpy(head + SPECP_HEAD_SCALE(t) + 2 * row, block, 2);
    }
}

/* What a panel is made of: `rows` rows of `blocks` blocks of 32 columns. */
typedef struct panel_source {
    const uint8_t *data;
    size_t rows, row_bytes, blocks;
} panel_source;

SPECP_INLINE void repack_panel(spec_type type, specp_form form, const panel_source *s, uint8_t *panel) {
    size_t tiles = specp_unit_tiles(form), per_block = specp_form_is_k(form) ? 8 : 1;
    for (size_t b = 0; b < s->blocks; b += tiles, panel += specp_unit_bytes(form)) {
        size_t end = s->blocks - b < tiles ? s->blocks - b : tiles;
        memset(panel, 0,
               end < tiles || s->rows < SPECP_PANEL ? specp_unit_bytes(form) : specp_head_bytes(form));
        for (size_t row = 0; row < s->rows; row++) {
            for (size_t t = 0; t < end; t++) {
                const uint8_t *block = s->data + row * s->row_bytes + (b + t) / per_block * bytes_of(type);
                SPECP_ASK_NEAR(block, AHEAD); /* 16 rows are many streams */
                uint64_t codes[4];
                read_codes(type, block, t, codes);
                write_codes(form, panel + specp_head_bytes(form) + t * specp_tile_bytes(form), row, codes);
                write_scales(type, panel, row, block, t);
            }
        }
    }
}

SPECP_INLINE void repack_panels(spec_type type, specp_form form, const specp_matrix *m, uint8_t *panels,
                                size_t panel0, size_t panel1) {
    size_t panel_bytes = specp_unit_count(form, m->n_in) * specp_unit_bytes(form);
    panel_source s = {.row_bytes = m->n_in / spec_type_block(type) * spec_type_block_bytes(type),
                      .blocks = m->n_in / SPECP_BLOCK};
    for (size_t p = panel0; p < panel1; p++) {
        size_t first = p * SPECP_PANEL, left = m->n_out - first;
        s.data = (const uint8_t *)m->source + first * s.row_bytes;
        s.rows = left < SPECP_PANEL ? left : SPECP_PANEL;
        repack_panel(type, form, &s, panels + p * panel_bytes);
    }
}

void specp_repack(const specp_matrix *m, uint8_t *panels, size_t panel0, size_t panel1) {
#define CASE(type, form)                                                                                     \
    case type: repack_panels(type, form, m, panels, panel0, panel1); break
    switch (m->type) {
        CASE(SPEC_TYPE_Q8_0, SPECP_FORM_W8);
        CASE(SPEC_TYPE_Q4_0, SPECP_FORM_W4);
        CASE(SPEC_TYPE_Q5_0, SPECP_FORM_W5);
        CASE(SPEC_TYPE_Q4_K, SPECP_FORM_W4K);
        CASE(SPEC_TYPE_Q5_K, SPECP_FORM_W5K);
        CASE(SPEC_TYPE_Q6_K, SPECP_FORM_W6K);
    default: break;
    }
#undef CASE
}
