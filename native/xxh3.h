/* XXH3 with 128 bits for inputs of 17 to 128 bytes, by its specification:
   https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md. The keys of nearly all events have this length; for
   others Python uses the library, with which the tests compare this. */

#ifndef VORTEX_XXH3_H
#define VORTEX_XXH3_H

#include <stdint.h>
#include <string.h>

#define XXH3_LEAST 17
#define XXH3_MOST 128

typedef struct {
    uint64_t low, high;
} Sum;

static inline uint64_t word64(const uint8_t *at) /* little-endian, as the supported machines */
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

static inline uint64_t folded(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t avalanche(uint64_t x)
{
    x = (x ^ (x >> 37)) * 0x165667919E3779F9u;
    return x ^ (x >> 32);
}

static inline void mixed(Sum *sum, const uint8_t *first, const uint8_t *last, const uint8_t *secret, uint64_t seed)
{
    sum->low += folded(word64(first) ^ (word64(secret) + seed), word64(first + 8) ^ (word64(secret + 8) - seed));
    sum->low ^= word64(last) + word64(last + 8);
    sum->high += folded(word64(last) ^ (word64(secret + 16) + seed), word64(last + 8) ^ (word64(secret + 24) - seed));
    sum->high ^= word64(first) + word64(first + 8);
}

/* `digest` receives 16 bytes, the high half first, both big-endian, as from the library's digest(). */
static inline void xxh3_128(const uint8_t *data, size_t size, uint64_t seed, uint8_t *digest)
{
    static const uint8_t secret[128] = {
        0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
        0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
        0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
        0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
        0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
        0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
        0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
        0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64};
    const uint64_t prime1 = 0x9E3779B185EBCA87u, prime2 = 0xC2B2AE3D27D4EB4Fu, prime4 = 0x85EBCA77C2B2AE63u;
    Sum sum = {size * prime1, 0};
    uint64_t low, high;
    for (size_t pair = (size - 1) / 32; pair + 1 > 0; pair--) /* from the middle outwards */
        mixed(&sum, data + 16 * pair, data + size - 16 * (pair + 1), secret + 32 * pair, seed);
    low = avalanche(sum.low + sum.high);
    high = 0 - avalanche(sum.low * prime1 + sum.high * prime4 + (size - seed) * prime2);
    for (int byte = 0; byte < 8; byte++) {
        digest[byte] = (uint8_t)(high >> (56 - 8 * byte));
        digest[8 + byte] = (uint8_t)(low >> (56 - 8 * byte));
    }
}

#endif
