/* Makes system calls of one process fail on command: preloaded, it reads "<call> <part of the path> <errno> <times>"
 * from the file that HOLDFAST_FAULT names, before each call it knows. An absent or empty file means no faults.
 * Every sync is noted in the file that HOLDFAST_FAULT_LOG names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, size - 1);
    path[len < 0 ? 0 : len] = 0;
}

static void note(const char *call, const char *path) {
    const char *log = getenv("HOLDFAST_FAULT_LOG");
    if (!log) return;
    int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0) return;
    char line[5000];
    int len = snprintf(line, sizeof line, "%s %s\n", call, path);
    syscall(SYS_write, fd, line, len);
    syscall(SYS_close, fd);
}

/* Whether this call is to fail; then errno is set. */
static int fails(const char *call, int fd) {
    char path[4096];
    path_of(fd, path, sizeof path);
    if (strcmp(call, "sync") == 0) note(call, path);
    const char *control = getenv("HOLDFAST_FAULT");
    if (!control) return 0;
    int file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY);
    if (file < 0) return 0;
    char text[512];
    ssize_t len = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    if (len <= 0) return 0;
    text[len] = 0;
    char wanted[32], part[256];
    int code, times;
    if (sscanf(text, "%31s %255s %d %d", wanted, part, &code, &times) != 4) return 0;
    if (times == 0 || strcmp(wanted, call) != 0 || !strstr(path, part)) return 0;
    if (times > 0) {
        len = snprintf(text, sizeof text, "%s %s %d %d", wanted, part, code, times - 1);
        file = syscall(SYS_openat, AT_FDCWD, control, O_WRONLY | O_TRUNC);
        syscall(SYS_write, file, text, len);
        syscall(SYS_close, file);
    }
    errno = code;
    return 1;
}

int fdatasync(int fd) { return fails("sync", fd) ? -1 : syscall(SYS_fdatasync, fd); }
int fsync(int fd) { return fails("sync", fd) ? -1 : syscall(SYS_fsync, fd); }

ssize_t write(int fd, const void *from, size_t len) {
    return fails("write", fd) ? -1 : syscall(SYS_write, fd, from, len);
}

/* A failing vectored write first writes its first part, as a disk that becomes full does. */
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (fails("writev", fd)) {
        int code = errno;
        syscall(SYS_write, fd, parts[0].iov_base, parts[0].iov_len);
        errno = code;
        return -1;
    }
    return syscall(SYS_writev, fd, parts, count);
}
