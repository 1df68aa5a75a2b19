/* AGAIN: WEFT_URING=0 */
/* Files: reading, writing, syncing, opening, looking. Runs a second time without io_uring: the results must be the same. */
#define _GNU_SOURCE 1 /* O_DIRECT, O_TMPFILE */
#include "../descriptors.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <weft.h>

enum { BLOCK = 4096 };

static const char *directory(void)
{
    const char *name = getenv("TMPDIR");
    return name && *name ? name : "/tmp";
}

/* A path for a test's own file or directory. */
static void make_path(char path[256], const char *name)
{
    snprintf(path, 256, "%s/weft-file-%d-%s", directory(), (int)getpid(), name);
}

/* A new file without a name. */
static int make_file(int flags)
{
    static atomic_int number;
    char path[256], name[32];
    snprintf(name, sizeof name, "%d", atomic_fetch_add(&number, 1));
    make_path(path, name);
    int fd = weft_open(path, O_RDWR | O_CREAT | O_EXCL | flags, 0600);
    CHECK(fd >= 0);
    unlink(path);
    return fd;
}

/* What is read next is read from the disk, where the kernel can be made to. */
static void evict(int fd)
{
    CHECK_EQ(weft_fdatasync(fd), 0);
    CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0); /* nothing ahead of what is asked for */
}

static void pread_all(int fd, void *buffer, size_t size, int64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = weft_pread(fd, (char *)buffer + done, size - done, offset + (int64_t)done);
        if (n <= 0)
            CHECK_EQ(n, 1);
        done += (size_t)n;
    }
}

static void pwrite_all(int fd, const void *buffer, size_t size, int64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = weft_pwrite(fd, (const char *)buffer + done, size - done, offset + (int64_t)done);
        if (n <= 0)
            CHECK_EQ(n, 1);
        done += (size_t)n;
    }
}

/* ---- contents ---- */

TEST_BOTH(random_transfers)
{
    enum { SIZE = 1 << 20 };
    unsigned char *is = calloc(1, SIZE), *buffer = malloc(SIZE);
    int fd = make_file(0);
    CHECK_EQ(ftruncate(fd, SIZE), 0);
    for (int i = 0; i < test_scale(2000); i++) {
        size_t offset = test_random() % SIZE;
        size_t size = test_random() % (i % 50 ? 9000 : SIZE);
        size = size > SIZE - offset ? SIZE - offset : size;
        if (test_random() % 2) {
            for (size_t j = 0; j < size; j++)
                is[offset + j] = (unsigned char)test_random();
            pwrite_all(fd, is + offset, size, (int64_t)offset);
        } else {
            pread_all(fd, buffer, size, (int64_t)offset);
            CHECK(memcmp(buffer, is + offset, size) == 0);
        }
        if (i % 20 == 0)
            evict(fd);
    }
    evict(fd);
    pread_all(fd, buffer, SIZE, 0);
    CHECK(memcmp(buffer, is, SIZE) == 0);
    CHECK_EQ(weft_close_fd(fd), 0);
    free(is);
    free(buffer);
}

TEST_BOTH(holes_and_the_end)
{
    const int64_t far = INT64_C(3) << 30;
    char buffer[BLOCK];
    int fd = make_file(0);
    CHECK_EQ(weft_pwrite(fd, "end", 3, far), 3);
    evict(fd);
    for (int64_t at = 0; at < far; at += far / 8) {
        memset(buffer, 'x', sizeof buffer);
        pread_all(fd, buffer, sizeof buffer, at);
        for (size_t i = 0; i < sizeof buffer; i++)
            CHECK_EQ(buffer[i], 0);
    }
    evict(fd);
    CHECK_EQ(weft_pread(fd, buffer, sizeof buffer, far + 1), 2);
    CHECK(memcmp(buffer, "nd", 2) == 0);
    CHECK_EQ(weft_pread(fd, buffer, sizeof buffer, far + 3), 0);
    CHECK_EQ(weft_pread(fd, buffer, sizeof buffer, far + 1000000), 0);
    CHECK_EQ(weft_pread(fd, buffer, sizeof buffer, INT64_MAX - (int64_t)sizeof buffer), 0);
    CHECK_EQ(weft_pread(fd, buffer, 0, 0), 0);
    CHECK_EQ(weft_pwrite(fd, buffer, 0, 0), 0);
    struct stat st;
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_size, far + 3);
    CHECK_EQ(weft_close_fd(fd), 0);
}

