/* Walking a directory tree. The judge is what the test itself has made. */
#define _GNU_SOURCE 1 /* openat and the like in strict modes */
#include "descriptors.h"
#include "test.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <weft.h>

/* ---- trees ---- */

static void make_root(char root[256])
{
    const char *directory = getenv("TMPDIR");
    snprintf(root, 256, "%s/weft-walk-XXXXXX", directory && *directory ? directory : "/tmp");
    CHECK(mkdtemp(root) != NULL);
}

static void make(const char *root, const char *name, int type)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (type == DT_DIR) {
        CHECK_EQ(mkdir(path, 0700), 0);
    } else if (type == DT_LNK) {
        CHECK_EQ(symlink("..", path), 0);
    } else if (type == DT_FIFO) {
        CHECK_EQ(mkfifo(path, 0600), 0);
    } else {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        CHECK(fd >= 0);
        close(fd);
    }
}

/* Removes all in the directory; however deep, with few descriptors. */
static void remove_tree(const char *root)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    char(*names)[256] = NULL; /* of the directories that we are in */
    size_t depth = 0;
    for (;;) {
        bool descended = false;
        DIR *dir = fdopendir(dup(fd));
        CHECK(dir != NULL);
        rewinddir(dir);
        for (const struct dirent *item; !descended && (item = readdir(dir));) {
            if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
                continue;
            if (unlinkat(fd, item->d_name, 0) == 0)
                continue;
            names = realloc(names, (depth + 1) * sizeof *names);
            snprintf(names[depth++], sizeof *names, "%s", item->d_name);
            int next = openat(fd, item->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            CHECK(next >= 0);
            close(fd);
            fd = next;
            descended = true;
        }
        closedir(dir);
        if (descended)
            continue;
        if (depth == 0)
            break;
        int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(up >= 0);
        close(fd);
        fd = up;
        CHECK_EQ(unlinkat(fd, names[--depth], AT_REMOVEDIR), 0);
    }
    close(fd);
    free(names);
    CHECK_EQ(rmdir(root), 0);
}

/* ---- what is expected ---- */

struct expected {
    const char *path; /* under the root */
    int depth, type, error;
};

static void check_entry(const weft_entry *entry, const char *root, const struct expected *expected)
{
    char path[600];
    snprintf(path, sizeof path, "%s%s", root, expected->path);
    if (strcmp(entry->path, path) != 0)
        fprintf(stderr, "%s instead of %s\n", entry->path, path);
    CHECK(strcmp(entry->path, path) == 0);
    CHECK_EQ(entry->depth, expected->depth);
    CHECK_EQ(entry->type, expected->type);
    CHECK_EQ(entry->error, expected->error);
    CHECK(entry->name >= entry->path && entry->name <= entry->path + strlen(path));
    CHECK(entry->name == entry->path || entry->name[-1] == '/');
    if (entry->depth > 0)
        CHECK(strchr(entry->name, '/') == NULL);
}

static void check_walk(const char *root, const struct expected *expected, size_t n)
{
    weft_entry entry;
    weft_walk *walk = weft_walk_open(root);
    CHECK(walk != NULL);
    for (size_t i = 0; i < n; i++) {
        CHECK(weft_walk_next(walk, &entry));
        check_entry(&entry, root, &expected[i]);
    }
    CHECK(!weft_walk_next(walk, &entry));
    CHECK(!weft_walk_next(walk, &entry));
    weft_walk_close(walk);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Runs first, while there are no threads: in a child, which is root no more if the tests are, whom nothing stops. */
TEST(no_permission)
{
    char root[256], path[300];
    static const struct expected expected[] = {
        {"", 0, DT_DIR, 0}, {"/a", 1, DT_DIR, 0}, {"/a", 1, DT_DIR, -EACCES}, {"/b", 1, DT_REG, 0}};
    make_root(root);
    make(root, "a", DT_DIR);
    make(root, "a/x", DT_REG);
    make(root, "b", DT_REG);
    snprintf(path, sizeof path, "%s/a", root);
    CHECK_EQ(chmod(root, 0755), 0);
    CHECK_EQ(chmod(path, 0), 0);
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0); /* a child of one thread */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(geteuid() != 0 || setuid(65534) == 0);
        check_walk(root, expected, COUNT(expected));
        _exit(7);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK_EQ(chmod(path, 0700), 0);
    remove_tree(root);
}

