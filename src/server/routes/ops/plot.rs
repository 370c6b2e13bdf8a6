//! Stacked columns for the last minutes, as SVG without text. The labels are
//! HTML, so that no width squeezes them.

use askama::Template;

use crate::error::Reason;
use crate::server::observe::activity::{MINUTES, Minute};

/// What the columns count, from the bottom up.
struct Series {
    name: &'static str,
    /// Its colour class in the style sheet.
    class: &'static str,
    total: u64,
}

struct Segment {
    class: &'static str,
    /// In per cent of the height, from the top.
    y: u64,
    height: u64,
}

struct Column {
    /// Its tooltip.
    title: String,
    segments: Vec<Segment>,
}

#[derive(Template)]
#[template(path = "ops_plot.html")]
pub(super) struct Plot {
    label: String,
    most: u64,
    series: Vec<Series>,
    columns: Vec<Column>,
}

const CLASSES: [&str; 5] = ["c0", "c1", "c2", "c3", "c4"];

/// Reasons grouped by what an operator does about them.
const REASONS: [(&str, &[Reason]); 5] = [
    (
        "forged or malformed",
        &[Reason::Malformed, Reason::WrongType, Reason::UnknownKey, Reason::BadSignature],
    ),
    ("expired or ended", &[Reason::Expired, Reason::SessionEnded]),
    ("revoked", &[Reason::Revoked, Reason::RevocationsStale]),
    ("replayed, or no room", &[Reason::Replayed, Reason::Capacity]),
    (
        "not for here or now",
        &[
            Reason::WrongIssuer,
            Reason::WrongAudience,
            Reason::NotYetValid,
            Reason::ReauthenticationRequired,
            Reason::ProofRequired,
        ],
    ),
];

/// Returns refused tokens by reason.
pub(super) fn refusals(minutes: &[Minute; MINUTES]) -> Plot {
    let count = |minute: &Minute, reasons: &[Reason]| -> u64 {
        Reason::ALL
            .iter()
            .zip(minute.refused)
            .filter(|(reason, _)| reasons.contains(reason))
            .map(|(_, count)| count)
            .sum()
    };
    plot("Refused tokens", minutes, &REASONS.map(|(name, _)| name), |minute, series| {
        count(minute, REASONS[series].1)
    })
}

/// Returns log-ins by outcome.
pub(super) fn log_ins(minutes: &[Minute; MINUTES]) -> Plot {
    plot("Log-ins", minutes, &["succeeded", "failed", "limited"], |minute, series| {
        [minute.log_ins, minute.failed, minute.limited][series]
    })
}

fn plot(
    what: &str,
    minutes: &[Minute; MINUTES],
    names: &[&'static str],
    count: impl Fn(&Minute, usize) -> u64,
) -> Plot {
    let total = |minute: &Minute| (0..names.len()).map(|series| count(minute, series)).sum::<u64>();
    let most = nice(minutes.iter().map(total).max().unwrap_or(0));
    let columns = minutes
        .iter()
        .enumerate()
        .map(|(at, minute)| {
            let mut above = 0;
            let segments = (0..names.len())
                .filter_map(|series| {
                    let from = 1000 * above / most;
                    above += count(minute, series);
                    let to = 1000 * above / most;
                    // One of a million must be visible too.
                    let height = if count(minute, series) > 0 { (to - from).max(8) } else { 0 };
                    (height > 0).then(|| Segment {
                        class: CLASSES[series],
                        y: 1000_u64.saturating_sub(from + height),
                        height,
                    })
                })
                .collect();
            Column { title: title(names, minute, MINUTES - 1 - at, &count), segments }
        })
        .collect();
    let series: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(series, name)| Series {
            name,
            class: CLASSES[series],
            total: minutes.iter().map(|minute| count(minute, series)).sum(),
        })
        .collect();
    let said: Vec<_> = series.iter().map(|one| format!("{} {}", one.total, one.name)).collect();
    Plot { label: format!("{what} of the last 15 minutes: {}", said.join(", ")), most, series, columns }
}

fn title(names: &[&str], minute: &Minute, ago: usize, count: &impl Fn(&Minute, usize) -> u64) -> String {
    let when = if ago == 0 { "this minute".to_owned() } else { format!("{ago} min ago") };
    let counts: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(series, name)| (count(minute, series), name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if counts.is_empty() { format!("{when}: none") } else { format!("{when}: {}", counts.join(", ")) }
}

/// Returns the next round number that is not less, and at least 5.
fn nice(most: u64) -> u64 {
    const ROUND: [u64; 7] = [10, 15, 20, 30, 40, 60, 80];
    if most <= 5 {
        return 5;
    }
    let mut scale = 1_u64;
    loop {
        if let Some(end) = ROUND.iter().map(|round| round.saturating_mul(scale)).find(|end| *end >= most) {
            return end;
        }
        scale = scale.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        for (most, end) in [(0, 5), (5, 5), (6, 10), (11, 15), (22, 30), (81, 100), (101, 150), (700, 800)] {
            assert_eq!(nice(most), end, "{most}");
        }
        assert!(nice(u64::MAX) > 0);
    }

    #[test]
    fn every_reason_is_in_the_plot_once() {
        for &reason in Reason::ALL {
            assert_eq!(
                REASONS.iter().filter(|(_, reasons)| reasons.contains(&reason)).count(),
                1,
                "{reason}"
            );
        }
    }
}
