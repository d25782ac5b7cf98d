/* The paths of the four fields as a trie, which is gone down while an event is read. */

#ifndef VORTEX_PLAN_H
#define VORTEX_PLAN_H

#include "native.h"

#define PATHS 32
#define NODES 64
#define KEYS 64
#define FIELDS 4

enum { CUSTOMER, TYPE, ID, TIME };

typedef struct {
    const uint8_t *text;
    int32_t size;
    int16_t node, path; /* one of them, the other is negative */
} Key;

typedef struct {
    Key keys[KEYS];
    int count;
} Node;

typedef struct {
    Node nodes[NODES];
    int count;
    int8_t of[FIELDS][PATHS]; /* the paths of each field in turn, ended by a negative number */
    int hash_missing;
    uint8_t *text; /* what the keys point into */
} Plan;

#endif
