// SPDX-License-Identifier: GPL-2.0

//! The interrupted system call that `restart_syscall` goes on with: at most one in a task.
//!
//! C header: [`include/linux/restart_block.h`](srctree/include/linux/restart_block.h). Deadlines in here are on the clocks of this
//! node, without the offsets of a time namespace.

use crate::own::Own;
use banyan_bindings as raw;
use kernel::{
    bindings,
    prelude::*, //
};

/// Which system call, and its arguments that only it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// A sleep on a clock that counts time.
    Sleep(Sleep),
    /// A sleep on a clock that counts a process's CPU time.
    CpuSleep(Sleep),
    /// A sleep on an alarm clock; `clock` is 0 for real time and 1 for boot time.
    AlarmSleep(Sleep),
    /// `poll`.
    Poll {
        /// Address of the descriptors.
        descriptors: u64,
        /// Their number.
        count: u32,
        /// CLOCK_MONOTONIC, nanoseconds; `None` = it waits for ever.
        deadline: Option<i64>,
    },
    /// A futex wait.
    Futex {
        /// Address of the futex.
        address: u64,
        /// Address of a second one.
        address2: u64,
        /// The value waited on.
        value: u32,
        /// The kernel's flags.
        flags: u32,
        /// The bit set.
        bits: u32,
        /// In nanoseconds.
        deadline: i64,
    },
}

/// A sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// The clock.
    pub clock: i32,
    /// The kernel's `timespec_type`: how the rest is reported.
    pub report: u32,
    /// Where to.
    pub rest: u64,
    /// In nanoseconds.
    pub deadline: i64,
}

/// Flag of a futex wait: the deadline is on CLOCK_REALTIME.
pub const FUTEX_REALTIME: u32 = 0x20;

const SECOND: i64 = 1_000_000_000;

impl Own {
    /// The system call, if one waits.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if it is of a kind that is not known.
    pub fn restart(&self) -> Result<Option<Restart>> {
        // SAFETY: The current task's own field; which union member counts is told by the function.
        unsafe {
            let block = &raw const (*self.raw()).restart_block;
            let data = &(*block).__bindgen_anon_1;
            let sleep = || Sleep {
                clock: data.nanosleep.clockid,
                report: data.nanosleep.type_,
                rest: data.nanosleep.__bindgen_anon_1.rmtp as u64,
                deadline: data.nanosleep.expires,
            };
            Ok(Some(match raw::banyan_restart_kind(block) {
                raw::banyan_restart_BANYAN_RESTART_NONE => return Ok(None),
                raw::banyan_restart_BANYAN_RESTART_SLEEP => Restart::Sleep(sleep()),
                raw::banyan_restart_BANYAN_RESTART_CPU_SLEEP => Restart::CpuSleep(sleep()),
                raw::banyan_restart_BANYAN_RESTART_ALARM_SLEEP => Restart::AlarmSleep(sleep()),
                raw::banyan_restart_BANYAN_RESTART_POLL => Restart::Poll {
                    descriptors: data.poll.ufds as u64,
                    count: data.poll.nfds as u32,
                    deadline: (data.poll.has_timeout != 0).then(|| {
                        let end = data.poll.end_time;
                        end.tv_sec
                            .saturating_mul(SECOND)
                            .saturating_add(end.tv_nsec as i64)
                    }),
                },
                raw::banyan_restart_BANYAN_RESTART_FUTEX => Restart::Futex {
                    address: data.futex.uaddr as u64,
                    address2: data.futex.uaddr2 as u64,
                    value: data.futex.val,
                    flags: data.futex.flags,
                    bits: data.futex.bitset,
                    deadline: data.futex.time,
                },
                _ => return Err(EOPNOTSUPP),
            }))
        }
    }

    /// Sets the system call that `restart_syscall` goes on with. Says whether this kernel can.
    pub fn set_restart(&self, restart: Option<&Restart>) -> bool {
        let mut data = bindings::restart_block__bindgen_ty_1::default();
        let as_sleep = |sleep: &Sleep| bindings::restart_block__bindgen_ty_1__bindgen_ty_2 {
            clockid: sleep.clock,
            type_: sleep.report,
            __bindgen_anon_1: bindings::restart_block__bindgen_ty_1__bindgen_ty_2__bindgen_ty_1 {
                rmtp: sleep.rest as *mut bindings::__kernel_timespec,
            },
            expires: sleep.deadline,
        };
        let kind = match restart {
            None => raw::banyan_restart_BANYAN_RESTART_NONE,
            Some(Restart::Sleep(sleep)) => {
                data.nanosleep = as_sleep(sleep);
                raw::banyan_restart_BANYAN_RESTART_SLEEP
            }
            Some(Restart::CpuSleep(sleep)) => {
                data.nanosleep = as_sleep(sleep);
                raw::banyan_restart_BANYAN_RESTART_CPU_SLEEP
            }
            Some(Restart::AlarmSleep(sleep)) => {
                data.nanosleep = as_sleep(sleep);
                raw::banyan_restart_BANYAN_RESTART_ALARM_SLEEP
            }
            Some(&Restart::Poll {
                descriptors,
                count,
                deadline,
            }) => {
                let end = deadline.unwrap_or(0).max(0);
                data.poll = bindings::restart_block__bindgen_ty_1__bindgen_ty_3 {
                    ufds: descriptors as *mut bindings::pollfd,
                    nfds: count as i32,
                    has_timeout: deadline.is_some().into(),
                    end_time: bindings::timespec64 {
                        tv_sec: end / SECOND,
                        tv_nsec: (end % SECOND) as isize,
                    },
                };
                raw::banyan_restart_BANYAN_RESTART_POLL
            }
            Some(&Restart::Futex {
                address,
                address2,
                value,
                flags,
                bits,
                deadline,
            }) => {
                data.futex = bindings::restart_block__bindgen_ty_1__bindgen_ty_1 {
                    uaddr: address as *mut u32,
                    val: value,
                    flags,
                    bitset: bits,
                    time: deadline,
                    uaddr2: address2 as *mut u32,
                };
                raw::banyan_restart_BANYAN_RESTART_FUTEX
            }
        };
        // SAFETY: The current task's own field. Every address in it is one of user memory, which the calls check.
        unsafe {
            let block = &raw mut (*self.raw()).restart_block;
            if !raw::banyan_set_restart_kind(block, kind) {
                return false;
            }
            (*block).arch_data = 0;
            (*block).__bindgen_anon_1 = data;
        }
        true
    }
}
