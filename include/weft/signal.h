/* weft/signal.h — signals as values on a channel.

     weft_chan(int) stop = weft_chan_make(int, 1);
     weft_signal_notify(stop, SIGINT, SIGTERM);
     int signo;
     weft_recv(stop, &signo);

   A signal is taken by any thread of the program's own that does not block it (weft's threads block all that could be meant
   for the program); one that all of them block stays pending. It is then sent on every channel that is subscribed to it,
   without waiting: a channel that is full or closed loses it, so give it capacity. While a channel is subscribed the signal
   has no other effect; system calls that it interrupts are restarted (SA_RESTART).

   Without signo, all signals are meant but those that cannot be had, which are -EINVAL when they are named: SIGKILL,
   SIGSTOP, those of faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL), libc's own, and what is no signal. After -EINVAL nothing has
   changed.

   What the program had installed for a signal is put back when the last channel stops, by weft_signal_reset, and by
   weft_shutdown; unless the program has installed something else meanwhile, which stays. A forked child begins with what is
   put back, and without subscriptions; a program started by exec with the default, or ignoring what the caller's process
   ignores.

   While a channel is subscribed somebody could always wake its receivers: no deadlock is reported. Everything may be called
   from goroutines and from foreign threads. Nothing blocks. */
#ifndef WEFT_SIGNAL_H
#define WEFT_SIGNAL_H

#include "chan.h"
#pragma GCC system_header /* see macros.h */

WEFT_BEGIN_DECLS_

/* The untyped core: n signals, for a channel of int. */
WEFT_API int weft_signal_notify_(weft_chan_core *chan, const int *signals, unsigned n);
WEFT_API void weft_signal_stop_(weft_chan_core *chan);
WEFT_API int weft_signal_ignore_(const int *signals, unsigned n);
WEFT_API int weft_signal_reset_(const int *signals, unsigned n);

WEFT_END_DECLS_

#ifndef __cplusplus

/* clang-format off */
#define WEFT_SIGNAL_CHAN_(ch) ((weft_chan_core *)(void *)_Generic((ch), __typeof__(int(*)[]): (ch)))
/* The array has an element too many, because there may be none. */
#define WEFT_SIGNALS_(call, ...)                                                                                            \
    __extension__({                                                                                                         \
        WEFT_STRICT_                                                                                                        \
        const int weft_signals_[] = {0, __VA_ARGS__};                                                                       \
        WEFT_RELAX_                                                                                                         \
        call;                                                                                                               \
    })
#define WEFT_SIGNALS_GIVEN_ weft_signals_ + 1, sizeof weft_signals_ / sizeof *weft_signals_ - 1
#define WEFT_SIGNAL_NOTIFY_(ch, ...)                                                                                        \
    WEFT_SIGNALS_(weft_signal_notify_(WEFT_SIGNAL_CHAN_(ch), WEFT_SIGNALS_GIVEN_), __VA_ARGS__)
/* clang-format on */

/* weft_signal_notify(ch, signo...): from now on the signals are sent on ch, a weft_chan(int), beside those that it gets
   already. The channel is referenced meanwhile. NULL is fatal. 0, -EINVAL; -ENOMEM, -ENOSPC, -EMFILE, -ENFILE: no memory or
   descriptor for it. */
#define weft_signal_notify(...) WEFT_SIGNAL_NOTIFY_(__VA_ARGS__, )
/* weft_signal_stop(ch): ends all subscriptions of ch. What was caught before is sent first, nothing after the call returned.
   A signal that comes at the same time is either sent or has the effect of what is put back: none is lost in between. NULL,
   or a channel without a subscription: nothing. */
#define weft_signal_stop(ch) weft_signal_stop_(WEFT_SIGNAL_CHAN_(ch))
/* weft_signal_ignore(signo...): the signals are ignored from now on, and sent on no channel. 0 or -EINVAL. */
#define weft_signal_ignore(...) WEFT_SIGNALS_(weft_signal_ignore_(WEFT_SIGNALS_GIVEN_), __VA_ARGS__)
/* weft_signal_reset(signo...): undoes weft_signal_notify, for all channels, and weft_signal_ignore. 0 or -EINVAL. */
#define weft_signal_reset(...) WEFT_SIGNALS_(weft_signal_reset_(WEFT_SIGNALS_GIVEN_), __VA_ARGS__)

#endif /* !__cplusplus */
#endif
