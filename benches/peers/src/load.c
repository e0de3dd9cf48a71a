// The load generator: one thread, closed loop or open loop. Each request has the same body and a new delivery ID.
// Prints one JSON object.
//
//   load -p PORT -b BODY_FILE -c CONNECTIONS -d SECONDS [-r RATE] [-w] [-i SEED]      environment: SECRET
//
// -r  open loop with Poisson arrivals: a request is due whatever the answers do, and its latency counts from then on,
//     so a stall of the target is seen in all requests that were due meanwhile
// -w  signs as Standard Webhooks does (ID, time and body) instead of as GitHub does (body alone)
#define OPENSSL_SUPPRESS_DEPRECATED
#include "net.h"
#include <math.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/prctl.h>

#define PATH "/hooks/github"
#define TIMEOUT_NS 20000000000ull
struct connection {
    int fd, is_busy, waits_to_write, has_head, status, closes;
    uint64_t began;
    size_t sent, head_size, have;
    int64_t answer_left;
    char head[1024], answer[16384];
    struct connection *next_idle;
};
static int port, epoll, by_standard;
static struct connection *idle;
static char *body, github_signature[65];
static size_t body_size;
static HMAC_CTX *keyed, *hmac;
static uint64_t seed = 1, delivery;
static uint64_t done, in_time, errors, timeouts, not_2xx;

// Latencies in buckets of 1/128 of their value.
enum { STEPS = 128, BUCKETS = 64 * STEPS };
static uint64_t histogram[BUCKETS], longest;

static int bucket_of(uint64_t value) {
    if (value < STEPS)
        return value;
    int exponent = 63 - __builtin_clzll(value) - 7;
    return exponent * STEPS + (int)(value >> exponent);
}

static double quantile_us(double q) {
    uint64_t seen = 0, wanted = ceil(q * done);
    for (int i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen >= wanted && histogram[i]) {
            int exponent = i < 2 * STEPS ? 0 : i / STEPS - 1;
            return (double)((uint64_t)(i - exponent * STEPS) << exponent) / 1e3;
        }
    }
    return longest / 1e3;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

// Returns a random number between 0 and 1, both excluded (xorshift64).
static double uniform(void) {
    static uint64_t state;
    if (!state)
        state = seed * 2654435761u | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return ((state >> 11) + 0.5) / 9007199254740992.0;
}

static void be_idle(struct connection *c) {
    c->is_busy = 0;
    c->next_idle = idle;
    idle = c;
}

