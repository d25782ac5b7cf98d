/* The paths of the four fields as a trie, which is gone down while an event is read. */

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
    int16_t node, path; /* one of them, the other is negative */
} Key;

typedef struct {
    Key keys[KEYS];
    int count;
    uint64_t sizes; /* of its keys, modulo 64: most keys of an event are told apart from all of them by it */
} Node;

typedef struct {
    Node nodes[NODES];
    int count;
    int8_t of[FIELDS][PATHS]; /* the paths of each field in turn, ended by a negative number */
    int hash_missing, formats; /* formats: texts of times are Python's */
    int64_t max_bytes;         /* of a line */
    size_t paths;
    uint8_t *text; /* what the keys point into */
} PathTrie;

#endif
