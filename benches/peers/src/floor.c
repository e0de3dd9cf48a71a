// The whole job in minimal C: the least CPU that a request can cost here. Not a product: one thread, one upstream connection for
// each client connection, no TLS, no timeouts, no logs, no config, no chunked bodies.
//
//   floor PORT UPSTREAM_PORT      environment: SECRET, RATE
//
// It hashes each piece of a body as it arrives, while it is warm in the cache, and forwards head and body with one writev.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "net.h"
#include <openssl/crypto.h>
#include <openssl/hmac.h>

#define HEAD_SIZE 16384
#define MAX_BODY (1048576 + 65536)
#define PATH "/hooks/github"

enum stage { HEAD, BODY, ANSWER };
struct side {
    int fd;
    struct connection *connection;
    int is_upstream;
};
struct connection {
    struct side client, upstream;
    enum stage stage;
    int is_dead, has_upstream, waits_to_write;
    size_t head_read, head_size, body_left, body_read, body_capacity, sent;
    char head[HEAD_SIZE];
    char *body;
    HMAC_CTX *hmac;
    char signature[32];
    int has_signature;
    uint64_t id; // hash of the delivery ID, 0: none
    uint32_t slot;
    int status; // of the answer, 0: its head has not arrived
    int64_t answer_left;
};
static int epoll, upstream_port;
static HMAC_CTX *keyed;
static double tokens, rate;
static uint64_t last_refill;
static struct connection *dead[1024];
static int dead_count;

// Delivery IDs: an open-addressing table of hashes, each with the second when it expires.
#define SLOTS (1u << 21)
enum { IN_FLIGHT = 1, DELIVERED };
static struct {
    uint64_t id;
    uint32_t expires, state;
} *ids;

static uint64_t hash_id(const char *p, int n) {
    uint64_t h = 0x9e3779b97f4a7c15ull;
    while (n--) {
        h = (h ^ (unsigned char)*p++) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
    }
    return h ? h : 1;
}

// Returns the slot of an ID, or the slot for it if it is new.
static uint32_t find_slot(uint64_t id, uint32_t now, int *found) {
    uint32_t i = id & (SLOTS - 1), usable = SLOTS;
    *found = 1;
    for (int step = 0; step < 16; step++, i = (i + 1) & (SLOTS - 1)) {
        if (ids[i].id == id && ids[i].expires > now)
            return i;
        if (usable == SLOTS && ids[i].expires <= now)
            usable = i;
        if (!ids[i].id)
            break;
    }
    *found = 0;
    return usable == SLOTS ? (uint32_t)(id & (SLOTS - 1)) : usable;
}

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

static void release(struct connection *c) {
    if (c->id && ids[c->slot].id == c->id && ids[c->slot].state == IN_FLIGHT)
        ids[c->slot].expires = 0;
}

static void end(struct connection *c) {
    if (c->is_dead)
        return;
    c->is_dead = 1;
    if (c->stage == ANSWER)
        release(c);
    close(c->client.fd);
    if (c->has_upstream)
        close(c->upstream.fd);
    dead[dead_count++] = c; // events of this round may still point to it
}

static void begin_request(struct connection *c) {
    c->stage = HEAD;
    c->head_read = c->head_size = c->body_left = c->body_read = c->sent = 0;
    c->has_signature = 0;
    c->id = 0;
}

static void answer(struct connection *c, int status, const char *reason) {
    char text[256];
    int size = snprintf(text, sizeof text, "HTTP/1.1 %d %s\r\nContent-Length: 3\r\n\r\n%d", status, reason, status);
    send_all(c->client.fd, text, size);
    begin_request(c);
}

static void answer_and_end(struct connection *c, int status, const char *reason) {
    answer(c, status, reason);
    end(c);
}

static int hex_digit(char d) {
    if (d >= '0' && d <= '9')
        return d - '0';
    d |= 32;
    return d >= 'a' && d <= 'f' ? d - 'a' + 10 : -1;
}