/* More than one transfer can take, more than 32 bits can say. */
TEST_BOTH(huge_sizes)
{
    size_t size = (size_t)5 << 30;
    char *buffer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (buffer == MAP_FAILED)
        return; /* a limit on the address space */
    int fd = make_file(0);
    memset(buffer, 'a', 100000);
    pwrite_all(fd, buffer, 100000, 0);
    evict(fd);
    memset(buffer, 0, 100000);
    CHECK_EQ(weft_pread(fd, buffer, size, 0), 100000);
    CHECK_EQ(buffer[99999], 'a');
    CHECK_EQ(weft_pread(fd, buffer, size, 100000), 0);
    CHECK_EQ(weft_pread(fd, buffer, SIZE_MAX, 0), -EINVAL);
    CHECK_EQ(weft_close_fd(fd), 0);
    munmap(buffer, size);
}

TEST_BOTH(vectors)
{
    enum { PARTS = 100 };
    char text[PARTS * 100], got[sizeof text];
    struct iovec out[PARTS], in[PARTS];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)test_random();
    for (int i = 0; i < PARTS; i++) {
        out[i] = (struct iovec){text + i * 100, 100};
        in[i] = (struct iovec){got + sizeof got - (i + 1) * 100, 100};
    }
    int fd = make_file(0);
    CHECK_EQ(weft_writev(fd, out, PARTS), (ssize_t)sizeof text);
    evict(fd);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    for (int i = 0, done = 0; i < PARTS;) { /* a part in turn, which may come in pieces */
        struct iovec rest[2] = {{(char *)in[i].iov_base + done, 100 - (size_t)done}, {NULL, 0}};
        ssize_t n = weft_readv(fd, rest, 2);
        CHECK(n > 0 && n <= 100 - done);
        done = done + n == 100 ? 0 : done + (int)n;
        i += done == 0;
    }
    for (int i = 0; i < PARTS; i++)
        CHECK(memcmp(in[i].iov_base, out[i].iov_base, 100) == 0);
    CHECK_EQ(weft_readv(fd, in, PARTS), 0);
    CHECK_EQ(weft_close_fd(fd), 0);
}

static void read_records(int fd, atomic_int *seen, int n)
{
    int number;
    ssize_t got;
    while ((got = weft_read(fd, &number, sizeof number)) > 0) {
        CHECK_EQ(got, (ssize_t)sizeof number);
        CHECK(number >= 0 && number < n);
        atomic_fetch_add(&seen[number], 1);
    }
    CHECK_EQ(got, 0);
}

/* The descriptor's position moves with each read, whoever reads: nothing is read twice or left out. */
TEST_BOTH(many_readers_of_one_position)
{
    int n = test_scale(20000), fd = make_file(0);
    atomic_int *seen = calloc((size_t)n, sizeof *seen);
    int *numbers = malloc((size_t)n * sizeof *numbers);
    weft_waitgroup wg = {0};
    for (int i = 0; i < n; i++)
        numbers[i] = i;
    CHECK_EQ(weft_write_all(fd, numbers, (size_t)n * sizeof *numbers), (ssize_t)((size_t)n * sizeof *numbers));
    evict(fd);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    for (int i = 0; i < 10; i++)
        weft_wg_go(&wg, read_records, fd, seen, n);
    weft_wg_wait(&wg);
    for (int i = 0; i < n; i++)
        CHECK_EQ(seen[i], 1);
    CHECK_EQ(weft_close_fd(fd), 0);
    free(seen);
    free(numbers);
}

