// Functions that the three programs share: sockets on loopback, and header values.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static inline struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline void no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// Returns a non-blocking listening socket, or ends the program.
static inline int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = loopback(port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, 4096)) {
        perror("listen");
        exit(1);
    }
    return fd;
}

// Returns a connected non-blocking socket, or -1.
static inline int connect_to(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(port);
    if (connect(fd, (void *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    no_delay(fd);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

// Starts to watch a socket, or changes what is watched.
static inline void watch(int epoll, int operation, int fd, uint32_t events, void *data) {
    struct epoll_event event = {.events = events, .data.ptr = data};
    epoll_ctl(epoll, operation, fd, &event);
}

// Sends all of a short text. The peer reads it soon, so a full buffer is waited for.
static inline void send_all(int fd, const char *text, size_t size) {
    while (size) {
        ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return;
        if (sent < 0) {
            usleep(50);
            continue;
        }
        text += sent;
        size -= sent;
    }
}

// Returns the value of the first header with this name between p and end, or NULL.
static inline char *header(char *p, char *end, const char *name) {
    size_t length = strlen(name);
    while (p < end) {
        char *line_end = memchr(p, '\n', end - p);
        if (!line_end)
            return NULL;
        if ((size_t)(line_end - p) > length && p[length] == ':' && !strncasecmp(p, name, length)) {
            p += length + 1;
            while (*p == ' ')
                p++;
            return p;
        }
        p = line_end + 1;
    }
    return NULL;
}
