/* The smallest program with a thread: the twin of examples/hello.c. */
#include <pthread.h>
#include <stdio.h>

static void *greet(void *whom)
{
    printf("Hello, %s, from a thread!\n", (const char *)whom);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    puts("Hello from main!");
    if (pthread_create(&thread, NULL, greet, "world") != 0)
        return 1;
    pthread_join(thread, NULL);
    puts("Goodbye from main!");
    return 0;
}
