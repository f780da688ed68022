"""Tests of lifeboat-init, as root (CAP_SYS_ADMIN): `make test`, `make test-valgrind`, `make test-sanitize` in src/main/c.

CRIU=/path/to/criu (4.2 or newer) adds the dump and the restore of a real task.
"""
import ctypes
import errno
import fcntl
import json
import os
import pty
import random
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import (INIT, LIMIT, SANITIZER, WRAP, Connection, Run, check_reports, children_of, processes_with, wait_for, wrapped)  # noqa: E402

SEED = int(os.environ.get("SEED", "20261121"))
PYTHON = [sys.executable, "-S", "-E", "-c"]
PATH = "PATH=/usr/bin:/bin"
HEADER = struct.Struct("<I")


def code(status):
    return os.waitstatus_to_exitcode(int(status))


def nspid(host_pid):
    """The id of a process in its own PID namespace."""
    with open("/proc/%d/status" % host_pid) as f:
        return next(l for l in f if l.startswith("NSpid")).split()[-1]


def state(host_pid):
    """R, S, T, Z... or X if it is gone."""
    try:
        with open("/proc/%d/stat" % host_pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


class InitTest(unittest.TestCase):
    def start(self, **kw):
        run = Run(**kw)
        self.addCleanup(run.close)
        return run

    def started(self, **kw):
        run = self.start(**kw)
        return run, run.connect()

    def home(self):
        home = tempfile.mkdtemp(prefix="lifeboat-init-test-")
        self.addCleanup(shutil.rmtree, home, True)
        return home


class Start(InitTest):
    def test_engine_is_started_in_its_own_group_with_nothing_but_stdio(self):
        leak = os.open("/etc/hostname", os.O_RDONLY)
        self.addCleanup(os.close, leak)
        os.set_inheritable(leak, True)
        run = self.start(env={"A": "1", "B": ""}, close_fds=False)
        e = run.engines()[0]
        self.assertEqual((e["ppid"], e["pgid"]), (1, e["pid"]))
        self.assertLess(e["pid"], 300)
        added = ("LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBCXX_FORCE_NEW", "GLIBCPP_FORCE_NEW", "PWD", *SANITIZER) if WRAP else ()
        got = {k: v for k, v in e["env"].items() if k not in added and k != "LC_CTYPE"}  # Python sets LC_CTYPE itself
        self.assertEqual(got, {"A": "1", "B": "", "LIFEBOAT_RUN_DIR": run.run})
        self.assertEqual(sorted(e["fds"]), ["0", "1", "2"])
        self.assertEqual(e["fds"]["0"], "/dev/null")
        self.assertEqual(int(e["status"]["SigBlk"], 16), 0)
        self.assertEqual(run.exit(0), 0)

    def test_sockets_and_directory_are_private(self):
        run, c = self.started()
        self.assertEqual(stat.S_IMODE(os.stat(run.run).st_mode), 0o700)
        for name in ("init.sock", "lock"):
            self.assertEqual(stat.S_IMODE(os.stat(run.run + "/" + name).st_mode), 0o600)
        self.assertEqual(run.exit(0), 0)
        self.assertFalse(os.path.exists(run.run + "/init.sock"))

    def test_without_the_variable_the_run_directory_is_below_the_base(self):
        home = self.home()
        env = {k: v for k, v in os.environ.items() if k != "LIFEBOAT_RUN_DIR"}
        p = subprocess.run([*wrapped(home), INIT, "run", "--run-dir-base", home + "/a/b", "--", "/bin/sh", "-c",
                            "echo $LIFEBOAT_RUN_DIR"], env=env, capture_output=True, text=True)
        self.assertEqual((p.returncode, p.stdout), (0, home + "/a/b/run\n"), p.stderr)
        self.assertEqual(stat.S_IMODE(os.stat(home + "/a/b/run").st_mode), 0o700)
        check_reports(home, p.stderr)

    def test_a_directory_of_others_is_refused(self):
        home = self.home()
        for mode, owner in ((0o755, 0), (0o700, 65534)):
            shutil.rmtree(home + "/run", True)
            os.mkdir(home + "/run")
            os.chmod(home + "/run", mode)
            os.chown(home + "/run", owner, owner)
            run = self.start(home=home)
            self.assertEqual(run.wait(), 125)
            self.assertIn("must be a directory of user 0 with mode 0700", run.text())

    def test_usage_and_bad_directories(self):
        for argv, environment, want, text in (
                ([], {}, 2, "usage"), (["run"], {}, 2, "usage"), (["run", "--"], {}, 2, "usage"), (["ruin", "--", "a"], {}, 2, "usage"),
                (["run", "--", "true"], {}, 2, "LIFEBOAT_RUN_DIR is not set"),
                (["run", "--", "true"], {"LIFEBOAT_RUN_DIR": "relative"}, 125, "must be an absolute path"),
                (["run", "--", "true"], {"LIFEBOAT_RUN_DIR": "/tmp/" + "x" * 90}, 125, "at most 90 bytes"),
                (["run", "--", "true"], {"LIFEBOAT_RUN_DIR": "/proc/nothing"}, 125, "cannot make the directory")):
            p = subprocess.run([INIT, *argv], env={**environment, **SANITIZER}, capture_output=True, text=True)
            self.assertEqual(p.returncode, want, p.stderr)
            self.assertIn(text, p.stderr)
            self.assertEqual(p.stderr.count("\n"), 1)

    def test_engine_that_cannot_be_started(self):
        run = self.start(command=["/no/such/java"])
        self.assertEqual(run.wait(), 125)
        self.assertEqual(run.text(), "lifeboat-init: cannot start the engine: exec /no/such/java: No such file or directory\n")

    def test_engine_is_found_by_path(self):
        self.assertEqual(self.start(command=["sh", "-c", "exit 9"]).wait(), 9)

    def test_exit_code_of_an_engine_without_a_task(self):
        for order, want in (("exit 0", 0), ("exit 3", 3), ("kill 9", 137), ("kill 6", 134)):
            run = self.start()
            run.order(order)
            self.assertEqual(run.wait(), want)
            self.assertEqual(run.text(), "")

    def test_no_privilege_names_the_capability(self):
        libc = ctypes.CDLL(None, use_errno=True)

        def drop():
            if libc.prctl(24, 21, 0, 0, 0) != 0:  # PR_CAPBSET_DROP, CAP_SYS_ADMIN
                raise OSError(ctypes.get_errno(), "prctl")
        run = self.start(preexec=drop)
        self.assertEqual(run.wait(), 125)
        self.assertRegex(run.text(), r"\Alifeboat-init: cannot make .*Operation not permitted.*CAP_SYS_ADMIN.*--cap-add SYS_ADMIN.*\n\Z")

    def test_a_proc_that_cannot_be_mounted_is_told(self):
        # In a user namespace whose only /proc is partly covered the kernel refuses a fresh one, as in a container.
        script = "mount -t tmpfs none /proc/fs && exec unshare -Ur -m \"$@\""
        run = self.start(prefix=["unshare", "-m", "sh", "-c", script, "sh"])
        self.assertEqual(run.wait(), 125)
        self.assertIn("cannot mount /proc in the new PID namespace: Operation not permitted", run.text())

    def test_lock_is_held(self):
        run, _ = self.started()
        second = self.start(home=run.home)
        self.assertEqual(second.wait(), 2)
        self.assertIn("lifeboat-init: another lifeboat run of this store is running on this host (%s/lock is locked)\n" % run.run,
                      run.text())
        self.assertEqual(run.connect().state[0], "ok")
        self.assertEqual(run.exit(0), 0)

    def test_a_killed_predecessor_leaves_nothing_in_the_way(self):
        run, _ = self.started()
        run.process.kill()
        run.wait()
        wait_for(lambda: not processes_with(run.home), "the end of the first run")
        self.assertTrue(os.path.exists(run.run + "/init.sock"))
        second, c = self.started(home=run.home)
        self.assertEqual(second.exit(5), 5)

    def test_namespaces(self):
        run, c = self.started()
        inner = run.inner()
        for ns in ("pid", "mnt"):
            self.assertNotEqual(os.readlink("/proc/%d/ns/%s" % (inner, ns)), os.readlink("/proc/self/ns/" + ns))
        self.assertEqual(c.state[6], str(run.process.pid))
        self.assertIn("engine.py", run.inside("cat /proc/2/cmdline | tr '\\0' ' '"))
        where = self.home()
        run.inside("mount -t tmpfs leak %s" % where)
        self.assertIn(where, run.inside("cat /proc/mounts"))
        with open("/proc/mounts") as f:
            self.assertNotIn(where, f.read())
        self.assertRegex(run.inside("cat /proc/self/mountinfo"), r" / / [^-]*(master:\d+ )?- ")
        self.assertNotIn("shared:", run.inside("grep ' / / ' /proc/self/mountinfo"))
        self.assertEqual(run.exit(0), 0)

    def test_pid_1_of_a_container_makes_no_namespaces(self):
        run, c = self.started(prefix=["unshare", "-p", "-m", "-f", "--mount-proc", "--kill-child"])
        self.assertEqual(c.state[6], "1")
        inner = wait_for(lambda: children_of(run.process.pid), "PID 1")[0]
        for ns in ("pid_for_children", "mnt"):
            self.assertEqual(os.readlink("/proc/%d/ns/%s" % (inner, ns)), os.readlink("/proc/%d/ns/%s" % (run.process.pid, ns)))
        os.kill(inner, signal.SIGTERM)
        self.assertEqual(c.event("sig"), ["TERM"])
        self.assertEqual(run.exit(6), 6)


class Ends(InitTest):
    def marked(self):
        return "marker-%d-%d" % (os.getpid(), time.monotonic_ns())

    def test_kill_of_the_outer_process_ends_everything(self):
        run, c = self.started()
        marker = self.marked()
        self.assertEqual(c.task("sh", "-c", "setsid sleep 1000 & exec sh -c 'sleep 1001; :' " + marker)[0], "ok")
        c.ask("spawn", "s", "-", "-", "sh", "-c", "sleep 1002; :", marker)
        wait_for(lambda: len(processes_with(marker)) >= 2, "the marked processes")
        inner = run.inner()
        run.process.kill()
        self.assertEqual(run.wait(), -9)
        wait_for(lambda: not processes_with(marker) and not processes_with(run.home), "the end of all")
        wait_for(lambda: state(inner) in "ZX", "the end of PID 1 (somebody else has to reap it)")

    def test_kill_of_the_outer_process_at_any_moment_of_the_start(self):
        rng = random.Random(SEED)
        for _ in range(8 if WRAP else 60):
            run = self.start()
            time.sleep(rng.random() * (1.0 if WRAP else 0.012))  # a random instant is what is tested
            run.process.kill()
            run.wait()
            wait_for(lambda: not processes_with(run.home), "the end of all, seed %d" % SEED)

    def test_kill_of_the_inner_process(self):
        run, c = self.started()
        marker = self.marked()
        c.task("sh", "-c", "sleep 1000; :", marker)
        os.kill(run.inner(), signal.SIGKILL)
        self.assertEqual(run.wait(), 137)
        self.assertEqual(processes_with(marker), [])

    def test_exit_ends_everything_with_the_code(self):
        for want in (0, 1, 75, 255):
            run, c = self.started()
            marker = self.marked()
            c.task("sh", "-c", "trap '' TERM INT HUP; (setsid sleep 1000 &) ; while :; do sleep 1000; done", marker)
            self.assertEqual(run.exit(want), want)
            self.assertEqual(processes_with(marker), [])

    def test_exit_flushes_what_the_task_wrote(self):
        run, c = self.started()
        c.task(*PYTHON, "import os,time; os.write(1, b'x' * 60000); os.write(2, b'y' * 50000); open('%s/wrote','w'); time.sleep(1000)" % run.home)
        wait_for(lambda: os.path.exists(run.home + "/wrote"), "the output")
        self.assertEqual(run.exit(0), 0)
        self.assertEqual(run.text(run.out), "x" * 60000)
        self.assertEqual(run.text(), "y" * 50000)

    def test_an_engine_that_orders_exit_and_dies_at_once(self):
        script = ("import os,socket,struct\n"
                  "s = socket.socket(socket.AF_UNIX); s.connect(os.environ['LIFEBOAT_RUN_DIR'] + '/init.sock')\n"
                  "b = b'exit\\0001\\00033'; s.sendall(struct.pack('<I', len(b)) + b); os._exit(1)")
        for _ in range(3 if WRAP else 20):
            self.assertEqual(self.start(command=[*PYTHON, script]).wait(), 33)

    def test_an_engine_that_tidies_up_behind_its_order(self):
        script = ("import os,socket,struct,time\n"
                  "s = socket.socket(socket.AF_UNIX); s.connect(os.environ['LIFEBOAT_RUN_DIR'] + '/init.sock')\n"
                  "b = b'exit\\0001\\00033\\000tidy'; s.sendall(struct.pack('<I', len(b)) + b)\n"
                  "time.sleep(0.3); open('%s', 'w').close()")
        done = tempfile.mkdtemp() + "/done"
        self.assertEqual(self.start(command=[*PYTHON, script % done]).wait(), 33)
        os.unlink(done), os.rmdir(os.path.dirname(done))


class Signals(InitTest):
    NAMES = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2")

    def test_signals_reach_the_engine_as_events(self):
        run, c = self.started()
        for name in self.NAMES:
            run.process.send_signal(getattr(signal, "SIG" + name))
            self.assertEqual(c.event("sig"), [name])
        self.assertEqual(run.exit(0), 0)

    def test_term_and_int_before_any_engine_connected(self):
        for name, want in (("TERM", 143), ("INT", 130)):
            run = self.start()
            run.engines()
            run.process.send_signal(getattr(signal, "SIG" + name))
            self.assertEqual(run.wait(), want)

    def test_signals_wait_for_an_engine_the_last_16(self):
        run, c = self.started()
        c.close()
        inner = run.inner()
        wanted = []
        rng = random.Random(SEED)
        first = run.connect(hello=False)  # connected, but it has not said hello
        for _ in range(40):
            name = rng.choice([n for n in self.NAMES if wanted[-1:] != [n]])
            run.process.send_signal(getattr(signal, "SIG" + name))
            wanted.append(name)
            sig = int(getattr(signal, "SIG" + name))
            wait_for(lambda: not self.pending(run.process.pid) >> (sig - 1) & 1 and not self.pending(inner) >> (sig - 1) & 1,
                     "the delivery of " + name)
            first.ask("lastpid", 5000)  # a reply: the loop has turned
            first.ask("lastpid", 5000)
        second = run.connect()
        self.assertEqual([second.event("sig")[0] for _ in range(16)], wanted[-16:])
        second.ask("drain")
        self.assertEqual(second.events, [])
        self.assertEqual(run.exit(0), 0)

    @staticmethod
    def pending(pid):
        with open("/proc/%d/status" % pid) as f:
            return int(next(l for l in f if l.startswith("ShdPnd")).split()[1], 16)

    def test_nohup_stays_nohup(self):
        run, c = self.started(preexec=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        run.process.send_signal(signal.SIGHUP)
        run.process.send_signal(signal.SIGUSR1)
        self.assertEqual(c.event("sig"), ["USR1"])
        self.assertEqual(run.exit(0), 0)


class Task(InitTest):
    def output(self, *argv, **kw):
        run, c = self.started()
        self.assertEqual(c.task(*argv, **kw)[0], "ok")
        status = c.event("taskexit")[1]
        text = run.text(run.out)
        self.assertEqual(run.exit(0), 0)
        return text, code(status), run.text()

    def test_hello_before_during_and_after(self):
        run, c = self.started()
        self.assertEqual(c.state[:4], ["ok", "none", "0", "0"])
        self.assertEqual(c.state[7:], ["0", "0"])
        ok, pid = c.task("sh", "-c", "stat -L -c %i /proc/self/fd/1 /proc/self/fd/2; kill -STOP $$; exit 7")
        self.assertEqual(c.ask("hello")[:4], ["ok", "running", pid, "0"])
        wait_for(lambda: run.text(run.out).count("\n") == 2, "the inode numbers")
        self.assertEqual(run.text(run.out).split(), c.state[4:6])
        host = wait_for(lambda: [p for p in children_of(run.inner()) if nspid(p) == pid], "the task")[0]
        wait_for(lambda: state(host) == "T", "the task to stop")
        self.assertEqual(c.ask("signal", pid, int(signal.SIGCONT)), ["ok"])
        self.assertEqual(c.event("taskexit"), [pid, str(7 << 8)])
        again = run.connect()
        self.assertEqual(again.state[:4], ["ok", "ended", pid, str(7 << 8)])
        self.assertEqual(again.event("taskexit"), [pid, str(7 << 8)])
        self.assertEqual(run.exit(7), 7)

    def test_exit_status_of_every_kind(self):
        for script, want in (("exit 0", 0), ("exit 1", 1), ("exit 255", 255), ("kill -TERM $$", -15), ("kill -KILL $$", -9)):
            self.assertEqual(self.output("sh", "-c", script)[1], want)

    def test_environment_is_exactly_the_given_one(self):
        env = (PATH, "EMPTY=", "SPACE= a b ", "UTF=\u00e4\u20ac", "NOVALUE")
        self.assertEqual(self.output("env", "-0", env=env)[0].split("\0")[:-1], list(env))
        self.assertEqual(self.output("/usr/bin/env", env=())[0], "")

    def test_task_has_three_descriptors_and_default_signals(self):
        leak = os.open("/etc/hostname", os.O_RDONLY)
        self.addCleanup(os.close, leak)
        os.set_inheritable(leak, True)
        run, c = self.started(close_fds=False, preexec=lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN))
        c.task("sh", "-c", "ls -l /proc/$$/fd; umask")
        self.assertEqual(code(c.event("taskexit")[1]), 0)
        lines = run.text(run.out).splitlines()
        links = [l.split(" ", 8)[-1].split(None, 1)[-1] for l in lines if "->" in l]
        found = sorted(l.split()[-3:] for l in lines if "->" in l)
        self.assertEqual([f[0] for f in found], ["0", "1", "2"], links)
        self.assertEqual(found[0][2], "/dev/null")
        self.assertTrue(found[1][2].startswith("pipe:") and found[2][2].startswith("pipe:") and found[1][2] != found[2][2])
        old = os.umask(0)
        os.umask(old)
        self.assertEqual(int(lines[-1], 8), old)
        c.task("cat", "/proc/self/status")
        c.event("taskexit")
        status = dict(l.split(":\t", 1) for l in run.text(run.out).splitlines() if ":\t" in l)
        for field in ("SigBlk", "SigIgn", "SigCgt"):
            self.assertEqual(int(status[field], 16), 0, field)
        self.assertEqual(status["PPid"], "1")
        self.assertEqual(run.exit(0), 0)

    def test_a_spawned_child_may_open_as_many_files_as_allowed_and_the_task_keeps_its_limit(self):
        limits = (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        run, c = self.started(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits))
        c.task("sh", "-c", "ulimit -Sn; ulimit -Hn")
        self.assertEqual(code(c.event("taskexit")[1]), 0)
        self.assertEqual(run.text(run.out).split(), [str(limit) for limit in limits])
        c.ask("spawn", "s", "-", run.home + "/limits", "sh", "-c", "ulimit -Sn; ulimit -Hn")
        self.assertEqual(c.event("exited"), ["s", "0"])
        self.assertEqual(run.text(run.home + "/limits").split(), [str(limits[1])] * 2)
        self.assertEqual(run.exit(0), 0)

    def test_task_leads_a_session_in_its_own_ipc_namespace(self):
        run, c = self.started()
        pid = c.task("sh", "-c", "readlink /proc/self/ns/ipc /proc/1/ns/ipc; ps -o sid= -o pgid= -p $$")[1]
        c.event("taskexit")
        own, init, ids = run.text(run.out).splitlines()
        self.assertNotEqual(own, init)
        self.assertEqual(ids.split(), [pid, pid])
        self.assertEqual(run.exit(0), 0)

    def test_task_is_a_subreaper(self):
        script = ("import os, time\n"
                  "r, w = os.pipe()\n"
                  "if os.fork() == 0:\n"
                  "    os.setsid()\n"
                  "    parent = os.getpid()\n"
                  "    if os.fork() == 0:\n"
                  "        while os.getppid() == parent: time.sleep(0.001)\n"
                  "        os.write(w, b'%d' % os.getppid())\n"
                  "    os._exit(0)\n"
                  "os.wait()\n"
                  "print(os.getpid(), int(os.read(r, 20)))\n"
                  "os.wait()")
        text, status, _ = self.output(*PYTHON, script)
        mine, adopted_by = text.split()
        self.assertEqual((mine, status), (adopted_by, 0))

    def test_working_directory_and_path_lookup(self):
        home = self.home()
        with open(home + "/greet", "w") as f:
            f.write("#!/bin/sh\necho hello $1 in $PWD\n")
        os.chmod(home + "/greet", 0o755)
        text, status, _ = self.output("greet", "you", env=("PATH=/nowhere:" + home,), cwd=home)
        self.assertEqual(text, "hello you in %s\n" % home)

    def test_failures_of_the_start(self):
        run, c = self.started()
        home = self.home()
        with open(home + "/plain", "w") as f:
            f.write("not a program")
        for argv, cwd, want in ((("no-such",), "/", errno.ENOENT), ((home + "/plain",), "/", errno.EACCES),
                                ((home,), "/", errno.EACCES), (("true",), "/no/such", errno.ENOENT)):
            kind, number, text = c.task(*argv, cwd=cwd)
            self.assertEqual((kind, int(number)), ("err", want))
            self.assertIn(("chdir /no/such" if cwd != "/" else "exec " + argv[0]) + ": " + os.strerror(want), text)
            self.assertEqual(c.ask("hello")[1:3], ["none", "0"])
        c.task("sh", "-c", "exit 4")
        self.assertEqual(code(c.event("taskexit")[1]), 4)
        self.assertEqual(run.inside("ps -eo stat= | grep -c Z").strip(), "0")
        self.assertEqual(run.exit(0), 0)

    def test_one_task_at_a_time_but_another_after_it(self):
        run, c = self.started()
        pid = c.task("sleep", "1000")[1]
        self.assertEqual(c.task("true")[:2], ["err", str(errno.EBUSY)])
        c.ask("signal", pid, 9)
        self.assertEqual(c.event("taskexit"), [pid, "9"])
        second = c.task("true")[1]
        self.assertEqual(c.event("taskexit"), [second, "0"])
        self.assertEqual(run.exit(0), 0)

    def test_large_environment(self):
        env = [PATH] + ["V%d=%s" % (i, "x" * 1000) for i in range(900)]
        self.assertEqual(self.output("env", env=env)[0].count("\n"), 901)


class Stdin(InitTest):
    def read(self, stdin, preexec=None):
        run, c = self.started(stdin=stdin, preexec=preexec)
        c.task("sh", "-c", "readlink /proc/self/fd/0; cat")
        self.assertEqual(code(c.event("taskexit")[1]), 0)
        text = run.text(run.out)
        self.assertEqual(run.exit(0), 0)
        return text, run.text()

    NOTE = "lifeboat: the task's stdin is /dev/null (only regular files can be checkpointed)\n"

    def test_regular_file_at_our_offset(self):
        path = self.home() + "/in put"
        with open(path, "w+") as f:
            f.write("first\nsecond\n")
            f.flush()
            f.seek(6)
            self.assertEqual(self.read(f), (path + "\nsecond\n", ""))

    def test_deleted_file(self):
        with tempfile.TemporaryFile("w+") as f:
            f.write("gone")
            f.flush()
            f.seek(0)
            self.assertEqual(self.read(f), ("/dev/null\n", self.NOTE))

    def test_pipe_and_null(self):
        self.assertEqual(self.read(subprocess.PIPE), ("/dev/null\n", self.NOTE))
        self.assertEqual(self.read(subprocess.DEVNULL), ("/dev/null\n", ""))

    @unittest.skipIf(WRAP == "valgrind", "valgrind puts its log where a descriptor is closed")
    def test_closed(self):
        self.assertEqual(self.read(subprocess.DEVNULL, preexec=lambda: os.close(0)), ("/dev/null\n", ""))


class Output(InitTest):
    WRITER = ("import os, sys, hashlib\n"
              "n = int(sys.argv[1]); data = b''.join(b'%09d\\n' % i for i in range(n // 10))\n"
              "while data:\n"
              "    w = os.write(1, data[:300000]); data = data[w:]\n"
              "os.write(2, b'written\\n')\n")

    @staticmethod
    def lines(n):
        return b"".join(b"%09d\n" % i for i in range(n // 10))

    def test_much_output_to_a_slow_reader(self):
        rng = random.Random(SEED)
        for reader in ("pipe", "socket", "pty"):
            n = 400_000 if WRAP or reader == "pty" else 3_000_000
            if reader == "pipe":
                r, w = os.pipe()
            elif reader == "socket":
                a, b = socket.socketpair()
                r, w = a.detach(), b.detach()
            else:
                r, w = pty.openpty()
                import termios
                mode = termios.tcgetattr(w)
                mode[1] &= ~termios.OPOST
                termios.tcsetattr(w, termios.TCSANOW, mode)
            flags = fcntl.fcntl(w, fcntl.F_GETFL)
            run, c = self.started(stdout=w)
            c.task(*PYTHON, self.WRITER, n)
            self.assertEqual(c.ask("hello")[1], "running")  # the loop lives although nobody reads
            got = b""
            while len(got) < n:
                got += os.read(r, rng.choice((1, 100, 4096, 65536)) if len(got) < 20000 else 65536)
            self.assertEqual(got, self.lines(n))
            self.assertEqual(code(c.event("taskexit")[1]), 0)
            self.assertEqual(run.text(), "written\n")
            self.assertEqual(fcntl.fcntl(w, fcntl.F_GETFL), flags)  # our caller's description is as it was
            self.assertEqual(run.exit(0), 0)
            os.close(r)
            os.close(w)

    def test_a_stuck_reader_stops_the_task_but_not_the_loop(self):
        r, w = os.pipe()
        run, c = self.started(stdout=w)
        pid = c.task(*PYTHON, self.WRITER, 1_000_000)[1]
        host = wait_for(lambda: [p for p in children_of(run.inner()) if nspid(p) == pid], "the task")[0]
        wait_for(lambda: self.full(w) and state(host) == "S", "the full pipe")
        for _ in range(20):
            self.assertEqual(c.ask("hello")[1], "running")
        with os.fdopen(r, "rb") as f:
            self.assertEqual(f.read(1_000_000), self.lines(1_000_000))
        self.assertEqual(code(c.event("taskexit")[1]), 0)
        self.assertEqual(run.exit(0), 0)
        os.close(w)

    @staticmethod
    def full(fd):
        import select
        return not select.select([], [fd], [], 0)[1]

    def test_appending_to_a_file_shared_with_others(self):
        path = self.home() + "/log"
        with open(path, "a") as f:
            run, c = self.started(stdout=f)
            for i in range(5):
                c.task("echo", "task", str(i))
                c.event("taskexit")
                os.write(f.fileno(), b"other %d\n" % i)
            run.exit(0)
        with open(path) as f:
            self.assertEqual(f.read(), "".join("task %d\nother %d\n" % (i, i) for i in range(5)))

    def test_everything_is_out_before_taskexit(self):
        run, c = self.started()
        for i in range(1, 11):
            c.task(*PYTHON, "import os; os.write(1, b'z' * 65536)")
            c.event("taskexit")
            self.assertEqual(os.path.getsize(run.out), i * 65536)
        self.assertEqual(run.exit(0), 0)

    def test_reader_that_goes_away(self):
        r, w = os.pipe()
        run, c = self.started(stdout=w)
        os.close(w)
        os.close(r)
        c.task(*PYTHON, self.WRITER, 500_000)
        self.assertEqual(code(c.event("taskexit")[1]), 0)
        self.assertEqual(sorted(run.text().splitlines()),
                         ["lifeboat-init: cannot write the task's stdout: Broken pipe; what it writes there is lost", "written"])
        self.assertEqual(c.ask("drain")[0], "ok")
        self.assertEqual(run.exit(0), 0)

    @unittest.skipIf(WRAP == "valgrind", "valgrind puts its log where a descriptor is closed")
    def test_all_output_is_closed(self):
        run, c = self.started(preexec=lambda: (os.close(1), os.close(2)))
        c.task("sh", "-c", "echo a; echo b >&2; exit 3")
        self.assertEqual(code(c.event("taskexit")[1]), 3)
        self.assertEqual(run.exit(0), 0)

    def test_drain_counts_and_empties(self):
        run, c = self.started()
        self.assertEqual(c.ask("drain"), ["ok", "0"])
        pid = c.task(*PYTHON, "import os, signal\nwhile True:\n    os.write(1, b'o' * 3000); os.write(2, b'e' * 2000)\n"
                     "    os.kill(os.getpid(), signal.SIGSTOP)")[1]
        host = wait_for(lambda: [p for p in children_of(run.inner()) if nspid(p) == pid], "the task")[0]
        for i in range(1, 4):
            wait_for(lambda: state(host) == "T", "the task to have written")
            self.assertEqual(c.ask("drain")[0], "ok")
            self.assertEqual((os.path.getsize(run.out), os.path.getsize(run.err)), (i * 3000, i * 2000))
            c.ask("signal", pid, int(signal.SIGCONT))
            wait_for(lambda: os.path.getsize(run.err) == (i + 1) * 2000, "the next output")
        self.assertEqual(run.exit(0), 0)

    def test_drain_of_a_stuck_reader_gives_up_and_counts_what_went(self):
        r, w = os.pipe()
        run, c = self.started(stdout=w)
        c.task(*PYTHON, self.WRITER, 1_000_000)
        wait_for(lambda: self.full(w), "the full pipe")
        reply = ["ok"]
        while reply[0] == "ok":  # the task may have been slow to fill its own pipe behind the full one
            began = time.monotonic()
            reply = c.ask("drain")
        self.assertEqual(reply[:2], ["err", str(errno.ETIMEDOUT)])
        self.assertGreaterEqual(time.monotonic() - began, 9.5)
        seq = c.begin("drain")
        with os.fdopen(r, "rb") as f:
            self.assertEqual(f.read(1_000_000), self.lines(1_000_000))
        self.assertGreater(int(c.reply(seq)[1]), 0)
        self.assertEqual(run.exit(0), 0)
        os.close(w)


class Spawn(InitTest):
    LOOK = ("import json, os, socket, sys\n"
            "d = {'ppid': os.getppid(), 'pgid': os.getpgid(0) == os.getpid(), 'run': os.environ.get('LIFEBOAT_RUN_DIR'), 'fds': {}}\n"
            "for n in range(64):\n"
            "    try: d['fds'][n] = os.readlink('/proc/self/fd/%d' % n)\n"
            "    except OSError: pass\n"
            "if 9 in d['fds']:\n"
            "    s = socket.socket(fileno=9); d['buffer'] = s.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF); d['block'] = s.getblocking()\n"
            "    s.sendall(b'pages')\n"
            "os.write(10, b'via 10\\n'); os.write(11, b'via 11\\n')\n"
            "print(json.dumps(d), flush=True); print('to stderr', file=sys.stderr); sys.exit(3)")

    def test_descriptors_log_and_page_socket(self):
        run, c = self.started()
        page = socket.socket(socket.AF_UNIX)
        self.addCleanup(page.close)
        page.bind(run.home + "/page.sock")
        page.listen()
        kind, pid = c.ask("spawn", "dump-1", run.home + "/page.sock", run.home + "/criu.log", *PYTHON, self.LOOK)
        self.assertEqual(kind, "ok")
        self.assertEqual(c.event("exited"), ["dump-1", str(3 << 8)])
        peer, _ = page.accept()
        self.assertEqual(peer.recv(100), b"pages")
        self.assertEqual(peer.recv(100), b"")  # nobody else has it
        peer.close()
        with open(run.home + "/criu.log") as f:
            saw = json.loads(f.readline())
            self.assertEqual(f.read(), "to stderr\n")
        self.assertEqual(stat.S_IMODE(os.stat(run.home + "/criu.log").st_mode), 0o600)
        self.assertEqual(sorted(map(int, saw["fds"])), [0, 1, 2, 9, 10, 11])
        self.assertEqual(saw["fds"]["0"], "/dev/null")
        self.assertEqual((saw["fds"]["10"], saw["fds"]["11"]), ("pipe:[%s]" % c.state[4], "pipe:[%s]" % c.state[5]))
        self.assertEqual((saw["ppid"], saw["pgid"], saw["run"], saw["block"]), (1, True, run.run, True))
        self.assertGreaterEqual(saw["buffer"], 4 << 20)
        c.ask("drain")
        self.assertEqual((run.text(run.out), run.text()), ("via 10\n", "via 11\n"))
        c.ask("spawn", "dump-2", "-", run.home + "/criu.log", "sh", "-c", "echo more; readlink /proc/self/fd/9")
        self.assertEqual(c.event("exited"), ["dump-2", str(1 << 8)])
        self.assertTrue(run.text(run.home + "/criu.log").endswith("to stderr\nmore\n"))
        self.assertEqual(run.exit(0), 0)

    def test_without_a_log_it_is_dev_null(self):
        run, c = self.started()
        c.ask("spawn", "x", "-", "-", *PYTHON,
              "import os; [os.write(10, os.readlink(b'/proc/self/fd/%d' % n) + b'\\n') for n in (1, 2)]; print('lost')")
        c.event("exited")
        c.ask("drain")
        self.assertEqual(run.text(run.out), "/dev/null\n/dev/null\n")
        self.assertEqual(run.exit(0), 0)

    def test_failures(self):
        run, c = self.started()
        self.assertEqual(c.ask("spawn", "a", "-", "-", "/no/criu"), ["err", "2", "exec /no/criu: No such file or directory"])
        self.assertEqual(c.ask("spawn", "a", "/no/sock", "-", "true"), ["err", "2", "connect /no/sock: No such file or directory"])
        self.assertEqual(c.ask("spawn", "a", "/" + "x" * 200, "-", "true")[:2], ["err", str(errno.ENAMETOOLONG)])
        self.assertEqual(c.ask("spawn", "a", "-", "/no/dir/log", "true"), ["err", "2", "open /no/dir/log: No such file or directory"])
        full = socket.socket(socket.AF_UNIX)
        self.addCleanup(full.close)
        full.bind(run.home + "/full.sock")
        full.listen(0)
        waiting = socket.socket(socket.AF_UNIX)
        self.addCleanup(waiting.close)
        waiting.connect(run.home + "/full.sock")
        self.assertEqual(c.ask("spawn", "a", run.home + "/full.sock", "-", "true")[:2], ["err", str(errno.EAGAIN)])
        pid = c.ask("spawn", "a", "-", "-", "sleep", "1000")[1]
        self.assertEqual(c.ask("spawn", "a", "-", "-", "true")[:2], ["err", str(errno.EEXIST)])
        self.assertEqual(c.ask("hello")[7:], ["1", "a", pid, "0"])
        for i in range(100):
            got = c.ask("spawn", "many%d" % i, "-", "-", "sleep", "1000")
            if got[0] == "err":
                break
        self.assertEqual(got[:2], ["err", str(errno.EAGAIN)])
        self.assertEqual(int(c.ask("hello")[7]), i + 1)
        self.assertEqual(c.events, [])
        self.assertEqual(run.exit(0), 0)

    def test_exit_events_wait_for_the_next_engine(self):
        run, c = self.started()
        first = c.ask("spawn", "one", "-", "-", "sh", "-c", "read x <%s/gate; exit 5" % run.home) if os.mkfifo(run.home + "/gate") is None else None
        c.close()
        again = run.connect(hello=False)
        with open(run.home + "/gate", "w"):
            pass
        wait_for(lambda: len(children_of(run.inner())) == 1, "the end of the child")
        again.ask("lastpid", 5000)
        self.assertEqual(again.ask("hello")[7:], ["0", "0"])
        self.assertEqual(again.event("exited"), ["one", str(5 << 8)])
        self.assertEqual(first[0], "ok")
        self.assertEqual(run.exit(0), 0)


class Requests(InitTest):
    def test_signal(self):
        run, c = self.started()
        engine = run.engines()[0]["pid"]
        task = c.task("sleep", "1000")[1]
        child = c.ask("spawn", "s", "-", "-", "sleep", "1000")[1]
        for pid in (0, 1, engine, -engine, -2):
            self.assertEqual(c.ask("signal", pid, 9)[:2], ["err", str(errno.EPERM)], pid)
        self.assertEqual(c.ask("signal", 12345, 9)[:2], ["err", str(errno.ESRCH)])
        self.assertEqual(c.ask("signal", task, 0), ["ok"])
        self.assertEqual(c.ask("signal", child, 15), ["ok"])
        self.assertEqual(c.event("exited"), ["s", "15"])
        self.assertEqual(c.ask("signal", task, 10), ["ok"])
        self.assertEqual(c.event("taskexit"), [task, "10"])
        self.assertEqual(run.exit(0), 0)

    def test_signal_to_all_spares_the_engine(self):
        run, c = self.started()
        self.assertEqual(c.ask("signal", -1, 9)[:2], ["err", str(errno.ESRCH)])
        task = c.task("sh", "-c", "(setsid sleep 1000 &); sleep 1001")[1]
        c.ask("spawn", "s", "-", "-", "sleep", "1000")
        wait_for(lambda: run.inside("ps -e").count("sleep") == 3, "three sleepers")
        self.assertEqual(c.ask("signal", -1, 15), ["ok"])
        self.assertEqual(c.event("taskexit"), [task, "15"])
        self.assertEqual(c.event("exited"), ["s", "15"])
        wait_for(lambda: "sleep" not in run.inside("ps -e"), "the end of all sleepers")
        self.assertEqual(len(run.engines()), 1)
        self.assertEqual(run.exit(0), 0)

    def orphan(self, c, home, script):
        """A child of init that init does not know, as a restored task is: its parent is gone."""
        os.mkfifo(home + "/pid")
        c.ask("spawn", "maker", "-", "-", "sh", "-c", "setsid sh -c 'echo $$ >%s/pid; %s' & :" % (home, script))
        with open(home + "/pid") as f:
            pid = f.read().strip()
        c.event("exited")
        return pid

    def test_adopt(self):
        run, c = self.started()
        os.mkfifo(run.home + "/gate")
        pid = self.orphan(c, run.home, "read x <%s/gate; exit 23" % run.home)
        self.assertEqual(c.ask("adopt", pid), ["ok"])
        self.assertEqual(c.ask("adopt", pid), ["ok"])
        self.assertEqual(c.ask("hello")[1:3], ["running", pid])
        self.assertEqual(c.task("true")[:2], ["err", str(errno.EBUSY)])
        self.assertEqual(c.ask("adopt", 99999)[:2], ["err", str(errno.EBUSY)])
        with open(run.home + "/gate", "w"):
            pass
        self.assertEqual(c.event("taskexit"), [pid, str(23 << 8)])
        self.assertEqual(run.exit(23), 23)

    def test_adopt_after_its_death(self):
        run, c = self.started()
        os.mkfifo(run.home + "/gate")
        pid = self.orphan(c, run.home, "read x <%s/gate; exit 24" % run.home)
        with open(run.home + "/gate", "w"):
            pass
        wait_for(lambda: len(children_of(run.inner())) == 1, "the end of the orphan")
        self.assertEqual(c.ask("adopt", pid), ["ok"])
        self.assertEqual(c.event("taskexit"), [pid, str(24 << 8)])
        self.assertEqual(c.ask("hello")[1:4], ["ended", pid, str(24 << 8)])
        self.assertEqual(run.exit(0), 0)

    def test_a_restored_task_is_one_when_criu_succeeds(self):
        run, c = self.started()
        for fifo in "pid", "gate", "task":
            os.mkfifo(run.home + "/" + fifo)
        c.ask("spawn", "maker", "-", "-", "sh", "-c",
              "setsid sh -c 'echo $$ >%s/pid; read x <%s/task; echo last >/proc/self/fd/10; exit 23' & :" % (run.home, run.home))
        with open(run.home + "/pid") as f:
            pid = f.read().strip()
        c.event("exited")
        self.assertEqual(c.ask("adopt", pid, "restore-1")[:2], ["err", str(errno.ESRCH)])
        c.ask("spawn", "restore-1", "-", "-", "sh", "-c", "read x <%s/gate; exit 0" % run.home)
        self.assertEqual(c.ask("adopt", pid, "restore-1"), ["ok"])
        self.assertEqual(c.ask("adopt", pid, "restore-1"), ["ok"])
        self.assertEqual(c.ask("hello")[1:3], ["restoring", pid])
        with open(run.home + "/task", "w"):
            pass
        wait_for(lambda: len(children_of(run.inner())) == 2, "the end of the task")
        self.assertEqual(c.ask("hello")[1:3], ["restoring", pid])  # not told before CRIU has ended
        self.assertEqual(run.text(run.out), "")
        with open(run.home + "/gate", "w"):
            pass
        self.assertEqual(c.event("exited"), ["restore-1", "0"])
        self.assertEqual(c.event("taskexit"), [pid, str(23 << 8)])
        self.assertEqual(c.ask("hello")[1:3], ["ended", pid])
        self.assertEqual(run.exit(23), 23)
        self.assertEqual(run.text(run.out), "last\n")

    def test_a_restored_task_never_was_when_criu_fails(self):
        run, c = self.started()
        for attempt, dies_first in enumerate((False, True)):
            home = "%s/%d" % (run.home, attempt)
            os.mkdir(home)
            for fifo in "pid", "gate", "task":
                os.mkfifo(home + "/" + fifo)
            c.ask("spawn", "maker", "-", "-", "sh", "-c",
                  "setsid sh -c 'echo $$ >%s/pid; read x <%s/task; echo never >/proc/self/fd/10; exit 23' & :" % (home, home))
            with open(home + "/pid") as f:
                pid = f.read().strip()
            c.event("exited")
            c.ask("spawn", "restore", "-", "-", "sh", "-c", "read x <%s/gate; exit 1" % home)
            self.assertEqual(c.ask("adopt", pid, "restore"), ["ok"])
            if dies_first:
                with open(home + "/task", "w"):
                    pass
                wait_for(lambda: len(children_of(run.inner())) == 2, "the end of the task")
            with open(home + "/gate", "w"):
                pass
            self.assertEqual(c.event("exited"), ["restore", str(1 << 8)])
            self.assertEqual(c.ask("hello")[1:3], ["none", "0"])
            wait_for(lambda: len(children_of(run.inner())) == 1, "the task is killed")
        self.assertEqual(c.task("sh", "-c", "exit 5")[0], "ok")  # another may begin
        self.assertEqual(c.event("taskexit")[1], str(5 << 8))
        self.assertEqual(run.exit(5), 5)
        self.assertEqual(run.text(run.out), "")

    def test_what_is_restored_is_not_heard_before_it_is_the_task(self):
        run, c = self.started()
        c.ask("spawn", "restore-1", "-", "-", "sh", "-c", "echo never >/proc/self/fd/10; exit 1")
        self.assertEqual(c.event("exited"), ["restore-1", str(1 << 8)])
        self.assertEqual(c.task("echo", "heard")[0], "ok")
        c.event("taskexit")
        self.assertEqual(run.exit(0), 0)
        self.assertEqual(run.text(run.out), "heard\n")

    def test_helpers_of_a_child_that_is_killed_are_killed(self):
        run, c = self.started()
        c.ask("spawn", "s", "-", "-", "sh", "-c", "sleep 1000 & kill -STOP $!; kill -KILL $$")
        self.assertEqual(c.event("exited"), ["s", "9"])
        wait_for(lambda: len(children_of(run.inner())) == 1, "the end of the helper")
        self.assertEqual(run.exit(0), 0)

    def test_adopt_of_strangers(self):
        run, c = self.started()
        child = c.ask("spawn", "s", "-", "-", "sleep", "1000")[1]
        for pid, want in ((run.engines()[0]["pid"], errno.EINVAL), (child, errno.EINVAL), (4321, errno.ECHILD)):
            self.assertEqual(c.ask("adopt", pid)[:2], ["err", str(want)])
        self.assertEqual(c.ask("hello")[1], "none")
        self.assertEqual(run.exit(0), 0)

    def test_lastpid(self):
        run, c = self.started()
        self.assertEqual(c.ask("lastpid", 1000), ["ok", "write"])
        self.assertEqual(c.task("true")[1], "1001")
        run.inside("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys")
        self.assertEqual(c.ask("lastpid", 1200), ["ok", "fork"])
        wait_for(lambda: c.ask("hello")[1] == "ended", "the end")
        pid = int(c.task("true")[1])
        self.assertGreater(pid, 1200)
        self.assertLess(pid, 1300)
        self.assertEqual(c.ask("lastpid", 500), ["ok", "fork"])  # already past it
        self.assertEqual(run.exit(0), 0)

    def test_unknown_orphans_are_reaped(self):
        run, c = self.started()
        run.inside("for i in 1 2 3 4 5 6 7 8 9; do (setsid sh -c : &) ; done")
        wait_for(lambda: len(children_of(run.inner())) == 1, "the end of the orphans")
        self.assertEqual(run.inside("ps -eo stat= | grep -c Z").strip(), "0")
        self.assertEqual(run.exit(0), 0)

    def test_no_descriptor_is_lost(self):
        run, c = self.started()
        page = socket.socket(socket.AF_UNIX)
        self.addCleanup(page.close)
        page.bind(run.home + "/page.sock")
        page.listen(50)
        inner = run.inner()
        run.engines()  # its start is over
        c.ask("drain")
        c.ask("drain")
        before = len(os.listdir("/proc/%d/fd" % inner))
        for i in range(10):
            c.task("true")
            c.event("taskexit")
            c.task("no-such")
            c.ask("spawn", i, run.home + "/page.sock", "-", "true")
            c.event("exited")
            c.ask("spawn", i, run.home + "/page.sock", "-", "no-such")
            c.ask("spawn", i, run.home + "/no.sock", "-", "true")
            run.connect()
            c = run.connect()
        wait_for(lambda: len(os.listdir("/proc/%d/fd" % inner)) == before, "as many descriptors as before")
        self.assertEqual(run.exit(0), 0)


class Hold(InitTest):
    """Descriptors that outlive the engine. It must be in the namespace to have a process id there: `as_engine` runs in it."""

    ENGINE = """
import ctypes, os, sys
sys.path.insert(0, %(tests)r)
os.environ.setdefault("LIFEBOAT_INIT", "none")
from harness import Connection
libc = ctypes.CDLL(None, use_errno=True)
def take(fd):
    of = libc.syscall(434, 1, 0)
    got = libc.syscall(438, of, int(fd), 0)
    assert got >= 0, os.strerror(ctypes.get_errno())
    return got
c = Connection(%(socket)r)
hello = c.ask("hello")
spawned = int(hello[7])
names = hello[9 + 2 * spawned :]
held = dict(zip(names[::2], names[1::2]))
assert len(held) == int(hello[8 + 2 * spawned])
"""

    def as_engine(self, run, script):
        file = run.home + "/as_engine.py"
        with open(file, "w") as f:
            f.write(self.ENGINE % {"tests": os.path.dirname(os.path.abspath(__file__)), "socket": run.run + "/init.sock"} + script)
        return run.inside("%s -B %s" % (sys.executable, file)).split()

    def test_the_next_engine_takes_it_back(self):
        run, c = self.started()
        file = run.home + "/kept"
        self.assertEqual(self.as_engine(run, "f = open(%r, 'w+'); f.write('one'); f.flush(); print(c.ask('hold', 'a', f.fileno())[0])" % file), ["ok"])
        os.unlink(file)
        self.assertEqual(self.as_engine(run, "f = os.fdopen(take(held['a']), 'r+'); f.write('two'); f.seek(0); print(f.read())"), ["onetwo"])
        run.connect()
        self.assertEqual(run.exit(0), 0)

    def test_a_name_is_held_once_until_it_is_let_go(self):
        run, c = self.started()
        script = """
r, w = os.pipe()
first = c.ask("hold", "a", w)
second = c.ask("hold", "a", r)
other = c.ask("hold", "b", w)
os.close(r), os.close(w)
print(first[0], second[0], other[0], len(set(os.listdir("/proc/1/fd"))))
"""
        before = int(self.as_engine(run, "print(len(os.listdir('/proc/1/fd')))")[0])
        self.assertEqual(self.as_engine(run, script), ["ok", "ok", "ok", str(before + 2)])
        kinds = "print(*(name + os.readlink('/proc/1/fd/' + fd).split(':')[0] for name, fd in sorted(held.items())))"
        self.assertEqual(self.as_engine(run, kinds), ["apipe", "bpipe"])
        self.assertEqual(self.as_engine(run, "print(*(c.ask('hold', n, -1)[0] for n in 'abx'), len(os.listdir('/proc/1/fd')))"),
                         ["ok", "ok", "ok", str(before)])
        self.assertEqual(self.as_engine(run, "print(held)"), ["{}"])
        run.connect()
        self.assertEqual(run.exit(0), 0)

    def test_what_cannot_be_held(self):
        run, c = self.started()
        errors = self.as_engine(run, "print(*c.ask('hold', 'a', 987)[:2]); print(len(c.ask('hello')) - 9)")
        self.assertEqual(errors, ["err", str(errno.EBADF), "0"])
        self.assertEqual(self.as_engine(run, """
fd = os.open("/dev/null", os.O_RDONLY)
answers = [c.ask("hold", str(n), fd)[:2] for n in range(1025)]
print(sum(a[0] == "ok" for a in answers), *answers[-1])
print(c.ask("hold", "7", fd)[0], len(c.ask("hello")) - 9)
"""), ["1024", "err", str(errno.EMFILE), "ok", "2048"])
        outside = run.connect()  # a process that has no id in there
        self.assertEqual(outside.ask("hold", "a", 0)[0], "err")
        self.assertEqual(run.exit(0), 0)

    def test_no_child_gets_it(self):
        run, c = self.started()
        self.as_engine(run, "c.ask('hold', 'a', os.open('/dev/zero', os.O_RDONLY))")
        c = run.connect()
        self.assertEqual(c.task("sh", "-c", "ls -l /proc/self/fd")[0], "ok")
        self.assertEqual(c.event("taskexit")[1], "0")
        self.assertNotIn("zero", run.text(run.out))
        self.assertEqual(run.exit(0), 0)


class Restart(InitTest):
    def test_a_dead_engine_is_started_again_while_the_task_runs(self):
        run, c = self.started()
        pid = c.task("sh", "-c", "trap 'echo usr1' USR1; while :; do sleep 0.01; done")[1]
        for round, order in ((2, "kill 9"), (3, "exit 0"), (4, "exit 1")):
            run.order(order)
            self.assertTrue(c.closed() if round == 1 else True)
            run.engines(round)
            c = run.connect()
            self.assertEqual(c.state[:3], ["ok", "running", pid])
        self.assertIn("the engine ended (137) without an order to exit; starting it again in 100 ms", run.text())
        self.assertIn("the engine ended (0) without an order to exit; starting it again in 200 ms", run.text())
        self.assertIn("starting it again in 400 ms", run.text())
        c.ask("signal", pid, int(signal.SIGUSR1))
        wait_for(lambda: "usr1" in run.text(run.out), "the task's answer")
        self.assertEqual(run.exit(0), 0)

    def test_the_new_engine_is_told_of_a_task_that_ended_meanwhile(self):
        run, c = self.started()
        c.ask("lastpid", 1000)
        os.mkfifo(run.home + "/gate")
        pid = c.task("sh", "-c", "read x <%s/gate; exit 11" % run.home)[1]
        c.close()
        run.order("kill 9")
        with open(run.home + "/gate", "w"):
            pass
        second = run.engines(2)[1]
        c = run.connect()
        wait_for(lambda: c.ask("hello")[1] == "ended", "the end of the task")
        self.assertEqual(c.event("taskexit"), [pid, str(11 << 8)])
        self.assertEqual(run.exit(11), 11)
        self.assertLess(second["pid"], 2000)

    def test_engine_after_the_end_of_the_task_gets_a_low_id(self):
        run, c = self.started()
        c.ask("lastpid", 1000)
        c.task("true")
        c.event("taskexit")
        run.order("kill 9")
        self.assertLess(run.engines(2)[1]["pid"], 300)
        self.assertEqual(run.connect().state[1], "ended")
        self.assertEqual(run.exit(0), 0)

    def test_engine_dies_between_request_and_reply(self):
        run, c = self.started()
        c.begin("task", "/", 1, PATH, "sleep", "1000")
        run.order("kill 9")
        c.close()
        run.engines(2)
        c = run.connect()
        self.assertEqual(c.state[1], "running")
        pid = c.state[2]
        self.assertEqual(c.ask("signal", pid, 9), ["ok"])
        self.assertEqual(c.event("taskexit"), [pid, "9"])
        inner = run.inner()
        os.kill(inner, signal.SIGSTOP)  # so that it sees request and end at once
        c.begin("task", "/", 1, PATH, "no-such-program")
        c.close()
        os.kill(inner, signal.SIGCONT)
        c = run.connect()
        wait_for(lambda: c.ask("hello")[1] == "ended", "the end of the failed start")
        self.assertEqual(code(c.event("taskexit")[1]), 127)
        self.assertEqual(run.exit(0), 0)

    def test_helpers_of_a_dead_engine_die_too(self):
        run, c = self.started()
        c.task("sleep", "1000")
        run.inside("sleep 2000 >/dev/null 2>&1 & :")
        wait_for(lambda: "sleep" in run.inside("ps -eo args | grep '[s]leep 2000'"), "the helper")
        run.order("kill 9")
        run.engines(2)
        self.assertEqual(run.inside("ps -eo args | grep -c '[s]leep 2000'").strip(), "0")
        self.assertEqual(run.exit(0), 0)

    def test_engine_that_cannot_be_started_again(self):
        home = self.home()
        shutil.copy("/bin/sleep", home + "/engine")
        run, c = self.started(home=home, command=[home + "/engine", "1000"])
        pid = c.task("sh", "-c", "while :; do sleep 0.01; done")[1]
        os.rename(home + "/engine", home + "/away")
        host = [p for p in children_of(run.inner()) if nspid(p) != pid]
        os.kill(host[0], signal.SIGKILL)
        wait_for(lambda: run.text().count("cannot start the engine: exec %s/engine: No such file" % home) >= 2, "two attempts")
        os.rename(home + "/away", home + "/engine")
        c = run.connect()
        self.assertEqual(c.state[1], "running")
        self.assertEqual(run.exit(0), 0)

    def test_criu_under_way_keeps_the_run_alive(self):
        run, c = self.started()
        child = c.ask("spawn", "restore", "-", "-", "sleep", "1000")[1]
        run.order("kill 9")
        run.engines(2)
        c = run.connect()
        self.assertEqual(c.state[7:], ["1", "restore", child, "0"])
        c.ask("signal", child, 9)
        self.assertEqual(c.event("exited"), ["restore", "9"])
        run.order("exit 8")  # nothing runs any more
        self.assertEqual(run.wait(), 8)


class Frames(InitTest):
    def test_a_frame_in_single_bytes_and_many_in_one(self):
        run, c = self.started()
        for b in c.frame("hello", 77):
            c.socket.sendall(bytes([b]))
        self.assertEqual(c.receive()[:3], ["ok", "77", "none"])
        c.socket.sendall(b"".join(c.frame("drain" if i % 2 else "hello", i) for i in range(10)) + c.frame("hello", 10)[:7])
        kinds = [c.receive() for _ in range(10)]
        self.assertEqual(sorted(int(k[1]) for k in kinds if k[0] == "ok" or k[2] == str(errno.EBUSY)), list(range(10)))
        c.socket.sendall(c.frame("hello", 10)[7:])
        self.assertEqual(c.receive()[:2], ["ok", "10"])
        self.assertEqual(run.exit(0), 0)

    BAD = [HEADER.pack(0), HEADER.pack((1 << 20) + 1), HEADER.pack(0xffffffff), b"\xff" * 64] + [Connection.frame(*f) for f in (
        ("",), ("hello",), ("hello", ""), ("hello", "x"), ("hello", "-1"), ("hello", "1 "), ("dance", 1), ("hello", "1" * 40), ("task", 1),
        ("task", 1, "/", 0), ("task", 1, "/", 1, "sh"), ("task", 1, "/", -1, "sh"), ("task", 1, "/", 99999999999, "sh"),
        ("task", 1, "/", "", "sh"), ("task", 1, "/", 0, ""), ("spawn", 1, "id", "-", "-"), ("spawn", 1, "", "-", "-", "true"),
        ("spawn", 1, "x" * 64, "-", "-", "true"), ("spawn", 1, "i", "-", "-", ""), ("signal", 1, 2), ("signal", 1, "a", 9), ("signal", 1, 2, 65),
        ("signal", 1, 2, -1), ("signal", 1, 99999999999, 9), ("adopt", 1), ("adopt", 1, 1), ("adopt", 1, "self"), ("lastpid", 1),
        ("lastpid", 1, 0), ("lastpid", 1, 1 << 40), ("exit", 1), ("exit", 1, 256), ("exit", 1, -1), ("exit", 1, ""))]

    def test_malformed_frames_cost_the_connection_only(self):
        run, _ = self.started()
        for bad in self.BAD:
            c = run.connect()
            c.socket.sendall(bad)
            self.assertTrue(c.closed(), bad)
        self.assertEqual(run.text().count("the engine's connection is closed: "), len(self.BAD))
        c = run.connect()
        c.socket.sendall(b"\x09\0\0\0hello")
        c.close()
        wait_for(lambda: "it ended within a frame" in run.text(), "the line")
        c = run.connect()
        self.assertEqual(c.state[:2], ["ok", "none"])
        self.assertEqual(run.exit(0), 0)

    def test_fuzz(self):
        """Requests mutated at random; verbs that end the run or the test's own processes are left out."""
        rng = random.Random(SEED)
        run, _ = self.started()
        seeds = [("hello", 1), ("drain", 2), ("task", 3, "/", 1, PATH, "true"), ("spawn", 4, "i", "-", "-", "true"),
                 ("adopt", 5, 77), ("lastpid", 6, 1000), ("dance", 7)]
        for _ in range(60 if WRAP else 600):
            c = run.connect(hello=rng.random() < 0.5)
            data = bytearray(b"".join(c.frame(*rng.choice(seeds)) for _ in range(rng.randrange(1, 5))))
            for _ in range(rng.randrange(0, 6)):
                at = rng.randrange(len(data))
                what = rng.randrange(4)
                if what == 0:
                    data[at] = rng.randrange(256)
                elif what == 1:
                    del data[at:at + rng.randrange(1, 9)]
                elif what == 2:
                    data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
                else:
                    data[at] ^= 1 << rng.randrange(8)
                if not data:
                    break
            try:
                c.socket.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has closed already: that is its right
            c.close()
        c = run.connect()
        self.assertEqual(c.state[0], "ok", "seed %d" % SEED)
        wait_for(lambda: c.ask("hello")[1] != "running", "the end of tasks")
        self.assertEqual(c.ask("drain")[0], "ok")
        self.assertEqual(run.exit(0), 0, "seed %d: %s" % (SEED, run.text()[-2000:]))

    def test_largest_frame(self):
        run, c = self.started()
        c.send("hello", 1, b"\0" * ((1 << 20) - len("hello\x001\0")))  # a million empty fields more
        self.assertEqual(c.receive()[:2], ["ok", "1"])
        self.assertEqual(run.exit(0), 0)

    def test_an_engine_that_does_not_read(self):
        run, c = self.started()
        request = c.frame("hello", 1) * 1000
        try:
            while True:
                c.socket.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass
        wait_for(lambda: "it does not read what we send" in run.text(), "the line")
        self.assertEqual(run.connect().state[0], "ok")
        self.assertEqual(run.exit(0), 0)

    def test_a_new_connection_replaces_the_old_one(self):
        run, first = self.started()
        second = run.connect()
        self.assertTrue(first.closed())
        self.assertEqual(second.ask("drain"), ["ok", "0"])
        self.assertEqual(run.exit(0), 0)

    def test_another_user_is_refused(self):
        run, c = self.started()
        for path, mode in ((run.home, 0o711), (run.run, 0o711), (run.run + "/init.sock", 0o666)):
            os.chmod(path, mode)
        script = "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); sys.exit(len(s.recv(1)))"
        self.assertEqual(subprocess.run(["/usr/bin/env", *PYTHON, script, run.run + "/init.sock"]).returncode, 0)
        self.assertIn("a connection of user 65534 is refused", run.text())
        self.assertEqual(c.ask("drain"), ["ok", "0"])
        self.assertEqual(run.exit(0), 0)


class Hook(InitTest):
    def hook(self, home, action, **env):
        link = home + "/lifeboat-hook"
        if not os.path.exists(link):
            os.symlink(INIT, link)
        command = [INIT, "--hook"] if WRAP == "valgrind" else [link]
        p = subprocess.Popen([*wrapped(home), *command], stderr=subprocess.PIPE, text=True, env=dict(
            os.environ, CRTOOLS_SCRIPT_ACTION=action, LIFEBOAT_RUN_DIR=home, CRTOOLS_IMAGE_DIR="/im/ages", **env))
        self.addCleanup(lambda: (p.kill(), p.wait(), p.stderr.close(), check_reports(home, "")))
        return p

    def listen(self, home):
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        if os.path.exists(home + "/hook.sock"):
            os.unlink(home + "/hook.sock")
        s.bind(home + "/hook.sock")
        s.listen()
        s.settimeout(LIMIT)
        return s

    def accept(self, s):
        peer, _ = s.accept()
        self.addCleanup(peer.close)
        peer.settimeout(LIMIT)
        n = HEADER.unpack(peer.recv(4, socket.MSG_WAITALL))[0]
        return peer, peer.recv(n, socket.MSG_WAITALL).decode().split("\0")

    def test_answers_of_the_engine(self):
        home = self.home()
        s = self.listen(home)
        for action in ("pre-dump", "post-dump", "pre-restore", "post-restore", "pre-resume", "post-resume"):
            for want in (0, 1, 175):
                p = self.hook(home, action, CRTOOLS_INIT_PID="1001")
                peer, fields = self.accept(s)
                self.assertEqual(fields, ["hook", action, "/im/ages", "1001"])
                frame = Connection.frame("done", want)
                peer.sendall(frame[:5])
                peer.sendall(frame[5:])
                self.assertEqual(p.wait(LIMIT), want)

    def test_other_actions_are_not_asked(self):
        home = self.home()
        for action in ("network-lock", "network-unlock", "setup-namespaces", "post-setup-namespaces", "status-ready", "pre-stream", "", "pre"):
            self.assertEqual(self.hook(home, action).wait(LIMIT), 0)

    def test_post_dump_asks_until_it_is_answered(self):
        home = self.home()
        p = self.hook(home, "post-dump")
        s = self.listen(home)
        for broken in (b"", b"\x05\0", HEADER.pack(4) + b"done", HEADER.pack(5) + b"done\0", Connection.frame("done", "x"),
                       Connection.frame("gone", 0), Connection.frame("done", 256), HEADER.pack(1 << 31)):
            peer, fields = self.accept(s)
            self.assertEqual(fields, ["hook", "post-dump", "/im/ages", "0"])
            peer.sendall(broken)
            peer.close()
        s.close()  # refused for a while, then gone, then there again
        self.assertIsNone(p.poll())
        peer, _ = self.accept(self.listen(home))
        peer.sendall(Connection.frame("done", 0))
        self.assertEqual(p.wait(LIMIT), 0)

    def test_no_engine(self):
        """post-dump goes on asking when the others have given up after 30 s."""
        home = self.home()
        began = time.monotonic()
        patient, others = self.hook(home, "post-dump"), [self.hook(home, a) for a in ("pre-dump", "post-resume")]
        for p in others:
            self.assertEqual(p.wait(30 + LIMIT), 1)
            self.assertIn("no engine answered the hook", p.stderr.read())
        self.assertGreaterEqual(time.monotonic() - began, 29)
        self.assertIsNone(patient.poll())
        peer, _ = self.accept(self.listen(home))
        peer.sendall(Connection.frame("done", 0))
        self.assertEqual(patient.wait(LIMIT), 0)

    def test_a_killed_engine_is_asked_again_when_it_is_back(self):
        run, c = self.started()
        c.task("sleep", "1000")
        link = run.home + "/lifeboat-hook"
        os.symlink(INIT, link)
        s = self.listen(run.run)
        c.ask("spawn", "criu", "-", run.home + "/log", "env", "CRTOOLS_SCRIPT_ACTION=post-dump", "CRTOOLS_IMAGE_DIR=/d", link)
        peer, fields = self.accept(s)
        run.order("kill 9")
        peer.close()
        s.close()
        run.engines(2)
        c = run.connect()
        self.assertEqual(c.state[7:9], ["1", "criu"])
        peer, fields = self.accept(self.listen(run.run))
        self.assertEqual(fields, ["hook", "post-dump", "/d", "0"])
        peer.sendall(Connection.frame("done", 3))
        self.assertEqual(code(c.event("exited")[1]), 3)
        self.assertEqual(run.exit(0), 0)


class Criu(InitTest):
    """A task started by one lifeboat-init is dumped, and goes on below another one."""
    TASK = ("import ctypes, os, sys, time\n"
            "libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p\n"
            "shm = libc.shmat(libc.shmget(1234, 65536, 0o1600), None, 0); ctypes.memset(shm, 7, 65536)\n"
            "gate = sys.argv[1]; n = 0\n"
            "while not os.path.exists(gate):\n"
            "    n += 1; os.write(1, b'out %d %d\\n' % (n, os.getpid())); os.write(2, b'err %d\\n' % n); time.sleep(0.01)\n"
            "assert ctypes.string_at(shm, 65536) == b'\\7' * 65536\n"
            "os.write(1, b'last %d\\n' % n); sys.exit(17)\n")

    @unittest.skipUnless(os.environ.get("CRIU"), "CRIU=/path/to/criu is not set")
    def test_dump_and_restore(self):
        criu = os.environ["CRIU"]
        images = self.home()
        os.mkdir(images + "/i")
        gate = images + "/gate"
        hook = images + "/lifeboat-hook"
        os.symlink(INIT, hook)
        run, c = self.started()
        page = socket.socket(socket.AF_UNIX)
        self.addCleanup(page.close)
        ino = c.state[4:6]
        c.ask("lastpid", 1000)
        pid = c.task(*PYTHON, self.TASK, gate)[1]
        wait_for(lambda: "out 5 " in run.text(run.out), "output of the task")

        answered = self.answer(run.run)
        got = c.ask("spawn", "dump", "-", run.home + "/criu.log", criu, "dump", "-t", pid, "-D", images + "/i", "-o", "dump.log", "-v3",
                    "--tcp-established", "--network-lock", "skip", "--file-locks", "--manage-cgroups=ignore", "--action-script", hook)
        self.assertEqual(got[0], "ok")
        status = c.event("exited")[1]
        self.assertEqual(code(status), 0, self.log(images + "/i/dump.log") + run.text(run.home + "/criu.log"))
        self.assertEqual(c.event("taskexit"), [pid, "9"])
        self.assertEqual([f[1] for f in answered if f[1] != "pre-stream"], ["pre-dump", "post-dump"])
        before = run.text(run.out)
        self.assertEqual(run.exit(75), 75)
        self.assertEqual(run.text(run.out), before)

        second, c = self.started()
        answered = self.answer(second.run)
        got = c.ask("spawn", "restore", "-", second.home + "/criu.log", criu, "restore", "-D", images + "/i", "-o", "restore.log", "-v3",
                    "-d", "-S", "--tcp-close", "--file-locks", "--manage-cgroups=ignore", "--inherit-fd", "fd[10]:pipe:[%s]" % ino[0],
                    "--inherit-fd", "fd[11]:pipe:[%s]" % ino[1], "--action-script", hook)
        self.assertEqual(got[0], "ok")
        status = c.event("exited")[1]
        self.assertEqual(code(status), 0, self.log(images + "/i/restore.log") + second.text(second.home + "/criu.log"))
        self.assertEqual(c.ask("adopt", pid), ["ok"])
        self.assertEqual(c.ask("lastpid", 1100), ["ok", "write"])
        wait_for(lambda: second.text(second.out).count("\n") > 5 and "err" in second.text(), "output of the restored task")
        with open(gate, "w"):
            pass
        self.assertEqual(c.event("taskexit"), [pid, str(17 << 8)])
        lines = (before + second.text(second.out)).splitlines()
        self.assertEqual(lines[:-1], ["out %d %s" % (i + 1, pid) for i in range(len(lines) - 1)])  # none lost, none twice
        self.assertEqual(lines[-1], "last %d" % (len(lines) - 1))
        self.assertEqual([f[1] for f in answered], ["pre-restore", "post-restore", "pre-resume", "post-resume"])
        self.assertEqual(second.exit(17), 17)

    def log(self, path):
        try:
            with open(path, errors="replace") as f:
                return "".join(f.readlines()[-25:])
        except OSError as e:
            return str(e)

    def answer(self, run):
        """The engine's side of the hook: says yes to everything, and notes it."""
        asked = []
        s = socket.socket(socket.AF_UNIX)
        s.bind(run + "/hook.sock")
        s.listen()

        def serve():
            while True:
                try:
                    peer, _ = s.accept()
                except OSError:
                    return
                with peer:
                    n = HEADER.unpack(peer.recv(4, socket.MSG_WAITALL))[0]
                    asked.append(peer.recv(n, socket.MSG_WAITALL).decode().split("\0"))
                    peer.sendall(Connection.frame("done", 0))
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(lambda: (s.shutdown(socket.SHUT_RDWR), s.close(), thread.join(LIMIT)))
        return asked


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("the tests of lifeboat-init make namespaces: run them as root (CAP_SYS_ADMIN)")
    unittest.main(verbosity=2)
