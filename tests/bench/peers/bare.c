/* A send() loop over the sockets of all clients: the cost of the kernel alone.
 *
 * The handshake is not checked. Frames of the publisher must be masked with zeros and shorter than
 * 126 bytes. Bytes that send() does not take at once are lost, which the benchmark would notice.
 * All messages that arrive together go out in one send() per client.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS 100000
#define PREFIX "[Notification] "
#define ANSWER                                                                                 \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

static int clients[CLIENTS], count, poller, publisher = -1;
static unsigned char input[1 << 20], output[1 << 20];
static size_t held;

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void accept_client(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), on = 1;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(fd);
}

static void disconnect(int fd) {
    for (int i = 0; i < count; i++)
        if (clients[i] == fd)
            clients[i] = clients[--count];
    close(fd);
}

/* Turn the publisher's frames into a server's frames. An incomplete frame stays in `input`. */
static size_t translate(void) {
    size_t at = 0, size = 0, prefix = strlen(PREFIX);
    while (held - at >= 6 && held - at >= 6 + (size_t)(input[at + 1] & 0x7f)) {
        size_t length = input[at + 1] & 0x7f;
        output[size++] = 0x81;
        output[size++] = (unsigned char)(prefix + length);
        memcpy(output + size, PREFIX, prefix);
        memcpy(output + size + prefix, input + at + 6, length);
        size += prefix + length;
        at += 6 + length;
    }
    memmove(input, input + at, held - at);
    held -= at;
    return size;
}

static void publish(void) {
    ssize_t got = recv(publisher, input + held, 65536 - held, 0);
    if (got <= 0) {
        disconnect(publisher);
        publisher = -1;
        return;
    }
    held += (size_t)got;
    size_t size = translate();
    for (int i = 0; i < count && size; i++)
        send(clients[i], output, size, MSG_NOSIGNAL);
}

static void handshake(int fd) {
    char request[4096];
    ssize_t got = recv(fd, request, sizeof request - 1, 0);
    if (got <= 0) {
        disconnect(fd);
        return;
    }
    request[got] = 0;
    send(fd, ANSWER, strlen(ANSWER), MSG_NOSIGNAL);
    if (count < CLIENTS)
        clients[count++] = fd;
    if (strstr(request, "client=admin"))
        publisher = fd;
}

int main(int argc, char **argv) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)atoi(argv[argc - 1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 2048))
        return 1;
    poller = epoll_create1(0);
    watch(listener);
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_client(fd);
            else if (fd == publisher)
                publish();
            else
                handshake(fd);
        }
    }
}
