/* The smallest program with a thread of State Threads: the twin of examples/hello.c. */
#include <st.h>
#include <stdio.h>

static void *greet(void *whom)
{
    printf("Hello, %s, from a thread!\n", (const char *)whom);
    return NULL;
}

int main(void)
{
    if (st_init() != 0)
        return 1;
    puts("Hello from main!");
    st_thread_t thread = st_thread_create(greet, "world", 1, 0);
    st_thread_join(thread, NULL);
    puts("Goodbye from main!");
    return 0;
}
