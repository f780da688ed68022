/*
 * lifeboat-init: PID 1 of a Lifeboat run.
 * Why it exists. A checkpointed task needs a parent that is tiny, starts in a millisecond, is never part of the dump and
 * outlives everything else. The engine (a JVM) decides, but it may die and be started again while the task runs on; CRIU comes
 * and goes; the task is dumped here and restored below another lifeboat-init. What they have in common lives here:
 *   - a PID namespace of our own: a restored task finds its process ids free, and `kill -9` leaves no orphan twin. The outer
 *     process waits outside, the inner one is PID 1. Where we are PID 1 already (in a container) there is only the inner one;
 *   - the task's stdout and stderr, as pipes that we copy to our own. CRIU can give a restored task the pipes of the new init
 *     (--inherit-fd), but not a terminal, nor a log that has grown meanwhile, so the task never holds our own;
 *   - reaping, and the task's wait status, kept until an engine has taken it;
 *   - starting children with just the descriptors that they need, on the engine's order over RUN/init.sock;
 *   - CRIU's action script (`lifeboat-hook`), because the image of a container need not have a shell;
 *   - descriptors that must outlive the engine (/dev/fuse): a mount lives as long as somebody has its descriptor.
 * What it does not do. It decides nothing: not when to dump, not what an exit code means, not whether a task is run again. It
 * reads no configuration, opens no port, writes no file but its socket and its lock, and reads nothing of what it holds.
 * How it is built. One thread, one poll loop, no allocation, no blocking call: each turn tries, without blocking, everything
 * that could be ready. What may block (open, chdir, exec) is done by the forked child, which reports a failure over a
 * close-on-exec pipe; end of file there means that exec has worked. Signals are blocked and read from a signalfd: a blocked
 * signal reaches PID 1 even where the kernel would drop it for its default action. Linked statically, it runs in any image.
 * Frames on init.sock and hook.sock: u32 little-endian length (at most 1 MiB), then fields separated by NUL, the verb first.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
enum {
    MAX_FRAME = 1 << 20, MAX_CHILDREN = 64, MAX_HELD = 1024, MAX_MISSED = 16, MAX_ORPHANS = 64, MAX_RUN_DIR = 90,
    PAGE_FD = 9, TASK_OUT_FD = 10, TASK_ERR_FD = 11, /* in a spawned child; in init the same, PAGE_FD being a placeholder */
    FLUSH_MS = 10000, BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000, BACKOFF_RESET_MS = 60000,
    HOOK_RETRY_MS = 100, HOOK_LIMIT_MS = 30000, EXIT_BUSY = 2, EXIT_USAGE = 2, EXIT_CANNOT = 125
};

struct stream { /* one direction of the task's output: pipe -> buffer -> our own descriptor */
    const char *name;
    int task_end, out, in;     /* the pipe's writer (the task and CRIU get it), where it goes, the pipe's reader */
    bool never_blocks, broken; /* writing to `out`; a write to it has failed (said once) */
    unsigned empty;            /* how often pipe and buffer were seen empty */
    unsigned long long written; size_t off, len; char buf[1 << 16];
};
static struct stream out = {.name = "stdout", .task_end = TASK_OUT_FD, .out = STDOUT_FILENO};
static struct stream err = {.name = "stderr", .task_end = TASK_ERR_FD, .out = STDERR_FILENO};
static char text[1 << 17]; /* of the message at hand */
static long long now_ms(void) {
    struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}
