/*
 * lifeboat-init: PID 1 of a Lifeboat run.
 *
 * Why it exists. A checkpointed task needs a parent that is tiny, starts in a millisecond, is never part of the dump, and
 * outlives everything else. The engine (a JVM) decides, but it may crash and be restarted while the task runs on; CRIU comes
 * and goes; the task is dumped here and restored by another lifeboat-init on another host. What the three have in common
 * lives here, and nothing more:
 *   - a PID namespace of our own, so that a restored task finds its process ids free and `kill -9` leaves no orphan twin: the
 *     outer process waits outside, the inner one is PID 1. In a container whose PID 1 we are already, there is only the inner;
 *   - the task's stdout and stderr, as pipes that are copied to our own. The task never holds our stdio: CRIU can give a
 *     restored task the pipes of the new init (--inherit-fd), but not a terminal, nor a log that has grown meanwhile;
 *   - reaping, and the task's wait status, kept until an engine has taken it;
 *   - starting processes with just the descriptors that they need, on the engine's order over RUN/init.sock;
 *   - the answer to CRIU's action script (`lifeboat-hook`), because images of containers need not have a shell.
 *
 * What it does not do. It decides nothing: not when to dump, not what an exit code means, not whether a task is run again.
 * It reads no configuration, opens no port, writes no file but its socket and lock. It holds no FUSE or userfaultfd descriptor.
 *
 * How it is built. One thread, one poll loop, no allocation, no blocking call: each turn of the loop tries everything that could
 * be ready, without blocking. Whatever may block (opening a file, chdir, exec) is done by the forked child, which reports a
 * failure over a close-on-exec pipe; end of file there means that exec has worked. Signals are blocked and read from a
 * signalfd: a blocked signal reaches PID 1 even where the kernel would ignore it as "default action".
 * Only linked statically, so that it runs in any image.
 *
 * Frames on init.sock and hook.sock: u32 little-endian length (at most 1 MiB), then fields separated by NUL, the verb first.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_FRAME = 1 << 20, CHUNK = 1 << 16, MAX_CHILDREN = 64, MAX_EVENTS = 16, MAX_ORPHANS = 64,
    HIGH_FD = 64,                /* our own pipe ends are above the numbers that children expect (0-2, 9-11) */
    FLUSH_MS = 10000,            /* how long a stuck reader of our output is waited for */
    BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000, BACKOFF_RESET_MS = 60000,
    HOOK_RETRY_MS = 100, HOOK_LIMIT_MS = 30000,
    EXIT_BUSY = 2, EXIT_USAGE = 2, EXIT_CANNOT = 125
};

/* One direction of the task's output: pipe -> buffer -> our own descriptor. */
struct stream {
    const char *name;
    int in, task_end;            /* the pipe; task_end is what the task and CRIU get */
    int out;                     /* where it goes */
    bool never_blocks, socket;   /* how `out` is written without blocking */
    bool broken;                 /* a write failed; said once */
    unsigned empty;              /* how often pipe and buffer were seen empty */
    unsigned long long written;
    size_t off, len;
    char buf[CHUNK];
};
static struct stream out = {.name = "stdout", .out = STDOUT_FILENO}, err = {.name = "stderr", .out = STDERR_FILENO};

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Writes what can be written without blocking; -1 and EAGAIN when that is nothing. */
static ssize_t put(const struct stream *s, const char *bytes, size_t n) {
    if (s->socket) return send(s->out, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (!s->never_blocks) {
        struct pollfd p = {s->out, POLLOUT, 0};
        if (poll(&p, 1, 0) == 0) return errno = EAGAIN, -1;
        if (n > PIPE_BUF) n = PIPE_BUF;
    }
    return write(s->out, bytes, n);
}

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...) {
    char line[1024] = "lifeboat-init: ";
    size_t at = strlen(line);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line + at, sizeof line - at - 1, format, args);
    va_end(args);
    at += n < 0 ? 0 : (size_t)n < sizeof line - at - 1 ? (size_t)n : sizeof line - at - 2;
    line[at++] = '\n';
    if (put(&err, line, at) < 0) return; /* a full or closed stderr must not stop us */
}

#define DIE(code, ...) do { complain(__VA_ARGS__); exit(code); } while (0)

static bool number(const char *text, long long low, long long high, long long *value) {
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    bool digits = (*text >= '0' && *text <= '9') || (*text == '-' && text[1] >= '0' && text[1] <= '9');
    return digits && !*end && !errno && *value >= low && *value <= high;
}

static uint32_t get32(const unsigned char *b) { return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24; }

static void put32(unsigned char *b, uint32_t v) { for (int i = 0; i < 4; i++) b[i] = (unsigned char)(v >> 8 * i); }

static bool socket_address(struct sockaddr_un *a, const char *path) {
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof a->sun_path) return errno = ENAMETOOLONG, false;
    strcpy(a->sun_path, path);
    return true;
}

/* ---------------------------------------------------------------- CRIU's action script */