static void read_signature(struct connection *c, char *value, char *head_end) {
    if (!value || memcmp(value, "sha256=", 7) || value[71] != '\r' || header(value, head_end, "x-hub-signature-256"))
        return; // none, another form, or a second one
    for (int i = 0; i < 32; i++) {
        int high = hex_digit(value[7 + 2 * i]), low = hex_digit(value[8 + 2 * i]);
        if (high < 0 || low < 0)
            return;
        c->signature[i] = high << 4 | low;
    }
    c->has_signature = 1;
}

// Sends what is left of head and body to the upstream.
static void forward(struct connection *c) {
    while (c->sent < c->head_size + c->body_read) {
        size_t of_head = c->sent < c->head_size ? c->head_size - c->sent : 0;
        size_t of_body = of_head ? 0 : c->sent - c->head_size;
        struct iovec parts[2] = {{c->head + c->sent, of_head}, {c->body + of_body, c->body_read - of_body}};
        ssize_t sent = of_head ? writev(c->upstream.fd, parts, 2) : writev(c->upstream.fd, parts + 1, 1);
        if (sent < 0) {
            if (errno == EAGAIN && !c->waits_to_write)
                watch(epoll, EPOLL_CTL_MOD, c->upstream.fd, EPOLLIN | EPOLLOUT, &c->upstream);
            c->waits_to_write = 1;
            return;
        }
        c->sent += sent;
    }
    if (c->waits_to_write)
        watch(epoll, EPOLL_CTL_MOD, c->upstream.fd, EPOLLIN, &c->upstream);
    c->waits_to_write = 0;
}

// Decides about a request whose body is complete.
static void judge(struct connection *c) {
    unsigned char digest[32];
    unsigned size = sizeof digest;
    HMAC_Final(c->hmac, digest, &size);
    if (!c->has_signature || CRYPTO_memcmp(digest, c->signature, 32)) {
        answer(c, 401, "Unauthorized");
        return;
    }
    uint64_t now = now_ms();
    tokens += (now - last_refill) * rate / 1000;
    last_refill = now;
    if (tokens > rate)
        tokens = rate;
    if (tokens < 1) {
        answer(c, 429, "Too Many Requests");
        return;
    }
    tokens -= 1;
    if (!c->id) {
        answer(c, 400, "Bad Request");
        return;
    }
    int found;
    uint32_t slot = find_slot(c->id, now / 1000, &found);
    if (found) {
        int delivered = ids[slot].state == DELIVERED;
        answer(c, delivered ? 200 : 409, delivered ? "OK" : "Conflict");
        return;
    }
    if (!c->has_upstream) {
        int fd = connect_to(upstream_port);
        if (fd < 0) {
            answer(c, 502, "Bad Gateway");
            return;
        }
        c->upstream = (struct side){fd, c, 1};
        c->has_upstream = 1;
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, &c->upstream);
    }
    ids[slot].id = c->id;
    ids[slot].expires = now / 1000 + 60;
    ids[slot].state = IN_FLIGHT;
    c->slot = slot;
    c->stage = ANSWER;
    c->status = 0;
    forward(c);
}

