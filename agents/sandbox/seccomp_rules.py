"""Which system calls tool code may make: the tables, as data.

A call in `ALLOWED` goes through; one in `CONDITIONAL` goes through when every condition on its arguments holds, else
EPERM; one in `REFUSED` gets EPERM; every other number, known today or not, gets ENOSYS. `clone3` is left out of all
three so that glibc falls back to `clone`, whose flags a filter can see. Each entry is removed once by the mutation
tests, which must notice.

`REFUSED` adds no safety over ENOSYS: it names the attacks, so that a tool sees a clear "not permitted" and so that a
later change can't allow one of them without saying so.
"""

from __future__ import annotations

from dataclasses import dataclass

OWN_PID = -1  # stands for the process's own id, put in when the filter is assembled

_O_ACCMODE_TRUNC = 0o3 | 0o1000
_O_TRUNC_READ_ONLY = 0o1000
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00000080


@dataclass(frozen=True)
class Only:
    """Holds when `argument & mask` is one of `values`. `wide` compares all 64 bits (pointers), else the low 32."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    wide: bool = False


@dataclass(frozen=True)
class Never:
    """Holds when `argument & mask` is none of `values` (low 32 bits)."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


Condition = Only | Never

ALLOWED: tuple[str, ...] = (
    # memory
    "brk", "madvise", "mmap", "mprotect", "mremap", "munmap",
    # descriptors
    "close", "close_range", "dup", "dup2", "dup3", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait",
    "eventfd2", "lseek", "pipe", "pipe2", "poll", "ppoll", "pread64", "preadv", "pselect6", "pwrite64", "pwritev",
    "read", "readv", "select", "write", "writev",
    # files, all of them below Landlock's rules
    "access", "chdir", "copy_file_range", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fdatasync",
    "flock", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd", "getdents64", "lstat", "mkdir", "mkdirat",
    "newfstatat", "readlink", "readlinkat", "rename", "renameat", "rmdir", "stat", "statfs", "statx", "truncate",
    "umask", "unlink", "unlinkat",
    # time and waiting
    "alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday", "nanosleep", "pause",
    "restart_syscall", "setitimer", "time", "times",
    # threads and signals of this process
    "exit", "exit_group", "futex", "get_robust_list", "gettid", "membarrier", "rseq", "rt_sigaction", "rt_sigpending",
    "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sched_getaffinity", "sched_yield",
    "set_robust_list", "set_tid_address", "sigaltstack", "wait4", "waitid",
    # questions about itself
    "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp", "getpid", "getppid", "getrandom", "getresgid",
    "getresuid", "getrlimit", "getrusage", "getsid", "getuid", "sysinfo", "uname",
)  # fmt: skip

CONDITIONAL: dict[str, tuple[Condition, ...]] = {
    # A thread of this process, never a new process or namespace.
    "clone": (Only(0, (_CLONE_THREAD,), mask=_CLONE_THREAD | _CLONE_NEW),),
    # Opening for reading while truncating needs no write right on Landlock before ABI 3.
    "open": (Never(1, (_O_TRUNC_READ_ONLY,), mask=_O_ACCMODE_TRUNC),),
    "openat": (Never(2, (_O_TRUNC_READ_ONLY,), mask=_O_ACCMODE_TRUNC),),
    # F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW F_OFD_* F_DUPFD_CLOEXEC: no owner, no lease.
    "fcntl": (Only(1, (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030)),),
    # TCGETS FIONREAD FIONBIO FIONCLEX FIOCLEX TIOCGWINSZ: nothing that pushes input or talks to a device.
    "ioctl": (Only(1, (0x5401, 0x541B, 0x5421, 0x5450, 0x5451, 0x5413)),),
    # PR_SET_NAME PR_GET_NAME: not the death signal, not the dumpable flag.
    "prctl": (Only(0, (15, 16)),),
    # Reading its own limits, never setting any.
    "prlimit64": (Only(0, (0,)), Only(2, (0,), wide=True)),
    # No exchange, no whiteout (which is a device node).
    "renameat2": (Only(4, (0, 1)),),
    # abort() and faulthandler signal their own process.
    "tgkill": (Only(0, (OWN_PID,)),),
}

REFUSED: tuple[str, ...] = (
    # network
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
    "recvmmsg", "recvmsg", "sendfile", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socket",
    "socketpair", "splice", "tee", "vmsplice",
    # other programs and processes
    "execve", "execveat", "fork", "kcmp", "kill", "memfd_create", "memfd_secret", "pidfd_getfd", "pidfd_open",
    "pidfd_send_signal", "process_madvise", "process_mrelease", "process_vm_readv", "process_vm_writev", "ptrace",
    "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tkill", "userfaultfd", "vfork",
    # links, devices, owners, modes, times, attributes: Landlock lets these through
    "chmod", "chown", "chroot", "fanotify_init", "fanotify_mark", "fchmod", "fchmodat", "fchmodat2", "fchown",
    "fchownat", "fremovexattr", "fsetxattr", "futimesat", "inotify_add_watch", "inotify_init", "inotify_init1",
    "lchown", "link", "linkat", "lremovexattr", "lsetxattr", "mknod", "mknodat", "name_to_handle_at",
    "open_by_handle_at", "openat2", "removexattr", "setxattr", "symlink", "symlinkat", "utime", "utimensat", "utimes",
    # mounts and namespaces
    "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree", "pivot_root",
    "setns", "umount2", "unshare",
    # asynchronous I/O that a filter does not see
    "io_cancel", "io_destroy", "io_getevents", "io_setup", "io_submit", "io_uring_enter", "io_uring_register",
    "io_uring_setup",
    # shared memory and queues
    "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl", "msgget",
    "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt", "shmget",
    # identity, limits, scheduling
    "arch_prctl", "capset", "ioprio_set", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
    "personality", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "seccomp",
    "setdomainname", "setfsgid", "setfsuid", "setgid", "setgroups", "sethostname", "setpgid", "setpriority",
    "setregid", "setresgid", "setresuid", "setreuid", "setrlimit", "setsid", "setuid", "timer_create",
    # the kernel itself
    "acct", "add_key", "adjtimex", "bpf", "clock_adjtime", "clock_settime", "delete_module", "finit_module",
    "init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mbind",
    "migrate_pages", "mlock", "mlock2", "mlockall", "modify_ldt", "move_pages", "perf_event_open", "quotactl",
    "reboot", "request_key", "set_mempolicy", "settimeofday", "swapoff", "swapon", "sync", "syncfs", "syslog",
    "vhangup",
)  # fmt: skip
