/* The position and kind of a value in an event, and the period of a time. */

#ifndef VORTEX_PERIOD_H
#define VORTEX_PERIOD_H

#include "native.h"

#define NO_PERIOD INT64_MIN

enum { ABSENT, TEXT, WHOLE, BROKEN, ESCAPED_TEXT }; /* kinds of a value; BROKEN: a number that is not whole */

typedef struct {
    Place at;
    int32_t size;
    uint8_t kind;
} Value;

int period_of(const Value *time, int64_t period_ms, int64_t *period);
int period_of_number(const Value *time, int64_t period_ms, int64_t *period);

#endif