// Reads the head that has arrived, and what of the body came with it. Ends the connection on what it does not support.
static void read_head(struct connection *c) {
    char *p = c->head, *head_end = c->head + c->head_size, *after = p + 5 + strlen(PATH);
    if (memcmp(p, "POST ", 5)) {
        answer_and_end(c, 405, "Method Not Allowed");
        return;
    }
    if (memcmp(p + 5, PATH, strlen(PATH)) || (*after != ' ' && *after != '?')) {
        answer_and_end(c, 404, "Not Found");
        return;
    }
    if (header(p, head_end, "transfer-encoding")) {
        answer_and_end(c, 411, "Length Required");
        return;
    }
    char *length = header(p, head_end, "content-length"), *id = header(p, head_end, "x-github-delivery");
    c->body_left = length ? strtoull(length, NULL, 10) : 0;
    if (c->body_left > MAX_BODY) {
        answer_and_end(c, 413, "Content Too Large");
        return;
    }
    if (header(p, head_end, "expect"))
        send_all(c->client.fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    read_signature(c, header(p, head_end, "x-hub-signature-256"), head_end);
    if (id) {
        int size = strcspn(id, "\r");
        c->id = size ? hash_id(id, size < 64 ? size : 64) : 0;
    }
    if (c->body_capacity < c->body_left) {
        free(c->body);
        c->body_capacity = c->body_left;
        c->body = malloc(c->body_capacity);
    }
    HMAC_CTX_copy(c->hmac, keyed);
    size_t rest = c->head_read - c->head_size;
    if (rest > c->body_left)
        rest = c->body_left;
    if (rest) {
        memcpy(c->body, head_end, rest);
        HMAC_Update(c->hmac, (void *)c->body, rest);
    }
    c->body_read = rest;
    c->body_left -= rest;
    c->stage = BODY;
}

static void on_client(struct connection *c) {
    char peeked;
    while (!c->is_dead) {
        if (c->stage == ANSWER) {
            if (recv(c->client.fd, &peeked, 1, MSG_PEEK) == 0)
                end(c);
            return;
        }
        if (c->stage == BODY && !c->body_left) {
            judge(c);
            continue;
        }
        char *into = c->stage == HEAD ? c->head + c->head_read : c->body + c->body_read;
        size_t room = c->stage == HEAD ? HEAD_SIZE - 1 - c->head_read : c->body_left;
        ssize_t got = recv(c->client.fd, into, room < 131072 ? room : 131072, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            end(c);
            return;
        }
        if (c->stage == BODY) {
            HMAC_Update(c->hmac, (void *)into, got);
            c->body_read += got;
            c->body_left -= got;
            continue;
        }
        c->head_read += got;
        c->head[c->head_read] = 0;
        char *blank = memmem(c->head, c->head_read, "\r\n\r\n", 4);
        if (blank) {
            c->head_size = blank - c->head + 4;
            read_head(c);
        } else if (c->head_read == HEAD_SIZE - 1)
            end(c);
    }
}

static void on_upstream(struct connection *c, uint32_t events) {
    if (events & EPOLLOUT)
        forward(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    char text[16384];
    ssize_t got = recv(c->upstream.fd, text, sizeof text - 1, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        close(c->upstream.fd);
        c->has_upstream = 0;
        if (c->stage == ANSWER)
            end(c);
        return;
    }
    text[got] = 0;
    send_all(c->client.fd, text, got);
    if (!c->status) {
        char *blank = memmem(text, got, "\r\n\r\n", 4);
        char *length = blank ? header(text, blank, "content-length") : NULL;
        c->status = atoi(text + 9);
        c->answer_left = length ? atoll(length) - (got - (blank + 4 - text)) : 0;
    } else
        c->answer_left -= got;
    if (c->answer_left > 0)
        return;
    if (c->status / 100 == 2) {
        ids[c->slot].state = DELIVERED;
        ids[c->slot].expires = now_ms() / 1000 + 3600;
    } else
        release(c);
    begin_request(c);
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        no_delay(fd);
        c->client = (struct side){fd, c, 0};
        c->hmac = HMAC_CTX_new();
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, &c->client);
    }
}

int main(int count, char **arguments) {
    const char *secret = getenv("SECRET"), *limit = getenv("RATE");
    if (count != 3 || !secret) {
        fprintf(stderr, "usage: SECRET=… floor PORT UPSTREAM_PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    upstream_port = atoi(arguments[2]);
    tokens = rate = limit ? atof(limit) : 1e9;
    last_refill = now_ms();
    keyed = HMAC_CTX_new();
    HMAC_Init_ex(keyed, secret, strlen(secret), EVP_sha256(), NULL);
    ids = calloc(SLOTS, sizeof *ids);
    int listener = listen_on(atoi(arguments[1]));
    epoll = epoll_create1(0);
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            struct side *side = events[i].data.ptr;
            if (!side)
                accept_all(listener);
            else if (!side->connection->is_dead && side->is_upstream)
                on_upstream(side->connection, events[i].events);
            else if (!side->connection->is_dead)
                on_client(side->connection);
        }
        while (dead_count) {
            struct connection *c = dead[--dead_count];
            HMAC_CTX_free(c->hmac);
            free(c->body);
            free(c);
        }
    }
}