/* Asks the engine; its answer, or -1 if there was none. */
static int ask_engine(const char *path, const unsigned char *frame, size_t length) {
    struct sockaddr_un to;
    unsigned char reply[64];
    long long code = -1;
    size_t got = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    bool sent = socket_address(&to, path) && connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    for (size_t at = 0; sent && at < length;) {
        ssize_t n = send(fd, frame + at, length - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) sent = false;
        if (n > 0) at += (size_t)n;
    }
    while (sent && got < sizeof reply - 1 && (got < 4 || got < 4 + (size_t)get32(reply))) {
        ssize_t n = recv(fd, reply + got, sizeof reply - 1 - got, 0);
        if (n == 0 || (n < 0 && errno != EINTR)) break;
        if (n > 0) got += (size_t)n;
    }
    reply[got] = 0;
    close(fd);
    if (got < 4 + sizeof "done" || got != 4 + (size_t)get32(reply) || memcmp(reply + 4, "done", sizeof "done")) return -1;
    return number((char *)reply + 4 + sizeof "done", 0, 255, &code) ? (int)code : -1;
}

static int hook(void) {
    static const char *const asked[] = {"pre-dump", "post-dump", "pre-restore", "post-restore", "pre-resume", "post-resume"};
    static unsigned char frame[4 + 3 * PATH_MAX];
    const char *action = getenv("CRTOOLS_SCRIPT_ACTION"), *run = getenv("LIFEBOAT_RUN_DIR");
    const char *dir = getenv("CRTOOLS_IMAGE_DIR"), *pid = getenv("CRTOOLS_INIT_PID");
    char path[PATH_MAX];
    bool known = false;
    for (size_t i = 0; action && i < sizeof asked / sizeof *asked; i++) known |= !strcmp(action, asked[i]);
    if (!known) return 0;
    if (!run) DIE(1, "the hook does not know its engine: LIFEBOAT_RUN_DIR is not set");
    snprintf(path, sizeof path, "%s/hook.sock", run);
    int n = snprintf((char *)frame + 4, sizeof frame - 4, "hook%c%s%c%s%c%s", 0, action, 0, dir ? dir : "", 0, pid ? pid : "0");
    if (n < 0 || (size_t)n >= sizeof frame - 4) DIE(1, "CRTOOLS_IMAGE_DIR is too long");
    put32(frame, (uint32_t)n);
    /* After post-dump the engine may have committed the snapshot, whether or not we hear of it. While the answer is unknown the
       tree must stay frozen (two lives could exist), so ask for ever: init restarts a dead engine. */
    for (long long give_up = now_ms() + HOOK_LIMIT_MS;; poll(NULL, 0, HOOK_RETRY_MS)) {
        int code = ask_engine(path, frame, 4 + (size_t)n);
        if (code >= 0) return code;
        if (strcmp(action, "post-dump") && now_ms() >= give_up) DIE(1, "no engine answered the hook %s at %s", action, path);
    }
}

/* ---------------------------------------------------------------- the outer process */

static const int forwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
static const char *const forwarded_name[] = {"HUP", "INT", "QUIT", "TERM", "USR1", "USR2"};
enum { FORWARDED = sizeof forwarded / sizeof *forwarded };

static pid_t outer_pid = 1;

static int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

