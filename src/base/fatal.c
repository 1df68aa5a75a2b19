/* fatal.c — messages and the end of the program. */
#include "base/fatal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void (*wi_fatal_describe)(int fd);

static void print_message(const char *prefix, const char *format, va_list arguments)
{
    char text[1024];
    int used = snprintf(text, sizeof text, "%s", prefix);
    int wanted = vsnprintf(text + used, sizeof text - (size_t)used - 1, format, arguments);
    size_t length = strlen(text);
    if (wanted >= 0 && length < sizeof text - 1)
        text[length++] = '\n';
    for (size_t done = 0; done < length;) {
        ssize_t n = write(STDERR_FILENO, text + done, length - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
}

void wi_report(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_message("weft: ", format, arguments);
    va_end(arguments);
}

void wi_fatal(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_message("weft: fatal: ", format, arguments);
    va_end(arguments);
    static int describing; /* a fatal error while describing one must not loop */
    if (wi_fatal_describe && !__atomic_exchange_n(&describing, 1, __ATOMIC_RELAXED))
        wi_fatal_describe(STDERR_FILENO);
    abort();
}
