/* weft/net.h — sockets by name. Descriptors are the kernel's, close-on-exec and non-blocking; read, write and close them
   with io.h.

   network: "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix" (a stream), "unixgram".
   address: "host:port", "[::1]:port", ":port" (all interfaces; to dial: this machine); host a name or a number, port a
   number or a service's name, 0 to listen on any free one. For unix: a path, or "@name" in the abstract name space; "@"
   to listen under any free name there. */
#ifndef WEFT_NET_H
#define WEFT_NET_H

#include "io.h"
#pragma GCC system_header /* see macros.h */

struct addrinfo;

WEFT_BEGIN_DECLS_

/* Listens, with SO_REUSEADDR and the longest backlog; "tcp" and ":port" listen for IPv4 and IPv6, a name with several
   addresses on the first that this machine has, IPv4 before IPv6. For "udp" and "unixgram": a bound socket. A "unix" path
   that exists is not removed. The descriptor; -EINVAL: no such network, or a malformed address; errors of weft_resolve,
   socket(2), bind(2), listen(2). Blocks when a name has to be resolved. */
WEFT_API int weft_listen(const char *network, const char *address);
/* Connects. Tries the addresses of a name in turn, families alternating, and starts the next when one has not answered
   within 250 ms, as RFC 8305 says ("happy eyeballs"). TCP_NODELAY is set. The descriptor; else the error of the first
   address that failed, or of weft_resolve. Blocks. */
WEFT_API int weft_dial(const char *network, const char *address);
/* The next connection. Its descriptor; TCP_NODELAY is set. -EMFILE, -ENFILE, -ENOBUFS: it stays in the backlog, try again
   later; -ENOMEM: the same, or it was accepted and closed; connections that ended meanwhile are skipped. Blocks. */
WEFT_API int weft_accept(int fd);
/* The same, with the peer's address as accept(2) gives it. length is a socklen_t *. */
WEFT_API int weft_accept_from(int fd, struct sockaddr *from, unsigned *length);
/* The addresses of the socket and of its peer as text that weft_dial takes. The length; -ENOSPC when size is too small
   (WEFT_ADDRESS is not); errors of getsockname(2), getpeername(2). Never blocks. */
#define WEFT_ADDRESS 128
WEFT_API int weft_local_address(int fd, char *text, size_t size);
WEFT_API int weft_peer_address(int fd, char *text, size_t size);

/* As getaddrinfo(3), with its hints and result, which freeaddrinfo frees; it runs on a thread of its own, so that
   /etc/hosts, nsswitch.conf and the rest count. 0; -ENOENT: no such name, or it has no address; -EAGAIN: ask again later;
   -EIO: the name server fails; -EINVAL: bad arguments; -ENOMEM; -ECANCELED, -ETIMEDOUT: the caller's context ended.
   Blocks. */
WEFT_API int weft_resolve(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **result);

WEFT_END_DECLS_

#endif
