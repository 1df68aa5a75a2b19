/* pool: a worker pool that bounds how much happens at once.

   Goroutines are cheap, but what they use may not be: connections, memory, a database. A pool is a fixed number of
   goroutines that take jobs from one channel and send results to another. However many jobs there are, no more than
   WORKERS of them are in progress.

   The shape is worth remembering: a sender closes the jobs channel when there are no more, so that each worker's loop ends;
   when all workers have ended, the results channel is closed, so that main's loop ends. Nobody counts, nothing leaks. */
#include <stdatomic.h>
#include <stdio.h>
#include <weft.h>

enum { WORKERS = 3, JOBS = 12 };

struct result {
    int job;
    int square;
};

static atomic_int in_progress, most_in_progress;

static struct result do_job(int job)
{
    int now = atomic_fetch_add(&in_progress, 1) + 1;
    for (int most = atomic_load(&most_in_progress); now > most;)
        if (atomic_compare_exchange_weak(&most_in_progress, &most, now))
            break;
    weft_sleep(2 * WEFT_MS); /* stands for a request to something slow */
    atomic_fetch_sub(&in_progress, 1);
    return (struct result){job, job * job};
}

static void worker(weft_chan(int) jobs, weft_chan(struct result) results)
{
    for (int job; weft_recv(jobs, &job);) /* false once jobs is closed and empty */
        weft_send(results, do_job(job));
}

static void send_jobs(weft_chan(int) jobs)
{
    for (int job = 1; job <= JOBS; job++)
        weft_send(jobs, job); /* blocks while all workers are busy */
    weft_close(jobs);
}

static void close_when_done(weft_waitgroup *workers, weft_chan(struct result) results)
{
    weft_wg_wait(workers);
    weft_close(results);
}

int main(void)
{
    weft_chan(int) jobs = weft_chan_make(int, 0);
    weft_chan(struct result) results = weft_chan_make(struct result, 0);
    weft_waitgroup workers = {0};

    for (int i = 0; i < WORKERS; i++)
        weft_wg_go(&workers, worker, jobs, results);
    weft_go(send_jobs, jobs);
    weft_go(close_when_done, &workers, results);

    int squares[JOBS + 1] = {0}; /* results come in any order */
    for (struct result r; weft_recv(results, &r);)
        squares[r.job] = r.square;

    for (int job = 1; job <= JOBS; job++)
        printf("job %2d -> %3d\n", job, squares[job]);
    printf("%d jobs, %d workers, at most %d jobs at once: %s\n", JOBS, WORKERS, WORKERS,
           atomic_load(&most_in_progress) <= WORKERS ? "kept" : "BROKEN");
    weft_chan_free(jobs);
    weft_chan_free(results);
    return 0;
}
