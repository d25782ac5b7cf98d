/* The period that a time lies in, where that is plain to tell; the rest is left to Python. */

#include "period.h"

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

/* The period of a time like 2018-12-18T07:05:09.123Z, which its first 16 characters decide (19 for periods that are no
   whole minutes), as in `PeriodReader`. False for any other text. The days are counted by years that begin in March:
   https://howardhinnant.github.io/date_algorithms.html#days_from_civil. */
int period_of(const Value *time, int64_t period_ms, int64_t *period)
{
    static const uint8_t lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    Place at = time->at;
    int year, month, day, hour, minute, second = 0;
    if (time->wide || (time->size != 20 && time->size != 24 && time->size != 27) || at[time->size - 1] != 'Z')
        return 0;
    if (at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || !number_at(at, 4, &year) ||
        !number_at(at + 5, 2, &month) || !number_at(at + 8, 2, &day) || !number_at(at + 11, 2, &hour) ||
        !number_at(at + 14, 2, &minute))
        return 0;
    if (period_ms % 60000 && (at[16] != ':' || !number_at(at + 17, 2, &second)))
        return 0;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > lengths[month - 1] || hour > 23 || minute > 59 ||
        second > 59)
        return 0;
    if (month == 2 && day == 29 && (year % 4 || (year % 100 == 0 && year % 400)))
        return 0;
    int64_t from_march = month > 2 ? year : year - 1; /* year 0 at the least: none of these divisions is negative */
    int64_t days = 365 * from_march + from_march / 4 - from_march / 100 + from_march / 400 +
                   (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1 - 719468;
    *period = floored((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000, period_ms);
    return 1;
}

/* The period of a whole number, or of a text of nine digits and more: seconds below 1e11, milliseconds below 1e14, as in
   `parse_time`. False for larger ones, and for times before the year 1. */
int period_of_number(const Value *time, int64_t period_ms, int64_t *period)
{
    Place at = time->at, end = time->at + time->size;
    int minus = time->kind == WHOLE && *at == '-';
    int64_t number = 0;
    if (time->size > 18 || (time->kind == TEXT && time->size < 9))
        return 0;
    for (at += minus; at < end; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        number = 10 * number + *at - '0';
    }
    if (number >= 100000000000000)
        return 0;
    if (number < 100000000000)
        number *= 1000;
    if (minus && number > 62135596800000)
        return 0;
    *period = floored(minus ? -number : number, period_ms);
    return 1;
}
