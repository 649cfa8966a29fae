// SPDX-License-Identifier: GPL-2.0

//! Tests of threads, completions and wait queues.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use kernel_ext::{
    clock::monotonic_ms,
    kthread::{
        should_stop,
        KThread,
        ThreadGroup, //
    },
    wait::{
        Completion,
        Interrupt,
        WaitQueue, //
    }, //
};

use crate::{
    check,
    check_error,
    Test, //
};

pub(crate) const TESTS: &[Test] = &[
    ("completion_times_out", completion_times_out),
    ("completion_wakes", completion_wakes),
    ("wait_queue_times_out", wait_queue_times_out),
    ("wait_queue_wakes", wait_queue_wakes),
    ("thread_is_joined", thread_is_joined),
    ("thread_is_stopped", thread_is_stopped),
    ("threads_start_and_stop_at_once", start_and_stop),
    ("thread_group_limits_and_stops", group),
];

#[pin_data]
struct Shared {
    #[pin]
    done: Completion,
    #[pin]
    queue: WaitQueue,
    value: Atomic<u32>,
}

fn shared() -> Result<Arc<Shared>> {
    Arc::pin_init(
        pin_init!(Shared {
            done <- Completion::new(),
            queue <- WaitQueue::new(),
            value: Atomic::new(0),
        }),
        GFP_KERNEL,
    )
}

fn completion_times_out() -> Result {
    let began = monotonic_ms();
    let result = shared()?.done.wait(Interrupt::Killable, 50);
    check_error(result, ETIMEDOUT, "wait")?;
    let took = monotonic_ms().saturating_sub(began);
    check((40..5_000).contains(&took), "time of the wait")
}

fn completion_wakes() -> Result {
    let shared = shared()?;
    let other = shared.clone();
    let _thread = KThread::spawn(fmt!("selftest"), move || other.done.complete())?;
    shared.done.wait(Interrupt::Killable, 10_000)?;
    check_error(
        shared.done.wait(Interrupt::Any, 20),
        ETIMEDOUT,
        "only one goes",
    )
}

fn wait_queue_times_out() -> Result {
    let result = shared()?.queue.wait(Interrupt::Killable, 50, || false);
    check_error(result, ETIMEDOUT, "wait")
}

fn wait_queue_wakes() -> Result {
    let shared = shared()?;
    let other = shared.clone();
    let _thread = KThread::spawn(fmt!("selftest"), move || {
        kernel_ext::wait::pause();
        other.value.store(1, Relaxed);
        other.queue.wake_all();
    })?;
    let condition = || shared.value.load(Relaxed) == 1;
    shared.queue.wait(Interrupt::Killable, 10_000, condition)
}

fn thread_is_joined() -> Result {
    let shared = shared()?;
    let other = shared.clone();
    let thread = KThread::spawn(fmt!("selftest"), move || {
        other.done.complete_all();
        kernel_ext::wait::pause();
        other.value.store(7, Relaxed);
    })?;
    shared.done.wait(Interrupt::Killable, 10_000)?;
    drop(thread);
    check(shared.value.load(Relaxed) == 7, "returned before its end")?;
    check(
        Arc::into_unique_or_drop(shared).is_some(),
        "the closure is kept",
    )
}

fn thread_is_stopped() -> Result {
    let shared = shared()?;
    let other = shared.clone();
    let thread = KThread::spawn(fmt!("selftest"), move || {
        other.done.complete_all();
        let result = other.queue.wait(Interrupt::Killable, 60_000, || false);
        if result == Err(EINTR) && should_stop() {
            other.value.store(1, Relaxed);
        }
    })?;
    shared.done.wait(Interrupt::Killable, 10_000)?;
    drop(thread);
    check(shared.value.load(Relaxed) == 1, "the wait went on")
}

/// A thread that is stopped before it ran must give its closure back.
fn start_and_stop() -> Result {
    let shared = shared()?;
    for _ in 0..50 {
        let other = shared.clone();
        drop(KThread::spawn(fmt!("selftest"), move || {
            other.value.fetch_add(1, Relaxed);
        })?);
    }
    check(
        Arc::into_unique_or_drop(shared).is_some(),
        "a closure is kept",
    )
}

fn group() -> Result {
    let shared = shared()?;
    let group = KBox::pin_init(ThreadGroup::new(2), GFP_KERNEL)?;
    let spawn = || {
        let other = shared.clone();
        group.spawn(fmt!("selftest"), move || {
            while !should_stop() {
                let _ = other.queue.wait(Interrupt::Killable, 60_000, || false);
            }
            other.value.fetch_add(1, Relaxed);
        })
    };
    spawn()?;
    spawn()?;
    check_error(spawn(), EBUSY, "a third")?;
    group.stop();
    check_error(spawn(), ESHUTDOWN, "after the stop")?;
    check(shared.value.load(Relaxed) <= 2, "too many ran")
}
