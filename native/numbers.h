/* Numbers for things that are told apart by two texts, given in order of appearance. Held by Python in a capsule, from
   page to page. */

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
    uint32_t *places; /* a hash table: one more than the number, or 0 */
    uint8_t *text;
    size_t count, mask, used, room;
    size_t reported; /* how many of them Python knows of */
    int in_use; /* somebody works with it, perhaps without the interpreter's lock */
} Numbers;

Numbers *numbers_of(PyObject *capsule);
int32_t number_of(Numbers *numbers, const uint8_t *one, size_t first, const uint8_t *other, size_t second);

#endif