TEST_BOTH(order_and_types)
{
    char root[256];
    make_root(root);
    static const struct expected expected[] = {
        {"", 0, DT_DIR, 0},
        {"/!", 1, DT_REG, 0},
        {"/A", 1, DT_REG, 0},
        {"/a", 1, DT_DIR, 0},
        {"/a/B", 2, DT_LNK, 0},
        {"/a/b", 2, DT_DIR, 0},
        {"/a/b/c", 3, DT_REG, 0},
        {"/a/c", 2, DT_REG, 0},
        {"/a b", 1, DT_FIFO, 0},
        {"/a-", 1, DT_DIR, 0},
        {"/a-/z", 2, DT_REG, 0},
        {"/a.x", 1, DT_REG, 0},
        {"/line\nbreak", 1, DT_REG, 0},
        {"/\x7f", 1, DT_DIR, 0},
        {"/\x80", 1, DT_REG, 0},
        {"/\xc3\xa9", 1, DT_LNK, 0},
        {"/\xff", 1, DT_REG, 0},
    };
    for (size_t i = 1; i < COUNT(expected); i++)
        make(root, expected[i].path + 1, expected[i].type);
    int before = open_descriptors();
    check_walk(root, expected, COUNT(expected));
    CHECK_EQ(open_descriptors(), before);
    remove_tree(root);
}

TEST_BOTH(roots)
{
    char root[256], path[300], cwd[4096];
    static const struct expected slash[] = {{"", 0, DT_DIR, 0}, {"x", 1, DT_REG, 0}},
                                 no_slash[] = {{"", 0, DT_DIR, 0}, {"/x", 1, DT_REG, 0}},
                                 missing = {"", 0, DT_UNKNOWN, -ENOENT}, link = {"", 0, DT_LNK, 0},
                                 file = {"", 0, DT_REG, 0};
    make_root(root);
    make(root, "x", DT_REG);
    snprintf(path, sizeof path, "%s/", root);
    check_walk(path, slash, 2);
    snprintf(path, sizeof path, "%s///", root);
    check_walk(path, slash, 2);
    snprintf(path, sizeof path, "%s/.", root);
    check_walk(path, no_slash, 2);
    CHECK(getcwd(cwd, sizeof cwd) != NULL);
    CHECK_EQ(chdir(root), 0);
    check_walk(".", no_slash, 2);
    check_walk("./", slash, 2);
    check_walk("x", &file, 1);
    check_walk("nothing", &missing, 1);
    check_walk("", &missing, 1);
    CHECK_EQ(chdir(cwd), 0);
    snprintf(path, sizeof path, "%s-link", root);
    CHECK_EQ(symlink(root, path), 0);
    check_walk(path, &link, 1); /* not followed */
    strcat(path, "/");
    check_walk(path, slash, 2); /* but so */
    path[strlen(path) - 1] = '\0';
    unlink(path);
    remove_tree(root);

    weft_entry entry;
    weft_walk *walk = weft_walk_open("/");
    CHECK(weft_walk_next(walk, &entry));
    CHECK_EQ(strcmp(entry.path, "/"), 0);
    CHECK_EQ(strcmp(entry.name, "/"), 0);
    CHECK(weft_walk_next(walk, &entry));
    CHECK(entry.path[0] == '/' && entry.name == entry.path + 1 && entry.depth == 1);
    weft_walk_close(walk);
    weft_walk_close(NULL);
}

TEST_BOTH(skipping)
{
    char root[256];
    make_root(root);
    static const struct expected expected[] = {{"", 0, DT_DIR, 0},     {"/a", 1, DT_DIR, 0}, {"/b", 1, DT_DIR, 0},
                                               {"/b/x", 2, DT_DIR, 0}, {"/c", 1, DT_REG, 0}, {"/d", 1, DT_DIR, 0},
                                               {"/d/x", 2, DT_REG, 0}};
    static const char *const all[] = {"a", "a/x", "b", "b/x", "b/x/y", "d"};
    for (size_t i = 0; i < COUNT(all); i++)
        make(root, all[i], DT_DIR);
    make(root, "c", DT_REG);
    make(root, "d/x", DT_REG);
    weft_entry entry;
    weft_walk *walk = weft_walk_open(root);
    weft_walk_skip(walk); /* nothing yet */
    for (size_t i = 0; i < COUNT(expected); i++) {
        CHECK(weft_walk_next(walk, &entry));
        check_entry(&entry, root, &expected[i]);
        if (i == 1 || i == 3 || i == 4 || i == 6) /* a, b/x, and two that are files */
            weft_walk_skip(walk);
    }
    CHECK(!weft_walk_next(walk, &entry));
    weft_walk_skip(walk);
    weft_walk_close(walk);
    walk = weft_walk_open(root);
    CHECK(weft_walk_next(walk, &entry));
    weft_walk_skip(walk);
    CHECK(!weft_walk_next(walk, &entry));
    weft_walk_close(walk);
    remove_tree(root);
}

