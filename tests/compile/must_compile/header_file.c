/* weft/file.h by itself. */
#include <weft/file.h>

int snippet(int fd, char *buffer, weft_walk *walk, weft_entry *entry);
int snippet(int fd, char *buffer, weft_walk *walk, weft_entry *entry)
{
    return weft_pread(fd, buffer, 1, 0) == 1 && weft_walk_next(walk, entry) && weft_fsync(fd) == 0;
}
