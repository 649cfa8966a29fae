// SPDX-License-Identifier: GPL-2.0
//! The daemon's family of processes with a stand-in for the kernel module: arrivals come out of a socket, and a child that enters
//! runs a shell command where the real one would become the process that arrived.
//!
//! Needs root; says so and passes without.

#![deny(unsafe_code)]

use std::{
    fs,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{net::UnixDatagram, process::CommandExt}, //
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant}, //
};

use banyan_sys::{
    process::{self, Change, Forked},
    wire::{
        codec::text_field,
        uapi::{child_state, ServeWait},
        Wire, //
    }, //
};
use banyanctl::serve::{Module, Server, Supervisor};

/// Waiters that a daemon has.
const WAITERS: usize = 3;
const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const ESHUTDOWN: i32 = 108;
const SIGTERM: i32 = 15;
const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;
const SIGKILL: i32 = 9;

/// What arrivals run: each writes what it sees of itself, then stays.
const GUEST: &str = "echo $$ $PPID $(uname -n) $(cut -d' ' -f1 /proc/uptime) $(ls /proc/self/fd | wc -l) \
    $(grep SigBlk /proc/self/status | cut -f2) > $0/guest.$$.new; mv $0/guest.$$.new $0/guest.$$; exec sleep 60";

/// The stand-in: datagrams with arrivals come in, datagrams with events go out.
struct Stand {
    directory: PathBuf,
    arrivals: UnixDatagram,
    events: UnixDatagram,
}

impl AsFd for Stand {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrivals.as_fd()
    }
}

impl Stand {
    fn event(&self, text: &str) -> io::Result<()> {
        self.events.send(text.as_bytes()).map(drop)
    }
}

impl Server for Stand {
    fn wait(&self) -> io::Result<ServeWait> {
        let mut bytes = [0; 256];
        let length = self.arrivals.recv(&mut bytes)?;
        // Anything else than an arrival stands for the end of the module.
        ServeWait::decode(&bytes[..length]).map_err(|_| io::Error::from_raw_os_error(ESHUTDOWN))
    }

    fn enter(&self, arrival: u64) -> io::Error {
        if arrival == u64::MAX {
            return io::Error::from_raw_os_error(ENOENT);
        }
        Command::new("/bin/sh")
            .args(["-c", GUEST])
            .arg(&self.directory)
            .exec()
    }

    fn failed(&self, arrival: u64, errno: i32) -> io::Result<()> {
        self.event(&format!("failed {arrival} {errno}"))
    }

    fn state(&self, pid: i32, what: u32, status: i32) -> io::Result<()> {
        self.event(&format!("state {pid} {what} {status}"))
    }
}

/// The other ends of the stand-in's sockets.
struct Stage {
    directory: PathBuf,
    arrivals: UnixDatagram,
    events: UnixDatagram,
}

impl Stage {
    fn arrive(&self, arrival: u64, pid: i32, home: u32, seconds: i64) {
        let name = format!("home{home}");
        let record = ServeWait {
            size: ServeWait::SIZE as u32,
            pid,
            arrival,
            home,
            monotonic_offset: seconds * 1_000_000_000,
            boottime_offset: seconds * 1_000_000_000,
            nodename: text_field(name.as_bytes()),
            ..ServeWait::ZERO
        };
        let mut bytes = [0; 256];
        let length = record.encode(&mut bytes).expect("an arrival fits");
        self.arrivals
            .send(&bytes[..length])
            .expect("the daemon listens");
    }

