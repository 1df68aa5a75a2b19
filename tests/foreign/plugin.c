/* plugin.c — a program that knows nothing of weft loads a plugin that uses it, has it work and stop, unloads it, and does so
   again: no thread and no descriptor is left behind. The plugins lie beside the program. */
#include "../workload.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "../test.h"

enum { ROUNDS = 20 };

static void find_beside(const char *name, char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    CHECK(n > 0);
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    CHECK(slash && (size_t)(slash + 1 - path) + strlen(name) < size);
    strcpy(slash + 1, name);
}

static void use_once(const char *path)
{
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!plugin)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(plugin);
    int (*work)(int) = (int (*)(int))dlsym(plugin, "plugin_work");
    int (*stop)(void) = (int (*)(void))dlsym(plugin, "plugin_stop");
    CHECK(work && stop);
    CHECK_EQ(work(100), 5050);
    CHECK_EQ(work(10), 55);
    CHECK_EQ(stop(), 0);
    CHECK_EQ(dlclose(plugin), 0);
}

static void *use_on_a_thread(void *path)
{
    use_once(path);
    return NULL;
}

static void use_often(const char *name)
{
    char path[4096];
    find_beside(name, path, sizeof path);
    use_once(path); /* what libc and sanitizers keep for good is made now */
    int threads = count_threads(), descriptors = count_names("/proc/self/fd");
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 4 == 3) {
            pthread_t thread;
            CHECK_EQ(pthread_create(&thread, NULL, use_on_a_thread, path), 0);
            CHECK_EQ(pthread_join(thread, NULL), 0);
        } else {
            use_once(path);
        }
        CHECK(HOLDS_WITHIN(10000, count_threads() <= threads));
        CHECK_EQ(count_names("/proc/self/fd"), descriptors);
    }
}

TEST(PluginWithWeftInside)
{
    use_often("plugin_lib.so");
}

TEST(PluginWithSharedWeft)
{
    use_often("plugin_lib_shared.so");
}

TEST_MAIN()