TEST_BOTH(appending)
{
    char text[9] = {0};
    int fd = make_file(O_APPEND);
    CHECK_EQ(weft_pwrite(fd, "abc", 3, 0), 3); /* as Linux does it: at the end, wherever it is told to */
    CHECK_EQ(weft_write(fd, "def", 3), 3);
    CHECK_EQ(weft_pwrite(fd, "gh", 2, 0), 2);
    pread_all(fd, text, 8, 0);
    CHECK_EQ(strcmp(text, "abcdefgh"), 0);
    CHECK_EQ(weft_close_fd(fd), 0);
}

/* What is in memory is not all there is. */
TEST_BOTH(no_short_reads_before_the_end)
{
    enum { PAGES = 32 };
    static char text[PAGES * BLOCK], got[sizeof text];
    int fd = make_file(0);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i / BLOCK + 1);
    pwrite_all(fd, text, sizeof text, 0);
    for (int i = 0; i < PAGES; i++) {
        evict(fd);
        CHECK_EQ(weft_pread(fd, got, BLOCK, i * BLOCK), BLOCK);
        memset(got, 0, sizeof got);
        CHECK_EQ(weft_pread(fd, got, sizeof got, 0), (ssize_t)sizeof got);
        CHECK(memcmp(got, text, sizeof got) == 0);
        CHECK_EQ(weft_pread(fd, got, sizeof got, BLOCK), (ssize_t)sizeof got - BLOCK);
    }
    CHECK_EQ(weft_close_fd(fd), 0);
}

/* ---- flags ---- */

TEST_BOTH(direct)
{
    char path[256], *buffer = NULL, other[BLOCK];
    make_path(path, "direct");
    int fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    unlink(path);
    if (fd < 0) {
        printf("skipped: no O_DIRECT in %s\n", directory());
        return;
    }
    CHECK_EQ(posix_memalign((void **)&buffer, BLOCK, 16 * BLOCK), 0);
    for (int i = 0; i < 16; i++)
        memset(buffer + i * BLOCK, 'a' + i, BLOCK);
    CHECK_EQ(weft_pwrite(fd, buffer, 16 * BLOCK, 0), 16 * BLOCK);
    for (int i = 15; i >= 0; i--) {
        memset(other, 'a' + i, BLOCK);
        memset(buffer, 0, BLOCK);
        CHECK_EQ(weft_pread(fd, buffer, BLOCK, i * BLOCK), BLOCK);
        CHECK(memcmp(buffer, other, BLOCK) == 0);
    }
    ssize_t n = pread(fd, buffer + 1, 100, 1), expected = n < 0 ? -weft_errno() : n;
    CHECK_EQ(weft_pread(fd, buffer + 1, 100, 1), expected); /* not aligned: whatever the file system says */
    CHECK_EQ(weft_pread(fd, buffer, BLOCK, 16 * BLOCK), 0);
    CHECK_EQ(weft_close_fd(fd), 0);
    free(buffer);
}

TEST_BOTH(nonblocking_and_synchronous)
{
    static const int flags[] = {O_NONBLOCK, O_SYNC, O_DSYNC, O_NONBLOCK | O_SYNC};
    char text[BLOCK];
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        int fd = make_file(flags[i]);
        memset(text, 'a' + (int)i, sizeof text);
        for (int j = 0; j < 4; j++)
            pwrite_all(fd, text, sizeof text, j * BLOCK);
        evict(fd);
        memset(text, 0, sizeof text);
        CHECK_EQ(weft_pread(fd, text, 1, 2 * BLOCK), 1);
        CHECK_EQ(text[0], 'a' + (int)i);
        CHECK_EQ(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_SYNC | O_DSYNC), flags[i]);
        CHECK_EQ(weft_close_fd(fd), 0);
    }
}

/* ---- errors ---- */