/* Writes what can be written without blocking; -1 and EAGAIN when that is nothing. */
static ssize_t put(const struct stream *s, const char *bytes, size_t n) {
    if (s->never_blocks) return write(s->out, bytes, n);
    if (poll(&(struct pollfd){s->out, POLLOUT, 0}, 1, 0) == 0) return errno = EAGAIN, -1;
    return write(s->out, bytes, n < PIPE_BUF ? n : PIPE_BUF);
}
#define complain(format, ...) /* a full or closed stderr must not stop us */ \
    (snprintf(text, sizeof text, "lifeboat-init: " format "\n", ##__VA_ARGS__), (void)!put(&err, text, strlen(text)))
#define DIE(code, ...) do { complain(__VA_ARGS__); exit(code); } while (0)
static bool number(const char *digits, long long low, long long high, long long *value) {
    char *end; errno = 0, *value = strtoll(digits, &end, 10);
    return end != digits && !*end && !errno && *value >= low && *value <= high;
}
static unsigned get32(const unsigned char *b) { return b[0] | b[1] << 8 | b[2] << 16 | (unsigned)b[3] << 24; }
static void put32(unsigned char *b, unsigned v) { for (int i = 0; i < 4; i++) b[i] = (unsigned char)(v >> 8 * i); }
static int unix_socket(const char *path, int flags, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address->sun_path) return errno = ENAMETOOLONG, -1;
    return strcpy(address->sun_path, path), socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

/* ---- CRIU's action script ---- */
static int ask_engine(const char *path, const unsigned char *frame, size_t length) { /* -1: no answer */
    struct sockaddr_un to; unsigned char reply[64]; long long code; size_t got = 0;
    int fd = unix_socket(path, 0, &to);
    bool sent = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
                send(fd, frame, length, MSG_NOSIGNAL) == (ssize_t)length; /* no handlers, so never interrupted */
    for (ssize_t n = 1; sent && n > 0 && got < sizeof reply - 1 && (got < 4 || got < 4 + (size_t)get32(reply));)
        if ((n = recv(fd, reply + got, sizeof reply - 1 - got, 0)) > 0) got += (size_t)n;
    if (reply[got] = 0, fd >= 0) close(fd);
    if (got < 4 + sizeof "done" || got != 4 + (size_t)get32(reply) || memcmp(reply + 4, "done", sizeof "done")) return -1;
    return number((char *)reply + 4 + sizeof "done", 0, 255, &code) ? (int)code : -1;
}
static int hook(void) {
    static const char asked[] = " pre-dump post-dump pre-restore post-restore pre-resume post-resume ";
    const char *action = getenv("CRTOOLS_SCRIPT_ACTION"), *run = getenv("LIFEBOAT_RUN_DIR");
    const char *dir = getenv("CRTOOLS_IMAGE_DIR"), *pid = getenv("CRTOOLS_INIT_PID");
    static unsigned char frame[4 + 2 * PATH_MAX]; char path[PATH_MAX], word[64];
    if (snprintf(word, sizeof word, " %s ", action ? action : "") < 0 || !strstr(asked, word)) return 0;
    if (!run) DIE(1, "the hook does not know its engine: LIFEBOAT_RUN_DIR is not set");
    snprintf(path, sizeof path, "%s/hook.sock", run);
    int n = snprintf((char *)frame + 4, sizeof frame - 4, "hook%c%s%c%s%c%s", 0, action, 0, dir ? dir : "", 0, pid ? pid : "0");
    if ((size_t)n >= sizeof frame - 4) DIE(1, "CRTOOLS_IMAGE_DIR is too long");
    put32(frame, (unsigned)n);
    /* After post-dump the engine may have committed the snapshot, whether or not we hear of it. While the answer is unknown
       the tree must stay frozen (two lives could exist), so ask for ever: init starts a dead engine again. */
    for (long long give_up = now_ms() + HOOK_LIMIT_MS;; poll(NULL, 0, HOOK_RETRY_MS)) {
        int code = ask_engine(path, frame, 4 + (size_t)n);
        if (code >= 0) return code;
        if (strcmp(action, "post-dump") && now_ms() >= give_up) DIE(1, "no engine answered the hook %s at %s", action, path);
    }
}

/* ---- The outer process ---- */
static pid_t outer_pid = 1;
static int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }
/* Makes the namespaces. Returns in the inner process only; the outer one waits here and exits with its code. */
static void enter_namespaces(const sigset_t *signals) {
    int alive[2], status; /* the pipe's writer is the outer process alone: end of file means that it is dead */
    outer_pid = getpid();
    if (pipe2(alive, O_CLOEXEC) != 0) DIE(EXIT_CANNOT, "pipe: %m");
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
        DIE(EXIT_CANNOT, "cannot make a PID and a mount namespace: %m; this needs CAP_SYS_ADMIN: run as root, or start the "
            "container with that capability (docker run --cap-add SYS_ADMIN), or with lifeboat as its PID 1");
    /* slave: nothing that is mounted inside shows outside, but what the host mounts later shows here */
    if (mount("none", "/", "none", MS_REC | MS_SLAVE, NULL) != 0) DIE(EXIT_CANNOT, "cannot make / a slave mount: %m");
    pid_t inner = fork();
    if (inner < 0) DIE(EXIT_CANNOT, "cannot fork PID 1 of the namespace: %m");
    close(alive[inner == 0]);
    while (inner > 0) {
        int signal = sigwaitinfo(signals, NULL);
        if (signal > 0 && signal != SIGCHLD) kill(inner, signal);
        if (signal == SIGCHLD && waitpid(inner, &status, WNOHANG) == inner) exit(exit_code(status));
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&(struct pollfd){alive[0], POLLIN, 0}, 1, 0) != 0) _exit(EXIT_CANNOT); /* it died before the prctl */
    close(alive[0]), setsid(); /* else a terminal's Ctrl-C would reach us twice: from the terminal and from the outer process */
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        DIE(EXIT_CANNOT, "cannot mount /proc in the new PID namespace: %m; in a container whose /proc is masked, start "
            "lifeboat as its PID 1, or with an unmasked /proc (docker run --security-opt systempaths=unconfined)");
}
/* ---- The connection to the engine ---- */
static int conn = -1, listener = -1; static bool ever_connected, greeted;
static unsigned generation; /* of the connection: a reply never goes to another one than its request came from */
static unsigned char inbox[4 + MAX_FRAME + 1], outbox[MAX_FRAME]; static size_t in_len, out_len;
struct requester { char seq[24]; unsigned generation; };
static void hang_up(const char *why) {
    if (conn < 0) return;
    if (why) complain("the engine's connection is closed: %s", why);
    close(conn), conn = -1, generation++, greeted = false, in_len = out_len = 0;
}
static void send_outbox(void) {
    for (ssize_t n; conn >= 0 && out_len > 0;) {
        if ((n = send(conn, outbox, out_len, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0 && errno == EAGAIN) return;
        if (n < 0) return hang_up(errno == EPIPE || errno == ECONNRESET ? NULL : strerror(errno));
        memmove(outbox, outbox + n, out_len -= (size_t)n);
    }
}
static void send_frame(const char *lines) {
    size_t n = strlen(lines);
    if (conn < 0) return;
    if (sizeof outbox - out_len < 4 + n) return hang_up("it does not read what we send");
    for (size_t i = 0; i < n; i++) outbox[out_len + 4 + i] = lines[i] == '\n' ? 0 : (unsigned char)lines[i];
    put32(outbox + out_len, (unsigned)n), out_len += 4 + n, send_outbox();
}
#define say(format, ...) (snprintf(text, sizeof text, format, ##__VA_ARGS__), send_frame(text)) /* a line is a field */
#define OK(by, ...) do { if ((by)->generation == generation) say("ok\n" __VA_ARGS__); } while (0)
static void reply_err(const struct requester *by, int error, const char *why) {
    if (by->generation == generation) say("err\n%s\n%d\n%s", by->seq, error, why ? why : strerror(error));
}

/* ---- The task's output ---- */
static enum { NONE, RUNNING, ENDED } task_state; static bool exiting, discarding;
static char restoring[64]; /* the spawned CRIU whose end decides whether the task is one; empty: it is */
static void open_stream(struct stream *s) {
    int ends[2], again = -1; struct stat st; char self[32];
    if (pipe2(ends, O_CLOEXEC) != 0 || dup3(ends[1], s->task_end, O_CLOEXEC) < 0)
        DIE(EXIT_CANNOT, "cannot make the pipe for the task's %s: %m", s->name);
    close(ends[1]), fcntl(s->in = ends[0], F_SETFL, O_NONBLOCK);
    /* `out` may be shared with others, so O_NONBLOCK can't be set on it: a pipe or terminal is opened once more instead.
       Where that fails (not ours to open, no reader), put() polls and writes small pieces. */
    snprintf(self, sizeof self, "/proc/self/fd/%d", s->out);
    if (fstat(s->out, &st) != 0) return;
    if (S_ISFIFO(st.st_mode) || isatty(s->out)) again = open(self, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    s->never_blocks = again >= 0 || S_ISREG(st.st_mode), s->out = again >= 0 ? again : s->out;
}
static void pump(struct stream *s) {
    if (*restoring && !exiting) return; /* what it writes before it is the task comes later, or never */
    for (int turns = 0; turns < 16; turns++) { /* a busy writer must not keep the loop from its other work */
        ssize_t n = s->len ? 0 : read(s->in, s->buf, sizeof s->buf);
        if (n < 0) return (void)(s->empty += errno == EAGAIN);
        if (n > 0 && discarding) continue; /* of a tree that is not the task yet, or never was and is being killed */
        if (n > 0) s->off = 0, s->len = (size_t)n;
        if ((n = put(s, s->buf + s->off, s->len)) < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n < 0 && !s->broken) complain("cannot write the task's %s: %m; what it writes there is lost", s->name);
        if (n < 0) s->broken = true, n = (ssize_t)s->len;
        s->off += (size_t)n, s->len -= (size_t)n, s->written += (size_t)n;
    }
}

/* Waiting until both pipes have been seen empty: for a drain, before `taskexit` (without a limit: a paused terminal must not
   cost the task's last lines), before the end. */
struct flush { long long deadline; unsigned out_empty, err_empty; unsigned long long begun; struct requester by; };
static struct flush drain, task_flush, exit_flush;
static void flush_begin(struct flush *f, long long deadline) {
    f->deadline = deadline, f->out_empty = out.empty, f->err_empty = err.empty, f->begun = out.written + err.written;
}
static int flush_result(struct flush *f) { /* told once: 1 emptied, -1 timed out; else 0 */
    bool emptied = out.empty != f->out_empty && err.empty != f->err_empty;
    if (!f->deadline || (!emptied && now_ms() < f->deadline)) return 0;
    return f->deadline = 0, emptied ? 1 : -1;
}

/* ---- Children ---- */
enum kind { NOBODY, ENGINE, TASK, SPAWNED, COUNTER, FAILED, EXITED }; /* EXITED: was SPAWNED, and no engine has been told */
struct failure { int error; char text[256]; };
static struct child {
    enum kind kind; pid_t pid; struct requester by; char id[64];
    int report, status; /* report: of its start, a struct failure, or end of file once exec has worked; then -1 */
} children[MAX_CHILDREN];
#define EACH_CHILD(c) (struct child *c = children; c < children + MAX_CHILDREN; c++)
static pid_t task_pid, engine_pid, peer /* of the connection */; static int task_status, ordered_code;
static bool engine_exec_failed, ever_spawned, stdin_closed, engine_tidies; /* it ends by itself after `exit` */
static long long engine_started, engine_restart_at, backoff = BACKOFF_MIN_MS;
static char stdin_path[PATH_MAX], socket_path[PATH_MAX + 16], **engine_argv;
static char *field[MAX_FRAME + 2]; /* of the request at hand, NULL after the last */
static struct orphan { pid_t pid; int status; } orphans[MAX_ORPHANS]; /* the last ones: a task may end before its `adopt` */
static struct { char name[64]; int fd; } held[MAX_HELD]; static int holding;
static unsigned orphan_count, missed_count, missed[MAX_MISSED]; /* missed: signals that came while no engine listened */
static _Noreturn void finish(int code) {
    do kill(-1, SIGKILL); /* we are PID 1: that is every other process of the namespace */
    while (waitpid(-1, NULL, __WALL) > 0 || errno != ECHILD);
    pump(&out), pump(&err), unlink(socket_path), exit(code);
}
static struct child *find(enum kind kind, pid_t pid, const char *id) {
    for EACH_CHILD(c) if (c->kind == kind && (!pid || c->pid == pid) && (!id || !strcmp(c->id, id))) return c;
    return NULL;
}
static _Noreturn void fail(int report, const char *step, const char *what) {
    struct failure f = {.error = errno};
    snprintf(f.text, sizeof f.text, "%s %s: %s", step, what, strerror(f.error));
    _exit(write(report, &f, sizeof f) < 0 ? EXIT_CANNOT : f.error == ENOENT ? 127 : 126);
}
/* Only a regular file can be given to a task that is to be checkpointed; it is opened anew, at our offset, by its path: CRIU
   can't place a descriptor that was opened before the mount namespace was made. */
static int open_stdin(void) {
    struct stat ours, theirs;
    if (!stdin_closed && fstat(STDIN_FILENO, &ours) == 0) {
        int fd = S_ISREG(ours.st_mode) ? open(stdin_path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
        if (fd >= 0 && fstat(fd, &theirs) == 0 && theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino &&
            lseek(fd, lseek(STDIN_FILENO, 0, SEEK_CUR), SEEK_SET) >= 0) return fd;
        if (!S_ISCHR(ours.st_mode) || ours.st_rdev != makedev(1, 3))
            dprintf(STDERR_FILENO, "lifeboat: the task's stdin is /dev/null (only regular files can be checkpointed)\n");
    }
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}
static _Noreturn void raise_counter(long long past) { /* forks until the process ids are past the wanted one */
    for (pid_t pid, last = getpid(); last <= past; last = pid) {
        if ((pid = fork()) == 0) _exit(0);
        if (pid < 0 || waitpid(pid, NULL, 0) < 0) _exit(errno);
        if (pid < last) _exit(ERANGE); /* wrapped around */
    }
    _exit(0);
}
/* The child's side of launch; `extra` is the page socket of a SPAWNED child (or -1), or what a COUNTER is to pass. */
static _Noreturn void run_child(enum kind kind, char **argv, long long extra, int report) {
    sigset_t none; static const unsigned long long by_default[8]; /* an all-zero struct sigaction, as the kernel defines it */
    for (int s = 1; s < NSIG; s++) syscall(SYS_rt_sigaction, s, by_default, NULL, 8); /* glibc leaves 32 and 33 out */
    sigemptyset(&none), sigprocmask(SIG_SETMASK, &none, NULL);
    if (kind == COUNTER) raise_counter(extra);
    if (kind != TASK) setpgid(0, 0);
    else setsid(), prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* the flag survives exec: daemons stay in the task's tree */
    if (kind == TASK && unshare(CLONE_NEWIPC) != 0)
        complain("the task gets no IPC namespace of its own (%m): with System V shared memory it can't be checkpointed");
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* they all are already; the exceptions are made below */
    int in = kind == TASK ? open_stdin() : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0) fail(report, "open", "/dev/null");
    if (kind == SPAWNED) {
        const char *log = strcmp(field[4], "-") ? field[4] : "/dev/null"; struct rlimit files;
        int to = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
        if (to < 0 || dup2(to, STDOUT_FILENO) < 0 || dup2(to, STDERR_FILENO) < 0) fail(report, "open", log);
        if (extra >= 0 && dup2((int)extra, PAGE_FD) < 0) fail(report, "dup", "its page socket");
        fcntl(TASK_OUT_FD, F_SETFD, 0), fcntl(TASK_ERR_FD, F_SETFD, 0); /* not closed by exec */
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
    } else if (kind == TASK) {
        if (dup2(TASK_OUT_FD, STDOUT_FILENO) < 0 || dup2(TASK_ERR_FD, STDERR_FILENO) < 0) fail(report, "dup", "its pipes");
        if (chdir(field[2]) != 0) fail(report, "chdir", field[2]);
        environ = field + 3; /* execvp looks for PATH here */
    }
    execvp(argv[0], argv), fail(report, "exec", argv[0]);
}
/* NULL and errno if there is no child. What happens between its fork and its exec is told later, by start_result. */
static struct child *launch(enum kind kind, char **argv, long long extra, const struct requester *by) {
    struct child *c = find(NOBODY, 0, NULL); int report[2], error = EAGAIN;
    if (!c) return errno = error, NULL;
    if (pipe2(report, O_CLOEXEC | O_NONBLOCK) != 0) return NULL;
    pid_t pid = fork();
    if (pid == 0) run_child(kind, argv, extra, report[1]);
    error = errno, close(report[1]);
    if (pid < 0) return close(report[0]), errno = error, NULL;
    *c = (struct child){.kind = kind, .pid = pid, .report = report[0], .by = *by};
    return c;
}
static void start_result(struct child *c) {
    struct failure f;
    ssize_t n = c->kind != NOBODY && c->report >= 0 ? read(c->report, &f, sizeof f) : -1;
    if (n < 0) return;
    close(c->report), c->report = -1;
    if (n != sizeof f) {
        if (c->kind == TASK || c->kind == SPAWNED) OK(&c->by, "%s\n%d", c->by.seq, c->pid);
    } else if (c->kind == ENGINE) {
        engine_exec_failed = true, complain("cannot start the engine: %s", f.text);
    } else if (c->by.generation == generation) { /* else nobody waits for the answer: it counts as run, and as ended */
        reply_err(&c->by, f.error, f.text);
        if (c->kind == TASK) task_state = NONE, task_pid = 0;
        c->kind = FAILED;
    }
}
static bool write_last_pid(long long n) {
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC); bool done = fd >= 0 && dprintf(fd, "%lld", n) > 0;
    return (void)(fd >= 0 && close(fd)), done;
}
static void start_engine(void) {
    engine_restart_at = 0, engine_started = now_ms(), engine_exec_failed = false;
    struct child *c = launch(ENGINE, engine_argv, -1, &(struct requester){.seq = ""});
    if (c) setpgid(engine_pid = c->pid, c->pid); /* the child does it too: whoever is first */
    else if (task_state == NONE) DIE(EXIT_CANNOT, "cannot fork the engine: %m");
    else engine_restart_at = now_ms() + BACKOFF_MAX_MS;
}
static void read_requests(void), take_connection(void), send_signal(const struct requester *r, pid_t pid, int signal);
static void engine_ended(int status) {
    read_requests(), take_connection(), read_requests(); /* its last words, maybe its only ones, may be the order to exit */
    kill(-engine_pid, SIGKILL), engine_pid = 0; /* helpers of a dead engine */
    if (exiting) return;
    bool alone = task_state == NONE && !find(SPAWNED, 0, NULL) && (!ever_spawned || (kill(-1, 0) != 0 && errno == ESRCH));
    if (alone) finish(engine_exec_failed ? EXIT_CANNOT : exit_code(status));
    if (now_ms() - engine_started >= BACKOFF_RESET_MS) backoff = BACKOFF_MIN_MS;
    engine_restart_at = now_ms() + backoff;
    complain("the engine ended (%d) without an order to exit; starting it again in %lld ms", exit_code(status), backoff);
    backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
}
static void task_runs(pid_t pid) { task_pid = pid, task_state = RUNNING, task_status = 0, discarding = false; }
static void task_ended(int status) { task_status = status, flush_begin(&task_flush, LLONG_MAX); } /* RUNNING until it is out */
static void restored(int status) { /* CRIU has ended: what it made is the task, or never was */
    struct child *task = find(TASK, 0, NULL);
    if (*restoring = 0, !status) return;
    if (task) task->kind = NOBODY;
    task_state = NONE, task_pid = 0, task_flush.deadline = 0, discarding = true;
    send_signal(&(struct requester){.generation = generation - 1}, -1, SIGKILL); /* nobody waits for an answer */
}
static void reap(void) {
    for (int pid, status; (pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0;) {
        struct child *c = NULL, was;
        for EACH_CHILD(k) if (k->kind != NOBODY && k->kind != EXITED && k->pid == pid) c = k;
        if (!c) { orphans[orphan_count++ % MAX_ORPHANS] = (struct orphan){pid, status}; continue; }
        start_result(c);
        if (c->report >= 0) close(c->report); /* somebody else may still have its other end */
        was = *c, c->kind = NOBODY, c->status = status;
        if (was.kind == ENGINE) engine_ended(status);
        if (was.kind == TASK) task_ended(status);
        if (was.kind == SPAWNED && WIFSIGNALED(status)) kill(-pid, SIGKILL); /* helpers that it had stopped, a hook */
        if (was.kind == SPAWNED && *restoring && !strcmp(was.id, restoring)) restored(status);
        if (was.kind == SPAWNED && greeted) say("exited\n%s\n%d", was.id, status);
        else if (was.kind == SPAWNED) c->kind = EXITED, c->report = -1;
        if (was.kind == COUNTER && status == 0) OK(&was.by, "%s\nfork", was.by.seq);
        else if (was.kind == COUNTER) reply_err(&was.by, exit_code(status), "cannot raise the process id counter by forking");
    }
}

/* ---- The engine's requests ---- */
static void hello(const struct requester *r) {
    static const char *const state[] = {"none", "running", "ended"};
    char list[MAX_CHILDREN * (sizeof children->id + 12)] = "", keep[MAX_HELD * (sizeof held->name + 12)] = "";
    struct stat o, e; int spawned = 0, at = 0; fstat(out.in, &o), fstat(err.in, &e);
    for EACH_CHILD(c)
        if (c->kind == SPAWNED && ++spawned) at += snprintf(list + at, sizeof list - (size_t)at, "\n%s\n%d", c->id, c->pid);
    for (int i = 0, end = 0; i < holding; i++) end += sprintf(keep + end, "\n%s\n%d", held[i].name, held[i].fd);
    OK(r, "%s\n%s\n%d\n%d\n%lu\n%lu\n%d\n%d%s\n%d%s", r->seq, *restoring ? "restoring" : state[task_state], task_pid,
        task_state == ENDED ? task_status : 0, (unsigned long)o.st_ino, (unsigned long)e.st_ino, outer_pid,
        spawned, list, holding, keep);
    greeted = conn >= 0;
    for EACH_CHILD(c) if (c->kind == EXITED && greeted) say("exited\n%s\n%d", c->id, c->status), c->kind = NOBODY;
    if (task_state == ENDED) say("taskexit\n%d\n%d", task_pid, task_status);
    for (unsigned i = missed_count < MAX_MISSED ? 0 : missed_count - MAX_MISSED; greeted && i < missed_count; i++)
        say("sig\n%s", sigabbrev_np((int)missed[i % MAX_MISSED]));
    if (greeted) missed_count = 0;
}
static void start_task(const struct requester *r, size_t env) {
    if (task_state == RUNNING) return reply_err(r, EBUSY, "a task is running");
    memmove(field + 3, field + 4, env * sizeof *field); /* room for a NULL between environment and arguments */
    field[3 + env] = NULL;
    const struct child *c = launch(TASK, field + 4 + env, -1, r);
    c ? task_runs(c->pid) : reply_err(r, errno, NULL);
}
static void spawn(const struct requester *r) {
    struct sockaddr_un to; int page = -1, size = 4 << 20; bool wanted = strcmp(field[3], "-");
    if (find(SPAWNED, 0, field[2])) return reply_err(r, EEXIST, "a child of this id is running");
    if (wanted) page = unix_socket(field[3], SOCK_NONBLOCK, &to); /* a full backlog is to be an error, not a wait */
    if (wanted && page >= 0 && setsockopt(page, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
        setsockopt(page, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (wanted && (page < 0 || connect(page, (struct sockaddr *)&to, sizeof to) != 0 || fcntl(page, F_SETFL, 0) != 0)) {
        if (r->generation == generation) say("err\n%s\n%d\nconnect %s: %m", r->seq, errno, field[3]);
    } else {
        struct child *c = launch(SPAWNED, field + 5, page, r);
        if (c) strcpy(c->id, field[2]), ever_spawned = true, discarding |= !strncmp(c->id, "restore-", 8);
        else reply_err(r, errno, NULL);
    }
    if (page >= 0) close(page);
}
/* Takes a descriptor of the peer into our keeping (-1: lets go of it); the next engine takes it back likewise, by pidfd_getfd(2). */
static void hold(const struct requester *r, const char *name, int theirs) {
    int at = 0, fd = -1, of = (int)syscall(SYS_pidfd_open, peer, 0);
    if (theirs >= 0 && of >= 0) fd = (int)syscall(SYS_pidfd_getfd, of, theirs, 0); /* close-on-exec */
    int error = errno; if (of >= 0) close(of);
    while (at < holding && strcmp(held[at].name, name)) at++;
    if (theirs >= 0 && fd < 0) return reply_err(r, error, NULL);
    if (fd >= 0 && at == MAX_HELD) return close(fd), reply_err(r, EMFILE, NULL);
    if (at < holding) close(held[at].fd), held[at] = held[--holding];
    if (fd >= 0) held[holding].fd = fd, strcpy(held[holding++].name, name);
    OK(r, "%s\n%d", r->seq, fd);
}
static void send_signal(const struct requester *r, pid_t pid, int signal) {
    DIR *proc = pid == -1 ? opendir("/proc") : NULL; /* not kill(-1): that would hit the engine and its helpers */
    int error = pid == -1 ? ESRCH : EPERM;
    if (pid > 1 && pid != engine_pid) error = kill(pid, signal) == 0 ? 0 : errno;
    for (struct dirent *e; proc && (e = readdir(proc));) {
        long long p;
        if (!number(e->d_name, 2, INT_MAX, &p) || p == engine_pid) continue;
        if ((!engine_pid || getpgid((pid_t)p) != engine_pid) && kill((pid_t)p, signal) == 0) error = 0;
    }
    if (proc) closedir(proc);
    if (error) reply_err(r, error, NULL); else OK(r, "%s", r->seq);
}
static void adopt(const struct requester *r, pid_t pid, const char *by) { /* by: the CRIU that still restores it, or "" */
    siginfo_t info; struct child *c = find(NOBODY, 0, NULL); const struct orphan *dead = NULL, *o;
    for (unsigned i = 0; i < MAX_ORPHANS; i++) /* from the oldest on: the latest of this id counts */
        if ((o = &orphans[(orphan_count + i) % MAX_ORPHANS])->pid == pid) dead = o;
    if (task_state == RUNNING && task_pid != pid) return reply_err(r, EBUSY, "a task is running");
    if (pid == engine_pid || find(SPAWNED, pid, NULL)) return reply_err(r, EINVAL, "not a restored task");
    if (*by && !find(SPAWNED, 0, by)) return reply_err(r, ESRCH, "no such child");
    if (task_state != RUNNING) {
        bool alive = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
        if (!alive && !dead) return reply_err(r, ECHILD, "not a child of init");
        if (!c) return reply_err(r, EAGAIN, NULL);
        task_runs(pid);
        if (alive) *c = (struct child){.kind = TASK, .pid = pid, .report = -1};
        else task_ended(dead->status);
    }
    strcpy(restoring, by); OK(r, "%s", r->seq);
}
static bool request(long fields) { /* false if it makes no sense */
    struct requester r = {.generation = generation}; const char *verb = field[0]; long long a, b;
    if (fields < 2 || strlen(field[1]) >= sizeof r.seq || !number(field[1], 0, LLONG_MAX, &a)) return false;
    if (strcpy(r.seq, field[1]), !strcmp(verb, "hello")) return hello(&r), true;
    if (!strcmp(verb, "task") && fields > 4 && number(field[3], 0, fields - 5, &a) && *field[4 + a])
        return start_task(&r, (size_t)a), true;
    if (!strcmp(verb, "spawn") && fields > 5 && *field[2] && strlen(field[2]) < sizeof children->id && *field[5])
        return spawn(&r), true;
    if (!strcmp(verb, "signal") && fields > 3 && number(field[2], -INT_MAX, INT_MAX, &a) && number(field[3], 0, NSIG - 1, &b))
        return send_signal(&r, (pid_t)a, (int)b), true;
    if (!strcmp(verb, "adopt") && fields > 2 && number(field[2], 2, INT_MAX, &a))
        return adopt(&r, (pid_t)a, fields > 3 ? field[3] : ""), true;
    if (!strcmp(verb, "hold") && fields > 3 && strlen(field[2]) < sizeof held->name && number(field[3], -1, INT_MAX, &a))
        return hold(&r, field[2], (int)a), true;
    if (!strcmp(verb, "drain") && drain.deadline && drain.by.generation == generation)
        return reply_err(&r, EBUSY, "a drain is under way"), true;
    if (!strcmp(verb, "drain")) return drain.by = r, flush_begin(&drain, now_ms() + FLUSH_MS), true;
    if (!strcmp(verb, "lastpid") && fields > 2 && number(field[2], 1, INT_MAX, &a)) {
        if (write_last_pid(a)) OK(&r, "%s\nwrite", r.seq);
        else if (!launch(COUNTER, NULL, a, &r)) reply_err(&r, errno, NULL);
        return true;
    }
    if (strcmp(verb, "exit") || fields < 3 || !number(field[2], 0, 255, &a)) return false;
    ordered_code = (int)a, exiting = true, engine_tidies = fields > 3; /* nothing more is read */
    return flush_begin(&exit_flush, now_ms() + FLUSH_MS), true;
}
static void read_requests(void) {
    while (conn >= 0 && !exiting) {
        size_t at = 0; ssize_t n = recv(conn, inbox + in_len, sizeof inbox - 1 - in_len, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) return hang_up(in_len ? "it ended within a frame" : NULL);
        for (in_len += (size_t)n; !exiting && in_len - at >= 4;) {
            size_t length = get32(inbox + at); unsigned before = generation; long fields = 0;
            if (length == 0 || length > MAX_FRAME) return hang_up("a frame has an impossible length");
            if (in_len - at < 4 + length) break;
            unsigned char *end = inbox + at + 4 + length, next = *end;
            *end = 0; /* the fields become C strings where they are */
            for (char *f = (char *)inbox + at + 4; f <= (char *)end; f += strlen(f) + 1) field[fields++] = f;
            field[fields] = NULL;
            if (!request(fields)) return hang_up("a request is malformed");
            if (before != generation) return; /* closed meanwhile */
            *end = next, at += 4 + length;
        }
        memmove(inbox, inbox + at, in_len -= at);
    }
}

/* ---- The loop ---- */
static void take_connection(void) {
    struct ucred who; socklen_t size = sizeof who; int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    bool trusted = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && (who.uid == 0 || who.uid == geteuid());
    if (!trusted) complain("a connection of user %u is refused", who.uid), close(fd);
    else hang_up(NULL), conn = fd, peer = who.pid, ever_connected = true; /* a new engine replaces the old one */
}
static void take_signals(int fd) {
    for (struct signalfd_siginfo info; read(fd, &info, sizeof info) == sizeof info;) {
        int signal = (int)info.ssi_signo;
        if (signal == SIGCHLD) continue; /* reap() looks anyway */
        if (!ever_connected && (signal == SIGTERM || signal == SIGINT)) finish(128 + signal);
        if (greeted) say("sig\n%s", sigabbrev_np(signal));
        else missed[missed_count++ % MAX_MISSED] = info.ssi_signo;
    }
}
static struct pollfd next(const struct stream *s) {
    return (struct pollfd){*restoring && !exiting ? -1 : s->len ? s->out : s->in, s->len ? POLLOUT : POLLIN, 0};
}
static void wait_for_work(int signals) {
    struct pollfd p[5 + MAX_CHILDREN] = {
        {signals, POLLIN, 0}, {listener, POLLIN, 0}, {exiting ? -1 : conn, (short)(out_len ? POLLIN | POLLOUT : POLLIN), 0},
        next(&out), next(&err)};
    nfds_t n = 5;
    long long until[] = {engine_restart_at, drain.deadline, exit_flush.deadline}, timeout = INT_MAX, now = now_ms();
    for EACH_CHILD(c) if (c->kind != NOBODY && c->report >= 0) p[n++] = (struct pollfd){c->report, POLLIN, 0};
    for (int i = 0; i < 3; i++) if (until[i] && until[i] - now < timeout) timeout = until[i] > now ? until[i] - now : 0;
    if (poll(p, n, timeout == INT_MAX ? -1 : (int)timeout) < 0 && errno != EINTR) DIE(EXIT_CANNOT, "poll: %m");
}
static _Noreturn void loop(int signals) {
    for (;; wait_for_work(signals)) {
        take_signals(signals), send_outbox();
        read_requests(), take_connection(); /* in this order: the old engine's last words count */
        for EACH_CHILD(c) start_result(c);
        reap();
        pump(&out), pump(&err);
        int drained = flush_result(&drain);
        if (drained > 0) OK(&drain.by, "%s\n%llu", drain.by.seq, out.written + err.written - drain.begun);
        if (drained < 0) reply_err(&drain.by, ETIMEDOUT, "the reader of lifeboat's output is stuck");
        bool ended = !*restoring && flush_result(&task_flush);
        if (ended) task_state = ENDED;
        if (ended && greeted) say("taskexit\n%d\n%d", task_pid, task_status);
        bool over = !engine_tidies || !engine_pid || now_ms() >= exit_flush.deadline;
        if (over && flush_result(&exit_flush)) finish(ordered_code);
        if (!engine_restart_at || now_ms() < engine_restart_at || exiting) continue;
        if (task_state != RUNNING) write_last_pid(1); /* the engine's threads belong below all ids of a task */
        start_engine();
    }
}

/* ---- The start ---- */
static int open_run_dir(const char *dir) { /* takes the lock for life; the listening socket */
    char path[MAX_RUN_DIR + 16]; struct sockaddr_un address; struct stat st;
    if (*dir != '/' || strlen(dir) > MAX_RUN_DIR)
        DIE(EXIT_CANNOT, "LIFEBOAT_RUN_DIR must be an absolute path of at most %d bytes: %s", MAX_RUN_DIR, dir);
    strcpy(path, dir);
    for (char *slash = path; (slash = strchr(slash + 1, '/'));) *slash = 0, mkdir(path, 0700), *slash = '/';
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) DIE(EXIT_CANNOT, "cannot make the directory LIFEBOAT_RUN_DIR=%s: %m", dir);
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 0777) != 0700)
        DIE(EXIT_CANNOT, "LIFEBOAT_RUN_DIR=%s must be a directory of user %u with mode 0700", dir, geteuid());
    int lock = open(strcat(path, "/lock"), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) DIE(EXIT_CANNOT, "cannot open %s: %m", path);
    if (flock(lock, LOCK_EX | LOCK_NB) != 0)
        DIE(EXIT_BUSY, "another lifeboat run of this store is running on this host (%s is locked)", path);
    snprintf(socket_path, sizeof socket_path, "%s/init.sock", dir);
    unlink(socket_path); /* of a killed predecessor: we hold the lock */
    int fd = unix_socket(socket_path, SOCK_NONBLOCK, &address); mode_t mask = umask(0177);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 8) != 0)
        DIE(EXIT_CANNOT, "cannot listen on %s: %m", socket_path);
    return umask(mask), fd;
}
int main(int argc, char **argv) {
    static const int taken[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD};
    char below_base[PATH_MAX], *dir = getenv("LIFEBOAT_RUN_DIR"), *base = NULL; struct sigaction hup; sigset_t set;
    if (!strcmp(program_invocation_short_name, "lifeboat-hook") || (argc == 2 && !strcmp(argv[1], "--hook"))) return hook();
    int at = argc > 1 && !strcmp(argv[1], "run") ? 2 : argc;
    if (at + 1 < argc && !strcmp(argv[at], "--run-dir-base")) base = argv[at + 1], at += 2;
    if (at + 1 >= argc || strcmp(argv[at], "--")) DIE(EXIT_USAGE, "usage: lifeboat-init run [--run-dir-base DIR] -- ENGINE...");
    if (!dir && !base) DIE(EXIT_USAGE, "LIFEBOAT_RUN_DIR is not set");
    if (!dir) snprintf(dir = below_base, sizeof below_base, "%s/run", base);
    setenv("LIFEBOAT_RUN_DIR", dir, 1), engine_argv = argv + at + 1;
    stdin_closed = fcntl(STDIN_FILENO, F_GETFD) < 0;
    for (int fd; (fd = open("/dev/null", O_RDWR)) >= 0 && (fd <= STDERR_FILENO || close(fd) != 0);) continue;
    close_range(3, ~0U, 0); /* whatever our caller left open */
    if (readlink("/proc/self/fd/0", stdin_path, sizeof stdin_path - 1) < 0) *stdin_path = 0;
    sigemptyset(&set); for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) sigaddset(&set, taken[i]);
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler == SIG_IGN) sigdelset(&set, SIGHUP); /* nohup stays nohup */
    signal(SIGCHLD, SIG_DFL), signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &set, NULL);
    if (getpid() != 1) enter_namespaces(&set);
    listener = open_run_dir(dir);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) DIE(EXIT_CANNOT, "signalfd: %m");
    for (int fd = PAGE_FD; fd <= TASK_ERR_FD; fd++) dup3(signals, fd, O_CLOEXEC); /* so that nothing else comes to be there */
    open_stream(&out), open_stream(&err), start_engine();
    loop(signals);
}
