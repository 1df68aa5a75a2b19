/* Digests one file. Plain C: it blocks in read(2) and computes for long, and needs to know nothing of goroutines. While it
   blocks, weft lets another thread run the other goroutines.

   SHA-256 comes from OpenSSL's libcrypto, by its EVP interface: it is maintained and audited, is installed nearly
   everywhere, and picks the fastest code for the processor at run time (the SHA instructions, AVX2, ...); EVP is the one
   interface to it that is not deprecated. The algorithm is fetched once, because a fetch takes locks, and a context is used
   again for the next file, because making one allocates. */
#include "digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Large enough that system calls are cheap beside the hashing, small enough that what the kernel copies is still in
   the nearest caches when it is hashed: with 256 KiB a run over cached files took half as long again. */
enum { READ_BYTES = 64 * 1024 };

struct hasher {
    EVP_MD *sha256;
    EVP_MD_CTX *context;
    unsigned char *buffer;
};

struct hasher *hasher_new(void)
{
    struct hasher *hasher = malloc(sizeof *hasher);
    if (hasher == NULL)
        out_of_memory();
    hasher->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hasher->context = EVP_MD_CTX_new();
    hasher->buffer = malloc(READ_BYTES);
    if (hasher->sha256 == NULL || hasher->context == NULL || hasher->buffer == NULL)
        out_of_memory();
    return hasher;
}

void hasher_free(struct hasher *hasher)
{
    free(hasher->buffer);
    EVP_MD_CTX_free(hasher->context);
    EVP_MD_free(hasher->sha256);
    free(hasher);
}

/* 0, or a negative errno. */
static int hash_fd(struct hasher *hasher, int fd, unsigned char *sum, bool (*called_off)(void), struct tally *tally)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL; /* something else took its place since it was found */
    if (status.st_size > READ_BYTES)
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* read further ahead; only advice, so a failure is none */

    if (!EVP_DigestInit_ex2(hasher->context, hasher->sha256, NULL))
        return -ENOMEM;
    for (;;) {
        if (called_off())
            return -ECANCELED;
        ssize_t n = read(fd, hasher->buffer, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        if (!EVP_DigestUpdate(hasher->context, hasher->buffer, (size_t)n))
            return -EIO;
        atomic_fetch_add_explicit(&tally->bytes, (unsigned long long)n, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&tally->files, 1, memory_order_relaxed);
    return EVP_DigestFinal_ex(hasher->context, sum, NULL) ? 0 : -EIO;
}

__attribute__((noinline)) void hasher_run(struct hasher *hasher, struct entry *entry, bool (*called_off)(void),
                                          struct tally *tally)
{
    int fd = entry_open(entry);
    if (fd < 0) {
        entry->error = fd;
        return;
    }
    entry->error = hash_fd(hasher, fd, entry->sum, called_off, tally);
    close(fd);
}
