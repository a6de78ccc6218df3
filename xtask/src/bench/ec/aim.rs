//! A figure and what it should be.

use comfy_table::Table;
use comfy_table::presets;
use serde::Serialize;

/// One ratio or figure that was seen.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Aim {
    pub(super) what: String,
    pub(super) seen: f64,
    /// It should be this, or better; nothing where it only stands beside another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aim: Option<Bound>,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Aim {
    pub(super) fn at_least(what: impl Into<String>, seen: f64, bound: f64) -> Self {
        Self { what: what.into(), seen, aim: Some(Bound::AtLeast(bound)) }
    }

    pub(super) fn at_most(what: impl Into<String>, seen: f64, bound: f64) -> Self {
        Self { what: what.into(), seen, aim: Some(Bound::AtMost(bound)) }
    }

    pub(super) fn beside(what: impl Into<String>, seen: f64) -> Self {
        Self { what: what.into(), seen, aim: None }
    }

    /// Whether it is reached; a figure that could not be had reaches nothing.
    fn is_reached(&self) -> Option<bool> {
        self.aim.map(|bound| match bound {
            Bound::AtLeast(least) => least <= self.seen,
            Bound::AtMost(most) => self.seen <= most,
        })
    }
}

/// All of them for a reader.
pub(super) fn table(aims: &[Aim]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["figure", "seen", "aim", ""]);
    for one in aims {
        let bound = match one.aim {
            Some(Bound::AtLeast(least)) => format!("≥ {least}"),
            Some(Bound::AtMost(most)) => format!("≤ {most}"),
            None => String::new(),
        };
        let word = match one.is_reached() {
            Some(true) => "ok",
            Some(false) => "MISSED",
            None => "",
        };
        table.add_row([one.what.clone(), format!("{:.2}", one.seen), bound, word.to_owned()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::Aim;

    #[test]
    fn reached_is_on_the_right_side() {
        let reached = |aim: Aim| aim.is_reached();
        assert_eq!(reached(Aim::at_least("a", 2.0, 2.0)), Some(true));
        assert_eq!(reached(Aim::at_least("a", 1.9, 2.0)), Some(false));
        assert_eq!(reached(Aim::at_most("a", 0.2, 0.2)), Some(true));
        assert_eq!(reached(Aim::at_most("a", f64::NAN, 0.2)), Some(false));
        assert_eq!(reached(Aim::beside("a", 7.0)), None);
    }
}