/* ---- errors ---- */

/* Directories that go, or become something else, between when they are given and when they are read. */
TEST_BOTH(what_cannot_be_read)
{
    char root[256], path[300];
    static const struct expected expected[] = {
        {"", 0, DT_DIR, 0},          {"/a", 1, DT_DIR, 0},        {"/a", 1, DT_DIR, -ENOENT},
        {"/b", 1, DT_DIR, 0},        {"/b", 1, DT_DIR, -ENOTDIR}, {"/c", 1, DT_DIR, 0},
        {"/c", 1, DT_DIR, -ENOTDIR}, {"/d", 1, DT_DIR, 0},        {"/d/x", 2, DT_DIR, 0}};
    make_root(root);
    make(root, "a", DT_DIR);
    make(root, "b", DT_DIR);
    make(root, "c", DT_DIR);
    make(root, "d", DT_DIR);
    make(root, "d/x", DT_DIR);
    weft_entry entry;
    weft_walk *walk = weft_walk_open(root);
    for (size_t i = 0; i < COUNT(expected); i++) {
        CHECK(weft_walk_next(walk, &entry));
        check_entry(&entry, root, &expected[i]);
        snprintf(path, sizeof path, "%s%s", root, expected[i].path);
        if (i == 1)
            CHECK_EQ(rmdir(path), 0);
        if (i == 3) { /* O_NOFOLLOW with O_DIRECTORY: not a directory */
            CHECK_EQ(rmdir(path), 0);
            CHECK_EQ(symlink("d", path), 0);
        }
        if (i == 5) {
            CHECK_EQ(rmdir(path), 0);
            make(root, "c", DT_REG);
        }
    }
    CHECK(!weft_walk_next(walk, &entry));
    weft_walk_close(walk);

    walk = weft_walk_open(root);
    CHECK(weft_walk_next(walk, &entry));
    remove_tree(root);
    CHECK(weft_walk_next(walk, &entry));
    CHECK_EQ(entry.error, -ENOENT);
    CHECK_EQ(entry.depth, 0);
    CHECK(!weft_walk_next(walk, &entry));
    weft_walk_close(walk);
}

/* ---- deep ---- */

/* root/d/d/.../d, and on each level a file that comes after, and a directory with a file that comes after that. */
static void make_deep(const char *root, int levels)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < levels; i++) {
        CHECK_EQ(mkdirat(fd, "d", 0700), 0);
        CHECK_EQ(mknodat(fd, "e", S_IFREG | 0600, 0), 0);
        CHECK_EQ(mkdirat(fd, "f", 0700), 0);
        CHECK_EQ(mknodat(fd, "f/g", S_IFREG | 0600, 0), 0);
        int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(next >= 0);
        close(fd);
        fd = next;
    }
    close(fd);
}

static void check_deep(const char *root, int levels)
{
    weft_entry entry;
    weft_walk *walk = weft_walk_open(root);
    for (int depth = 0; depth <= levels; depth++) {
        CHECK(weft_walk_next(walk, &entry));
        CHECK_EQ(entry.error, 0);
        CHECK_EQ(entry.depth, depth);
        CHECK(depth == 0 || strcmp(entry.name, "d") == 0);
    }
    for (int depth = levels; depth > 0; depth--) {
        static const char *const names[] = {"e", "f", "g"};
        for (int i = 0; i < 3; i++) {
            CHECK(weft_walk_next(walk, &entry));
            CHECK_EQ(entry.error, 0);
            CHECK_EQ(strcmp(entry.name, names[i]), 0);
            CHECK_EQ(entry.depth, depth + (i == 2));
            CHECK_EQ(strlen(entry.path), strlen(root) + 2 * (size_t)(depth + (i == 2)));
        }
    }
    CHECK(!weft_walk_next(walk, &entry));
    weft_walk_close(walk);
}

/* Thousands of levels, paths longer than PATH_MAX, few descriptors. */
TEST_BOTH(deep)
{
    char root[256];
    int levels = test_scale(2100);
    struct rlimit before, few;
    make_root(root);
    make_deep(root, levels);
    int descriptors = open_descriptors();
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int spare = 60; spare > 0; spare /= 4) { /* also fewer than it likes to have */
        few = before;
        few.rlim_cur = (rlim_t)descriptors + (rlim_t)spare + 3;
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
        check_deep(root, levels);
    }
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_EQ(open_descriptors(), descriptors);

    weft_entry entry;
    weft_walk *walk = weft_walk_open(root);
    for (int i = 0; i < levels / 2; i++)
        CHECK(weft_walk_next(walk, &entry));
    weft_walk_close(walk);
    CHECK_EQ(open_descriptors(), descriptors);
    remove_tree(root);
}

