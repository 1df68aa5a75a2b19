/* weft/debug.h — what the program is doing: dumps and leaks. Also by environment: WEFT_LEAKS=1 reports leaks at exit,
   WEFT_DUMP_SIGNAL=USR1 dumps on that signal (SIGQUIT by default under weft_run), unless the program handles it. */
#ifndef WEFT_DEBUG_H
#define WEFT_DEBUG_H

#include "macros.h"
#pragma GCC system_header /* see macros.h */

WEFT_BEGIN_DECLS_

/* Writes every goroutine to fd: id, name, state, what it waits for and how long, the line that started it, and the
   symbolised stack of each parked one. Returns how many there are. May be called from anywhere but a signal handler. The
   program goes on meanwhile: each goroutine is shown as it was at some moment of the call. */
WEFT_API int weft_dump(int fd);
/* Writes the goroutines that are parked and waiting for something other than time, grouped by the line that started them
   and what they wait for, with counts. Writes nothing when there are none. Returns how many there are. */
WEFT_API int weft_leaks(int fd);

/* Writes the deadlocks that can be proved, also while other goroutines run: cycles of goroutines each of which waits for a
   Mutex that the next one holds, for a WaitGroup or group that the next one counts down at its end (weft_wg_go,
   weft_group_go), or for its future. Writes nothing when there is none. Returns the number of cycles; no two have a member
   in common. A Mutex counts as held by whoever locked it, also where another goroutine is to unlock it; a thread that locks
   as its first call of weft is not known. Takes a tenth of a second when there seems to be a cycle, to look twice. */
WEFT_API int weft_deadlocks(int fd);

WEFT_END_DECLS_
#endif