TEST_BOTH(errors_of_transfers)
{
    char text[16] = "0123456789abcde";
    int ends[2], fd = lift(make_file(0));
    CHECK_EQ(weft_pwrite(fd, text, sizeof text, 0), (ssize_t)sizeof text);
    CHECK_EQ(weft_pread(fd, text, 1, -1), -EINVAL);
    CHECK_EQ(weft_pwrite(fd, text, 1, -1), -EINVAL);
    CHECK_EQ(weft_pread(fd, text, 1, INT64_MIN), -EINVAL);
    CHECK_EQ(weft_pread(fd, (void *)8, 16, 0), -EFAULT);
    evict(fd);
    CHECK_EQ(weft_pread(fd, (void *)8, 16, 0), -EFAULT);
    CHECK_EQ(weft_pwrite(fd, (void *)8, 16, 0), -EFAULT);
    CHECK_EQ(weft_close_fd(fd), 0);
    CHECK_EQ(weft_pread(fd, text, 1, 0), -EBADF);
    CHECK_EQ(weft_pwrite(fd, text, 1, 0), -EBADF);
    CHECK_EQ(weft_fsync(fd), -EBADF);
    CHECK_EQ(weft_fdatasync(fd), -EBADF);
    CHECK_EQ(weft_pread(-1, text, 1, 0), -EBADF);
    CHECK_EQ(weft_fsync(-1), -EBADF);

    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(weft_pread(ends[0], text, 1, 0), -ESPIPE);
    CHECK_EQ(weft_pwrite(ends[1], text, 1, 0), -ESPIPE);
    CHECK_EQ(weft_fsync(ends[1]), -EINVAL);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(weft_close_fd(ends[i]), 0);

    CHECK((fd = weft_open(directory(), O_RDONLY)) >= 0);
    CHECK_EQ(weft_pread(fd, text, 1, 0), -EISDIR);
    CHECK_EQ(weft_pwrite(fd, text, 1, 0), -EBADF);
    CHECK_EQ(weft_fsync(fd), 0);
    CHECK_EQ(weft_close_fd(fd), 0);

    CHECK((fd = weft_open("/dev/full", O_RDWR)) >= 0);
    CHECK_EQ(weft_pwrite(fd, text, 1, 0), -ENOSPC);
    CHECK_EQ(weft_write_all(fd, text, sizeof text), -ENOSPC);
    CHECK_EQ(weft_pread(fd, text, sizeof text, 0), (ssize_t)sizeof text);
    CHECK_EQ(text[15], 0);
    CHECK_EQ(weft_close_fd(fd), 0);

    CHECK((fd = weft_open("/proc/self/status", O_RDONLY)) >= 0); /* where there is no RWF_NOWAIT */
    CHECK_EQ(weft_pread(fd, text, 5, 0), 5);
    CHECK(memcmp(text, "Name:", 5) == 0);
    CHECK_EQ(weft_close_fd(fd), 0);
}

/* ---- many at once ---- */

static void read_block(int fd, int number, atomic_int *done)
{
    int block[BLOCK / sizeof(int)];
    pread_all(fd, block, sizeof block, (int64_t)number * BLOCK);
    for (size_t i = 0; i < sizeof block / sizeof *block; i++)
        CHECK_EQ(block[i], number);
    atomic_fetch_add(done, 1);
}

TEST_BOTH(ten_thousand_reads_in_flight)
{
    int n = test_scale(10000), fd = make_file(0), block[BLOCK / sizeof(int)];
    atomic_int done = 0;
    weft_waitgroup wg = {0};
    for (int i = 0; i < n; i++) {
        for (size_t j = 0; j < sizeof block / sizeof *block; j++)
            block[j] = i;
        pwrite_all(fd, block, sizeof block, (int64_t)i * BLOCK);
    }
    evict(fd);
    for (int i = 0; i < n; i++)
        weft_wg_go(&wg, read_block, fd, (int)((int64_t)i * 7919 % n), &done);
    weft_wg_wait(&wg);
    CHECK_EQ(done, n);
    CHECK_EQ(weft_close_fd(fd), 0);
}

