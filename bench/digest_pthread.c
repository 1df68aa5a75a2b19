/* digest_pthread: examples/digest as one writes it with threads: its twin, to compare with. The walk, the hashing with its
   read size, and the printing are the same code; only what runs them differs. Here the main thread walks and puts entries
   into a bounded queue under a mutex and two condition variables, and two threads take them out. The list of entries is the
   main thread's, so results need no way back.

   usage: digest_pthread PATH... */
#include "../examples/digest/digest.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 2, QUEUE = 256 };

struct queue {
    pthread_mutex_t mutex; /* protects the fields below */
    pthread_cond_t not_empty;
    pthread_cond_t not_full;
    struct entry *items[QUEUE];
    unsigned head;
    unsigned count;
    bool closed;
    struct tally tally;
};

static void queue_put(struct queue *q, struct entry *entry)
{
    pthread_mutex_lock(&q->mutex);
    while (q->count == QUEUE)
        pthread_cond_wait(&q->not_full, &q->mutex);
    q->items[(q->head + q->count++) % QUEUE] = entry;
    pthread_mutex_unlock(&q->mutex);
    pthread_cond_signal(&q->not_empty);
}

static void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    pthread_mutex_unlock(&q->mutex);
    pthread_cond_broadcast(&q->not_empty);
}

/* NULL once the queue is closed and empty. */
static struct entry *queue_take(struct queue *q)
{
    struct entry *entry = NULL;
    pthread_mutex_lock(&q->mutex);
    while (q->count == 0 && !q->closed)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    if (q->count > 0) {
        entry = q->items[q->head];
        q->head = (q->head + 1) % QUEUE;
        q->count--;
    }
    pthread_mutex_unlock(&q->mutex);
    pthread_cond_signal(&q->not_full);
    return entry;
}

static bool never(void)
{
    return false;
}

static void *digester(void *argument)
{
    struct queue *q = argument;
    struct hasher *hasher = hasher_new();
    for (struct entry *entry; (entry = queue_take(q)) != NULL;)
        hasher_run(hasher, entry, never, &q->tally);
    hasher_free(hasher);
    return NULL;
}

static void walk_all(char **roots, int root_count, struct queue *q, struct list *list)
{
    struct walk *walk = walk_new(roots, root_count);
    for (struct entry *entry; (entry = walk_next(walk)) != NULL;) {
        list_add(list, entry);
        if (entry->error == 0)
            queue_put(q, entry);
    }
    walk_free(walk);
    queue_close(q);
}

int main(int argc, char **argv)
{
    static struct queue queue = {
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .not_empty = PTHREAD_COND_INITIALIZER,
        .not_full = PTHREAD_COND_INITIALIZER,
    };
    if (argc < 2) {
        fputs("usage: digest_pthread PATH...\n", stderr);
        return 2;
    }

    struct list list = {0};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        int error = pthread_create(&threads[i], NULL, digester, &queue);
        if (error != 0) {
            fprintf(stderr, "digest_pthread: no thread: %s\n", strerror(error));
            return 1;
        }
    }
    walk_all(argv + 1, argc - 1, &queue, &list);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    list_sort(&list);
    int error = print_digests(&list);
    int errors = print_errors(&list);
    if (error != 0)
        fprintf(stderr, "digest_pthread: write error: %s\n", strerror(-error));
    list_free(&list);
    return error != 0 || errors > 0;
}
