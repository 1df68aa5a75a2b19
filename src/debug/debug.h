/* debug.h — the debug layer's side of the hooks. */
#ifndef WI_DEBUG_H
#define WI_DEBUG_H

#include <stdint.h>

/* ---- signals.c: environment, signals, the overflow report ---- */
void wi_debug_started(void);
void wi_debug_stopped(void);
void wi_debug_forget(void);
void wi_debug_main_started(void);
void wi_debug_dump_requested(void);
/* ---- deadlock.c ---- */
int64_t wi_debug_quiet(void);

#endif
