// SPDX-License-Identifier: GPL-2.0

//! Tests of works at the border between kernel and user mode.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    boundary::{
        self,
        Notify,
        Outcome, //
    },
    own::Own,
    subject::Subject, //
};

use crate::{
    check,
    check_error,
    child::{
        at,
        Child,
        Job,
        Tally,
        MODULE,
        NO_CALL,
        SPIN, //
    },
    Test, //
};

pub(crate) const TESTS: &[Test] = &[
    ("work_runs_once_in_its_task", runs_once),
    ("work_interrupts_and_resumes", interrupts),
    ("work_without_interrupt_waits", waits),
    ("work_reaches_running_program", running),
    ("work_posts_works", posts_works),
    ("work_ends_task", ends),
    ("work_abandoned_at_exit", abandoned),
    ("work_not_lost_behind_end", not_lost),
    ("work_refused_by_ended_task", refused),
    ("work_given_up_unposted", given_up),
];

/// `exit` with 42, as `wait` gives it.
const STATUS: i32 = 42 << 8;

fn runs_once() -> Result {
    let child = Child::start()?;
    let wanted = child.subject.pid();
    check(wanted != child.parent(), "pid of the child")?;
    for notify in [Notify::Return, Notify::Interrupt] {
        // At once, while it may not have been in user mode yet, and again while it waits.
        let (pid, current, exiting) = child.ask(Notify::Interrupt, |own| {
            Ok((own.pid(), Subject::current().pid(), own.exiting()))
        })?;
        check(pid == wanted && current == wanted, "runs in its task")?;
        check(!exiting, "not at its exit")?;
        let tally = child.post(notify, |_| Outcome::Resume)?;
        child.ask(Notify::Interrupt, |_| Ok(()))?;
        tally.end()?;
        check(tally.counts() == (1, 0, 1), "once")?;
    }
    check(child.subject.exit_status().is_none(), "it lives on")
}

/// The child is taken out of its system call each time, and goes back into it.
fn interrupts() -> Result {
    let child = Child::start()?;
    let first = child.until_waiting()?;
    for _ in 0..5 {
        check(child.until_waiting()? == first, "the same again")?;
    }
    check(child.subject.exit_status().is_none(), "it lives on")
}

fn waits() -> Result {
    let child = Child::start()?;
    for _ in 0..20 {
        child.until_waiting()?;
        // It goes back into its call now; if it is slow, the work runs on the way and that says nothing.
        let tally = child.post(Notify::Return, |_| Outcome::Resume)?;
        match tally.wait(200) {
            Ok(()) => continue,
            Err(e) => check(e == ETIMEDOUT, "the wait goes on")?,
        }
        check(tally.counts() == (0, 0, 0), "not yet")?;
        child.ask(Notify::Interrupt, |_| Ok(()))?;
        tally.end()?;
        return check(tally.counts() == (1, 0, 1), "runs with the other");
    }
    check(false, "a sleeping child was always interrupted")
}

fn running() -> Result {
    let child = Child::start()?;
    let mut registers = child.until_waiting()?;
    registers[at::IP] = child.room + SPIN;
    registers[at::ORIG_AX] = NO_CALL;
    child.ask(Notify::Interrupt, move |own| {
        own.set_general_registers(&registers);
        Ok(())
    })?;
    for notify in [Notify::Return, Notify::Interrupt, Notify::Return] {
        kernel_ext::wait::pause();
        let ip = child.ask(notify, |own| Ok(own.general_registers()?[at::IP]))?;
        check(ip == registers[at::IP], "it turns")?;
    }
    Ok(())
}

/// From a work: posts one that keeps a tally, to the current task.
fn post_here(tally: &Arc<Tally>, body: impl FnMut(&Own) -> Outcome + Send + 'static) -> Result {
    let tally = tally.clone();
    let job = Job { tally, body };
    boundary::post(&Subject::current(), MODULE, Notify::Return, job)
}

