/* process.h — the runtime's side of weft/process.h. */
#ifndef WI_PROCESS_H
#define WI_PROCESS_H

/* On the thread that starts the runtime: its signal mask is that of the programs that goroutines start. */
void wi_process_started(void);

#endif
