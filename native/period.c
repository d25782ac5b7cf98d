/* The period of a time in a common format; other formats are left to Python. */

#include "period.h"

#define FIRST_SECOND (-62135596800) /* of the year 1 */
#define LAST_SECOND 253402300799    /* of the year 9999 */

static int number_at(Place at, int digits, int *out)
{
    *out = 0;
    for (int digit = 0; digit < digits; digit++) {
        if (at[digit] < '0' || at[digit] > '9')
            return 0;
        *out = 10 * *out + at[digit] - '0';
    }
    return 1;
}

static int64_t floored(int64_t ms, int64_t period_ms)
{
    int64_t over = ms % period_ms;
    return ms - (over < 0 ? over + period_ms : over);
}

/* Seconds since the epoch of a time like 2018-12-18T07:05:09; false for an invalid date or time, and for hour 24 and
   second 60. Days are counted in years that begin in March:
   https://howardhinnant.github.io/date_algorithms.html#days_from_civil. */
static int seconds_of(Place at, int64_t *seconds)
{
    static const uint8_t lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day, hour, minute, second;
    if (at[4] != '-' || at[7] != '-' || (at[10] != 'T' && at[10] != 't' && at[10] != ' ') || at[13] != ':' ||
        at[16] != ':' || !number_at(at, 4, &year) || !number_at(at + 5, 2, &month) || !number_at(at + 8, 2, &day) ||
        !number_at(at + 11, 2, &hour) || !number_at(at + 14, 2, &minute) || !number_at(at + 17, 2, &second))
        return 0;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > lengths[month - 1] || hour > 23 || minute > 59 ||
        second > 59)
        return 0;
    if (month == 2 && day == 29 && (year % 4 || (year % 100 == 0 && year % 400)))
        return 0;
    int64_t from_march = month > 2 ? year : year - 1; /* year 0 or later: no division of negative numbers */
    int64_t days = 365 * from_march + from_march / 4 - from_march / 100 + from_march / 400 +
                   (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1 - 719468;
    *seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    return 1;
}

/* Seconds that a zone is ahead of UTC: empty, Z, +01:00, +0100 or +01; nothing may follow it. */
static int offset_of(Place at, Place end, int64_t *offset)
{
    int hours, minutes = 0;
    int64_t size = end - at;
    *offset = 0;
    if (!size || (size == 1 && (*at | 32) == 'z'))
        return 1;
    if ((*at != '+' && *at != '-') || (size != 3 && size != 5 && size != 6) || !number_at(at + 1, 2, &hours) ||
        (size > 3 && !number_at(end - 2, 2, &minutes)) || (size == 6 && at[3] != ':') || hours > 23 || minutes > 59)
        return 0;
    *offset = (*at == '-' ? -1 : 1) * (int64_t)(hours * 3600 + minutes * 60);
    return 1;
}

/* The period of an RFC 3339 time with any number of fractional digits. False for any other text. */
int period_of(const Value *time, int64_t period_ms, int64_t *period)
{
    Place at = time->at + 19, end = time->at + time->size, digits;
    int64_t seconds, offset;
    if (time->size < 19 || !seconds_of(time->at, &seconds))
        return 0;
    if (at < end && (*at == '.' || *at == ',')) {
        digits = ++at;
        if ((at = json_digits(at, end)) == digits)
            return 0;
    }
    if (!offset_of(at, end, &offset))
        return 0;
    seconds -= offset;
    if (seconds < FIRST_SECOND || seconds > LAST_SECOND)
        return 0;
    *period = floored(seconds * 1000, period_ms);
    return 1;
}

/* The period of a whole number, or of a text of nine or more digits: seconds below 1e11, then milli-, micro- and
   nanoseconds, as in `parse_time`. False for times before the year 1, and for numbers of more than nineteen digits. */
int period_of_number(const Value *time, int64_t period_ms, int64_t *period)
{
    Place at = time->at, end = time->at + time->size;
    int minus = time->kind == WHOLE && *at == '-';
    uint64_t number = 0, unit = 1;
    at += minus;
    if (end - at > 19 || (time->kind == TEXT && time->size < 9))
        return 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        number = 10 * number + (uint64_t)(*at - '0');
    }
    if (number < 100000000000u)
        number *= 1000;
    else if (number >= 100000000000000000u)
        unit = 1000000;
    else if (number >= 100000000000000u)
        unit = 1000;
    int64_t ms = minus ? -(int64_t)((number + unit - 1) / unit) : (int64_t)(number / unit);
    if (ms < FIRST_SECOND * 1000)
        return 0;
    *period = floored(ms, period_ms);
    return 1;
}
