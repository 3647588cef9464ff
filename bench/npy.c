/* SPDX-License-Identifier: MIT */
/*
 * A .npy file:
 *
 *     \x93NUMPY  major minor  length of the header (2 bytes, from version 2 on 4)
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (64, 320), }  spaces  \n
 *     elements
 *
 * The header is a Python dictionary. The three keys come in any order, each
 * once; what a dictionary may hold beyond that is not read.
 */
#include "npy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spec_tensors.h"
#include "util.h"

#define MAGIC      "\x93NUMPY"
#define MAGIC_SIZE 6

/* ---- the header ---------------------------------------------------------- */

typedef struct reader {
    const char *at, *end;
    const char *name; /* of the file */
    spec_message *why;
} reader;

static int bad(const reader *r, const char *expected) {
    return specp_fail(r->why, SPEC_ERR_CORRUPT, "%s: .npy header: expected %s", r->name, expected);
}

static void skip_spaces(reader *r) {
    while (r->at < r->end && *r->at == ' ') r->at++;
}

/* Takes the text, after spaces, if it stands there. */
static bool take(reader *r, const char *text) {
    size_t n = strlen(text);
    skip_spaces(r);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, text, n) != 0) return false;
    r->at += n;
    return true;
}

/* A quoted text without escapes, into buf. */
static bool take_text(reader *r, char *buf, size_t size) {
    skip_spaces(r);
    if (r->at == r->end || (*r->at != '\'' && *r->at != '"')) return false;
    char quote = *r->at;
    const char *from = r->at + 1, *to = memchr(from, quote, (size_t)(r->end - from));
    if (!to || (size_t)(to - from) >= size || memchr(from, '\\', (size_t)(to - from))) return false;
    memcpy(buf, from, (size_t)(to - from));
    buf[to - from] = '\0';
    r->at = to + 1;
    return true;
}

static bool take_number(reader *r, uint64_t *out) {
    uint64_t v = 0;
    skip_spaces(r);
    const char *from = r->at;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
        if (v > (UINT64_MAX - 9) / 10) return false;
        v = v * 10 + (uint64_t)(*r->at - '0');
    }
    *out = v;
    return r->at > from;
}

/* (), (3,), (64, 320), (64, 320,) */
static int read_shape(reader *r, npy *a) {
    const char *expected = "'shape': a tuple of at most 4 sizes";
    bool comma = true;
    if (!take(r, "(")) return bad(r, expected);
    while (!take(r, ")")) {
        if (!comma || a->n_dims == NPY_DIMS || !take_number(r, &a->dim[a->n_dims])) return bad(r, expected);
        a->n_dims++;
        comma = take(r, ",");
    }
    return a->n_dims == 1 && !comma ? bad(r, expected) : SPEC_OK; /* (3) is no tuple */
}

static int read_descr(reader *r, npy *a) {
    static const struct {
        const char *name;
        npy_kind kind;
        size_t width;
    } type[] = {
        {"<f2", NPY_FLOAT, 2}, {"<f4", NPY_FLOAT, 4}, {"<f8", NPY_FLOAT, 8}, {"|b1", NPY_BOOL, 1},
        {"|i1", NPY_INT, 1},   {"<i2", NPY_INT, 2},   {"<i4", NPY_INT, 4},   {"<i8", NPY_INT, 8},
        {"|u1", NPY_UINT, 1},  {"<u2", NPY_UINT, 2},  {"<u4", NPY_UINT, 4},  {"<u8", NPY_UINT, 8},
    };
    char text[16];
    if (!take_text(r, text, sizeof text)) return bad(r, "'descr': a type such as '<f4'");
    for (size_t i = 0; i < sizeof type / sizeof *type; i++)
        if (strcmp(text, type[i].name) == 0) {
            a->kind = type[i].kind;
            a->width = type[i].width;
            return SPEC_OK;
        }
    return specp_fail(r->why, SPEC_ERR_UNSUPPORTED,
                      "%s: .npy type '%s'; expected little-endian floats (<f2, <f4, <f8) or integers",
                      r->name, text);
}

static int read_order(reader *r) {
    if (take(r, "False")) return SPEC_OK;
    if (!take(r, "True")) return bad(r, "'fortran_order': True or False");
    return specp_fail(r->why, SPEC_ERR_UNSUPPORTED,
                      "%s: the array is in Fortran order; expected C order (numpy.ascontiguousarray)",
                      r->name);
}

static int read_header(reader *r, npy *a) {
    enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };
    unsigned seen = 0;
    bool comma = true;
    if (!take(r, "{")) return bad(r, "a dictionary");
    while (!take(r, "}")) {
        char key[16];
        int rc = SPEC_OK;
        if (!comma || !take_text(r, key, sizeof key) || !take(r, ":")) return bad(r, "'key': value, ...");
        unsigned which = strcmp(key, "descr") == 0           ? DESCR
                         : strcmp(key, "fortran_order") == 0 ? ORDER
                         : strcmp(key, "shape") == 0         ? SHAPE
                                                             : 0;
        if (!which || (seen & which)) return bad(r, "'descr', 'fortran_order' and 'shape', each once");
        rc = which == DESCR ? read_descr(r, a) : which == ORDER ? read_order(r) : read_shape(r, a);
        if (rc != SPEC_OK) return rc;
        seen |= which;
        comma = take(r, ",");
    }
    if (seen != ALL) return bad(r, "'descr', 'fortran_order' and 'shape'");
    skip_spaces(r);
    return r->at + 1 == r->end && *r->at == '\n' ? SPEC_OK
                                                 : bad(r, "spaces and a line end behind the dictionary");
}

