/* signal.h — the runtime's side of weft/signal.h. */
#ifndef WI_SIGNAL_H
#define WI_SIGNAL_H

#include <stdbool.h>

/* Some channel is subscribed: somebody outside could wake its receivers. */
bool wi_signals_wanted(void);
/* The runtime ends, before the poller does. */
void wi_signals_stop(void);
/* In a forked child. */
void wi_signals_forget(void);

#endif
