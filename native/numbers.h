/* Numbers for entries that are identified by two texts, in order of appearance. Python keeps them in a capsule between
   pages. */

#ifndef VORTEX_NUMBERS_H
#define VORTEX_NUMBERS_H

#include "native.h"

typedef struct {
    uint64_t sum;
    size_t at; /* where both texts begin in `text` */
    uint32_t first, second; /* their sizes */
} Entry;

typedef struct {
    uint64_t seed;
    Entry *entries;
    uint32_t *places; /* a hash table: number plus 1, or 0 for a free slot */
    uint8_t *text;
    size_t count, mask, used, room;
    size_t reported; /* how many entries Python knows */
    int in_use; /* a thread uses it, perhaps without the GIL */
} Numbers;

Numbers *numbers_of(PyObject *capsule);
int32_t number_of(Numbers *numbers, const uint8_t *one, size_t first, const uint8_t *other, size_t second);

#endif
