/* SPDX-License-Identifier: MIT */
/* Numbers and names as the tables show them. */
#include "format.h"

#include <math.h>
#include <string.h>

fmt fmt_real(double v, int decimals) {
    fmt f = {""};
    if (isnan(v))
        strcpy(f.text, "-");
    else
        snprintf(f.text, sizeof f.text, "%.*f", decimals, v);
    return f;
}

fmt fmt_ratio(double v) { return fmt_real(v, v < 99.995 ? 2 : v < 999.95 ? 1 : 0); }

fmt fmt_percent(double share) { return fmt_real(100 * share, 1); }

fmt fmt_count(uint64_t v) {
    fmt f = {""};
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    char *to = f.text;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return f;
}

fmt fmt_range(double low, double high) {
    fmt f = {""};
    if (isnan(low))
        strcpy(f.text, "-");
    else
        snprintf(f.text, sizeof f.text, high < 99.995 ? "%.2f-%.2f" : "%.1f-%.1f", low, high);
    return f;
}

fmt fmt_bytes(double bytes) {
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB"};
    fmt f = {""};
    size_t u = 0;
    for (; bytes >= 999.5 && u + 1 < sizeof unit / sizeof *unit; u++) bytes /= 1000;
    snprintf(f.text, sizeof f.text, "%.*f %s", u && bytes < 99.95 ? 1 : 0, bytes, unit[u]);
    return f;
}

const char *fmt_plural(uint64_t n) { return n == 1 ? "" : "s"; }

/* Names come from files: whatever they hold, it must not steer a terminal. */
static void print_name(FILE *out, const char *name) {
    for (; *name; name++) fputc((unsigned char)*name < ' ' || *name == 127 ? '?' : *name, out);
}

/* Bytes that continue a UTF-8 character take no column. */
static int columns(const char *name) {
    int n = 0;
    for (; *name; name++) n += ((unsigned char)*name & 0xC0) != 0x80;
    return n;
}

void table_name(FILE *out, const char *name) {
    int n = columns(name);
    print_name(out, name);
    if (n > TABLE_NAME) fputc('\n', out);
    fprintf(out, "%*s", n > TABLE_NAME ? TABLE_NAME : TABLE_NAME - n, "");
}

void table_rule(FILE *out, int width) {
    for (int i = 0; i < width; i++) fputc('-', out);
    fputc('\n', out);
}

/* How much of a word of a drafter's text are folders; a list of paths in a tree, 0/1/00, has none. */
static size_t folders(const char *word, size_t n) {
    if (strspn(word, "0123456789/") >= n) return 0;
    while (n > 0 && word[n - 1] != '/') n--;
    return n;
}

const char *fmt_drafter(const char *drafter, char *buf, size_t size) {
    size_t n = 0;
    while (*drafter) {
        size_t word = strcspn(drafter, ":+>(),=");
        size_t end = word + (drafter[word] != '\0'); /* what stands behind it as well */
        for (size_t i = folders(drafter, word); i < end && n + 1 < size; i++) buf[n++] = drafter[i];
        drafter += end;
    }
    buf[n] = '\0';
    return buf;
}

void table_drafter(FILE *out, const char *drafter) {
    char name[512];
    table_name(out, fmt_drafter(drafter, name, sizeof name));
}