/* ---- the file ------------------------------------------------------------ */

static int too_short(const char *name, spec_message *why) {
    return specp_fail(why, SPEC_ERR_CORRUPT, "%s: the file ends within the .npy header", name);
}

/* The product of the dimensions fits what lies behind the header. */
static int settle(npy *a, const char *name, size_t bytes, spec_message *why) {
    a->n = 1;
    for (size_t i = 0; i < NPY_DIMS; i++) {
        if (i >= a->n_dims) a->dim[i] = 1;
        if (a->dim[i] && a->n > UINT64_MAX / 8 / a->dim[i])
            return specp_fail(why, SPEC_ERR_CORRUPT, "%s: .npy shape: more elements than can be", name);
        a->n *= a->dim[i];
    }
    uint64_t expected = a->n * a->width;
    if (expected == bytes) return SPEC_OK;
    return specp_fail(why, SPEC_ERR_CORRUPT, "%s: expected %llu bytes of data for the shape, found %zu", name,
                      (unsigned long long)expected, bytes);
}

int npy_parse(npy *out, const char *name, const void *bytes, size_t n, spec_message *why) {
    const uint8_t *p = bytes;
    npy a = {.n_dims = 0};
    memset(out, 0, sizeof *out);
    if (n < MAGIC_SIZE || memcmp(p, MAGIC, MAGIC_SIZE) != 0)
        return specp_fail(why, SPEC_ERR_CORRUPT, "%s: is no .npy file", name);
    if (n < MAGIC_SIZE + 2) return too_short(name, why);
    size_t field = p[6] == 1 ? 2 : 4, header = 0, begin = MAGIC_SIZE + 2 + field;
    if (p[6] < 1 || p[6] > 3)
        return specp_fail(why, SPEC_ERR_UNSUPPORTED, "%s: .npy version %u; expected 1, 2 or 3", name, p[6]);
    if (n < begin) return too_short(name, why);
    for (size_t i = field; i-- > 0;) header = header << 8 | p[MAGIC_SIZE + 2 + i];
    if (n - begin < header) return too_short(name, why);
    const char *text = (const char *)p + begin;
    reader r = {.at = text, .end = text + header, .name = name, .why = why};
    int rc = read_header(&r, &a);
    a.data = p + begin + header;
    if (rc == SPEC_OK) rc = settle(&a, name, n - begin - header, why);
    if (rc == SPEC_OK) *out = a;
    return rc;
}

static int io_fault(spec_message *why, const char *what, const char *path) {
    return specp_fail(why, errno == ENOENT ? SPEC_ERR_NOT_FOUND : SPEC_ERR_IO, "%s: cannot %s: %s", path,
                      what, strerror(errno));
}

int npy_open(npy *out, const char *path, spec_message *why) {
    struct stat st;
    memset(out, 0, sizeof *out);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_fault(why, "open", path);
    void *map = MAP_FAILED;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED) return specp_fail(why, SPEC_ERR_CORRUPT, "%s: is no .npy file", path);
    int rc = npy_parse(out, path, map, (size_t)st.st_size, why);
    if (rc != SPEC_OK) {
        munmap(map, (size_t)st.st_size);
        return rc;
    }
    out->map = map;
    out->map_bytes = (size_t)st.st_size;
    return SPEC_OK;
}

void npy_close(npy *a) {
    if (a->map) munmap(a->map, a->map_bytes);
    memset(a, 0, sizeof *a);
}

bool npy_is(const char *path) {
    char head[MAGIC_SIZE];
    struct stat st;
    bool file = stat(path, &st) == 0 && S_ISREG(st.st_mode); /* of a pipe nothing may be taken */
    FILE *f = file ? fopen(path, "rb") : NULL;
    bool yes = f && fread(head, 1, sizeof head, f) == sizeof head && memcmp(head, MAGIC, sizeof head) == 0;
    if (f) fclose(f);
    return yes;
}

/* ---- elements ------------------------------------------------------------ */

/* Little-endian bytes as a number. */
static uint64_t bits_of(const npy *a, uint64_t i) {
    const uint8_t *p = a->data + i * a->width;
    uint64_t v = 0;
    for (size_t k = a->width; k-- > 0;) v = v << 8 | p[k];
    return v;
}

double npy_real(const npy *a, uint64_t i) {
    uint64_t bits = bits_of(a, i);
    uint32_t low = (uint32_t)bits;
    uint16_t half = (uint16_t)bits;
    float f;
    double d;
    if (a->width == 8)
        memcpy(&d, &bits, sizeof d);
    else if (a->width == 4)
        memcpy(&f, &low, sizeof f);
    else
        (void)spec_type_to_float(SPEC_TYPE_F16, &half, &f, 1); /* any 16 bits are a number */
    return a->width == 8 ? d : f;
}

bool npy_int(const npy *a, uint64_t i, int64_t *out) {
    uint64_t bits = bits_of(a, i), sign = 1ull << (8 * a->width - 1);
    if (a->kind == NPY_UINT && bits > INT64_MAX) return false;
    *out = a->kind == NPY_INT ? (int64_t)((bits ^ sign) - sign) : (int64_t)bits;
    return true;
}

void npy_floats(const npy *a, uint64_t i, float *out, size_t n) {
    for (size_t k = 0; k < n; k++) out[k] = (float)npy_real(a, i + k);
}
