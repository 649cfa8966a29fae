// SPDX-License-Identifier: GPL-2.0

//! The policies under one roof: one [`Policy`] per placement point and set of processes of a node, chosen by name.

use crate::decision::{Decision, Inputs, Reason};
use crate::legacy::Legacy;
use crate::opportunity::OpportunityCost;
use crate::probes::Task;
use crate::rbt::Rbt;
use crate::round_robin::RoundRobin;
use crate::table::Row;
use crate::view::View;
use core::ops::DerefMut;

/// One of the policies, with its tunables and its state.
#[derive(Clone, Debug)]
pub enum Policy {
    /// All stay where they are.
    None,
    /// See [`Legacy`].
    Legacy(Legacy),
    /// See [`RoundRobin`].
    RoundRobin(RoundRobin),
    /// See [`Rbt`].
    Rbt(Rbt),
    /// See [`OpportunityCost`]; the default.
    OpportunityCost(OpportunityCost),
}

impl Default for Policy {
    fn default() -> Self {
        Self::OpportunityCost(OpportunityCost::DEFAULT)
    }
}

impl Policy {
    /// The names by which they are chosen.
    pub const NAMES: [&'static str; 5] =
        ["none", "legacy", "round_robin", "rbt", "opportunity_cost"];

    /// The policy of that name, with its defaults.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "legacy" => Some(Self::Legacy(Legacy::DEFAULT)),
            "round_robin" => Some(Self::RoundRobin(RoundRobin::new())),
            "rbt" => Some(Self::Rbt(Rbt::DEFAULT)),
            "opportunity_cost" => Some(Self::OpportunityCost(OpportunityCost::DEFAULT)),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Legacy(_) => "legacy",
            Self::RoundRobin(_) => "round_robin",
            Self::Rbt(_) => "rbt",
            Self::OpportunityCost(_) => "opportunity_cost",
        }
    }

    /// Where a process starts that is about to: at fork or exec. It is not in this node's load yet. If the target
    /// refuses, [`Table::discharge`](crate::Table::discharge) takes its load back, and one may ask again.
    pub fn place<T>(&mut self, view: &mut View<'_, T>, task: &Task) -> Decision
    where
        T: DerefMut<Target = [Row]>,
    {
        if !task.movable {
            return Decision::stay(task.id, Reason::NotMovable, view.inputs());
        }
        match self {
            Self::None => Decision::stay(task.id, Reason::PolicyNone, view.inputs()),
            Self::Legacy(policy) => policy.place(view, task),
            Self::RoundRobin(policy) => policy.place(view, task),
            Self::Rbt(policy) => policy.place(view, task),
            Self::OpportunityCost(policy) => policy.place(view, task),
        }
    }

    /// Which of the processes that run here move now; called each second. `act` gets each decision, in order, and at least one.
    /// The order of `tasks` is not kept.
    pub fn balance<T>(
        &mut self,
        view: &mut View<'_, T>,
        tasks: &mut [Task],
        act: &mut impl FnMut(Decision),
    ) where
        T: DerefMut<Target = [Row]>,
    {
        match self {
            Self::None | Self::RoundRobin(_) => {
                act(Decision::stay(0, Reason::PolicyNone, Inputs::default()))
            }
            Self::Legacy(policy) => act(policy.balance(view, tasks)),
            Self::Rbt(policy) => policy.balance(view, tasks, act),
            Self::OpportunityCost(policy) => policy.balance(view, tasks, act),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_their_policies() {
        for name in Policy::NAMES {
            assert_eq!(Policy::named(name).unwrap().name(), name);
        }
        assert!(Policy::named("best").is_none());
        assert_eq!(Policy::default().name(), "opportunity_cost");
    }
}
