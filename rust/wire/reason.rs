// SPDX-License-Identifier: GPL-2.0

//! Why a process cannot move, or did not: one code each, stable for ever.
//!
//! Codes travel in error replies and over the device; `banyanctl explain --json` prints
//! [`Reason::name`], people read [`Reason::text`]. A code is never renumbered and never given to
//! another meaning. 1 to 99 lie in the process, 100 to 149 in the node or pair of nodes, 150 to 199
//! in the course of a move.

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident = $code:literal, $short:literal, $text:literal;)*) => {
        /// Why a process cannot move, or did not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $text] $(#[$meta])* $name = $code,)*
        }

        impl Reason {
            /// Every reason, by ascending code.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The reason with this code, if this build knows it.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its short name, stable like its code.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $short,)*
                }
            }

            /// The words for people.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    Threads = 1, "threads", "it has more than one thread";
    SharedMm = 2, "shared-mm", "its address space is shared with another process (vfork or CLONE_VM)";
    SharedFiles = 3, "shared-files", "its descriptor table is shared with another process (CLONE_FILES)";
    SharedFs = 4, "shared-fs", "its working directory and umask are shared with another process (CLONE_FS)";
    SharedSighand = 5, "shared-sighand", "its signal handlers are shared with another process (CLONE_SIGHAND)";
    SharedMemory = 6, "shared-memory", "another process maps its shared memory, or has it open";
    SharedMapping = 7, "shared-mapping", "a writable shared mapping of a file that another process maps";
    DeviceMapping = 8, "device-mapping", "it maps a device's memory";
    HugeTlb = 9, "hugetlb", "it maps memory of hugetlbfs";
    LockedMemory = 10, "locked-memory", "it has locked memory (mlock)";
    Userfaultfd = 11, "userfaultfd", "a userfaultfd watches its memory";
    MappedLocalFile = 12, "mapped-local-file", "it maps a file that lies on a mount which the nodes do not share";
    MappedDeletedFile = 13, "mapped-deleted-file", "it maps a file that was deleted";
    SpecialMapping = 14, "special-mapping", "it has a mapping of a kind that is not known to be carried";
    VdsoMissing = 15, "vdso-missing", "its vDSO is unmapped or was moved apart";
    SecretMemory = 16, "secret-memory", "it has secret memory (memfd_secret)";
    ProtectionKeys = 17, "protection-keys", "it uses memory protection keys";
    ShadowStack = 18, "shadow-stack", "it runs with a shadow stack";
    KernelSamePage = 19, "ksm", "it merges pages (KSM) by prctl";

    Socket = 20, "socket", "it has a socket open";
    Epoll = 21, "epoll", "it has an epoll descriptor open";
    Eventfd = 22, "eventfd", "it has an eventfd open";
    Signalfd = 23, "signalfd", "it has a signalfd open";
    Timerfd = 24, "timerfd", "it has a timerfd open";
    Inotify = 25, "inotify", "it has an inotify or fanotify descriptor open";
    Pidfd = 26, "pidfd", "it has a pidfd open";
    IoUring = 27, "io-uring", "it uses io_uring";
    Aio = 28, "aio", "it has asynchronous input or output under way (io_setup)";
    UnsupportedFile = 29, "unsupported-file", "it has a descriptor of a kind that is not known to be carried";
    Pipe = 30, "pipe", "it has a pipe open that cannot be forwarded";
    LocalFile = 31, "local-file", "it has a file open on a mount that the nodes do not share";
    DeletedFile = 32, "deleted-file", "it has a file open that was deleted";
    FileLock = 33, "file-lock", "it holds a file lock";
    FileLease = 34, "file-lease", "it holds a file lease or watches a directory (F_NOTIFY)";
    SharedDescription = 35, "shared-description", "it shares an open file's offset with another process";
    FileOwner = 36, "file-owner", "a descriptor sends it signals (F_SETOWN with O_ASYNC)";
    PathOnly = 37, "path-only", "it has a descriptor opened with O_PATH that cannot be found again";
    MountFile = 38, "mount-file", "it has a namespace, mount or BPF descriptor open";
    DeviceFile = 39, "device-file", "it has a device open that cannot be forwarded";
    TooManyFiles = 40, "too-many-files", "it has more descriptors open than can be carried";

    Ptraced = 50, "ptraced", "it is being traced";
    Tracing = 51, "tracing", "it traces another process";
    Children = 52, "children", "it has children";
    NestedNamespace = 53, "nested-namespace", "it lives in a namespace of its own";
    Timens = 54, "timens", "it lives in a time namespace of its own";
    Seccomp = 55, "seccomp", "a seccomp filter is set";
    PosixTimers = 56, "posix-timers", "it has a POSIX timer of a kind that is not carried";
    PerfEvents = 57, "perf-events", "it has performance events open";
    KeyRings = 58, "key-rings", "it has a session, process or thread key ring of its own";
    Uprobes = 59, "uprobes", "a uprobe is set in it";
    Compat32 = 60, "compat32", "it is a 32-bit program";
    Kthread = 61, "kthread", "it is a kernel thread";
    InitProcess = 62, "init-process", "it is the init of a pid namespace";
    InKernel = 63, "in-kernel", "it is in a system call that cannot be interrupted";
    Exiting = 64, "exiting", "it is about to end";
    Stopped = 65, "stopped", "it is stopped";
    CgroupFrozen = 66, "cgroup-frozen", "its cgroup is frozen";
    RealTime = 67, "real-time", "it runs under a real-time or deadline policy";
    Rseq = 68, "rseq", "it is in a restartable sequence of a kind that is not known";
    SysvSem = 69, "sysv-sem", "it has undo values on System V semaphores";
    PiFutex = 70, "pi-futex", "it holds or waits for a priority-inheriting futex";
    Landlock = 71, "landlock", "Landlock limits what it may do with a file that it writes, or it has the rules of a domain open";
    SyscallUserDispatch = 72, "syscall-user-dispatch", "it dispatches system calls by itself (prctl)";
    IoPermissions = 73, "io-permissions", "it may use input and output ports (iopl, ioperm)";
    Ldt = 74, "ldt", "it uses a local descriptor table";
    DebugRegisters = 75, "debug-registers", "its debug registers are set by another program";
    CoreSched = 76, "core-sched", "it has a core-scheduling cookie";
    CpuMode = 77, "cpu-mode", "it uses a CPU mode that is not carried";
    ModuleOwned = 78, "module-owned", "another kernel module holds on to it";
    Setid = 79, "setid", "its credentials cannot be set up at the target";
    PendingSignals = 80, "pending-signals", "it has more signals pending than can be carried";
    TooManyMappings = 81, "too-many-mappings", "it has more mappings than can be carried";
    ExeNotShared = 82, "exe-not-shared", "its program file lies on a mount that the nodes do not share";
    CwdNotShared = 83, "cwd-not-shared", "its working directory lies on a mount that the nodes do not share";
    RootNotShared = 84, "root-not-shared", "its root directory is another one than that of the node";
    WaitingVfork = 85, "waiting-vfork", "it waits for a child of vfork";
    CoreDump = 86, "core-dump", "it is writing a core dump";
    NotCarried = 87, "not-carried", "it has state of a kind that is not known to be carried";
    NamedSharedMemory = 88, "named-shared-memory", "it maps a file of /dev/shm or another tmpfs that still has its name";
    SysvShm = 89, "sysv-shm", "it has System V shared memory attached";
    SealedMapping = 90, "sealed-mapping", "it has a sealed mapping (mseal)";
    MemoryPolicy = 91, "memory-policy", "it has a NUMA memory policy (set_mempolicy, mbind)";
    DeniesExecGain = 92, "mdwe", "it denies itself memory that becomes executable (PR_SET_MDWE)";
    SecurityLabel = 93, "security-label", "AppArmor or another security module confines it";

    NoSuchNode = 100, "no-such-node", "there is no such node";
    NodeDown = 101, "node-down", "the node is not up";
    AlreadyThere = 102, "already-there", "it is at that node already";
    Busy = 103, "busy", "it is being moved already";
    NotPermitted = 104, "not-permitted", "you may not move it";
    CpuFeature = 105, "cpu-feature", "the node's CPU lacks a feature that its state needs";
    KernelAbi = 106, "kernel-abi", "the node runs another kernel";
    PidTaken = 107, "pid-taken", "its pid is taken at the node";
    NoMemory = 108, "no-memory", "there is not enough memory";
    NotServing = 109, "not-serving", "the node takes no guests: nobody serves there, or its module is not loaded";
    Draining = 110, "draining", "the node is draining";
    NotJoined = 111, "not-joined", "this node is not in a cluster";
    TooManyGuests = 112, "too-many-guests", "the node has as many guests as it may have";
    TooManyMoves = 113, "too-many-moves", "too many moves are under way";
    ImageVersion = 114, "image-version", "the node does not know this version of the image";
    NoSuchProcess = 115, "no-such-process", "there is no such process";
    FileIdentity = 116, "file-identity", "a file is another one at the node";
    HomeDown = 117, "home-down", "its home is not up";
    NoHome = 118, "no-home", "its pid was given out before its node joined and names no home";
    TimeOffset = 119, "time-offset", "its clocks cannot be carried on at the node";
    CallHooks = 120, "call-hooks", "the node cannot hook system calls, since another tool holds them";
    XsaveLayout = 121, "xsave-layout", "the node's CPU lays its vector state out in another way";

    Transport = 150, "transport", "the connection broke";
    TargetRefused = 151, "target-refused", "the node refused it";
    TargetFailed = 152, "target-failed", "it could not be restored at the node";
    TimedOut = 153, "timed-out", "the move took too long and was given up";
    Killed = 154, "killed", "it was killed on the way";
    Interrupted = 155, "interrupted", "the request was interrupted";
    CaptureFailed = 156, "capture-failed", "its state could not be captured";
    BadImage = 157, "bad-image", "the image is damaged";
    Changed = 158, "changed", "its state changed while it was being captured";
    FlushFailed = 159, "flush-failed", "a file's data could not be written back before the move";
    Injected = 160, "injected", "a fault was injected";
    ChildFailed = 161, "child-failed", "no process could be made for it at the node";
    Fenced = 162, "fenced", "the node was declared dead";
    Internal = 163, "internal", "an internal check failed: see the kernel log";
}

impl Reason {
    /// Its code: what travels and what scripts may rely on.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The words for a code, also one that this build does not know.
    pub const fn text_of_code(code: u16) -> &'static str {
        match Self::from_code(code) {
            Some(reason) => reason.text(),
            None if code == 0 => "no reason",
            None => "a reason that this version does not know",
        }
    }

    /// The short name for a code, also one that this build does not know.
    pub const fn name_of_code(code: u16) -> &'static str {
        match Self::from_code(code) {
            Some(reason) => reason.name(),
            None if code == 0 => "none",
            None => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_sorted() {
        for pair in Reason::ALL.windows(2) {
            assert!(pair[0].code() < pair[1].code());
        }
        for (i, a) in Reason::ALL.iter().enumerate() {
            assert_eq!(Reason::from_code(a.code()), Some(*a));
            assert!(a
                .name()
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            for b in &Reason::ALL[i + 1..] {
                assert_ne!(a.name(), b.name());
            }
        }
        assert_eq!(Reason::from_code(0), None);
    }
}