/* Makes the namespaces. Returns in the inner process only; the outer one waits here and exits with its code. */
static void enter_namespaces(const sigset_t *signals) {
    int alive[2]; /* its writer is the outer process alone: end of file means that it is dead */
    if (pipe2(alive, O_CLOEXEC) != 0) DIE(EXIT_CANNOT, "pipe: %m");
    outer_pid = getpid();
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
        DIE(EXIT_CANNOT, "cannot make a PID and a mount namespace: %m; this needs CAP_SYS_ADMIN: run as root, or start the "
            "container with that capability (docker run --cap-add SYS_ADMIN), or with lifeboat as its PID 1");
    /* slave: nothing that is mounted inside shows outside, but what the host mounts later shows here */
    if (mount("", "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) DIE(EXIT_CANNOT, "cannot make / a slave mount: %m");
    pid_t inner = fork();
    if (inner < 0) DIE(EXIT_CANNOT, "cannot fork PID 1 of the namespace: %m");
    if (inner == 0) {
        struct pollfd gone = {alive[0], POLLIN, 0};
        close(alive[1]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (poll(&gone, 1, 0) != 0) _exit(EXIT_CANNOT); /* it died before the line above; getppid() is 0 either way */
        close(alive[0]);
        setsid(); /* else a terminal's Ctrl-C would reach us twice: from the terminal and from the outer process */
        if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
            DIE(EXIT_CANNOT, "cannot mount /proc in the new PID namespace: %m; in a container whose /proc is masked, start lifeboat "
                "as its PID 1, or with an unmasked /proc (docker run --security-opt systempaths=unconfined)");
        return;
    }
    close(alive[0]);
    for (;;) {
        int status, signal = sigwaitinfo(signals, NULL);
        if (signal > 0 && signal != SIGCHLD) kill(inner, signal);
        if (signal == SIGCHLD && waitpid(inner, &status, WNOHANG) == inner) exit(exit_code(status));
    }
}

/* ---------------------------------------------------------------- the connection to the engine */

static int conn = -1;
static unsigned generation;      /* of the connection: a reply never goes to another one than its request came from */
static bool ever_connected, greeted, overflow;
static unsigned char inbox[4 + MAX_FRAME + 1], outbox[MAX_FRAME];
static size_t in_len, out_len, frame_at;

static void hang_up(const char *why) {
    if (conn < 0) return;
    if (why) complain("the engine's connection is closed: %s", why);
    close(conn);
    conn = -1;
    greeted = false;
    in_len = out_len = 0;
    generation++;
}

static void send_outbox(void) {
    while (conn >= 0 && out_len > 0) {
        ssize_t n = send(conn, outbox, out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) return hang_up(errno == EPIPE || errno == ECONNRESET ? NULL : strerror(errno));
        memmove(outbox, outbox + n, out_len -= (size_t)n);
    }
}

static void frame_begin(void) {
    frame_at = out_len;
    overflow = sizeof outbox - out_len < 4;
    out_len += overflow ? 0 : 4;
}

static void frame_add(const char *field) {
    size_t n = strlen(field) + 1;
    if (overflow || (overflow = sizeof outbox - out_len < n)) return;
    memcpy(outbox + out_len, field, n);
    out_len += n;
}

static void frame_end(void) {
    if (overflow) return hang_up("it does not read what we send");
    put32(outbox + frame_at, (uint32_t)(--out_len - frame_at - 4)); /* no NUL after the last field */
    send_outbox();
}

static void say(const char *field, ...) {
    va_list args;
    if (conn < 0) return;
    frame_begin();
    va_start(args, field);
    for (; field; field = va_arg(args, const char *)) frame_add(field);
    va_end(args);
    frame_end();
}

static const char *decimal(long long v) {
    static char text[4][24];
    static unsigned next;
    char *t = text[next++ % 4];
    snprintf(t, sizeof text[0], "%lld", v);
    return t;
}

struct requester { char seq[24]; unsigned generation; };

static void reply_ok(const struct requester *r, const char *value) {
    if (r->generation == generation) say("ok", r->seq, value, NULL);
}

static void reply_err(const struct requester *r, int error, const char *text) {
    if (r->generation == generation) say("err", r->seq, decimal(error), text, NULL);
}

/* Events that happen while no engine listens are kept for the next one, the last 16 of each kind. */
struct queue { const char *verb; unsigned count; char a[MAX_EVENTS][72], b[MAX_EVENTS][16]; };
static struct queue signals_missed = {.verb = "sig"}, exits_missed = {.verb = "exited"};

static void event(struct queue *q, const char *a, const char *b) {
    if (greeted) return say(q->verb, a, b, NULL);
    snprintf(q->a[q->count % MAX_EVENTS], sizeof q->a[0], "%s", a);
    snprintf(q->b[q->count++ % MAX_EVENTS], sizeof q->b[0], "%s", b ? b : "");
}

static void send_missed(struct queue *q) {
    for (unsigned i = q->count < MAX_EVENTS ? 0 : q->count - MAX_EVENTS; i < q->count; i++)
        say(q->verb, q->a[i % MAX_EVENTS], *q->b[i % MAX_EVENTS] ? q->b[i % MAX_EVENTS] : NULL, NULL);
    q->count = 0;
}

/* ---------------------------------------------------------------- the task's output */

/* Our stdout may be shared with others, so O_NONBLOCK can't be set on it: a pipe or terminal is opened once more instead. */
static void open_stream(struct stream *s) {
    int ends[2];
    struct stat st;
    char self[32];
    if (pipe2(ends, O_CLOEXEC) != 0 || (s->task_end = fcntl(ends[1], F_DUPFD_CLOEXEC, HIGH_FD)) < 0)
        DIE(EXIT_CANNOT, "cannot make the pipe for the task's %s: %m", s->name);
    close(ends[1]);
    s->in = ends[0];
    fcntl(s->in, F_SETFL, O_NONBLOCK);
    if (fstat(s->out, &st) != 0) return;
    s->socket = S_ISSOCK(st.st_mode);
    s->never_blocks = S_ISREG(st.st_mode);
    if (!S_ISFIFO(st.st_mode) && !isatty(s->out)) return;
    snprintf(self, sizeof self, "/proc/self/fd/%d", s->out);
    int again = open(self, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (again < 0) return; /* not ours to open: poll and write small pieces */
    s->out = again;
    s->never_blocks = true;
}

static void pump(struct stream *s) {
    for (int turns = 0; turns < 16; turns++) { /* a busy writer must not keep the loop from its other work */
        if (s->len == 0) {
            ssize_t n = read(s->in, s->buf, sizeof s->buf);
            if (n < 0 && errno == EAGAIN) s->empty++;
            if (n <= 0) return;
            s->off = 0;
            s->len = (size_t)n;
        }
        ssize_t n = put(s, s->buf + s->off, s->len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n < 0) {
            int error = errno;
            if (!s->broken) complain("cannot write the task's %s: %s; what it writes there is lost", s->name, strerror(error));
            s->broken = true;
            n = (ssize_t)s->len;
        }
        s->off += (size_t)n;
        s->len -= (size_t)n;
        s->written += (unsigned long long)n;
    }
}

/* Waiting until both pipes have been seen empty, for somebody. */
struct flush {
    bool pending, patient;       /* patient: a reader that is slow, but reads, is waited for */
    unsigned out_empty, err_empty;
    unsigned long long begun_at, seen_at;
    long long deadline;
    struct requester by;
};
static struct flush drain, task_flush = {.patient = true}, exit_flush = {.patient = true};

static unsigned long long written(void) { return out.written + err.written; }

static void flush_begin(struct flush *f) {
    f->pending = true;
    f->out_empty = out.empty;
    f->err_empty = err.empty;
    f->begun_at = f->seen_at = written();
    f->deadline = now_ms() + FLUSH_MS;
}

/* True once, when it is over; f->deadline is 0 then if the pipes were emptied. */
static bool flush_over(struct flush *f) {
    if (!f->pending) return false;
    bool emptied = out.empty != f->out_empty && err.empty != f->err_empty;
    if (f->patient && written() != f->seen_at) f->seen_at = written(), f->deadline = now_ms() + FLUSH_MS;
    if (!emptied && now_ms() < f->deadline) return false;
    if (emptied) f->deadline = 0;
    f->pending = false;
    return true;
}

/* ---------------------------------------------------------------- children */

enum kind { NOBODY, ENGINE, TASK, SPAWNED, COUNTER, FAILED };

struct child {
    enum kind kind;
    pid_t pid;
    int report;                  /* of its start: a struct failure, or end of file once exec has worked; then -1 */
    struct requester by;
    char id[64];
};
struct failure { int error; char text[256]; };
struct order { enum kind kind; const char *id, *cwd, *log; char **argv, **env; int page; long long past; struct requester by; };

static struct child children[MAX_CHILDREN];
static enum { NONE, RUNNING, ENDED } task_state;
static pid_t task_pid, engine_pid;
static int task_status;
static bool exec_failed, ever_spawned, exiting, stdin_closed;
static int ordered_code;
static long long engine_started, engine_restart_at, backoff = BACKOFF_MIN_MS;
static char stdin_path[PATH_MAX], socket_path[PATH_MAX];
static char **engine_argv;
static struct { pid_t pid; int status; } orphans[MAX_ORPHANS]; /* last reaped strangers: a restored task may end before it is adopted */
static unsigned orphan_count;

static _Noreturn void finish(int code) {
    do kill(-1, SIGKILL); /* we are PID 1: that is every other process of the namespace */
    while (waitpid(-1, NULL, __WALL) > 0 || errno != ECHILD);
    pump(&out);
    pump(&err);
    unlink(socket_path);
    exit(code);
}

static struct child *find(enum kind kind, pid_t pid, const char *id) {
    for (struct child *c = children; c < children + MAX_CHILDREN; c++)
        if (c->kind == kind && (!pid || c->pid == pid) && (!id || !strcmp(c->id, id))) return c;
    return NULL;
}

static _Noreturn void fail(int report, const char *step, const char *what) {
    struct failure f = {.error = errno};
    snprintf(f.text, sizeof f.text, "%s %s: %s", step, what, strerror(f.error));
    if (write(report, &f, sizeof f) < 0) _exit(125);
    _exit(f.error == ENOENT ? 127 : 126);
}

/* Only a regular file can be given to a task that is to be checkpointed; it is opened anew, at our offset, by its path: CRIU
   can't place a descriptor that was opened before the mount namespace was made. */
static int open_stdin(void) {
    struct stat ours, theirs;
    if (!stdin_closed && fstat(STDIN_FILENO, &ours) == 0) {
        int fd = S_ISREG(ours.st_mode) ? open(stdin_path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
        if (fd >= 0 && fstat(fd, &theirs) == 0 && theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino &&
            lseek(fd, lseek(STDIN_FILENO, 0, SEEK_CUR), SEEK_SET) >= 0)
            return fd;
        if (!S_ISCHR(ours.st_mode) || ours.st_rdev != makedev(1, 3))
            dprintf(STDERR_FILENO, "lifeboat: the task's stdin is /dev/null (only regular files can be checkpointed)\n");
    }
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Forks until the process ids are past the wanted one, where the counter can't be written. */
static _Noreturn void raise_counter(long long past) {
    for (pid_t pid, last = getpid(); last <= past; last = pid) {
        if ((pid = fork()) == 0) _exit(0);
        if (pid < 0) _exit(errno);
        waitpid(pid, NULL, 0);
        if (pid < last) _exit(ERANGE); /* wrapped around */
    }
    _exit(0);
}

static _Noreturn void run_child(const struct order *o, int report) {
    sigset_t none;
    int in, to = STDERR_FILENO;
    for (int s = 1; s < NSIG; s++) signal(s, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (o->kind == COUNTER) raise_counter(o->past);
    if (o->kind == TASK) {
        setsid();
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* survives exec: its daemons stay in its tree */
        if (unshare(CLONE_NEWIPC) != 0)
            complain("the task gets no IPC namespace of its own (%m): if it uses System V shared memory it can't be checkpointed");
    } else {
        setpgid(0, 0);
    }
    in = o->kind == TASK ? open_stdin() : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0) fail(report, "open", "/dev/null");
    if (o->kind == SPAWNED) {
        const char *log = strcmp(o->log, "-") ? o->log : "/dev/null";
        to = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
        if (to < 0 || dup2(to, STDOUT_FILENO) < 0 || dup2(to, STDERR_FILENO) < 0) fail(report, "open", log);
        if ((o->page >= 0 && dup2(o->page, 9) < 0) || dup2(out.task_end, 10) < 0 || dup2(err.task_end, 11) < 0)
            fail(report, "dup", "the descriptors 9 to 11");
        close_range(12, ~0U, CLOSE_RANGE_CLOEXEC);
    } else if (o->kind == TASK) {
        if (dup2(out.task_end, STDOUT_FILENO) < 0 || dup2(err.task_end, STDERR_FILENO) < 0) fail(report, "dup", "the task's pipes");
        close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        if (chdir(o->cwd) != 0) fail(report, "chdir", o->cwd);
        environ = o->env; /* execvp looks for PATH here */
    }
    execvp(o->argv[0], o->argv);
    fail(report, "exec", o->argv[0]);
}

/* 0, or the errno. What happens between fork and exec is told later, by start_result. */
static int launch(const struct order *o) {
    struct child *c = find(NOBODY, 0, NULL);
    int report[2], high;
    if (!c) return EAGAIN;
    if (pipe2(report, O_CLOEXEC | O_NONBLOCK) != 0) return errno;
    high = fcntl(report[1], F_DUPFD_CLOEXEC, HIGH_FD);
    pid_t pid = high < 0 ? -1 : fork();
    int error = errno;
    if (pid == 0) run_child(o, high);
    close(report[1]);
    if (high >= 0) close(high);
    if (pid < 0) return close(report[0]), error;
    *c = (struct child){.kind = o->kind, .pid = pid, .report = report[0], .by = o->by};
    snprintf(c->id, sizeof c->id, "%s", o->id ? o->id : "");
    if (o->kind == TASK) task_pid = pid, task_state = RUNNING, task_status = 0;
    return 0;
}

static void start_result(struct child *c) {
    struct failure f;
    if (c->kind == NOBODY || c->report < 0) return;
    ssize_t n = read(c->report, &f, sizeof f);
    if (n < 0) return;
    close(c->report);
    c->report = -1;
    if (c->kind == COUNTER) return;
    if (n != sizeof f) {
        if (c->kind != ENGINE) reply_ok(&c->by, decimal(c->pid));
        return;
    }
    if (c->kind == ENGINE) {
        complain("cannot start the engine: %s", f.text);
        exec_failed = true;
    } else if (c->by.generation == generation) {
        reply_err(&c->by, f.error, f.text);
        if (c->kind == TASK) task_state = NONE, task_pid = 0;
        c->kind = FAILED;
    } /* else nobody waits for the answer any more: it has ended, with 126 or 127 */
}

static int write_last_pid(long long n) {
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC), error = 0;
    if (fd < 0) return errno;
    if (dprintf(fd, "%lld", n) < 0) error = errno;
    close(fd);
    return error;
}

static void start_engine(void) {
    engine_restart_at = 0;
    engine_started = now_ms();
    exec_failed = false;
    int error = launch(&(struct order){.kind = ENGINE, .argv = engine_argv, .page = -1});
    if (error) DIE(EXIT_CANNOT, "cannot fork the engine: %s", strerror(error));
    struct child *c = find(ENGINE, 0, NULL);
    engine_pid = c->pid;
    setpgid(engine_pid, engine_pid); /* the child does it too: whoever is first */
}

static void read_requests(void);

static void engine_ended(int status) {
    read_requests(); /* its last words may be the order to exit */
    kill(-engine_pid, SIGKILL); /* helpers of a dead engine */
    engine_pid = 0;
    if (exiting) return;
    bool alone = task_state == NONE && !find(SPAWNED, 0, NULL) && (!ever_spawned || (kill(-1, 0) != 0 && errno == ESRCH));
    if (alone) finish(exec_failed ? EXIT_CANNOT : exit_code(status));
    if (now_ms() - engine_started >= BACKOFF_RESET_MS) backoff = BACKOFF_MIN_MS;
    engine_restart_at = now_ms() + backoff;
    complain("the engine ended (%s %d) without an order to exit; starting it again in %lld ms", WIFEXITED(status) ? "exit code" :
             "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), backoff);
    backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
}

static void task_ended(pid_t pid, int status) {
    task_pid = pid;
    task_status = status;
    task_state = RUNNING; /* until its output is out */
    flush_begin(&task_flush);
}

static void reap(void) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        struct child *c = children;
        while (c < children + MAX_CHILDREN && (c->kind == NOBODY || c->pid != pid)) c++;
        if (c == children + MAX_CHILDREN) {
            orphans[orphan_count % MAX_ORPHANS].pid = pid;
            orphans[orphan_count++ % MAX_ORPHANS].status = status;
            continue;
        }
        start_result(c);
        if (c->report >= 0) close(c->report);
        struct child was = *c;
        c->kind = NOBODY;
        if (was.kind == ENGINE) engine_ended(status);
        if (was.kind == TASK) task_ended(pid, status);
        if (was.kind == SPAWNED) event(&exits_missed, was.id, decimal(status));
        if (was.kind == COUNTER && exit_code(status) == 0) reply_ok(&was.by, "fork");
        if (was.kind == COUNTER && exit_code(status) != 0)
            reply_err(&was.by, exit_code(status), "cannot raise the process id counter by forking");
    }
}

/* ---------------------------------------------------------------- the engine's requests */

static char *field[MAX_FRAME + 3]; /* of the request at hand, NULL after the last */
static long fields;

static void hello(const struct requester *r) {
    static const char *const state[] = {"none", "running", "ended"};
    struct stat o, e;
    int spawned = 0;
    fstat(out.in, &o);
    fstat(err.in, &e);
    for (int i = 0; i < MAX_CHILDREN; i++) spawned += children[i].kind == SPAWNED;
    frame_begin();
    frame_add("ok"), frame_add(r->seq), frame_add(state[task_state]), frame_add(decimal(task_pid));
    frame_add(decimal(task_state == ENDED ? task_status : 0));
    frame_add(decimal((long long)o.st_ino)), frame_add(decimal((long long)e.st_ino));
    frame_add(decimal(outer_pid)), frame_add(decimal(spawned));
    for (int i = 0; i < MAX_CHILDREN; i++)
        if (children[i].kind == SPAWNED) frame_add(children[i].id), frame_add(decimal(children[i].pid));
    frame_end();
    greeted = conn >= 0;
    if (!greeted) return;
    send_missed(&exits_missed);
    if (task_state == ENDED) say("taskexit", decimal(task_pid), decimal(task_status), NULL);
    send_missed(&signals_missed);
}

static void start_task(const struct requester *r, long long env) {
    if (task_state == RUNNING) return reply_err(r, EBUSY, "a task is running");
    memmove(field + 3, field + 4, (size_t)env * sizeof *field); /* room for a NULL between environment and arguments */
    field[3 + env] = NULL;
    int error = launch(&(struct order){.kind = TASK, .cwd = field[2], .env = field + 3, .argv = field + 4 + env, .page = -1, .by = *r});
    if (error) reply_err(r, error, strerror(error));
}

static void spawn(const struct requester *r) {
    struct order o = {.kind = SPAWNED, .id = field[2], .log = field[4], .argv = field + 5, .page = -1, .by = *r};
    struct sockaddr_un to;
    int error = 0, size = 4 << 20;
    if (find(SPAWNED, 0, o.id)) return reply_err(r, EEXIST, "a child of this id is running");
    if (strcmp(field[3], "-")) { /* non-blocking: a full backlog is an error, not a wait */
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
            setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        if (fd < 0 || !socket_address(&to, field[3]) || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) error = errno;
        if (!error && fcntl(fd, F_SETFL, 0) != 0) error = errno;
        if (!error && (o.page = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD)) < 0) error = errno;
        if (fd >= 0) close(fd);
        if (error) {
            char text[256];
            snprintf(text, sizeof text, "connect %s: %s", field[3], strerror(error));
            return reply_err(r, error, text);
        }
    }
    ever_spawned = true;
    error = launch(&o);
    if (o.page >= 0) close(o.page);
    if (error) reply_err(r, error, strerror(error));
}

static void send_signal(const struct requester *r, pid_t pid, int signal) {
    int error = 0, sent = 0;
    if (pid > 1 && pid != engine_pid) {
        error = kill(pid, signal) == 0 ? 0 : errno;
    } else if (pid == -1) { /* not kill(-1): that would hit the engine */
        DIR *proc = opendir("/proc");
        for (struct dirent *e; proc && (e = readdir(proc));) {
            long long p;
            if (!number(e->d_name, 2, INT_MAX, &p)) continue;
            if (p != engine_pid && (!engine_pid || getpgid((pid_t)p) != engine_pid)) sent += kill((pid_t)p, signal) == 0;
        }
        error = !proc ? errno : sent ? 0 : ESRCH;
        if (proc) closedir(proc);
    } else {
        error = EPERM;
    }
    error ? reply_err(r, error, strerror(error)) : reply_ok(r, NULL);
}

static void adopt(const struct requester *r, pid_t pid) {
    siginfo_t info;
    struct child *c = find(NOBODY, 0, NULL);
    if (task_state == RUNNING && task_pid == pid) return reply_ok(r, NULL);
    if (task_state == RUNNING) return reply_err(r, EBUSY, "a task is running");
    if (pid == engine_pid || find(SPAWNED, pid, NULL)) return reply_err(r, EINVAL, "not a restored task");
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0) {
        if (!c) return reply_err(r, EAGAIN, strerror(EAGAIN));
        *c = (struct child){.kind = TASK, .pid = pid, .report = -1};
        task_pid = pid, task_state = RUNNING, task_status = 0;
        return reply_ok(r, NULL);
    }
    for (unsigned i = orphan_count; i-- > 0 && orphan_count - i <= MAX_ORPHANS;)
        if (orphans[i % MAX_ORPHANS].pid == pid) {
            reply_ok(r, NULL);
            return task_ended(pid, orphans[i % MAX_ORPHANS].status);
        }
    reply_err(r, ECHILD, "not a child of init");
}

static void last_pid(const struct requester *r, long long n) {
    if (write_last_pid(n) == 0) return reply_ok(r, "write");
    int error = launch(&(struct order){.kind = COUNTER, .past = n, .page = -1, .by = *r});
    if (error) reply_err(r, error, strerror(error));
}

/* False if the request makes no sense. */
static bool request(void) {
    struct requester r = {.generation = generation};
    long long a, b;
    if (fields < 2 || strlen(field[1]) >= sizeof r.seq || !number(field[1], 0, LLONG_MAX, &a)) return false;
    strcpy(r.seq, field[1]);
    const char *verb = field[0];
    if (!strcmp(verb, "hello")) {
        hello(&r);
    } else if (!strcmp(verb, "task")) {
        if (fields < 5 || !number(field[3], 0, MAX_FRAME, &a) || fields - 4 <= a || !*field[4 + a]) return false;
        start_task(&r, a);
    } else if (!strcmp(verb, "spawn")) {
        if (fields < 6 || !*field[2] || strlen(field[2]) >= sizeof children->id || !*field[5]) return false;
        spawn(&r);
    } else if (!strcmp(verb, "signal")) {
        if (fields < 4 || !number(field[2], -INT_MAX, INT_MAX, &a) || !number(field[3], 0, NSIG - 1, &b)) return false;
        send_signal(&r, (pid_t)a, (int)b);
    } else if (!strcmp(verb, "adopt")) {
        if (fields < 3 || !number(field[2], 2, INT_MAX, &a)) return false;
        adopt(&r, (pid_t)a);
    } else if (!strcmp(verb, "drain")) {
        if (drain.pending && drain.by.generation == generation) return reply_err(&r, EBUSY, "a drain is under way"), true;
        drain.by = r;
        flush_begin(&drain);
    } else if (!strcmp(verb, "lastpid")) {
        if (fields < 3 || !number(field[2], 1, INT_MAX, &a)) return false;
        last_pid(&r, a);
    } else if (!strcmp(verb, "exit")) {
        if (fields < 3 || !number(field[2], 0, 255, &a)) return false;
        ordered_code = (int)a;
        if (!exiting) flush_begin(&exit_flush);
        exiting = true;
    } else {
        reply_err(&r, ENOSYS, "unknown request");
    }
    return true;
}

static void read_requests(void) {
    while (conn >= 0 && !exiting) {
        ssize_t n = recv(conn, inbox + in_len, sizeof inbox - 1 - in_len, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) return hang_up(in_len ? "it ended within a frame" : NULL);
        in_len += (size_t)n;
        while (conn >= 0 && !exiting && in_len >= 4) {
            uint32_t length = get32(inbox);
            if (length == 0 || length > MAX_FRAME) return hang_up("a frame has an impossible length");
            if (in_len < 4 + (size_t)length) break;
            unsigned char *end = inbox + 4 + length, next = *end;
            *end = 0;
            fields = 0;
            for (char *f = (char *)inbox + 4; f <= (char *)end; f += strlen(f) + 1) field[fields++] = f;
            field[fields] = NULL;
            unsigned before = generation;
            if (!request()) return hang_up("a request is malformed");
            if (before != generation) return;
            *end = next;
            memmove(inbox, end, in_len -= 4 + (size_t)length);
        }
    }
}

/* ---------------------------------------------------------------- the loop */

static void take_connection(int listener) {
    struct ucred who;
    socklen_t size = sizeof who;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 || (who.uid != 0 && who.uid != geteuid())) {
        complain("a connection of user %u is refused", who.uid);
        close(fd);
        return;
    }
    hang_up(NULL); /* a new engine replaces the old one */
    conn = fd;
    ever_connected = true;
}

static void take_signals(int fd) {
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == sizeof info)
        for (int i = 0; i < FORWARDED; i++) {
            if ((int)info.ssi_signo != forwarded[i]) continue;
            if (!ever_connected && (forwarded[i] == SIGTERM || forwarded[i] == SIGINT)) finish(128 + forwarded[i]);
            event(&signals_missed, forwarded_name[i], NULL);
        }
}

