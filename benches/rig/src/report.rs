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

    /// The table of values with aims, then the one of the closed loops.
    pub(crate) fn tables(&self, rows: &[Row]) -> String {
        let mut text = String::from(
            "| work | unit | Penstock (lowest to highest) | HAProxy | nginx | ratio to the best peer | aim | |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for row in rows {
            for (index, metric) in row.metrics().iter().enumerate() {
                text.push_str(&self.line(*row, index, metric));
            }
        }
        text.push_str("\nThe closed loops behind them:\n\n| row | proxy | per second | p50, us | p99, us | of its core |\n|---|---|---|---|---|---|\n");
        for row in rows {
            for kind in Kind::ALL {
                let Some(outcomes) = self.outcomes.get(&(*row as usize, kind)) else { continue };
                let samples: Vec<&Sample> = outcomes.iter().filter_map(|outcome| outcome.sample.as_ref()).collect();
                let of = |get: fn(&Sample) -> f64| median(samples.iter().map(|sample| get(sample)).collect());
                let (Some(rate), Some(p50), Some(p99), Some(core)) =
                    (of(|s| s.rate), of(|s| s.p50_us), of(|s| s.p99_us), of(|s| s.core * 100.0))
                else {
                    continue;
                };
                let (row, name) = (row.name(), kind.name());
                let _ = writeln!(text, "| {row} | {name} | {rate:.0} | {p50:.0} | {p99:.0} | {core:.0} % |");
            }
        }
        text
    }

    fn line(&self, row: Row, index: usize, metric: &Metric) -> String {
        let values = |kind| -> Vec<f64> {
            let outcomes = self.outcomes.get(&(row as usize, kind));
            outcomes.into_iter().flatten().filter_map(|outcome| outcome.values.get(index).copied()).collect()
        };
        let value = |kind| {
            if metric.worst { values(kind).into_iter().max_by(f64::total_cmp) } else { median(values(kind)) }
        };
        let (ours, haproxy, nginx) = (value(Kind::Penstock), value(Kind::Haproxy), value(Kind::Nginx));
        let best = haproxy.into_iter().chain(nginx).min_by(f64::total_cmp);
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
        format!(
            "| {} | {} | {}{range} | {} | {} | {} | {} | {verdict} |\n",
            metric.label,
            metric.unit,
            show(ours),
            show(haproxy),
            show(nginx),
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
