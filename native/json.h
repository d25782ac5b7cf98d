/* A strict reader of JSON text (RFC 8259) that skips values without decoding them.

   It accepts a subset: valid but unusual JSON is refused like invalid JSON, and the caller passes it on to Python.
   Every function gets the position of its first byte and the end of the text, never reads at or after the end, and returns
   the position after what it read, or NULL. */

#ifndef VORTEX_JSON_H
#define VORTEX_JSON_H

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "xxh3.h"

#define JSON_DEPTH 64 /* deeper nesting is left to Python */

typedef const uint8_t *Place;

static inline Place json_blanks(Place at, Place end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* One character outside ASCII, by the table of well-formed sequences of the Unicode standard (3.9, D92). */
static inline Place utf8_char(Place at, Place end)
{
    static const struct { uint8_t first, last, low, high, more; } rows[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 1}, {0xE0, 0xE0, 0xA0, 0xBF, 2}, {0xE1, 0xEC, 0x80, 0xBF, 2},
        {0xED, 0xED, 0x80, 0x9F, 2}, {0xEE, 0xEF, 0x80, 0xBF, 2}, {0xF0, 0xF0, 0x90, 0xBF, 3},
        {0xF1, 0xF3, 0x80, 0xBF, 3}, {0xF4, 0xF4, 0x80, 0x8F, 3}};
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        if (*at < rows[row].first || *at > rows[row].last)
            continue;
        if (end - at <= rows[row].more || at[1] < rows[row].low || at[1] > rows[row].high)
            return NULL;
        for (int more = 2; more <= rows[row].more; more++)
            if ((at[more] & 0xC0) != 0x80)
                return NULL;
        return at + rows[row].more + 1;
    }
    return NULL;
}

static inline int is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
}

/* The four hex digits after `\u`. */
static inline int is_unit(Place at, Place end)
{
    return end - at >= 5 && *at == 'u' && is_hex(at[1]) && is_hex(at[2]) && is_hex(at[3]) && is_hex(at[4]);
}

/* After a backslash. Lone surrogates (\ud800 to \udfff without their other half) are refused. */
static inline Place json_escape(Place at, Place end)
{
    if (at >= end)
        return NULL;
    if (*at != 'u')
        return *at && strchr("\"\\/bfnrt", *at) ? at + 1 : NULL;
    if (!is_unit(at, end))
        return NULL;
    if ((at[1] | 32) != 'd' || at[2] < '8')
        return at + 5;
    Place low = at + 6;
    if ((at[2] | 32) > 'b' || end - at < 11 || at[5] != '\\' || !is_unit(low, end) || (low[1] | 32) != 'd' ||
        (low[2] | 32) < 'c')
        return NULL;
    return at + 11;
}

/* Skips ordinary bytes of a string; stops at a quote, a backslash, a control character or a byte outside ASCII, or if
   fewer bytes are left than it reads at once. */
static inline Place json_plain(Place at, Place end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), back = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
    for (; end - at >= 16; at += 16) {
        __m128i text = _mm_loadu_si128((const __m128i *)at);
        __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(text, quote), _mm_cmpeq_epi8(text, back));
        int stops = _mm_movemask_epi8(_mm_or_si128(marks, _mm_cmplt_epi8(text, space))); /* bytes outside ASCII are negative */
        if (stops)
            return at + __builtin_ctz((unsigned)stops);
    }
#else
    /* The classic test for a zero byte, on the word minus each of these. Its lowest bit is exact, since a borrow only
       goes up. */
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    for (; end - at >= 8; at += 8) {
        uint64_t word = word64(at), quote = word ^ (ones * '"'), back = word ^ (ones * '\\');
        uint64_t stops = ((quote - ones) & ~quote) | ((back - ones) & ~back) | ((word - ones * ' ') & ~word) | word;
        if (stops & tops)
            return at + (__builtin_ctzll(stops & tops) >> 3);
    }
#endif
    return at;
}

enum { ESCAPED = 1 }; /* flag of a string: it has a backslash */

/* A string, after its opening quote; `has` receives the flags. Returns the position after its closing quote. */
static inline Place json_string(Place at, Place end, int *has)
{
    while (at) {
        at = json_plain(at, end);
        if (at >= end || *at < 0x20)
            return NULL;
        if (*at == '"')
            return at + 1;
        if (*at == '\\') {
            *has |= ESCAPED;
            at = json_escape(at + 1, end);
        } else if (*at >= 0x80) {
            at = utf8_char(at, end);
        } else {
            at++;
        }
    }
    return NULL;
}

static inline Place json_digits(Place at, Place end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* A number; `whole` is set if it has neither fraction nor exponent. */
static inline Place json_number(Place at, Place end, int *whole)
{
    Place digits;
    if (at < end && *at == '-')
        at++;
    digits = at;
    at = json_digits(at, end);
    if (at == digits || (*digits == '0' && at - digits > 1))
        return NULL;
    *whole = 1;
    if (at < end && *at == '.') {
        *whole = 0;
        digits = ++at;
        if ((at = json_digits(at, end)) == digits)
            return NULL;
    }
    if (at < end && (*at | 32) == 'e') {
        *whole = 0;
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        digits = at;
        if ((at = json_digits(at, end)) == digits)
            return NULL;
    }
    return at;
}

static inline Place json_word(Place at, Place end, const char *word)
{
    size_t size = strlen(word);
    return (size_t)(end - at) >= size && !memcmp(at, word, size) ? at + size : NULL;
}

static Place json_value(Place at, Place end, int depth);

/* The items of an array, after its bracket, or (if `closing` is '}') of an object, after its brace. */
static Place json_items(Place at, Place end, uint8_t closing, int depth)
{
    int unused = 0;
    at = json_blanks(at, end);
    if (at < end && *at == closing)
        return at + 1;
    while (at < end) {
        if (closing == '}') {
            if (*at != '"' || !(at = json_string(at + 1, end, &unused)))
                return NULL;
            at = json_blanks(at, end);
            if (at >= end || *at != ':')
                return NULL;
            at = json_blanks(at + 1, end);
        }
        if (!(at = json_value(at, end, depth)))
            return NULL;
        at = json_blanks(at, end);
        if (at >= end)
            return NULL;
        if (*at == closing)
            return at + 1;
        if (*at != ',')
            return NULL;
        at = json_blanks(at + 1, end);
    }
    return NULL;
}

/* Skips any value. */
static Place json_value(Place at, Place end, int depth)
{
    int unused = 0;
    if (at >= end || depth >= JSON_DEPTH)
        return NULL;
    switch (*at) {
    case '"':
        return json_string(at + 1, end, &unused);
    case '{':
        return json_items(at + 1, end, '}', depth + 1);
    case '[':
        return json_items(at + 1, end, ']', depth + 1);
    case 't':
        return json_word(at, end, "true");
    case 'f':
        return json_word(at, end, "false");
    case 'n':
        return json_word(at, end, "null");
    default:
        return json_number(at, end, &unused);
    }
}

#endif