    /// Waits for an event, skipping those about helpers, which end when they want.
    fn expect(&self, wanted: &str) {
        let limit = Instant::now() + Duration::from_secs(20);
        let mut bytes = [0; 256];
        while Instant::now() < limit {
            if let Ok(length) = self.events.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]);
                if text == wanted {
                    return;
                }
                println!("  skipped: {text}");
            }
        }
        panic!("no event \"{wanted}\"");
    }

    /// What a guest saw of itself.
    fn guest(&self, pid: i32) -> Vec<String> {
        let path = self.directory.join(format!("guest.{pid}"));
        let limit = Instant::now() + Duration::from_secs(20);
        while Instant::now() < limit {
            if let Ok(text) = fs::read_to_string(&path) {
                return text.split_whitespace().map(str::to_owned).collect();
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("guest {pid} did not start");
    }
}

fn uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").expect("/proc is mounted");
    text.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .expect("uptime is a number")
}

fn children(pid: i32) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().count()
}

fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Free pids, well apart from those that are given out now.
fn free_pids(count: usize) -> Vec<i32> {
    let highest: i32 = fs::read_to_string("/proc/sys/kernel/pid_max")
        .expect("/proc")
        .trim()
        .parse()
        .expect("pid_max is a number");
    let pids: Vec<i32> = (highest / 2..highest)
        .filter(|pid| !exists(*pid))
        .take(count)
        .collect();
    assert_eq!(pids.len(), count);
    pids
}

/// A module that is always loaded, and online while a file is there.
struct StandInModule(PathBuf);

impl Module for StandInModule {
    fn is_loaded(&self) -> bool {
        true
    }

    fn is_online(&self) -> bool {
        self.0.exists()
    }

    fn configure(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn reload(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn refresh(&mut self, _anew: bool) {}
}

fn daemon(directory: &Path, arrivals: UnixDatagram, events: UnixDatagram) -> ! {
    process::reset_signals();
    let run = || -> anyhow::Result<()> {
        banyanctl::serve::prepare_signals()?;
        let open = || {
            Ok(Stand {
                directory: directory.into(),
                arrivals: arrivals.try_clone()?,
                events: events.try_clone()?,
            })
        };
        Supervisor::new(&open, None).run(&mut StandInModule(directory.join("online")))
    };
    process::exit_now(match run() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("daemon: {error:#}");
            1
        }
    })
}