fn posts_works() -> Result {
    let child = Child::start()?;
    let tallies = [Tally::new()?, Tally::new()?, Tally::new()?];
    let later = tallies.clone();
    let (before, after) = child.ask(Notify::Interrupt, move |own| {
        let before = own.works_wait();
        for tally in &later {
            post_here(tally, |_| Outcome::Resume)?;
        }
        Ok((before, own.works_wait()))
    })?;
    check(!before && after, "they wait once they are posted")?;
    for tally in &tallies {
        tally.end()?;
        check(tally.counts() == (1, 0, 1), "each runs once")?;
    }
    check(
        !child.ask(Notify::Interrupt, |own| Ok(own.works_wait()))?,
        "none waits",
    )
}

fn ends() -> Result {
    let child = Child::start()?;
    let pid = child.subject.pid();
    let tally = child.post(Notify::Interrupt, |_| Outcome::Exit(STATUS))?;
    tally.end()?;
    check(tally.counts() == (1, 0, 1), "once")?;
    check(child.until_ended()? == STATUS, "status")?;
    check(child.subject.exiting(), "it exits")?;
    drop(child);
    check(Subject::find(pid).is_none(), "reaped")
}

/// What is posted by a task that is on its way out does not run.
fn abandoned() -> Result {
    let child = Child::start()?;
    let last = Tally::new()?;
    let later = last.clone();
    let tally = child.post(Notify::Interrupt, move |_| {
        match post_here(&later, |_| Outcome::Resume) {
            Ok(()) => Outcome::Exit(STATUS),
            Err(_) => Outcome::Resume,
        }
    })?;
    tally.end()?;
    check(tally.counts() == (1, 0, 1), "the first runs")?;
    last.end()?;
    check(last.counts() == (0, 1, 1), "the last is abandoned")?;
    check(child.until_ended()? == STATUS, "status")
}

/// Wherever it is on the list, a work that ends the task takes no other with it.
fn not_lost() -> Result {
    for place in 0..3 {
        let child = Child::start()?;
        let tallies = [Tally::new()?, Tally::new()?, Tally::new()?];
        let later = tallies.clone();
        child.ask(Notify::Interrupt, move |_| {
            for (i, tally) in later.iter().enumerate() {
                post_here(tally, move |_| match i == place {
                    true => Outcome::Exit(STATUS),
                    false => Outcome::Resume,
                })?;
            }
            Ok(())
        })?;
        check(child.until_ended()? == STATUS, "status")?;
        for (i, tally) in tallies.iter().enumerate() {
            let (ran, abandoned, dropped) = tally.counts();
            check(
                ran + abandoned == 1 && dropped == 1,
                "each comes to its end",
            )?;
            check(ran == 1 || i != place, "the one that ends it ran")?;
        }
    }
    Ok(())
}

fn refused() -> Result {
    let child = Child::start()?;
    child
        .post(Notify::Interrupt, |_| Outcome::Exit(STATUS))?
        .end()?;
    child.until_ended()?;
    for notify in [Notify::Return, Notify::Interrupt] {
        let tally = Tally::new()?;
        let job = Job {
            tally: tally.clone(),
            body: |_: &Own| Outcome::Resume,
        };
        let ready = boundary::prepare(MODULE, job)?;
        check(tally.counts() == (0, 0, 0), "kept until posted")?;
        check_error(ready.post(&child.subject, notify), ESRCH, "post")?;
        check(tally.counts() == (0, 0, 1), "dropped, no more")?;
    }
    Ok(())
}

fn given_up() -> Result {
    let tally = Tally::new()?;
    let job = Job {
        tally: tally.clone(),
        body: |_: &Own| Outcome::Resume,
    };
    let ready = boundary::prepare(MODULE, job)?;
    check(tally.counts() == (0, 0, 0), "kept")?;
    drop(ready);
    check(tally.counts() == (0, 0, 1), "dropped, no more")?;
    check(
        Arc::into_unique_or_drop(tally).is_some(),
        "the work is kept",
    )
}