static void sync_often(int fd, int n, weft_chan(int) tokens)
{
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_pwrite(fd, &i, sizeof i, (int64_t)(test_random() % 1000) * (int64_t)sizeof i), (ssize_t)sizeof i);
        CHECK_EQ(i % 2 ? weft_fsync(fd) : weft_fdatasync(fd), 0);
        CHECK_EQ(weft_send(tokens, i), 0);
    }
}

static void compute(weft_chan(int) tokens, atomic_ullong *sum)
{
    unsigned long long x = 1;
    for (int token; weft_recv(tokens, &token);)
        for (int i = 0; i < 10000; i++)
            x = x * 6364136223846793005ULL + (unsigned)token;
    atomic_fetch_add(sum, x);
}

/* Everybody gets on: those that sync, and those that compute with what they send. */
TEST_BOTH(syncs_beside_computation)
{
    int fd = make_file(0), other = make_file(0);
    atomic_ullong sum = 0;
    weft_chan(int) tokens = weft_chan_make(int, 0);
    weft_waitgroup syncs = {0}, computations = {0};
    for (int i = 0; i < 4; i++)
        weft_wg_go(&computations, compute, tokens, &sum);
    for (int i = 0; i < 100; i++)
        weft_wg_go(&syncs, sync_often, i % 2 ? fd : other, test_scale(10), tokens);
    weft_wg_wait(&syncs);
    weft_close(tokens);
    weft_wg_wait(&computations);
    CHECK(sum != 0);
    weft_chan_free(tokens);
    CHECK_EQ(weft_close_fd(fd), 0);
    CHECK_EQ(weft_close_fd(other), 0);
}

static void read_until_closed(int fd, atomic_int *reads, atomic_bool *closing)
{
    char text[100];
    for (;;) {
        ssize_t n = weft_pread(fd, text, sizeof text, (int64_t)(test_random() % 100) * BLOCK);
        if (n != (ssize_t)sizeof text) {
            CHECK_EQ(n, -EBADF);
            CHECK(atomic_load(closing));
            return;
        }
        CHECK_EQ(text[0], 'c');
        atomic_fetch_add(reads, 1);
    }
}

/* A close lets what is under way end. */
TEST_BOTH(close_under_way)
{
    static char text[100 * BLOCK];
    memset(text, 'c', sizeof text);
    for (int round = 0; round < test_scale(40); round++) {
        atomic_int reads = 0;
        atomic_bool closing = false;
        weft_waitgroup wg = {0};
        int fd = lift(make_file(0));
        pwrite_all(fd, text, sizeof text, 0);
        evict(fd);
        for (int i = 0; i < 8; i++)
            weft_wg_go(&wg, read_until_closed, fd, &reads, &closing);
        while (atomic_load(&reads) < 20)
            weft_yield();
        atomic_store(&closing, true);
        CHECK_EQ(weft_close_fd(fd), 0);
        weft_wg_wait(&wg);
    }
}

/* ---- contexts ---- */

TEST_BOTH(an_ended_context_ends_no_transfer)
{
    char text[BLOCK] = "still there";
    int fd = make_file(0);
    pwrite_all(fd, text, sizeof text, 0);
    {
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_current());
        weft_scoped_ctx(ctx);
        weft_scoped_use(ctx);
        weft_ctx_cancel(ctx);
        CHECK_EQ(weft_sleep(WEFT_SECOND), -ECANCELED);
        CHECK_EQ(weft_fsync(fd), 0);
        CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        memset(text, 0, sizeof text);
        CHECK_EQ(weft_pread(fd, text, sizeof text, 0), (ssize_t)sizeof text);
        CHECK_EQ(strcmp(text, "still there"), 0);
        struct stat st;
        CHECK_EQ(weft_stat(directory(), &st), 0);
    }
    CHECK_EQ(weft_close_fd(fd), 0);
}

/* ---- opening ---- */

