/* address.h — the names of networks and addresses, as net.h has them, and socket addresses as text. Knows nothing of
   waiting or of resolving names. */
#ifndef WI_ADDRESS_H
#define WI_ADDRESS_H

#include <netdb.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct wi_network {
    int family; /* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC: IPv4 and IPv6 */
    int type;   /* SOCK_STREAM, SOCK_DGRAM */
};
/* "tcp" and so on; false: there is no such network. */
bool wi_network_parse(const char *name, struct wi_network *network);

/* "host:port" in two. host "": none was given; service: a number up to 65535, or what may be a service's name. */
struct wi_host_port {
    char host[NI_MAXHOST], service[NI_MAXSERV];
};
/* 0 or -EINVAL. */
int wi_host_port_parse(const char *text, struct wi_host_port *parts);

/* A path, or "@name" in the abstract name space; "@" alone: no name, which has bind(2) choose an abstract one. The
   address's length; -EINVAL: it is empty; -ENAMETOOLONG. */
int wi_unix_address_parse(const char *text, struct sockaddr_un *address);

/* The text that the above and getaddrinfo turn into the address again; IPv4 inside IPv6 as IPv4; "" for a Unix socket
   without a name. (An abstract name with a zero byte has no such text: it is cut there.) The length; -ENOSPC;
   -EAFNOSUPPORT. */
int wi_address_format(const struct sockaddr *address, socklen_t length, char *text, size_t size);

#endif
