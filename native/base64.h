/* A strict decoder of Base64 (RFC 4648, section 4). */

#ifndef VORTEX_BASE64_H
#define VORTEX_BASE64_H

#include "json.h"

/* Decodes four characters to three bytes, with four tables that hold each character's bits in position; a higher bit
   marks invalid characters. */
static uint32_t table[4][256];
#define FOREIGN 0x01000000u

static void base64_tables(void)
{
    if (table[0][0])
        return;
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int place = 0; place < 4; place++) {
        for (int c = 0; c < 256; c++)
            table[place][c] = FOREIGN;
        for (uint32_t value = 0; value < 64; value++) {
            uint32_t bits = value << (6 * (3 - place)); /* 24 bits, the first byte is the highest */
            table[place][(uint8_t)alphabet[value]] = (bits >> 16) | (bits & 0xFF00) | (bits & 0xFF) << 16;
        }
    }
}

/* The number of bytes that this many characters decode to; -1 if the length is invalid. */
static int64_t base64_size(Place at, size_t size)
{
    if (size % 4)
        return -1;
    return (int64_t)(size / 4 * 3) - (size && at[size - 1] == '=') - (size && at[size - 2] == '=');
}

#ifdef __x86_64__
#include <immintrin.h>

/* While 48 characters are left and none is invalid, decodes 32 at a time to 24 bytes (32 are written). Returns how many
   were decoded. After W. Mula and D. Lemire, Faster Base64 Encoding and Decoding Using AVX2 Instructions, 2018: each
   half byte of a character looks up a bit mask, and both have a common bit if the character is invalid; the higher half
   byte looks up what to add to get the value. */
__attribute__((target("avx2"))) static size_t base64_wide(Place at, size_t size, uint8_t *to)
{
    const __m256i low_half = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1A, 0x1B, 0x1B, 0x1B, 0x1A));
    const __m256i high_half = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10));
    const __m256i offsets =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1));
    const __m256i slash = _mm256_set1_epi8('/'), packed = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
    size_t taken = 0;
    for (; size - taken >= 48; taken += 32, to += 24) {
        __m256i text = _mm256_loadu_si256((const __m256i *)(at + taken));
        __m256i high = _mm256_and_si256(_mm256_srli_epi32(text, 4), slash);
        __m256i low = _mm256_and_si256(text, slash);
        if (!_mm256_testz_si256(_mm256_shuffle_epi8(low_half, low), _mm256_shuffle_epi8(high_half, high)))
            break;
        __m256i offset = _mm256_shuffle_epi8(offsets, _mm256_add_epi8(_mm256_cmpeq_epi8(text, slash), high));
        __m256i values = _mm256_add_epi8(text, offset); /* six bits in each byte; then 12 in two, then 24 in four */
        __m256i twelve = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x01400140));
        __m256i bits = _mm256_madd_epi16(twelve, _mm256_set1_epi32(0x00011000));
        bits = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(bits, order), packed);
        _mm256_storeu_si256((__m256i *)to, bits);
    }
    return taken;
}

static int has_wide(void)
{
    return __builtin_cpu_supports("avx2");
}
#else
static size_t base64_wide(Place at, size_t size, uint8_t *to)
{
    (void)at, (void)size, (void)to;
    return 0;
}

static int has_wide(void)
{
    return 0;
}
#endif

/* Decodes text whose length `base64_size` accepted. False if a character is invalid, or if unused bits are set.
   The last four characters are decoded separately, since four bytes are written where three are needed. */
static int base64(Place at, size_t size, uint8_t *to)
{
    uint32_t bits, all = 0;
    size_t taken = size >= 48 && has_wide() ? base64_wide(at, size, to) : 0;
    if (!size)
        return 1;
    at += taken;
    to += taken / 4 * 3;
    size -= taken;
    for (Place last = at + size - 4; at < last; at += 4, to += 3) {
        bits = table[0][at[0]] | table[1][at[1]] | table[2][at[2]] | table[3][at[3]];
        all |= bits;
        memcpy(to, &bits, 4);
    }
    int bytes = 3 - (at[3] == '=') - (at[2] == '=');
    bits = table[0][at[0]] | table[1][at[1]] | (bytes > 1 ? table[2][at[2]] : 0) | (bytes > 2 ? table[3][at[3]] : 0);
    all |= bits;
    for (int byte = 0; byte < bytes; byte++)
        to[byte] = (uint8_t)(bits >> 8 * byte);
    return !(all & FOREIGN) && !((bits & 0xFFFFFF) >> 8 * bytes);
}

#endif