fn play(stage: &Stage, daemon: i32) {
    let pids = free_pids(6);
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("/proc");

    println!("two homes, several guests each, at once");
    for (index, pid) in pids[..4].iter().enumerate() {
        let home = 1 + (index % 2) as u32;
        stage.arrive(index as u64, *pid, home, i64::from(home) * 100_000);
    }
    for (index, pid) in pids[..4].iter().enumerate() {
        let home = 1 + index % 2;
        let seen = stage.guest(*pid);
        assert_eq!(seen[0], pid.to_string(), "its pid");
        assert_eq!(seen[1], daemon.to_string(), "its parent is the supervisor");
        assert_eq!(
            seen[2],
            format!("home{home}"),
            "its node name is that of its home"
        );
        let clock: f64 = seen[3].parse().expect("uptime");
        let expected = uptime() + 100_000.0 * home as f64;
        assert!(
            (clock - expected).abs() < 30.0,
            "its clock is that of its home: {clock}, expected {expected}"
        );
        // `ls` itself has standard error (the device, here the lowest free number) and its directory; nothing else was left open.
        assert!(
            seen[4].parse::<u32>().expect("a count") <= 3,
            "descriptors: {}",
            seen[4]
        );
        assert_eq!(seen[5], "0000000000000000", "no signal is blocked");
    }
    let others = children(daemon) - WAITERS - 4;
    assert!(
        (2..=2 * WAITERS).contains(&others),
        "a helper of each home for each waiter: {others}"
    );
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/hostname").expect("/proc"),
        name,
        "this machine's name is as before"
    );

    println!("the kernel is told what guests do");
    process::send_signal(pids[0], SIGSTOP).expect("guest");
    stage.expect(&format!(
        "state {} {} {SIGSTOP}",
        pids[0],
        child_state::STOPPED
    ));
    process::send_signal(pids[0], SIGCONT).expect("guest");
    stage.expect(&format!("state {} {} 0", pids[0], child_state::CONTINUED));
    process::send_signal(pids[0], SIGKILL).expect("guest");
    stage.expect(&format!(
        "state {} {} {SIGKILL}",
        pids[0],
        child_state::EXITED
    ));
    process::send_signal(pids[1], SIGTERM).expect("guest");
    stage.expect(&format!(
        "state {} {} {SIGTERM}",
        pids[1],
        child_state::EXITED
    ));

    println!("a pid that is free again is taken again, one that is taken is refused");
    fs::remove_file(stage.directory.join(format!("guest.{}", pids[0]))).expect("its file");
    stage.arrive(10, pids[0], 1, 100_000);
    assert_eq!(stage.guest(pids[0])[2], "home1");
    stage.arrive(11, pids[2], 1, 100_000);
    stage.expect(&format!("failed 11 {EEXIST}"));

    println!("a child that cannot enter ends");
    stage.arrive(u64::MAX, pids[4], 1, 100_000);
    stage.expect(&format!(
        "state {} {} {}",
        pids[4],
        child_state::EXITED,
        127 << 8
    ));

    println!("other offsets of the same home get a helper of their own");
    stage.arrive(12, pids[4], 1, -1);
    let clock: f64 = stage.guest(pids[4])[3].parse().expect("uptime");
    assert!((clock - (uptime() - 1.0)).abs() < 30.0);

    println!("offline and online again");
    fs::remove_file(stage.directory.join("online")).expect("the file");
    for _ in 0..WAITERS {
        stage.arrivals.send(b"end").expect("the daemon listens");
    }
    let limit = Instant::now() + Duration::from_secs(10);
    while children(daemon) != 4 && Instant::now() < limit {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(children(daemon), 4, "only the guests are left");
    fs::write(stage.directory.join("online"), "").expect("the file");
    stage.arrive(13, pids[5], 2, 200_000);
    assert_eq!(stage.guest(pids[5])[2], "home2");

    println!("the daemon ends, guests run on");
    process::send_signal(daemon, SIGTERM).expect("daemon");
    assert_eq!(
        process::wait_for_end(daemon).expect("waitid"),
        Some(Change::Exited(0))
    );
    for pid in [pids[0], pids[2], pids[3], pids[4], pids[5]] {
        assert!(exists(pid), "guest {pid} runs on");
        process::send_signal(pid, SIGKILL).expect("guest");
    }
}

fn main() {
    // In a user namespace root may not choose pids of the machine.
    let users = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_whole = users.split_whitespace().eq(["0", "0", "4294967295"]);
    if process::effective_uid() != 0 || !is_whole {
        println!("skipped: making processes with chosen pids needs the machine's root");
        return;
    }
    let directory = std::env::temp_dir().join(format!("banyanctl-guests-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a temporary directory");
    fs::write(directory.join("online"), "").expect("a file");
    let (arrivals, their_arrivals) = UnixDatagram::pair().expect("sockets");
    let (events, their_events) = UnixDatagram::pair().expect("sockets");
    events
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    let stage = Stage {
        directory: directory.clone(),
        arrivals,
        events,
    };
    match process::fork().expect("fork") {
        Forked::Child => daemon(&directory, their_arrivals, their_events),
        Forked::Parent(pid) => {
            let result = std::panic::catch_unwind(|| play(&stage, pid));
            // After a failure the daemon and its guests must not stay.
            let _ = process::send_signal(pid, SIGKILL);
            for entry in fs::read_dir(&directory).expect("the directory").flatten() {
                let name = entry.file_name().into_string().unwrap_or_default();
                if let Some(pid) = name.strip_prefix("guest.").and_then(|pid| pid.parse().ok()) {
                    let _ = process::send_signal(pid, SIGKILL);
                }
            }
            fs::remove_dir_all(&directory).expect("the directory");
            if result.is_err() {
                println!("test result: FAILED. 0 passed; 1 failed");
                std::process::exit(1);
            }
            println!("test result: ok. 1 passed; 0 failed");
        }
    }
}