TEST_BOTH(opening)
{
    char path[256], inside[300];
    make_path(path, "open");
    snprintf(inside, sizeof inside, "%s/x", path);
    unlink(path);
    CHECK_EQ(weft_open(path, O_RDONLY), -ENOENT);
    mode_t mask = umask(022);
    int fd = weft_open(path, O_RDWR | O_CREAT | O_EXCL, 0666);
    umask(mask);
    CHECK(fd >= 0);
    struct stat st;
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0644);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(weft_write(fd, "abc", 3), 3);
    CHECK_EQ(weft_close_fd(fd), 0);
    CHECK_EQ(weft_open(path, O_RDWR | O_CREAT | O_EXCL, 0666), -EEXIST);
    CHECK_EQ(weft_open(inside, O_RDONLY), -ENOTDIR);
    CHECK_EQ(weft_open(path, O_RDONLY | O_DIRECTORY), -ENOTDIR);
    CHECK_EQ(weft_open(directory(), O_WRONLY), -EISDIR);
    CHECK_EQ(weft_open("", O_RDONLY), -ENOENT);
    CHECK_EQ(weft_open((char *)8, O_RDONLY), -EFAULT);
    fd = weft_open(path, O_WRONLY | O_TRUNC);
    CHECK(fd >= 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_size, 0);
    CHECK_EQ(weft_close_fd(fd), 0);
    unlink(path);
    CHECK_EQ(symlink(path, path), 0);
    CHECK_EQ(weft_open(path, O_RDONLY), -ELOOP);
    CHECK_EQ(weft_open(path, O_RDONLY | O_NOFOLLOW), -ELOOP);
    unlink(path);
    fd = weft_open(directory(), O_TMPFILE | O_RDWR, 0600);
    CHECK(fd >= 0 || fd == -EOPNOTSUPP || fd == -EISDIR);
    if (fd >= 0) {
        CHECK_EQ(fstat(fd, &st), 0);
        CHECK_EQ(st.st_mode & 07777, 0600);
        CHECK_EQ(weft_close_fd(fd), 0);
    }
}

static void read_fifo(const char *path, weft_chan(int) opened)
{
    int fd = weft_open(path, O_RDONLY);
    char byte = 0;
    CHECK(fd >= 0);
    CHECK_EQ(weft_send(opened, fd), 0);
    CHECK_EQ(weft_read(fd, &byte, 1), 1);
    CHECK_EQ(byte, 'f');
    CHECK_EQ(weft_read(fd, &byte, 1), 0);
    CHECK_EQ(weft_close_fd(fd), 0);
}

/* More of them wait in open(2) than there are threads for what waits for a disk. */
TEST_BOTH(opening_fifos)
{
    enum { FIFOS = 80 };
    char paths[FIFOS][256];
    weft_waitgroup wg = {0};
    weft_chan(int) opened = weft_chan_make(int, FIFOS);
    int fd = make_file(0), got;
    for (int i = 0; i < FIFOS; i++) {
        char name[32];
        snprintf(name, sizeof name, "fifo%d", i);
        make_path(paths[i], name);
        CHECK_EQ(mkfifo(paths[i], 0600), 0);
        weft_wg_go(&wg, read_fifo, paths[i], opened);
    }
    CHECK_EQ(weft_sleep(5 * WEFT_MS), 0);
    CHECK_EQ(weft_try_recv(opened, &got), -EAGAIN);
    CHECK_EQ(weft_pwrite(fd, "x", 1, 0), 1);
    CHECK_EQ(weft_fsync(fd), 0);
    CHECK_EQ(weft_close_fd(fd), 0);
    for (int i = 0; i < FIFOS; i++) {
        fd = weft_open(paths[i], O_WRONLY);
        CHECK(fd >= 0);
        CHECK_EQ(weft_write(fd, "f", 1), 1);
        CHECK_EQ(weft_close_fd(fd), 0);
        unlink(paths[i]);
    }
    weft_wg_wait(&wg);
    weft_chan_free(opened);
}

