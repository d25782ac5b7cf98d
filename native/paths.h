/* The paths of the four fields as a trie, which is followed while an event is read. */

#ifndef VORTEX_PATHS_H
#define VORTEX_PATHS_H

#include "native.h"

#define PATHS 32
#define NODES 64
#define KEYS 64
#define FIELDS 4

enum { CUSTOMER, TYPE, ID, TIME };

typedef struct {
    const uint8_t *text;
    size_t size;
    int16_t node, path; /* one is valid, the other negative */
} Key;

typedef struct {
    Key keys[KEYS];
    int count;
    uint64_t sizes; /* bit set of key sizes modulo 64: quickly excludes most keys of an event */
} Node;

typedef struct {
    Node nodes[NODES];
    int count;
    int8_t of[FIELDS][PATHS]; /* the paths of each field in order, then a negative number */
    int hash_missing, formats; /* formats: times as texts are left to Python */
    int64_t max_bytes;         /* of a line */
    size_t paths;
    uint8_t *text; /* the text of the keys */
} PathTrie;

#endif