/* While the walk is far below, a directory on its way is moved out of the tree. It never leaves the tree for good. */
TEST_BOTH(moved_while_inside)
{
    enum { LEVELS = 100, CUT = 20 };
    char root[256], other[256], from[600], to[300];
    make_root(root);
    make_root(other);
    make_deep(root, LEVELS);
    snprintf(from, sizeof from, "%s", root);
    for (int i = 0; i < CUT; i++)
        strcat(from, "/d");
    snprintf(to, sizeof to, "%s/d", other);
    check_deep(root, LEVELS);
    weft_entry entry;
    weft_walk *walk = weft_walk_open(root);
    for (int i = 0; i <= LEVELS; i++)
        CHECK(weft_walk_next(walk, &entry));
    CHECK_EQ(rename(from, to), 0);
    make(other, "e", DT_REG); /* where ".." of the moved directory is now */
    make(other, "f", DT_DIR);
    for (int depth = LEVELS; depth > 0; depth--)
        for (int i = 0; i < 3; i++) {
            CHECK(weft_walk_next(walk, &entry));
            CHECK_EQ(entry.error, 0);
            CHECK_EQ(entry.depth, depth + (i == 2));
            CHECK(strncmp(entry.path, root, strlen(root)) == 0);
        }
    CHECK(!weft_walk_next(walk, &entry));
    weft_walk_close(walk);

    /* Moved, and gone from its way: what is above the cut cannot be found again, but for the root. */
    CHECK_EQ(rename(to, from), 0);
    walk = weft_walk_open(root);
    for (int i = 0; i <= LEVELS; i++)
        CHECK(weft_walk_next(walk, &entry));
    snprintf(from, sizeof from, "%s/d/d/d/d/d", root);
    CHECK_EQ(rename(from, to), 0);
    int errors = 0, good = 0;
    while (weft_walk_next(walk, &entry)) {
        CHECK(strncmp(entry.path, root, strlen(root)) == 0);
        CHECK(entry.error == 0 || entry.error == -ENOENT);
        errors += entry.error != 0;
        good += entry.error == 0;
    }
    CHECK_EQ(errors, 0); /* the first levels are still where they were */
    CHECK_EQ(good, LEVELS * 3);
    weft_walk_close(walk);
    CHECK_EQ(rename(to, from), 0);

    walk = weft_walk_open(root);
    for (int i = 0; i <= LEVELS; i++)
        CHECK(weft_walk_next(walk, &entry));
    char second[600];
    snprintf(second, sizeof second, "%s/d/d", root);
    CHECK_EQ(rename(from, to), 0); /* level 5 ... */
    snprintf(to, sizeof to, "%s/second", other);
    CHECK_EQ(rename(second, to), 0); /* ... and level 2: levels 2 to 4 are lost */
    errors = good = 0;
    while (weft_walk_next(walk, &entry)) {
        CHECK(strncmp(entry.path, root, strlen(root)) == 0);
        CHECK(entry.error == 0 ||
              (entry.error == -ENOENT && strcmp(entry.name, "f") == 0 && entry.depth >= 3 && entry.depth <= 5));
        errors += entry.error != 0;
        good += entry.error == 0;
    }
    CHECK_EQ(errors, 3); /* "f" of levels 2, 3, 4 could not be entered */
    CHECK_EQ(good, LEVELS * 3 - 3);
    weft_walk_close(walk);
    remove_tree(root);
    remove_tree(other);
}

/* ---- wide, many ---- */

static void check_wide(const char *root, int n)
{
    weft_entry entry;
    char name[32];
    weft_walk *walk = weft_walk_open(root);
    CHECK(weft_walk_next(walk, &entry));
    for (int i = 0; i < n; i++) {
        CHECK(weft_walk_next(walk, &entry));
        snprintf(name, sizeof name, "%08d", i);
        CHECK(strcmp(entry.name, name) == 0);
        CHECK_EQ(entry.type, DT_REG);
    }
    CHECK(!weft_walk_next(walk, &entry));
    weft_walk_close(walk);
}

TEST_BOTH(wide_and_at_the_same_time)
{
    char root[256], name[32];
    int n = test_scale(5000);
    make_root(root);
    for (int i = n - 1; i >= 0; i--) {
        snprintf(name, sizeof name, "%08d", i);
        make(root, name, DT_REG);
    }
    weft_waitgroup wg = {0};
    for (int i = 0; i < 20; i++)
        weft_wg_go(&wg, check_wide, root, n);
    weft_wg_wait(&wg);
    remove_tree(root);
}

TEST_MAIN()