static void wait_for_work(int signals, int listener) {
    struct pollfd p[6 + MAX_CHILDREN];
    long long deadlines[] = {engine_restart_at, drain.pending ? drain.deadline : 0, task_flush.pending ? task_flush.deadline : 0,
                             exit_flush.pending ? exit_flush.deadline : 0};
    long long timeout = INT_MAX, now = now_ms();
    nfds_t n = 0;
    p[n++] = (struct pollfd){signals, POLLIN, 0};
    p[n++] = (struct pollfd){listener, POLLIN, 0};
    p[n++] = (struct pollfd){exiting ? -1 : conn, (short)(out_len ? POLLIN | POLLOUT : POLLIN), 0};
    for (struct stream *s = &out;; s = &err) {
        p[n++] = s->len ? (struct pollfd){s->out, POLLOUT, 0} : (struct pollfd){s->in, POLLIN, 0};
        if (s == &err) break;
    }
    for (int i = 0; i < MAX_CHILDREN; i++)
        if (children[i].kind != NOBODY && children[i].report >= 0) p[n++] = (struct pollfd){children[i].report, POLLIN, 0};
    for (int i = 0; i < 4; i++)
        if (deadlines[i] && deadlines[i] - now < timeout) timeout = deadlines[i] > now ? deadlines[i] - now : 0;
    if (poll(p, n, timeout == INT_MAX ? -1 : (int)timeout) < 0 && errno != EINTR) DIE(EXIT_CANNOT, "poll: %m");
}