static void close_it(struct connection *c) {
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void fail(struct connection *c) {
    errors++;
    close_it(c);
    be_idle(c);
}

static int dial(struct connection *c) {
    c->fd = connect_to(port);
    c->waits_to_write = 0;
    if (c->fd >= 0)
        watch(epoll, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
    return c->fd >= 0;
}

static void send_request(struct connection *c) {
    while (c->sent < c->head_size + body_size) {
        size_t of_head = c->sent < c->head_size ? c->head_size - c->sent : 0;
        size_t of_body = of_head ? 0 : c->sent - c->head_size;
        struct iovec parts[2] = {{c->head + c->sent, of_head}, {body + of_body, body_size - of_body}};
        struct msghdr message = {.msg_iov = of_head ? parts : parts + 1, .msg_iovlen = of_head ? 2 : 1};
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (sent < 0) { // a closed connection shows when it is read
            if (errno == EAGAIN && !c->waits_to_write)
                watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
            c->waits_to_write = 1;
            return;
        }
        c->sent += sent;
    }
    if (c->waits_to_write)
        watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
    c->waits_to_write = 0;
}

// Writes the lines that sign a delivery. The signature of GitHub is the same for all, since it covers the body alone.
static int sign(char *into, size_t room, const char *id) {
    if (!by_standard)
        return snprintf(into, room, "X-GitHub-Delivery: %s\r\nX-Hub-Signature-256: sha256=%s\r\n", id, github_signature);
    unsigned char digest[32], encoded[64];
    unsigned size = sizeof digest;
    char signed_start[128];
    long now = time(NULL);
    int length = snprintf(signed_start, sizeof signed_start, "%s.%ld.", id, now);
    HMAC_CTX_copy(hmac, keyed);
    HMAC_Update(hmac, (void *)signed_start, length);
    HMAC_Update(hmac, (void *)body, body_size);
    HMAC_Final(hmac, digest, &size);
    EVP_EncodeBlock(encoded, digest, size);
    return snprintf(into, room, "webhook-id: %s\r\nwebhook-timestamp: %ld\r\nwebhook-signature: v1,%s\r\n", id, now, encoded);
}

static void begin(struct connection *c, uint64_t began) {
    if (c->fd < 0 && !dial(c)) {
        fail(c);
        return;
    }
    char id[40], signature[256];
    delivery++;
    snprintf(id, sizeof id, "%08x-%04x-4%03x-8000-%012llx", (unsigned)(seed & 0xffffffff), (unsigned)(seed >> 32 & 0xffff),
             (unsigned)(seed >> 48 & 0xfff), (unsigned long long)delivery);
    sign(signature, sizeof signature, id);
    c->head_size = snprintf(
        c->head, sizeof c->head,
        "POST " PATH " HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: GitHub-Hookshot/044aadd\r\nAccept: */*\r\n"
        "Content-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Hook-ID: 292430182\r\n"
        "X-GitHub-Hook-Installation-Target-ID: 79929171\r\nX-GitHub-Hook-Installation-Target-Type: repository\r\n"
        "%sContent-Length: %zu\r\n\r\n",
        port, signature, body_size);
    c->sent = c->have = 0;
    c->has_head = c->closes = 0;
    c->is_busy = 1;
    c->began = began;
    send_request(c);
}

static void complete(struct connection *c, uint64_t until) {
    uint64_t now = now_ns(), latency = now - c->began;
    histogram[bucket_of(latency)]++;
    if (latency > longest)
        longest = latency;
    done++;
    in_time += now <= until;
    not_2xx += c->status / 100 != 2;
    if (c->closes || c->sent < c->head_size + body_size) // answered early: the rest of the body would be read as a request
        close_it(c);
    be_idle(c);
}

static void on_readable(struct connection *c, uint64_t until) {
    for (;;) {
        ssize_t got = recv(c->fd, c->answer + c->have, sizeof c->answer - 1 - c->have, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0 && c->is_busy) {
            fail(c);
            return;
        }
        if (got <= 0 || !c->is_busy) {
            close_it(c);
            return;
        }
        if (c->has_head)
            c->answer_left -= got;
        else {
            c->have += got;
            c->answer[c->have] = 0;
            char *blank = memmem(c->answer, c->have, "\r\n\r\n", 4);
            if (!blank)
                continue;
            char *length = header(c->answer, blank + 2, "content-length");
            char *connection = header(c->answer, blank + 2, "connection");
            int64_t of_body = c->answer + c->have - (blank + 4);
            if (header(c->answer, blank + 2, "transfer-encoding")) { // short: complete when its last chunk is here
                if (!memmem(blank + 4, of_body, "0\r\n\r\n", 5))
                    continue;
                c->answer_left = 0;
            } else
                c->answer_left = (length ? atoll(length) : 0) - of_body;
            c->status = atoi(c->answer + 9);
            c->closes = connection && !strncasecmp(connection, "close", 5);
            c->has_head = 1;
        }
        c->have = 0;
        if (c->answer_left <= 0) {
            complete(c, until);
            return;
        }
    }
}

static void read_body(const char *path) {
    const char *secret = getenv("SECRET");
    FILE *file = fopen(path, "rb");
    if (!file || !secret) {
        fprintf(stderr, "load: no body or no SECRET\n");
        exit(1);
    }
    body = malloc(4 << 20);
    body_size = fread(body, 1, 4 << 20, file);
    fclose(file);
    keyed = HMAC_CTX_new();
    hmac = HMAC_CTX_new();
    HMAC_Init_ex(keyed, secret, strlen(secret), EVP_sha256(), NULL);
    unsigned char digest[32];
    unsigned size = sizeof digest;
    HMAC_CTX_copy(hmac, keyed);
    HMAC_Update(hmac, (void *)body, body_size);
    HMAC_Final(hmac, digest, &size);
    for (unsigned i = 0; i < size; i++)
        sprintf(github_signature + 2 * i, "%02x", digest[i]);
}

// Runs the load until `until`, then waits for the answers that are due.
static void run(struct connection *all, int connections, double rate, uint64_t start, uint64_t until) {
    double due = start; // open loop: when the next request is due; those without a free connection stay due
    uint64_t scanned = start;
    struct epoll_event events[256];
    for (;;) {
        uint64_t now = now_ns(), wait = 100000000;
        while (idle && now < until && (!rate || (due <= now && due < until))) {
            struct connection *c = idle;
            idle = c->next_idle;
            begin(c, rate ? (uint64_t)due : now_ns());
            if (rate)
                due += -log(uniform()) * 1e9 / rate;
            if (idle == c)
                break; // it could not connect
        }
        int more = rate ? due < until : now < until;
        if (rate && more && idle) {
            now = now_ns();
            wait = due <= now ? 0 : due - now < wait ? (uint64_t)(due - now) : wait;
        }
        int busy = 0;
        for (int i = 0; !more && i < connections; i++)
            busy += all[i].is_busy;
        if ((!more && !busy) || now > until + TIMEOUT_NS)
            break;
        struct timespec timeout = {0, wait};
        int ready = epoll_pwait2(epoll, events, 256, &timeout, NULL);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->fd >= 0 && events[i].events & EPOLLOUT)
                send_request(c);
            if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                on_readable(c, until);
        }
        if (now - scanned > 500000000) {
            scanned = now;
            for (int i = 0; i < connections; i++)
                if (all[i].is_busy && now > all[i].began + TIMEOUT_NS) {
                    fail(&all[i]);
                    timeouts++;
                }
        }
    }
}

int main(int count, char **arguments) {
    int option, connections = 1;
    double seconds = 1, rate = 0;
    const char *body_path = "";
    while ((option = getopt(count, arguments, "p:b:c:d:r:i:w")) != -1)
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'b': body_path = optarg; break;
        case 'c': connections = atoi(optarg); break;
        case 'd': seconds = atof(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'i': seed = strtoull(optarg, NULL, 10); break;
        case 'w': by_standard = 1; break;
        default: return 2;
        }
    read_body(body_path);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    epoll = epoll_create1(0);
    struct connection *all = calloc(connections, sizeof *all);
    for (int i = 0; i < connections; i++) {
        if (!dial(&all[i])) {
            perror("load: connect");
            return 1;
        }
        be_idle(&all[i]);
    }
    uint64_t start = now_ns(), until = start + (uint64_t)(seconds * 1e9);
    run(all, connections, rate, start, until);
    printf("{\"requests\":%llu,\"rps\":%.1f,\"not_2xx\":%llu,\"errors\":%llu,\"timeouts\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
           (unsigned long long)done, in_time / seconds, (unsigned long long)not_2xx, (unsigned long long)errors,
           (unsigned long long)timeouts, quantile_us(.5), quantile_us(.99));
    return 0;
}
