/* SPDX-License-Identifier: MIT */
/* tokenizer_text.h - UTF-8, and the letters that GPT-2 writes bytes with. */
#ifndef SPECP_TOKENIZER_TEXT_H
#define SPECP_TOKENIZER_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at s (n > 0 bytes are there), 0: not UTF-8. No overlong forms,
 * no surrogates, nothing past U+10FFFF. */
static inline size_t specp_utf8_length(const char *s, size_t n) {
    const uint8_t *p = (const uint8_t *)s;
    uint8_t low = 0x80, high = 0xbf; /* of the second byte */
    size_t len;
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0) low = 0xa0;
    if (p[0] == 0xed) high = 0x9f;
    if (p[0] == 0xf0) low = 0x90;
    if (p[0] == 0xf4) high = 0x8f;
    if (n < len || p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return len;
}

/* The code point of a character of len bytes. */
static inline uint32_t specp_utf8_code(const char *s, size_t len) {
    const uint8_t *p = (const uint8_t *)s;
    uint32_t c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) c = c << 6 | (p[i] & 0x3fu);
    return c;
}

/*
 * GPT-2 writes a byte that is a printable character of Latin-1 as that character,
 * and the other 68, in order, as U+0100 onwards:
 *   0..32 -> 256..288    127..160 -> 289..322    173 -> 323
 */
static inline uint32_t specp_letter_of_byte(uint8_t b) {
    if (b <= 32) return 256u + b;
    if (b >= 127 && b <= 160) return 289u + (b - 127u);
    return b == 173 ? 323 : b;
}

/* The byte of a letter, -1: it is none. */
static inline int specp_byte_of_letter(uint32_t c) {
    if (c >= 256 && c <= 288) return (int)(c - 256);
    if (c >= 289 && c <= 322) return (int)(c - 289 + 127);
    if (c == 323) return 173;
    return c > 32 && c < 256 && !(c >= 127 && c <= 160) && c != 173 ? (int)c : -1;
}

/* Writes the letter of b, returns its 1 or 2 bytes. */
static inline size_t specp_write_letter(uint8_t b, char *out) {
    uint32_t c = specp_letter_of_byte(b);
    if (c < 128) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

#endif
