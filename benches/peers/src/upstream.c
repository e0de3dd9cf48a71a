// The application behind each target: answers every request with 200 and 12 bytes, discards bodies in the kernel, and counts.
//
//   upstream PORT
//   GET /__count      {"requests":N}, since the last GET /__count
//
// Chunked bodies are answered with 411: no target forwards any while it is measured.
#include "net.h"

#define HEAD_SIZE 65536
#define DISCARD (1 << 20)

struct connection {
    int fd, is_count;
    size_t have; // bytes in head
    int64_t body_left;
    char head[HEAD_SIZE];
};
static uint64_t requests;

static void answer(struct connection *c) {
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"ok\":true}\n";
    if (!c->is_count) {
        requests++;
        send_all(c->fd, ok, sizeof ok - 1);
        return;
    }
    char body[64], text[256];
    int size = snprintf(body, sizeof body, "{\"requests\":%llu}\n", (unsigned long long)requests);
    size = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body);
    send_all(c->fd, text, size);
    requests = 0;
}

// Takes one request from the buffer. Returns 0 if its head is not complete, -1 if the connection must be closed.
static int take_request(struct connection *c) {
    char *blank = memmem(c->head, c->have, "\r\n\r\n", 4);
    if (!blank)
        return c->have == HEAD_SIZE ? -1 : 0;
    char *head_end = blank + 4, *length = header(c->head, head_end, "content-length");
    if (header(c->head, head_end, "transfer-encoding")) {
        send_all(c->fd, "HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n", 51);
        return -1;
    }
    c->is_count = !memcmp(c->head, "GET /__count", 12);
    c->body_left = length ? atoll(length) : 0;
    size_t rest = c->head + c->have - head_end;
    size_t of_body = (int64_t)rest < c->body_left ? rest : (size_t)c->body_left;
    c->body_left -= of_body;
    c->have = rest - of_body;
    memmove(c->head, head_end + of_body, c->have);
    if (!c->body_left)
        answer(c);
    return 1;
}

// Reads until nothing is left. Returns 0 if the connection must be closed.
static int on_readable(struct connection *c) {
    for (;;) {
        ssize_t got;
        if (c->body_left) // discarded without a copy
            got = recv(c->fd, NULL, c->body_left < DISCARD ? c->body_left : DISCARD, MSG_TRUNC);
        else
            got = recv(c->fd, c->head + c->have, HEAD_SIZE - c->have, 0);
        if (got < 0)
            return errno == EAGAIN;
        if (got == 0)
            return 0;
        if (c->body_left) {
            c->body_left -= got;
            if (c->body_left)
                continue;
            answer(c);
            return 1;
        }
        c->have += got;
        int taken;
        while ((taken = take_request(c)) == 1 && c->have && !c->body_left)
            ;
        if (taken < 0)
            return 0;
        if (!c->body_left && !c->have)
            return 1; // if more has arrived, epoll says so
    }
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: upstream PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = listen_on(atoi(arguments[1])), epoll = epoll_create1(0), fd;
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c && !on_readable(c)) {
                close(c->fd);
                free(c);
            }
            while (!c && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                struct connection *accepted = calloc(1, sizeof *accepted);
                no_delay(fd);
                accepted->fd = fd;
                watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, accepted);
            }
        }
    }
}