static void check_stat(const char *path, bool follow)
{
    struct stat a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    int expected = (follow ? stat(path, &a) : lstat(path, &a)) == 0 ? 0 : -weft_errno();
    CHECK_EQ(follow ? weft_stat(path, &b) : weft_lstat(path, &b), expected);
    CHECK(expected != 0 ||
          (a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_mode == b.st_mode && a.st_nlink == b.st_nlink &&
           a.st_uid == b.st_uid && a.st_gid == b.st_gid && a.st_rdev == b.st_rdev));
}

TEST_BOTH(looking)
{
    char link[256], fifo[256], slash[300];
    make_path(link, "link");
    make_path(fifo, "fifo");
    snprintf(slash, sizeof slash, "%s/", link);
    CHECK_EQ(symlink(directory(), link), 0);
    CHECK_EQ(mkfifo(fifo, 0600), 0);
    const char *paths[] = {".",  "/",   "",   "/dev/null",       "/proc/self/exe", "/proc/self/fd/1",
                           link, slash, fifo, "/nowhere/at/all", "/dev/null/x",    "/proc/self/status"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        check_stat(paths[i], true);
        check_stat(paths[i], false);
    }
    struct stat st;
    CHECK_EQ(weft_stat((char *)8, &st), -EFAULT);
    char *long_path = malloc(100000);
    memset(long_path, 'a', 99999);
    long_path[99999] = '\0';
    CHECK_EQ(weft_stat(long_path, &st), -ENAMETOOLONG);
    CHECK_EQ(weft_open(long_path, O_RDONLY), -ENAMETOOLONG);
    free(long_path);
    unlink(link);
    unlink(fifo);
}

/* ---- pinned, forked, again ---- */

static void transfer_pinned(int fd)
{
    char text[BLOCK];
    weft_pin();
    for (int i = 0; i < 10; i++) {
        pread_all(fd, text, sizeof text, i * BLOCK);
        CHECK_EQ(text[0], 'p');
        CHECK_EQ(weft_pwrite(fd, text, sizeof text, i * BLOCK), (ssize_t)sizeof text);
        CHECK_EQ(weft_fsync(fd), 0);
    }
    weft_unpin();
}

TEST_BOTH(pinned)
{
    static char text[10 * BLOCK];
    memset(text, 'p', sizeof text);
    int fd = make_file(0);
    weft_waitgroup wg = {0};
    pwrite_all(fd, text, sizeof text, 0);
    evict(fd);
    for (int i = 0; i < 10; i++)
        weft_wg_go(&wg, transfer_pinned, fd);
    weft_wg_wait(&wg);
    CHECK_EQ(weft_close_fd(fd), 0);
}

static int use_files(void)
{
    weft_waitgroup wg = {0};
    atomic_int done = 0;
    int block[BLOCK / sizeof(int)], fd = make_file(0);
    for (int i = 0; i < 50; i++) {
        for (size_t j = 0; j < sizeof block / sizeof *block; j++)
            block[j] = i;
        pwrite_all(fd, block, sizeof block, (int64_t)i * BLOCK);
    }
    evict(fd);
    for (int i = 0; i < 50; i++)
        weft_wg_go(&wg, read_block, fd, i, &done);
    weft_wg_wait(&wg);
    CHECK_EQ(weft_close_fd(fd), 0);
    return atomic_load(&done);
}

TEST(again_after_shutdown)
{
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(weft_run(use_files), 50);
        CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    }
}

#if !TEST_EMULATED && !TEST_ASAN && (!TEST_TSAN || defined(__clang__)) /* see foreign/fork.c and test.h */
TEST(a_forked_child_begins_anew)
{
    CHECK_EQ(weft_run(use_files), 50);
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            _exit(weft_run(use_files) == 50 ? 7 : 1);
        int status;
        CHECK_EQ(weft_run(use_files), 50);
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
}
#endif

TEST_MAIN()
