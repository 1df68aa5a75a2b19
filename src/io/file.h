/* file.h — reading and writing what is always ready. */
#ifndef WI_FILE_H
#define WI_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* As preadv2(2), pwritev2(2): offset -1 is the descriptor's own position. From the page cache at once where possible;
   else the goroutine waits. Bytes, or a negative errno. Outside weft; blocks. */
ssize_t wi_file_transfer(int fd, bool writes, const struct iovec *parts, int n, int64_t offset);

/* For hooks.h. */
void wi_files_stop(void);
void wi_files_forget(void);

#endif
