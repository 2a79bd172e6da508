//! Medians, ratios and verdicts, as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::load::Sample;
use crate::proxy::Kind;
use crate::rows::{Aim, Metric, Outcome, Row};

/// Everything that was measured, by row and proxy, one entry for each round that worked.
#[derive(Default)]
pub(crate) struct Results {
    outcomes: BTreeMap<(usize, Kind), Vec<Outcome>>,
}

impl Results {
    /// Remembers what a round gave.
    pub(crate) fn add(&mut self, row: Row, kind: Kind, outcome: Outcome) {
        self.outcomes.entry((row as usize, kind)).or_default().push(outcome);
    }

    /// The table of values with aims, then the one of the loads.
    pub(crate) fn tables(&self, rows: &[Row], kinds: &[Kind]) -> String {
        let peers: Vec<Kind> = kinds.iter().copied().filter(|kind| *kind != Kind::Penstock).collect();
        let names: String = peers.iter().map(|peer| format!("{} | ", peer.name())).collect();
        let mut text = format!(
            "| work | unit | Penstock (lowest to highest) | {names}ratio to the best peer | aim | |\n|{}\n",
            "---|".repeat(6 + peers.len()),
        );
        for row in rows {
            for (index, metric) in row.metrics().iter().enumerate() {
                text.push_str(&self.line(*row, index, metric, &peers));
            }
        }
        text.push_str("\nThe loads behind them, closed loops but for those with `rate` in their names:\n\n| row | proxy | per second | p50, us | p99, us | of its core |\n|---|---|---|---|---|---|\n");
        for row in rows {
            for kind in kinds {
                let Some(outcomes) = self.outcomes.get(&(*row as usize, *kind)) else { continue };
                let samples: Vec<&Sample> = outcomes.iter().filter_map(|outcome| outcome.sample.as_ref()).collect();
                let of =
                    |get: fn(&Sample) -> Option<f64>| median(samples.iter().filter_map(|sample| get(sample)).collect());
                let (Some(rate), Some(core)) = (of(|s| Some(s.rate)), of(|s| Some(s.core * 100.0))) else { continue };
                let (p50, p99) = (of(|s| Some(s.latency_us?.0)), of(|s| Some(s.latency_us?.1)));
                let whole = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
                let (p50, p99) = (whole(p50), whole(p99));
                let (row, name) = (row.name(), kind.name());
                let _ = writeln!(text, "| {row} | {name} | {rate:.0} | {p50} | {p99} | {core:.0} % |");
            }
        }
        text
    }

    fn line(&self, row: Row, index: usize, metric: &Metric, peers: &[Kind]) -> String {
        let values = |kind| -> Vec<f64> {
            let outcomes = self.outcomes.get(&(row as usize, kind));
            outcomes.into_iter().flatten().filter_map(|outcome| outcome.values.get(index).copied()).collect()
        };
        let value = |kind| {
            if metric.worst { values(kind).into_iter().max_by(f64::total_cmp) } else { median(values(kind)) }
        };
        let ours = value(Kind::Penstock);
        let theirs: Vec<Option<f64>> = peers.iter().map(|peer| value(*peer)).collect();
        let best = theirs.iter().copied().flatten().min_by(f64::total_cmp);
        // Neither a difference nor a count of accidents has a ratio.
        let ratio =
            ours.zip(best).filter(|(_, best)| *best > 0.0 && metric.unit != "%").map(|(ours, best)| ours / best);
        let (aim, met) = match metric.aim {
            Aim::Ratio(most) => (format!("<= {most}x"), ratio.map(|ratio| ratio <= most)),
            Aim::AtMost(most) => (format!("<= {most} {}", metric.unit), ours.map(|ours| ours <= most)),
        };
        let range = match values(Kind::Penstock).into_iter().fold(None, widen) {
            Some((low, high)) if high > low => format!(" ({} to {})", show(low), show(high)),
            _ => String::new(),
        };
        let verdict = met.map_or("not measured", |met| if met { "met" } else { "**missed**" });
        let show = |value: Option<f64>| value.map_or("-".to_owned(), show);
        let theirs: String = theirs.into_iter().map(|value| format!("{} | ", show(value))).collect();
        format!(
            "| {} | {} | {}{range} | {theirs}{} | {} | {verdict} |\n",
            metric.label,
            metric.unit,
            show(ours),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            aim.trim(),
        )
    }
}

fn widen(range: Option<(f64, f64)>, value: f64) -> Option<(f64, f64)> {
    range.map_or(Some((value, value)), |(low, high)| Some((value.min(low), value.max(high))))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

fn show(value: f64) -> String {
    if value >= 100.0 || value == value.trunc() { format!("{value:.0}") } else { format!("{value:.1}") }
}
