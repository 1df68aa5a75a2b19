/* Dates as HTTP writes them: "Sun, 06 Nov 1994 08:49:37 GMT". */
#define _GNU_SOURCE 1 /* strptime, timegm */
#include "httpd.h"

#include <string.h>
#include <time.h>

static void two_digits(char *to, int n)
{
    to[0] = (char)('0' + n / 10 % 10);
    to[1] = (char)('0' + n % 10);
}

void date_write(char *to, time_t when)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm t;
    memcpy(to, "Thu, 01 Jan 1970 00:00:00 GMT", DATE);
    if (when < 0 || gmtime_r(&when, &t) == NULL || t.tm_year > 9999 - 1900)
        return; /* a file from before time or after it */
    memcpy(to, days + 3 * (size_t)t.tm_wday, 3);
    two_digits(to + 5, t.tm_mday);
    memcpy(to + 8, months + 3 * (size_t)t.tm_mon, 3);
    two_digits(to + 12, (t.tm_year + 1900) / 100);
    two_digits(to + 14, t.tm_year % 100);
    two_digits(to + 17, t.tm_hour);
    two_digits(to + 20, t.tm_min);
    two_digits(to + 23, t.tm_sec);
}

/* All three forms that a server has to understand. */
time_t date_parse(struct span text)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"};
    char copy[64];
    if (text.length >= sizeof copy)
        return -1;
    memcpy(copy, text.at, text.length);
    copy[text.length] = '\0';
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm t = {0};
        const char *end = strptime(copy, forms[i], &t);
        if (end != NULL && *end == '\0')
            return timegm(&t);
    }
    return -1;
}
