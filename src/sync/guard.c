/* guard.c — the table of guard.h. */
#include "sync/guard.h"

#include <string.h>

struct wi_guard wi_guards[WI_GUARDS];

void wi_guards_forget(void)
{
    memset(wi_guards, 0, sizeof wi_guards);
}
