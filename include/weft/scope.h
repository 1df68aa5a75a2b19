/* weft/scope.h — leaving early: deferred calls, exit, panic.

   What a goroutine has to undo is a chain of records, newest first: scoped locks, scoped groups, scoped contexts, deferred
   calls. The end of a block undoes its own scoped records; the end of a goroutine runs its deferred calls. A goroutine that
   exits or panics undoes all of them, in reverse order, whatever flags the program was compiled with; where frames have
   unwind information, C++ destructors and cleanups run too, each before what older frames have on the chain. Everything runs
   exactly once, and shielded: an ended context does not end the waits of clean-up work. */
#ifndef WEFT_SCOPE_H
#define WEFT_SCOPE_H

#include "macros.h"
#pragma GCC system_header /* see macros.h */

WEFT_BEGIN_DECLS_

/* Runs fn with its words when the calling goroutine ends. Fatal on a foreign thread and when out of memory. Never blocks. */
WEFT_API void weft_defer_(void *unused, const weft_site *site, weft_fn_ fn, const uintptr_t *words);
/* Ends the calling goroutine from however deep, as Go's Goexit: everything on its chain is undone, other goroutines go on. A
   future whose goroutine exits so has no result: weft_await gives -ENOTRECOVERABLE; for a group it is a result of 0. Fatal
   on a foreign thread. */
WEFT_API WEFT_NORETURN_ void weft_exit_goroutine(void);
/* Something is wrong beyond what an error code can tell. Undoes everything on the calling goroutine's chain. In a goroutine
   of a group or a future the goroutine then ends, and its error is -ENOTRECOVERABLE with this message and the stack
   (weft_group_panic, weft_await_panic); elsewhere the program ends with both and a dump of all goroutines, then abort. A
   panic in something that is being undone replaces the first. The message is cut off at 1,000 bytes. */
WEFT_API WEFT_NORETURN_ void weft_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

WEFT_END_DECLS_

#ifndef __cplusplus

/* weft_defer(fn, args...): calls fn when the goroutine ends, the last deferred first. fn takes 0 to 6 integer or pointer
   arguments, checked like a call and evaluated now; what it returns (nothing, an integer or a pointer) is dropped. */
#define weft_defer(...) WEFT_CALL_ANY_(weft_defer_, NULL, __VA_ARGS__)

#endif /* !__cplusplus */
#endif
