/* Linked into httpd where TSan is: TSan keeps a signal back until its thread calls something that it intercepts, and
   weft's waits are none of that. So the main thread takes no signals here, but one that naps. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void *take_signals(void *unused)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_UNBLOCK, &all, NULL);
    for (;;)
        usleep(1000);
    return unused;
}

static __attribute__((constructor)) void start_taking(void)
{
    sigset_t all;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    if (pthread_create(&thread, NULL, take_signals, NULL) != 0)
        abort();
    pthread_detach(thread);
}
