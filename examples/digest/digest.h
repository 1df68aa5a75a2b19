/* digest — prints the SHA-256 of every regular file under some directories.

   The parts, each in its own file:
     walk.c      finds files: plain C, an iterator
     hash.c      digests one file: plain C, by OpenSSL's libcrypto
     pipeline.c  the goroutines that run the two side by side: the file to read first
     progress.c  a goroutine that tells how far it is
     print.c     sorts and prints what came out: plain C
     main.c      options, and Ctrl-C */
#ifndef DIGEST_H
#define DIGEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_BYTES = 32 };

/* An open directory, shared by the walk and by the entries found in it; closed by the last. */
struct dir;

/* Something found under a root: a file, and later its digest; or what could not be read, and why. One owner at a time:
   whoever received it last. */
struct entry {
    struct entry *next; /* the walk: directories still to read */
    struct dir *dir;    /* where name is; NULL: name is the path of a root. Dropped once the file has been opened */
    const char *name;   /* the last part of path */
    int error;          /* 0; a negative errno */
    unsigned char sum[DIGEST_BYTES];
    char path[]; /* as it is printed */
};

/* A growing array of entries. */
struct list {
    struct entry **items;
    size_t count;
    size_t capacity;
};

/* How far it is; read by the progress line while others count. */
struct tally {
    atomic_ullong files;
    atomic_ullong bytes;
};

/* ---- walk.c ---- */
struct walk;
struct walk *walk_new(char *const *roots, int count);
/* The next file, or with error set what could not be read; NULL at the end. The caller owns it. */
struct entry *walk_next(struct walk *walk);
void walk_free(struct walk *walk);
int entry_open(struct entry *entry); /* a descriptor for reading, or a negative errno */
void entry_free(struct entry *entry);

/* ---- hash.c ---- */
struct hasher; /* a digest context and a buffer; used by one goroutine at a time */
struct hasher *hasher_new(void);
/* Digests the file into entry->sum, or sets entry->error. Gives up with -ECANCELED soon after called_off would give true. */
void hasher_run(struct hasher *hasher, struct entry *entry, bool (*called_off)(void), struct tally *tally);
void hasher_free(struct hasher *hasher);

/* ---- pipeline.c ---- */
struct options {
    char *const *roots;
    int root_count;
    int jobs;       /* digesters */
    bool fail_fast; /* the first error ends everything */
    bool progress;
};
/* The main goroutine: walks and digests in the context that it is called in, and fills list with what is done, in any
   order: digests and errors. Returns 0 when that is everything; -ECANCELED when the context ended first; another negative
   errno when an error ended everything: that of *failed, an entry that the list owns, or *failed is NULL and something
   could not be started. */
int pipeline_run(const struct options *options, struct list *list, struct entry **failed);

/* ---- print.c ---- */
void list_add(struct list *list, struct entry *entry);
void list_sort(struct list *list);         /* by path, byte by byte */
size_t list_done(const struct list *list); /* how many have a digest */
void list_free(struct list *list);
/* The digests, as sha256sum prints them. 0, or a negative errno when standard output did not take them all. */
int print_digests(const struct list *list);
void print_error(const struct entry *entry);
int print_errors(const struct list *list); /* how many there were */
_Noreturn void out_of_memory(void);

#endif