static _Noreturn void loop(int signals, int listener) {
    for (;;) {
        take_signals(signals);
        take_connection(listener);
        send_outbox();
        read_requests();
        for (int i = 0; i < MAX_CHILDREN; i++) start_result(children + i);
        reap();
        pump(&out);
        pump(&err);
        if (flush_over(&drain)) {
            if (drain.deadline) reply_err(&drain.by, ETIMEDOUT, "the reader of lifeboat's output is stuck");
            else reply_ok(&drain.by, decimal((long long)(written() - drain.begun_at)));
        }
        if (flush_over(&task_flush)) {
            task_state = ENDED;
            if (greeted) say("taskexit", decimal(task_pid), decimal(task_status), NULL);
        }
        if (flush_over(&exit_flush)) finish(ordered_code);
        if (engine_restart_at && now_ms() >= engine_restart_at && !exiting) {
            if (task_state != RUNNING) write_last_pid(1); /* the engine's threads belong below all ids of a task */
            start_engine();
        }
        wait_for_work(signals, listener);
    }
}

/* ---------------------------------------------------------------- the start */

static void make_run_dir(const char *dir) {
    char path[PATH_MAX], lock[PATH_MAX];
    struct stat st;
    if (*dir != '/' || strlen(dir) > 90) DIE(EXIT_CANNOT, "LIFEBOAT_RUN_DIR must be an absolute path of at most 90 bytes: %s", dir);
    snprintf(path, sizeof path, "%s", dir);
    for (char *slash = path; (slash = strchr(slash + 1, '/'));) *slash = 0, mkdir(path, 0700), *slash = '/';
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) DIE(EXIT_CANNOT, "cannot make the directory LIFEBOAT_RUN_DIR=%s: %m", dir);
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 0777) != 0700)
        DIE(EXIT_CANNOT, "LIFEBOAT_RUN_DIR=%s must be a directory of user %u with mode 0700", dir, geteuid());
    snprintf(lock, sizeof lock, "%s/lock", dir);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) DIE(EXIT_CANNOT, "cannot open %s: %m", lock);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) /* and never closed */
        DIE(EXIT_BUSY, "another lifeboat run of this store is running on this host (%s is locked)", lock);
}

