#define _GNU_SOURCE
#include "vz_keeper.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int at(const char *path, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address->sun_path, path);
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

static int given_up(int socket) {
    int error = errno;
    close(socket);
    errno = error;
    return -1;
}

int vz_keeper_listen(const char *path) {
    struct sockaddr_un address;
    int socket = at(path, &address);
    if (socket < 0) return -1;
    // Whoever connects has to be able to write to it, and it begins with nobody's leave.
    if (fchmod(socket, 0600) || bind(socket, (struct sockaddr *)&address, sizeof address) || listen(socket, 256)) return given_up(socket);
    return socket;
}

int vz_keeper_connect(const char *path) {
    struct sockaddr_un address;
    int socket = at(path, &address);
    if (socket < 0) return -1;
    return connect(socket, (struct sockaddr *)&address, sizeof address) ? given_up(socket) : socket;
}

int vz_keeper_await(int socket, int milliseconds) {
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    int ready;
    do ready = poll(&wait, 1, milliseconds); while (ready < 0 && errno == EINTR);
    if (ready == 0) errno = ETIMEDOUT;
    if (ready <= 0) return -1;
    int answer;
    ssize_t n;
    do n = recv(socket, &answer, sizeof answer, 0); while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof answer) errno = answer;
    else if (n >= 0) errno = ECONNRESET;
    return n == (ssize_t)sizeof answer && !answer ? 0 : -1;
}

int vz_keeper_send(int socket, const struct vz_keeper_message *message, int table, int group) {
    struct iovec part = {.iov_base = (void *)message, .iov_len = sizeof *message};
    union { struct cmsghdr head; char bytes[CMSG_SPACE(2 * sizeof(int))]; } control = {0};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    if (table >= 0 && group >= 0) {
        control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), (int[]){table, group}, 2 * sizeof(int));
        packet.msg_control = &control;
        packet.msg_controllen = sizeof control;
    }
    ssize_t n;
    do n = sendmsg(socket, &packet, MSG_NOSIGNAL); while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}
