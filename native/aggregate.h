/* KPL aggregates: the magic (four bytes), a protobuf, its MD5. */

#ifndef VORTEX_AGGREGATE_H
#define VORTEX_AGGREGATE_H

#include "native.h"

enum { AGGREGATE_HEAD = 4, AGGREGATE_TAIL = 16 };

/* The position after the field of the protobuf at `at` (before `end`); NULL if Python has to read it. `data` is that of
   the user record if the field is one, else NULL. */
Place aggregate_field(Place at, Place end, Place *data, uint32_t *size);

#endif