static int open_listener(const char *dir) {
    struct sockaddr_un address;
    snprintf(socket_path, sizeof socket_path, "%s/init.sock", dir);
    unlink(socket_path); /* of a killed predecessor: we hold the lock */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0177);
    if (fd < 0 || !socket_address(&address, socket_path) || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 8) != 0)
        DIE(EXIT_CANNOT, "cannot listen on %s: %m", socket_path);
    umask(mask);
    return fd;
}

int main(int argc, char **argv) {
    const char *self = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0], *dir = getenv("LIFEBOAT_RUN_DIR"), *base = NULL;
    sigset_t set;
    struct sigaction old;
    if (!strcmp(self, "lifeboat-hook") || (argc == 2 && !strcmp(argv[1], "--hook"))) return hook();
    int at = argc > 1 && !strcmp(argv[1], "run") ? 2 : argc;
    if (at + 1 < argc && !strcmp(argv[at], "--run-dir-base")) base = argv[at + 1], at += 2;
    if (at + 1 >= argc || strcmp(argv[at], "--")) DIE(EXIT_USAGE, "usage: lifeboat-init run [--run-dir-base DIR] -- ENGINE-COMMAND...");
    engine_argv = argv + at + 1;
    if (!dir && !base) DIE(EXIT_USAGE, "LIFEBOAT_RUN_DIR is not set");

    stdin_closed = fcntl(STDIN_FILENO, F_GETFD) < 0;
    for (int fd; (fd = open("/dev/null", O_RDWR)) >= 0 && (fd <= STDERR_FILENO || close(fd) != 0);) continue;
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* whatever our caller left open */
    ssize_t n = readlink("/proc/self/fd/0", stdin_path, sizeof stdin_path - 1);
    stdin_path[n < 0 ? 0 : n] = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (int i = 0; i < FORWARDED; i++) {
        sigaction(forwarded[i], NULL, &old);
        if (forwarded[i] != SIGHUP || old.sa_handler != SIG_IGN) sigaddset(&set, forwarded[i]); /* nohup stays nohup */
    }
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &set, NULL);
    if (getpid() != 1) enter_namespaces(&set);

    char default_dir[PATH_MAX];
    if (!dir) snprintf(default_dir, sizeof default_dir, "%s/run", base), dir = default_dir;
    setenv("LIFEBOAT_RUN_DIR", dir, 1);
    make_run_dir(dir);
    int listener = open_listener(dir), signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) DIE(EXIT_CANNOT, "signalfd: %m");
    open_stream(&out);
    open_stream(&err);
    start_engine();
    loop(signals, listener);
}
