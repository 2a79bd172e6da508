//! Problems of the objects over time: those that are there, and the last ones that were solved.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use penstock_model::Problem;
use serde_json::{Value, json};

/// How many solved ones are remembered.
const SOLVED: usize = 50;

/// Shared by the task that reports them and the dashboard; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems(Arc<Mutex<History>>);

#[derive(Debug, Default)]
struct History {
    /// With the time at which it came.
    there: BTreeMap<Problem, u64>,
    /// With that and the time at which it went; the newest last.
    solved: VecDeque<(Problem, u64, u64)>,
}

/// What is different now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    pub(super) new: Vec<Problem>,
    pub(super) solved: Vec<Problem>,
}

impl Problems {
    /// These are there now, and nothing else.
    pub(super) fn update<'p>(&self, now: impl Iterator<Item = &'p Problem>) -> Differences {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut history.there);
        let mut differences = Differences::default();
        for problem in now {
            let since = before.remove(problem);
            let known = history.there.insert(problem.clone(), since.unwrap_or(time)).is_some();
            if since.is_none() && !known {
                differences.new.push(problem.clone());
            }
        }
        for (problem, since) in before {
            // Said twice by the objects, it was looked at already.
            if !history.there.contains_key(&problem) {
                differences.solved.push(problem.clone());
                history.solved.push_back((problem, since, time));
            }
        }
        let surplus = history.solved.len().saturating_sub(SOLVED);
        history.solved.drain(..surplus);
        differences
    }

    /// The newest first, those that are there before those that are solved; at most so many, and how many more there are.
    pub(super) fn newest(&self, most: usize) -> (Vec<Value>, usize) {
        let history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut there: Vec<_> = history.there.iter().map(|(problem, since)| (problem, *since, None)).collect();
        there.sort_by_key(|(_, since, _)| std::cmp::Reverse(*since));
        let solved = history.solved.iter().rev().map(|(problem, since, end)| (problem, *since, Some(*end)));
        let all = there.len() + history.solved.len();
        let one = |(problem, since, solved): (&Problem, u64, Option<u64>)| {
            json!({
                "object": problem.object.to_string(), "reason": problem.reason, "message": problem.message,
                "since": since, "solved": solved,
            })
        };
        (there.into_iter().chain(solved).take(most).map(one).collect(), all.saturating_sub(most))
    }
}

#[cfg(test)]
mod tests {
    use penstock_model::ObjectRef;

    use super::*;

    fn problem(name: &str) -> Problem {
        let object = ObjectRef { kind: "RoutingRule", namespace: "shop".into(), name: name.into() };
        Problem { object, condition: "Accepted", reason: "InvalidValue", message: format!("{name}: mend it") }
    }

    #[test]
    fn each_comes_once_and_goes_once() {
        let (problems, [a, b]) = (Problems::default(), ["a", "b"].map(problem));
        // Two objects may say the same.
        let first = problems.update([&a, &b, &a].into_iter());
        assert_eq!((first.new.len(), first.solved.len()), (2, 0));
        assert_eq!(problems.update([&a, &b].into_iter()), Differences::default());
        let last = problems.update([&b].into_iter());
        assert_eq!((last.new, last.solved), (vec![], vec![a]));
        let (shown, more) = problems.newest(10);
        assert_eq!((shown.len(), more), (2, 0));
        assert_eq!((&shown[0]["message"], &shown[0]["solved"]), (&json!("b: mend it"), &Value::Null));
        assert!(shown[1]["solved"].is_u64());
    }

    #[test]
    fn only_the_last_solved_ones_are_kept() {
        let problems = Problems::default();
        for number in 0..SOLVED + 10 {
            problems.update([&problem(&number.to_string())].into_iter());
        }
        let (shown, more) = problems.newest(20);
        assert_eq!((shown.len(), more), (20, SOLVED + 1 - 20));
        assert_eq!(shown[1]["message"], format!("{}: mend it", SOLVED + 8));
    }
}
